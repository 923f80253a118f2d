"""Compares vedette's count of visual tokens with vLLM's and transformers' processors of the families that cut pictures.

    PYTHONPATH=src python -m bench.lab.oracle_tiles [--sizes 200] [--seed 0] [--own DIRECTORY]

Needs vLLM 0.32; no weights, no network, under a minute. Where oracle_tokens.py runs a whole processor on a model
directory, these families need files of the checkpoint for that; here the processors' own counting functions are
called, with the same limits. MiniCPM-V and Phi-3.5-vision count in the checkpoint's code: --own names a directory with
its image_processing_minicpmv.py and image_processing_phi3_v.py. Prints a table in Markdown; exits with 1 on any
difference.
"""

import argparse
import importlib.util
import os
import platform
import random
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR"}

import torch
import transformers
import vllm
from transformers.models.gemma4.image_processing_gemma4 import Gemma4ImageProcessor
from transformers.models.glm4v.image_processing_glm4v import Glm4vImageProcessor
from transformers.models.got_ocr2.image_processing_got_ocr2 import GotOcr2ImageProcessor
from transformers.models.lfm2_vl.image_processing_lfm2_vl import Lfm2VlImageProcessor
from vllm.model_executor.models.deepseek_ocr import DeepseekOCRProcessingInfo
from vllm.model_executor.models.gemma4_mm import Gemma4ProcessingInfo
from vllm.model_executor.models.lfm2_vl import Lfm2VLProcessingInfo
from vllm.transformers_utils.processors.internvl import InternVLImageProcessor, InternVLProcessor

from vedette.models.families.family import Vision
from vedette.models.families.registry import parse_vision

Count = Callable[[int, int], int]
SPECIAL = re.compile(r"<[^<>]+>")
TOKENS = b'"<img>" "</img>" "<|image_start|>"'


def vision_of(model_type: str, picture: dict[str, Any] | None = None, **config: Any) -> Vision:
    """vedette's reading of a configuration."""
    whole = {"model_type": model_type, "architectures": ["DeepseekOCRForCausalLM"], "vision_config": {}} | config
    vision = parse_vision(whole, picture or {}, None, "config.json", TOKENS)
    assert vision is not None
    return vision


def internvl(arguments: dict[str, Any], own: Path | None) -> Count:
    most = arguments.get("max_dynamic_patch", 12)
    processor = InternVLProcessor.__new__(InternVLProcessor)
    processor.image_processor = InternVLImageProcessor(448, 1, most, True, True)
    processor.image_seq_length = 256
    return lambda width, height: processor.get_num_image_tokens(image_width=width, image_height=height) + 2


def internvl_hf(arguments: dict[str, Any], own: Path | None) -> Count:
    processor = GotOcr2ImageProcessor(
        size={"height": 448, "width": 448}, crop_to_patches=True, min_patches=1, max_patches=12
    )
    return lambda width, height: processor.get_number_of_image_patches(height, width, arguments) * 256 + 2


def lfm2(arguments: dict[str, Any], own: Path | None) -> Count:
    processor = Lfm2VlImageProcessor(**arguments)
    info = Lfm2VLProcessingInfo.__new__(Lfm2VLProcessingInfo)
    info.ctx = SimpleNamespace(get_merged_mm_kwargs=lambda given: given)
    tokens = ("image_token", "image_start_token", "image_end_token", "image_thumbnail_token")
    names = {name: f"<{name}>" for name in tokens}
    whole = SimpleNamespace(image_processor=processor, **names)

    def count(width: int, height: int) -> int:
        made = processor(torch.zeros((3, height, width), dtype=torch.uint8), return_tensors="pt")
        text = info.get_image_repl(width, height, made["spatial_shapes"], whole, arguments)
        return len(SPECIAL.findall(text))

    return count


def gemma4(arguments: dict[str, Any], own: Path | None) -> Count:
    encoder = SimpleNamespace(patch_size=16, pooling_kernel_size=3, default_output_length=280)
    info = Gemma4ProcessingInfo.__new__(Gemma4ProcessingInfo)
    info.get_hf_config = lambda: SimpleNamespace(vision_config=encoder)
    budget = arguments.get("max_soft_tokens")
    processor = Gemma4ImageProcessor(**arguments)

    def count(width: int, height: int) -> int:
        promised = int(info._compute_num_soft_tokens(width, height, budget))
        if max(width, height) < 40 * min(width, height):  # the processor refuses thinner ones
            made = processor(torch.zeros((3, height, width), dtype=torch.uint8), return_tensors="pt")
            assert int(made["num_soft_tokens_per_image"][0]) == promised
        return promised + 2

    return count


def glm4v(arguments: dict[str, Any], own: Path | None) -> Count:
    processor = Glm4vImageProcessor()
    return lambda width, height: int(processor.get_number_of_image_patches(height, width, arguments)) // 4 + 2


def deepseek_ocr(arguments: dict[str, Any], own: Path | None) -> Count:
    info = DeepseekOCRProcessingInfo.__new__(DeepseekOCRProcessingInfo)
    return lambda width, height: info.get_num_image_tokens(image_width=width, image_height=height)


def minicpm(arguments: dict[str, Any], own: Path | None) -> Count:
    processor = _loaded(own, "image_processing_minicpmv").MiniCPMVImageProcessor(use_image_id=True, **arguments)
    names = ("im_start", "im_end", "slice_start", "slice_end", "im_id_start", "im_id_end", "unk_token")
    processor.tokenizer = SimpleNamespace(**{name: f"<{name}>" for name in names})

    def count(width: int, height: int) -> int:
        text = processor.get_slice_image_placeholder((width, height), use_image_id=True)
        return len(SPECIAL.findall(text)) + len(SPECIAL.sub("", text))  # the number's digit, and line ends

    return count


def phi3(arguments: dict[str, Any], own: Path | None) -> Count:
    processor = _loaded(own, "image_processing_phi3_v").Phi3VImageProcessor(num_crops=arguments.get("num_crops", 16))
    return lambda width, height: processor.calc_num_image_tokens_from_image_size(width, height)


def _loaded(own: Path | None, name: str) -> Any:
    assert own is not None
    spec = importlib.util.spec_from_file_location(name, own / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FAMILIES: dict[str, tuple[Vision, Callable[[dict[str, Any], Path | None], Count]]] = {
    "InternVL (own files)": (vision_of("internvl_chat", use_thumbnail=True, max_dynamic_patch=12), internvl),
    "InternVL (HF files)": (vision_of("internvl", {"crop_to_patches": True, "max_patches": 12}), internvl_hf),
    "LFM2-VL": (vision_of("lfm2_vl"), lfm2),
    "Gemma 4": (vision_of("gemma4"), gemma4),
    "GLM-4.1V": (vision_of("glm4v"), glm4v),
    "DeepSeek-OCR": (vision_of("deepseek_vl_v2"), deepseek_ocr),
}
OWN = {
    "MiniCPM-V 4.5": (vision_of("minicpmv", {"max_slice_nums": 9}, version=4.5), minicpm),
    "Phi-3.5-vision": (vision_of("phi3_v", {"num_crops": 16}), phi3),
}


def sizes(chance: random.Random, count: int) -> Iterator[tuple[int, int]]:
    """Widths and heights: common ones, squares, and random ones up to 50 times as long as wide."""
    yield from [(640, 480), (1280, 720), (480, 640), (511, 513), (448, 448)]
    for _ in range(count - 5):
        long = round(2200 ** chance.uniform(0.5, 1))
        short = max(2, round(long / 50 ** chance.choice([0, chance.random() / 4, chance.random()])))
        yield (long, short) if chance.random() < 0.5 else (short, long)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--own", type=Path)
    wanted = parser.parse_args()
    families = FAMILIES | (OWN if wanted.own else {})
    print(f"vLLM {vllm.__version__}, transformers {transformers.__version__}, Python {platform.python_version()}\n")
    print("| family | limit in pixels | sizes tried | equal | above the bound | first difference |")
    print("|---|---|---|---|---|---|")
    wrong = 0
    for name, (vision, counter) in families.items():
        limits = [None, *vision.pixel_limits()[1:]]
        for limit in limits:
            chance, count = random.Random(wanted.seed), counter(vision.processor_arguments(limit, None), wanted.own)
            tried = list(sizes(chance, max(6, wanted.sizes // len(limits) + 1)))
            pairs = [(size, vision.picture_tokens(*size, limit), count(*size)) for size in tried]
            differing = [pair for pair in pairs if pair[1] != pair[2]]
            above = sum(theirs > vision.most_tokens_of_any_picture(limit) for _, _, theirs in pairs)
            first = f"{differing[0][0]}: {differing[0][1]}, not {differing[0][2]}" if differing else ""
            wrong += len(differing) + above
            print(
                f"| {name} | {limit or 'its own'} | {len(pairs)} | {len(pairs) - len(differing)} | {above} | {first} |"
            )
    print(f"\n{wrong} differ.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
