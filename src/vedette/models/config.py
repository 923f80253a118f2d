"""The shape of a model from its config.json and processor files. Pure; all of it is hostile input."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vedette.errors import ModelCorruptError
from vedette.models.facts import Vision

MOST = 1 << 32
"""No size in a model's configuration is as large as this."""
DTYPES = {"bfloat16", "float16", "float32"}
PIXEL_BUDGET_VISION = {"qwen2_vl": 14, "qwen2_5_vl": 14, "qwen3_vl": 16, "qwen3_vl_moe": 16}
"""Model types whose pictures become tokens as visual.py counts them, with their default patch size."""
HINT = "Its config.json is no configuration of a language model that vLLM serves; fetch it again or name another."


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


class ConfigReader:
    """Takes values out of a JSON object and says clearly what is missing or of the wrong kind."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values = values
        self.where = where

    def section(self, name: str) -> "ConfigReader | None":
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise ModelCorruptError(f"{name} in {self.where} is no object.", HINT)
        return ConfigReader(value, f"{name} of {self.where}")

    def size(self, name: str, default: int | None = None) -> int:
        """A positive whole number; `default` where the file leaves it out."""
        value = self.values.get(name)
        if value is None and default is not None:
            return default
        if value is None:
            raise ModelCorruptError(f"{self.where} lacks {name}.", HINT)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < MOST:
            raise ModelCorruptError(f"{name} in {self.where} is {_shown(value)}, not a positive whole number.", HINT)
        return value

    def text(self, name: str) -> str | None:
        value = self.values.get(name)
        if value is not None and not isinstance(value, str):
            raise ModelCorruptError(f"{name} in {self.where} is {_shown(value)}, not a text.", HINT)
        return value


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


def parse_vision(
    config: Mapping[str, Any], image: Mapping[str, Any], video: Mapping[str, Any] | None, where: str
) -> Vision | None:
    """How pictures become tokens; None for a text model and for architectures that count otherwise.

    image, video: the image and video processors' own settings (`video` is None if the model takes no clips).
    Defaults are those of transformers 5.19, `Qwen2VLImageProcessor` and `Qwen3VLVideoProcessor`.
    """
    whole = ConfigReader(config, where)
    section = whole.section("vision_config")
    model_type = whole.text("model_type")
    if section is None or model_type not in PIXEL_BUDGET_VISION:
        return None
    pictures = ConfigReader(image, "the image processor's settings")
    patch_size = section.size("patch_size", default=PIXEL_BUDGET_VISION[model_type])
    hidden_size = section.size("embed_dim" if model_type == "qwen2_vl" else "hidden_size")
    return Vision(
        patch_size=patch_size,
        merge_size=section.size("spatial_merge_size", default=2),
        temporal_patch_size=section.size("temporal_patch_size", default=2),
        min_pixels=_pixels(pictures, "min_pixels", "shortest_edge", 56 * 56),
        max_pixels=_pixels(pictures, "max_pixels", "longest_edge", 28 * 28 * 1280),
        hidden_size=hidden_size,
        depth=section.size("depth"),
        intermediate_size=section.size("intermediate_size", default=4 * hidden_size),
        video_max_pixels=None
        if video is None
        else _pixels(
            ConfigReader(video, "the video processor's settings"), "max_pixels", "longest_edge", 32 * 32 * 768
        ),
    )


def _pixels(processor: ConfigReader, name: str, edge: str, default: int) -> int:
    """A pixel limit, which older files keep by its name and newer ones, misleadingly, as an edge of `size`."""
    if processor.values.get(name) is not None:
        return processor.size(name)
    size = processor.section("size")
    return default if size is None else size.size(edge, default=default)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
