"""Computes the tables of cosines and sines that vLLM keeps for all positions of a model. Pure.

They do not depend on the served context and count as weights ("Model loading took"). They can be large: 576 MiB for
Gemma 3 4B, 256 MiB for Qwen3-VL.
Source: `get_rope` and its classes in vllm/model_executor/layers/rotary_embedding, of 0.26.0 and 0.32.0,
and each model's call of it.
"""

import math

from vedette.models.config_reader import ConfigReader
from vedette.models.model import Rotary

MULTIMODAL_FACTOR = 4
"""mrope.py makes the table four times as long as the model's positions, for long videos."""
EXACT_POSITIONS = {"qwen3_vl_text", "qwen3_vl_moe_text", "qwen3_5_text", "qwen3_5_moe_text"}
"""Types whose positions never exceed their tokens: vLLM 0.32 makes no longer table (`positions_factor=1`)."""
FIXED_LENGTH = {"yarn", "deepseek_yarn", "deepseek_llama_scaling"}
"""Kinds whose table has the original positions times the factor, independent of `max_position_embeddings`."""
ANGLES_BY_LENGTH = {"dynamic", "longrope", "su"}
"""Kinds whose angles depend on the number of positions, which must not be changed."""


WITHOUT_TABLES = {
    *("nemotron_h", "jamba", "mamba", "mamba2", "falcon_mamba", "gpt2", "opt", "mpt", "bloom", "gpt_bigcode"),
    *("gpt_neo", "kimi_linear"),
}
"""Types without rotary embeddings: states, or learned or linear positions."""
WIDE_GLOBAL = 512
"""Head size of Gemma 4's full-attention layers where the file names none (`configuration_gemma4.py`)."""
LOCAL_TABLES = {"gemma3_text", "gemma3n_text", "gemma4_text"}
"""Types whose sliding layers have a table of their own, with another base."""


def parse_rotary(text: ConfigReader, model_type: str, head_size: int, dtype_bytes: int) -> tuple[Rotary, ...]:
    """Every rotary table of one model. text: the language part's values, with defaults; head_size: of its queries."""
    scaling = _scaling(text)
    if _has_no_table(text, model_type):
        return ()
    if model_type == "gpt_oss":
        dtype_bytes = 4  # the model asks for float32 (gpt_oss.py)
    full = text.section("rope_parameters")
    if full is not None and full.section("full_attention") is not None:
        scaling = full.section("full_attention") or scaling
    if model_type == "gemma4_text":  # its wide heads turn as a whole, a part of them by nothing (`proportional`)
        wide = text.size("global_head_dim", default=WIDE_GLOBAL)
        tables = _tables(text, model_type, ConfigReader({}, text.where), wide, dtype_bytes)
    else:
        tables = _tables(text, model_type, scaling, _rotated(text, scaling, head_size), dtype_bytes)
    local = _tables(text, model_type, ConfigReader({}, text.where), _rotated(text, None, head_size), dtype_bytes)
    # Gemma 3 has another base for its sliding layers; OLMo 3 scales only its full-attention layers.
    if model_type in LOCAL_TABLES or (model_type == "olmo3" and _kind(scaling) != "default"):
        return tables + local
    return tables


def _has_no_table(text: ConfigReader, model_type: str) -> bool:
    if model_type in WITHOUT_TABLES or text.values.get("position_embedding_type") in {"nope", "alibi", "absolute"}:
        return True
    return model_type == "zamba2" and text.values.get("use_mem_rope") is not True


def _scaling(text: ConfigReader) -> ConfigReader:
    return text.section("rope_parameters") or text.section("rope_scaling") or ConfigReader({}, text.where)


def _kind(scaling: ConfigReader) -> str:
    name = scaling.text("rope_type") or scaling.text("type") or "default"
    return "default" if name == "mrope" else name


def _rotated(text: ConfigReader, scaling: ConfigReader | None, head_size: int) -> int:
    """Rotated elements of a head; the table has as many cosines and sines for each position."""
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
    spare = times if model_type in EXACT_POSITIONS else 1
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
    return (Rotary(known * times, rotated, dtype_bytes, kind not in ANGLES_BY_LENGTH, spare),)
