"""The tables of cosines and sines that vLLM makes for a model's positions, whatever context is served. Pure.

They count as weights ("Model loading took") and can be large: Gemma 3 4B's take 576 MiB, Qwen3-VL's 256 MiB.
Source: `get_rope` and its classes in vllm/model_executor/layers/rotary_embedding, the same in 0.26.0 and 0.32.0
for what is here, and each model's call of it.
"""

import math

from vedette.models.config_reader import ConfigReader
from vedette.models.model import Rotary

MULTIMODAL_FACTOR = 4
"""mrope.py makes its table four times as long as the model's positions, for long videos."""
SPARING = {"qwen3_vl_text", "qwen3_vl_moe_text", "qwen3_5_text", "qwen3_5_moe_text"}
"""Their positions never exceed their tokens; vLLM 0.32 no longer makes the table longer (`positions_factor=1`)."""
FIXED_LENGTH = {"yarn", "deepseek_yarn", "deepseek_llama_scaling"}
"""Their tables are as long as the original positions times the factor, whatever the configuration allows."""
TELLS_BY_LENGTH = {"dynamic", "longrope", "su"}
"""Their angles depend on the number of positions, so that it must not be changed."""


def parse_rotary(text: ConfigReader, model_type: str, head_size: int, dtype_bytes: int) -> tuple[Rotary, ...]:
    """Every table of one model. text: the language part's values, gaps filled; head_size: of its queries."""
    scaling = _scaling(text)
    if model_type == "gpt_oss":
        dtype_bytes = 4  # the model asks for float32 (gpt_oss.py)
    full = text.section("rope_parameters")
    if full is not None and full.section("full_attention") is not None:
        scaling = full.section("full_attention") or scaling
    tables = _tables(text, model_type, scaling, _rotated(text, scaling, head_size), dtype_bytes)
    local = _tables(text, model_type, ConfigReader({}, text.where), _rotated(text, None, head_size), dtype_bytes)
    # Gemma 3 turns its sliding layers at another speed; OLMo 3 scales only its full ones.
    if model_type == "gemma3_text" or (model_type == "olmo3" and _kind(scaling) != "default"):
        return tables + local
    return tables


def _scaling(text: ConfigReader) -> ConfigReader:
    return text.section("rope_parameters") or text.section("rope_scaling") or ConfigReader({}, text.where)


def _kind(scaling: ConfigReader) -> str:
    name = scaling.text("rope_type") or scaling.text("type") or "default"
    return "default" if name == "mrope" else name


def _rotated(text: ConfigReader, scaling: ConfigReader | None, head_size: int) -> int:
    """Elements of a head that are turned; each position keeps as many cosines and sines."""
    if text.values.get("qk_rope_head_dim") is not None:
        return text.size("qk_rope_head_dim")
    for reader in (scaling, text):
        if reader is not None and reader.values.get("partial_rotary_factor") is not None:
            return max(1, int(head_size * reader.number("partial_rotary_factor", most=1)))
    return head_size


def _tables(
    text: ConfigReader, model_type: str, scaling: ConfigReader, rotated: int, dtype_bytes: int
) -> tuple[Rotary, ...]:
    known = text.size("max_position_embeddings")
    kind = _kind(scaling)
    factor = scaling.number("factor", default=1.0)
    times = MULTIMODAL_FACTOR if "mrope_section" in scaling.values else 1
    spare = times if model_type in SPARING else 1
    if kind in FIXED_LENGTH:
        original = scaling.size("original_max_position_embeddings", default=known)
        return (Rotary(math.ceil(original * factor) * times, rotated, dtype_bytes, False, spare),)
    if kind in {"longrope", "su"}:
        original = text.size(
            "original_max_position_embeddings", default=scaling.size("original_max_position_embeddings", default=known)
        )
        return (Rotary(original + known, rotated, dtype_bytes, False),)
    if kind == "linear":
        known = math.ceil(known * factor)
    return (Rotary(known * times, rotated, dtype_bytes, kind not in TELLS_BY_LENGTH, spare),)
