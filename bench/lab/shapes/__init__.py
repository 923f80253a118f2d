"""Published models without their weights: real configuration, tokenizer and headers, empty tensors.

`make_shape("Qwen3-0.6B", directory)` writes a model that takes almost no space on disk. A planner, or an
engine with `--load-format dummy`, treats it as the real one. Standard library only.
"""

import json
import math
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.lab.shapes import tokenizer
from bench.lab.shapes.decoders import language_parts
from bench.lab.shapes.formats import stored_parts
from bench.lab.shapes.parts import Part
from bench.lab.shapes.tokenizer import Tokens, write_tokenizer
from bench.lab.shapes.towers import vision_parts

FILES = Path(__file__).parent / "files"
DTYPES = {"bfloat16": "BF16", "float16": "F16"}
DTYPE_BYTES = {"U8": 1, "I8": 1, "F8_E4M3": 1, "F16": 2, "BF16": 2, "I32": 4, "F32": 4, "I64": 8}


@dataclass(frozen=True)
class Shape:
    """One published model."""

    repository: str
    """Where it is published on the Hugging Face hub."""
    parameters: int
    """As published: tensors of the checkpoint before quantization, counted by element."""
    tokens: Tokens
    output_head: bool = False
    """Whether the checkpoint holds an output head, tied to the embeddings or not."""
    like: str | None = None
    """Another shape of the same family, whose files this one shares but for `sizes`."""
    sizes: dict[str, Any] = field(default_factory=dict)
    """What config.json has instead."""
    quantized_like: str | None = None
    """The shape whose `quantization_config` and type of weights this one has."""


SHAPES = {
    "Qwen3-0.6B": Shape("Qwen/Qwen3-0.6B", 751_632_384, tokenizer.QWEN, output_head=True),
    "Qwen2.5-1.5B-Instruct-AWQ": Shape(
        "Qwen/Qwen2.5-1.5B-Instruct-AWQ", 1_777_088_000, tokenizer.QWEN, output_head=True
    ),
    "Qwen2-7B-Instruct-GPTQ-Int4": Shape(
        "Qwen/Qwen2-7B-Instruct-GPTQ-Int4", 7_615_616_512, tokenizer.QWEN, output_head=True
    ),
    "Llama-3.2-1B-Instruct": Shape("meta-llama/Llama-3.2-1B-Instruct", 1_235_814_400, tokenizer.LLAMA_3),
    "Meta-Llama-3.1-8B-Instruct-quantized.w4a16": Shape(
        "RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16", 8_030_261_248, tokenizer.LLAMA_3, output_head=True
    ),
    "Meta-Llama-3.1-8B-Instruct-quantized.w8a8": Shape(
        "RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w8a8", 8_030_261_248, tokenizer.LLAMA_3, output_head=True
    ),
    "Meta-Llama-3.1-8B-Instruct-FP8-dynamic": Shape(
        "RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8-dynamic", 8_030_261_248, tokenizer.LLAMA_3, output_head=True
    ),
    "Qwen3-8B-NVFP4": Shape("RedHatAI/Qwen3-8B-NVFP4", 8_190_735_360, tokenizer.QWEN, output_head=True),
    "ERNIE-4.5-0.3B-PT": Shape("baidu/ERNIE-4.5-0.3B-PT", 360_748_032, tokenizer.ERNIE),
    "SmolLM2-1.7B-Instruct": Shape("HuggingFaceTB/SmolLM2-1.7B-Instruct", 1_711_376_384, tokenizer.SMOLLM2),
    "gemma-3-1b-it": Shape("google/gemma-3-1b-it", 999_885_952, tokenizer.GEMMA_3),
    "gemma-3-4b-it": Shape("google/gemma-3-4b-it", 4_300_079_472, tokenizer.GEMMA_3),
    "Qwen3.5-2B": Shape("Qwen/Qwen3.5-2B", 2_274_069_824, tokenizer.QWEN3_5),
    "DeepSeek-V2-Lite": Shape("deepseek-ai/DeepSeek-V2-Lite", 15_706_484_224, tokenizer.DEEPSEEK_V2, output_head=True),
    "Qwen3-30B-A3B": Shape("Qwen/Qwen3-30B-A3B", 30_532_122_624, tokenizer.QWEN, output_head=True),
    "OLMoE-1B-7B-0125-Instruct": Shape(
        "allenai/OLMoE-1B-7B-0125-Instruct", 6_919_161_856, tokenizer.OLMOE, output_head=True
    ),
    "Qwen2.5-VL-3B-Instruct": Shape("Qwen/Qwen2.5-VL-3B-Instruct", 3_754_622_976, tokenizer.QWEN),
    "Qwen3-VL-2B-Instruct": Shape("Qwen/Qwen3-VL-2B-Instruct", 2_127_532_032, tokenizer.QWEN),
    "Qwen3-VL-2B-Instruct-FP8": Shape("Qwen/Qwen3-VL-2B-Instruct-FP8", 2_127_532_032, tokenizer.QWEN),
    "SmolVLM-500M-Instruct": Shape(
        "HuggingFaceTB/SmolVLM-500M-Instruct", 507_482_304, tokenizer.SMOLVLM, output_head=True
    ),
    "llava-1.5-7b-hf": Shape("llava-hf/llava-1.5-7b-hf", 7_063_427_072, tokenizer.LLAVA, output_head=True),
}


@dataclass(frozen=True)
class _Size:
    """A size of a family of which another is published above."""

    parameters: int
    output_head: bool
    like: str
    sizes: dict[str, Any]


def _decoder(hidden: int, intermediate: int, layers: int, heads: int, kv_heads: int, **more: Any) -> dict[str, Any]:
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    return dict(zip(names, (hidden, intermediate, layers, heads, kv_heads), strict=True)) | more


_SIZES = {
    "Qwen3-1.7B": _Size(2_031_739_904, True, "Qwen3-0.6B", _decoder(2048, 6144, 28, 16, 8)),
    "Qwen3-4B": _Size(4_022_468_096, False, "Qwen3-0.6B", _decoder(2560, 9728, 36, 32, 8)),
    "Qwen3-8B": _Size(8_190_735_360, True, "Qwen3-0.6B", _decoder(4096, 12_288, 36, 32, 8, tie_word_embeddings=False)),
    "Qwen3-14B": _Size(
        14_768_307_200, True, "Qwen3-0.6B", _decoder(5120, 17_408, 40, 40, 8, tie_word_embeddings=False)
    ),
    "Qwen2.5-1.5B-Instruct": _Size(1_777_088_000, True, "Qwen2.5-1.5B-Instruct-AWQ", {}),
    "Qwen2.5-3B-Instruct": _Size(3_085_938_688, False, "Qwen2.5-1.5B-Instruct-AWQ", _decoder(2048, 11_008, 36, 16, 2)),
    "Qwen2.5-7B-Instruct": _Size(7_615_616_512, True, "Qwen2-7B-Instruct-GPTQ-Int4", {}),
    "Llama-3.2-1B-Instruct": _Size(1_235_814_400, False, "Llama-3.2-1B-Instruct", {}),
    "Llama-3.2-3B-Instruct": _Size(
        3_212_749_824, False, "Llama-3.2-1B-Instruct", _decoder(3072, 8192, 28, 24, 8, head_dim=128)
    ),
}
_FORMATS = {
    "AWQ": "Qwen2.5-1.5B-Instruct-AWQ",
    "GPTQ-Int4": "Qwen2-7B-Instruct-GPTQ-Int4",
    "quantized.w4a16": "Meta-Llama-3.1-8B-Instruct-quantized.w4a16",
    "quantized.w8a8": "Meta-Llama-3.1-8B-Instruct-quantized.w8a8",
    "FP8-dynamic": "Meta-Llama-3.1-8B-Instruct-FP8-dynamic",
    "FP8": "Qwen3-VL-2B-Instruct-FP8",
    "NVFP4": "Qwen3-8B-NVFP4",
}
_QUANTIZED = (
    ("Qwen", "Qwen3-4B", "AWQ"), ("Qwen", "Qwen3-8B", "AWQ"), ("Qwen", "Qwen3-14B", "AWQ"),
    ("Qwen", "Qwen2.5-7B-Instruct", "AWQ"), ("Qwen", "Qwen2.5-3B-Instruct", "AWQ"),
    ("Qwen", "Qwen2.5-1.5B-Instruct", "GPTQ-Int4"), ("Qwen", "Qwen2.5-3B-Instruct", "GPTQ-Int4"),
    ("RedHatAI", "Llama-3.2-1B-Instruct", "quantized.w4a16"), ("RedHatAI", "Llama-3.2-3B-Instruct", "quantized.w4a16"),
    ("RedHatAI", "Qwen3-4B", "quantized.w4a16"), ("RedHatAI", "Qwen3-8B", "quantized.w4a16"),
    ("RedHatAI", "Llama-3.2-1B-Instruct", "quantized.w8a8"), ("RedHatAI", "Llama-3.2-3B-Instruct", "quantized.w8a8"),
    ("RedHatAI", "Llama-3.2-1B-Instruct", "FP8-dynamic"), ("RedHatAI", "Llama-3.2-3B-Instruct", "FP8-dynamic"),
    ("Qwen", "Qwen3-1.7B", "FP8"), ("Qwen", "Qwen3-4B", "FP8"), ("Qwen", "Qwen3-8B", "FP8"),
    ("RedHatAI", "Qwen3-1.7B", "NVFP4"), ("RedHatAI", "Qwen3-4B", "NVFP4"), ("RedHatAI", "Qwen3-14B", "NVFP4"),
)  # fmt: skip
"""Publisher, size and format of further published checkpoints."""
for _publisher, _name, _format in _QUANTIZED:
    _size = _SIZES[_name]
    _whole = f"{_name}-{_format}"
    SHAPES[_whole] = Shape(
        f"{_publisher}/{_whole}",
        _size.parameters,
        SHAPES[_size.like].tokens,
        _size.output_head,
        _size.like,
        _size.sizes,
        _FORMATS[_format],
    )


def make_shape(name: str, directory: Path) -> Path:
    """Writes the model `name` of SHAPES into `directory`, which is made, and returns it."""
    directory.mkdir(parents=True, exist_ok=True)
    for file in (FILES / (SHAPES[name].like or name)).iterdir():
        shutil.copyfile(file, directory / file.name)
    config = read_config(name)
    (directory / "config.json").write_text(json.dumps(config, indent=2))
    text = config.get("text_config", config)
    processor = directory / "preprocessor_config.json"
    processor_class = json.loads(processor.read_bytes())["processor_class"] if processor.exists() else None
    write_tokenizer(SHAPES[name].tokens, processor_class, text.get("max_position_embeddings", 131_072), directory)
    _write_hole(directory / "model.safetensors", header(name))
    return directory


def read_config(name: str) -> dict[str, Any]:
    """The published config.json of a shape."""
    shape = SHAPES[name]
    config: dict[str, Any] = json.loads((FILES / (shape.like or name) / "config.json").read_bytes())
    config |= shape.sizes
    if shape.quantized_like:
        other = read_config(shape.quantized_like)
        config["quantization_config"] = other["quantization_config"]
        config["torch_dtype"] = other.get("torch_dtype", config["torch_dtype"])
    return config


def plain_parts(name: str) -> Iterator[Part]:
    """The tensors of a shape before quantization."""
    config = read_config(name)
    yield from language_parts(config, SHAPES[name].output_head)
    yield from vision_parts(config)


def header(name: str) -> dict[str, Any]:
    """The header of a shape's safetensors file: dtype, shape and data_offsets of each tensor."""
    config = read_config(name)
    text = config.get("text_config", config)
    dtype = DTYPES[config.get("torch_dtype") or text.get("dtype")]
    entries, end = {}, 0
    for part in stored_parts(plain_parts(name), config.get("quantization_config")):
        begin, of_type = end, part.dtype or dtype
        end += math.prod(part.shape) * DTYPE_BYTES[of_type]
        entries[part.name] = {"dtype": of_type, "shape": part.shape, "data_offsets": [begin, end]}
    return entries


def _write_hole(path: Path, entries: dict[str, Any]) -> None:
    """A safetensors file of full length whose tensors are zeros that take no space on disk."""
    text = json.dumps({"__metadata__": {"format": "pt"}, **entries}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + max(entry["data_offsets"][1] for entry in entries.values()))
