"""Compares vedette's count of visual tokens with vLLM's own multimodal processors.

    PYTHONPATH=src python -m bench.lab.oracle_tokens [--sizes 200] [--seed 0] [FAMILY ...]

Needs vLLM 0.32 and num2words (SmolVLM2's processor needs it); no weights, no network. About 5 minutes for all.
Every picture and clip goes through the whole processor that `vllm serve` would use, with a plan's arguments; the
tokens of the resulting prompt are counted. Prints a table in Markdown; exits with 1 on any difference.
"""

import argparse
import json
import logging
import math
import os
import platform
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}

import numpy
import transformers
import vllm
from PIL import Image
from vllm.config import ModelConfig
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.processing import ProcessorInputs, TimingContext

import vedette
from bench.lab.shapes import make_shape
from vedette.models.checkpoint import read_model
from vedette.models.families.family import Vision

PACKAGED = Path(vedette.__file__).parent / "models" / "vedette-tiny"
MAX_MODEL_LEN = 4096
MOST_SIDE = 2200
MOST_CLIP_SIDE = 400
LEAST_CLIP_SIDE = 4
"""Transformers mistakes a frame height of one or three pixels for the number of colours."""
WORDS = ("Ġ s e c o n d s", "Ċ Ċ Ċ Ċ")
"""Letters whose left-to-right merges give a tokenizer the tokens that published ones have."""
Changes = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Family:
    """A model directory to count with: a shape, and the changes to its files, by file."""

    shape: str
    picture: str
    """What a chat template writes for one picture."""
    clip: str = ""
    changes: Changes = field(default_factory=dict)
    words: bool = True
    """Give the tokenizer tokens for words as published ones have; otherwise each byte is a token."""


QWEN_PICTURE, QWEN_CLIP = (f"<|vision_start|><|{kind}_pad|><|vision_end|>" for kind in ("image", "video"))
QWEN2_VL: Changes = {
    "config.json": {
        "model_type": "qwen2_vl",
        "architectures": ["Qwen2VLForConditionalGeneration"],
        "vision_config": {"depth": 32, "embed_dim": 1280, "hidden_size": 1536, "num_heads": 16, "mlp_ratio": 4},
    },
    "preprocessor_config.json": {"processor_class": "Qwen2VLProcessor"},
}
SMOLVLM2: Changes = {
    "config.json": {
        "model_type": "smolvlm",
        "architectures": ["SmolVLMForConditionalGeneration"],
        "scale_factor": 3,
        "vision_config": {"hidden_size": 1152, "image_size": 384, "patch_size": 14, "num_attention_heads": 16},
    },
    "preprocessor_config.json": {
        "processor_class": "SmolVLMProcessor",
        "image_processor_type": "SmolVLMImageProcessor",
        "max_image_size": {"longest_edge": 384},
        "size": {"longest_edge": 1536},
    },
    "processor_config.json": {"processor_class": "SmolVLMProcessor", "image_seq_len": 81},
}
LLAVA_NEXT: Changes = {
    "config.json": {
        "model_type": "llava_next",
        "architectures": ["LlavaNextForConditionalGeneration"],
        "image_grid_pinpoints": [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]],
    },
    "preprocessor_config.json": {
        "processor_class": "LlavaNextProcessor",
        "image_processor_type": "LlavaNextImageProcessor",
    },
    "processor_config.json": {"processor_class": "LlavaNextProcessor"},
}
FAMILIES = {
    "Qwen2-VL": Family("Qwen2.5-VL-3B-Instruct", QWEN_PICTURE, QWEN_CLIP, QWEN2_VL),
    "Qwen2.5-VL": Family("Qwen2.5-VL-3B-Instruct", QWEN_PICTURE, QWEN_CLIP),
    "Qwen3-VL": Family("Qwen3-VL-2B-Instruct", QWEN_PICTURE, QWEN_CLIP),
    "Qwen3-VL, no words": Family("Qwen3-VL-2B-Instruct", QWEN_PICTURE, QWEN_CLIP, words=False),
    "vedette-tiny": Family("vedette-tiny", QWEN_PICTURE, QWEN_CLIP, words=False),
    "Qwen3.5": Family("Qwen3.5-2B", QWEN_PICTURE, QWEN_CLIP),
    "SmolVLM (Idefics3)": Family("SmolVLM-500M-Instruct", "<image>"),
    "SmolVLM, no words": Family("SmolVLM-500M-Instruct", "<image>", words=False),
    "SmolVLM2": Family("SmolVLM-500M-Instruct", "<image>", changes=SMOLVLM2),
    "Gemma 3": Family("gemma-3-4b-it", "<start_of_image>"),
    "LLaVA-1.5": Family("llava-1.5-7b-hf", "<image>"),
    "LLaVA-NeXT": Family("llava-1.5-7b-hf", "<image>", changes=LLAVA_NEXT),
}


def write_model(family: Family, directory: Path) -> Vision:
    """Writes the family's model into `directory` and returns what vedette reads of it."""
    if family.shape == "vedette-tiny":
        shutil.copytree(PACKAGED, directory)
    else:
        make_shape(family.shape, directory)
    for name, changes in family.changes.items():
        path = directory / name
        path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))
    tokenizer = json.loads((directory / "tokenizer.json").read_bytes())
    if family.words:
        for word in WORDS:
            _teach(tokenizer["model"], word.split())
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))
    vision = read_model(directory, tensors={}).vision
    if vision is None:
        raise SystemExit(f"vedette does not know how {family.shape} sees")
    return vision


def _teach(model: dict[str, Any], letters: list[str]) -> None:
    known = letters[0]
    for letter in letters[1:]:
        model["merges"].append([known, letter])
        known += letter
        model["vocab"][known] = 600 + len(model["merges"])


class Oracle:
    """vLLM's multimodal processor for a model directory, with a plan's arguments."""

    def __init__(self, directory: Path, family: Family, arguments: dict[str, Any]) -> None:
        limits = {"image": 1, "video": 1} if family.clip else {"image": 1}
        config = ModelConfig(
            str(directory), dtype="bfloat16", max_model_len=MAX_MODEL_LEN,
            limit_mm_per_prompt=limits, mm_processor_kwargs=arguments or None,
        )  # fmt: skip
        self._processor = MULTIMODAL_REGISTRY.create_processor(config)
        self._family = family

    def picture_tokens(self, width: int, height: int) -> int:
        return self._tokens(self._family.picture, {"image": [Image.new("RGB", (width, height))]})

    def clip_tokens(self, frames: int, width: int, height: int) -> int:
        about = {
            "fps": 2.0, "duration": frames / 2, "total_num_frames": frames, "frames_indices": list(range(frames)),
            "video_backend": "opencv", "do_sample_frames": False,
        }  # fmt: skip
        return self._tokens(
            self._family.clip, {"video": [(numpy.zeros((frames, height, width, 3), numpy.uint8), about)]}
        )

    def profiled_clip_tokens(self) -> int:
        counts = {"image": 1, "video": 1}
        return int(self._processor.info.get_mm_max_tokens_per_item(MAX_MODEL_LEN, counts)["video"])

    def _tokens(self, text: str, seen: dict[str, Any]) -> int:
        info = self._processor.info
        prompt = info.get_tokenizer().encode(text, add_special_tokens=False)
        inputs = ProcessorInputs(prompt=prompt, mm_data_items=info.parse_mm_data(seen))
        return len(self._processor.apply(inputs, TimingContext(enabled=False))["prompt_token_ids"])


def sizes(chance: random.Random, count: int, least: int, most: int, ratio: int) -> Iterator[tuple[int, int]]:
    """Widths and heights: common ones, squares, and random ones up to `ratio` times as long as wide."""
    yield from [(640, 480), (1280, 720), (480, 640), (511, 513), (least, least)][:count]
    for _ in range(count - 5):
        long = round(most ** chance.uniform(0.3, 1))
        short = max(least, math.ceil(long / ratio ** chance.choice([0, chance.random() / 4, chance.random()])))
        yield (long, short) if chance.random() < 0.5 else (short, long)


@dataclass
class Row:
    """One line of the table."""

    family: str
    what: str
    limit: int | None
    tried: int = 0
    equal: int = 0
    first_difference: str = ""

    def note(self, size: str, ours: int, theirs: int) -> None:
        self.tried += 1
        self.equal += ours == theirs
        if ours != theirs and not self.first_difference:
            self.first_difference = f"{size}: {ours}, vLLM {theirs}"

    def __str__(self) -> str:
        limit = "the model's own" if self.limit is None else f"{self.limit:,}"
        return f"| {self.family} | {self.what} | {limit} | {self.tried} | {self.equal} | {self.first_difference} |"


def compare(name: str, directory: Path, count: int, chance: random.Random) -> Iterator[Row]:
    """A family's rows: `count` pictures and clips in all, at several limits."""
    family = FAMILIES[name]
    vision = write_model(family, directory)
    limits = [None, *limits_to_try(vision)]
    each = -(-count // (len(limits) * (2 if family.clip else 1)))
    for limit in limits:
        clip_limit = None if limit is None else vision.clip_max_pixels(8, limit)
        oracle = Oracle(directory, family, vision.processor_arguments(limit, clip_limit))
        row = Row(name, "pictures", limit)
        ratio = 190 if family.clip else 300
        for width, height in sizes(chance, each, 1, MOST_SIDE, ratio):
            ours = vision.picture_tokens(width, height, limit)
            row.note(f"{width}x{height}", ours, oracle.picture_tokens(width, height))
        yield row
        if family.clip:
            row = Row(name, "clips of 2 to 32 frames", clip_limit)
            for width, height in sizes(chance, each, LEAST_CLIP_SIDE, MOST_CLIP_SIDE, ratio):
                frames = chance.randint(2, 32)
                ours = vision.clip_tokens(frames, width, height, clip_limit)
                row.note(f"{frames} of {width}x{height}", ours, oracle.clip_tokens(frames, width, height))
            yield row
            row = Row(name, "clip profiled at start", clip_limit)
            ours = vision.profiled_clip_tokens(1, MAX_MODEL_LEN, limit, clip_limit)
            row.note("the one", ours, oracle.profiled_clip_tokens())
            yield row


def limits_to_try(vision: Vision) -> list[int]:
    """Pixel limits: those of plans, one that no side divides, and one below the model's own minimum."""
    own = vision.pixel_limits()
    return [*own[-3:], 300_007, 20_000] if own else []


def main() -> int:
    """Runs the whole comparison; returns 1 if anything differed."""
    arguments = argparse.ArgumentParser(description="vedette's visual tokens against vLLM's")
    arguments.add_argument("--sizes", type=int, default=200, help="pictures and clips for each family")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("families", nargs="*", metavar="FAMILY")
    wanted = arguments.parse_args()
    logging.disable(logging.WARNING)
    transformers.logging.set_verbosity_error()
    print(
        f"vLLM {vllm.__version__}, transformers {transformers.__version__}, Python {platform.python_version()}, "
        f"seed {wanted.seed}\n\n"
        "| family | what | limit in pixels | sizes tried | equal | first difference |\n"
        "| --- | --- | --- | --- | --- | --- |"
    )
    tried = equal = 0
    with tempfile.TemporaryDirectory() as place:
        for name in wanted.families or FAMILIES:
            for row in compare(name, Path(place) / name.replace(" ", "-"), wanted.sizes, random.Random(wanted.seed)):
                print(row, flush=True)
                tried, equal = tried + row.tried, equal + row.equal
    print(f"\n{equal} of {tried} are equal.")
    return 0 if equal == tried else 1


if __name__ == "__main__":
    sys.exit(main())
