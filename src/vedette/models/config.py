"""The shape of a model from its config.json and processor files. Pure; all of it is hostile input."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vedette.errors import ModelCorruptError
from vedette.models.reader import HINT, ConfigReader

DTYPES = {"bfloat16", "float16", "float32"}


@dataclass(frozen=True)
class Shape:
    """The language model's sizes."""

    architecture: str
    layers: int
    hidden_size: int
    intermediate_size: int
    attention_heads: int
    kv_heads: int
    head_size: int
    vocabulary_size: int
    max_position_embeddings: int
    dtype: str
    quantization: str | None
    tied_embeddings: bool
    multimodal_rotary: bool
    has_vision: bool


def parse_config(config: Mapping[str, Any], where: str) -> Shape:
    """The sizes in a config.json; a vision-language model keeps those of its language part in `text_config`.

    where: the file's name for messages. Raises ModelCorruptError for missing or impossible values.
    """
    whole = ConfigReader(config, where)
    architectures = config.get("architectures")
    if not isinstance(architectures, list) or not architectures or not isinstance(architectures[0], str):
        raise ModelCorruptError(f"{where} names no architecture.", HINT)
    text = whole.section("text_config") or whole
    heads = text.size("num_attention_heads")
    hidden_size = text.size("hidden_size")
    rope = text.section("rope_parameters") or text.section("rope_scaling")
    tied = config.get("tie_word_embeddings", text.values.get("tie_word_embeddings", False))
    return Shape(
        architecture=architectures[0],
        layers=text.size("num_hidden_layers"),
        hidden_size=hidden_size,
        intermediate_size=text.size("intermediate_size", default=4 * hidden_size),
        attention_heads=heads,
        kv_heads=text.size("num_key_value_heads", default=heads),
        head_size=text.size("head_dim", default=max(1, hidden_size // heads)),
        vocabulary_size=text.size("vocab_size"),
        max_position_embeddings=text.size("max_position_embeddings"),
        dtype=_dtype(whole, text),
        quantization=_quantization(whole),
        tied_embeddings=tied is True,
        multimodal_rotary=rope is not None and "mrope_section" in rope.values,
        has_vision=whole.section("vision_config") is not None,
    )


def _dtype(whole: ConfigReader, text: ConfigReader) -> str:
    """The activation type; unknown ones become bfloat16, which every device here computes in."""
    for reader in (whole, text):
        for name in ("dtype", "torch_dtype"):
            value = reader.text(name)
            if value is not None:
                return value if value in DTYPES else "bfloat16"
    return "bfloat16"


def _quantization(whole: ConfigReader) -> str | None:
    section = whole.section("quantization_config") or whole.section("compression_config")
    return None if section is None else section.text("quant_method") or "unknown"
