"""Finds the language part of a config.json, wherever it stands and whatever its sizes are called. Pure.

Missing values are those of the type's configuration class, as vLLM takes them. A required size that no class has is
read from the tensors, and assumed if they do not show it: each assumption is named.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vedette.errors import ModelCorruptError
from vedette.language.message import Message
from vedette.models.config_reader import MAX_SIZE, ConfigReader
from vedette.models.families.registry import text_model_type
from vedette.models.forms.type_defaults import TypeDefaults, defaults_of, part_type

SECTIONS = (
    *("thinker_config", "text_config", "llm_config", "language_config", "language_model_config", "lm_config"),
    *("text_model_config", "llm_model_config", "decoder_config", "decoder"),
)
"""Names under which the language part stands, in the order in which they are tried."""
MAX_DEPTH = 4
NAMES: Mapping[str, tuple[str, ...]] = {
    "hidden_size": ("n_embd", "d_model", "dim", "model_dim", "n_embed", "hidden_dim"),
    "num_hidden_layers": ("num_layers", "n_layer", "n_layers", "num_transformer_layers"),
    "num_attention_heads": ("n_head", "n_heads", "num_heads", "num_query_heads", "attention_heads"),
    "num_key_value_heads": (
        *("n_head_kv", "num_kv_heads", "n_kv_heads", "multi_query_group_num", "num_attention_groups"),
        *("num_query_groups", "kv_n_heads"),
    ),
    "head_dim": ("attention_head_dim", "kv_channels", "head_size", "hidden_size_per_head", "d_head"),
    "intermediate_size": (
        *("ffn_hidden_size", "n_inner", "ffn_dim", "d_ff", "inner_hidden_size", "block_ff_dim", "hidden_dim"),
        "feed_forward_dim",
    ),
    "vocab_size": ("padded_vocab_size", "n_vocab", "vocabulary_size", "text_vocab_size"),
    "max_position_embeddings": (
        *("n_positions", "max_seq_len", "seq_length", "model_max_length", "max_sequence_length", "max_seq_length"),
        *("seq_len", "n_ctx", "max_target_positions", "max_context_length"),
    ),
}
"""Other names of the sizes, for types that have no class of transformers' or vLLM's own."""
SIZES = (
    *NAMES,
    *("kv_lora_rank", "q_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"),
    *("moe_intermediate_size", "num_experts", "n_routed_experts", "moe_num_experts", "num_local_experts"),
)
"""Sizes that some files give as one number for each layer, or as 0 where there is none."""
NESTED = ("attn_config", "ffn_config", "attention_config", "transf_decoder", "config_dict")
"""Sections that hold some of a language part's sizes (DBRX, MPT)."""
REQUIRED = ("num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size", "max_position_embeddings")
ASSUMED_HEAD_SIZE = 64
ASSUMED_POSITIONS = 2048
"""vLLM's own assumption (`_get_and_verify_max_len`)."""


@dataclass(frozen=True)
class LanguagePart:
    """The values of the language part under their usual names, with defaults."""

    values: ConfigReader
    model_type: str
    path: tuple[str, ...]
    """The sections that lead to it; () if it stands at the top."""
    defaults: TypeDefaults
    by_layer: Mapping[str, tuple[int, ...]]
    """Sizes that the file gives for each layer; `values` has the largest."""
    assumed: tuple[Message, ...]
    own_names: frozenset[str]

    def own(self, name: str) -> bool:
        """Whether the file itself has this value."""
        return name in self.own_names


def find_language_part(whole: ConfigReader, seen: Mapping[str, int] | None = None) -> LanguagePart:
    """The language part of a whole config.json.

    seen: sizes that the tensors show (`forms/tensor_sizes.py`). Raises ModelCorruptError for impossible values.
    """
    part, path, model_type = whole, tuple[str, ...](), whole.text("model_type") or "unknown"
    while len(path) < MAX_DEPTH and (found := _nested(part)) is not None:
        name, part = found
        path, model_type = (*path, name), part_type(part, name, model_type)
    if not path:  # older files have the language part's values at the top
        model_type = defaults_of(model_type).sections.get("text_config", model_type)
    model_type = text_model_type(model_type)
    known = defaults_of(model_type)
    values = {**known.values, **part.values}
    values |= _renamed(values, part.values, known)
    values, by_layer = _single_sizes(values, part)
    values |= {name: value for name, value in _block_sizes(part, values).items() if values.get(name) is None}
    assumed, own = [], frozenset(part.values)
    for name, value, why in _missing(values, known, seen or {}):
        values[name] = value
        if why is not None:
            assumed.append(Message("models.assumed_size", name=name, value=value, why=why))
    return LanguagePart(ConfigReader(values, part.where), model_type, path, known, by_layer, tuple(assumed), own)


def _nested(part: ConfigReader) -> tuple[str, ConfigReader] | None:
    for name in SECTIONS:
        if isinstance(part.values.get(name), dict) or (name == "text_config" and part.values.get(name) is not None):
            section = part.section(name)
            if section is not None:
                return name, section
    return None


def _renamed(values: Mapping[str, Any], own: Mapping[str, Any], known: TypeDefaults) -> dict[str, Any]:
    """Values under their usual names that the file, or the type's class, has under others. The file comes first."""
    found: dict[str, Any] = {}
    sources = [own, *(own[name] for name in NESTED if isinstance(own.get(name), dict)), values]
    for name, others in NAMES.items():
        if own.get(name) is not None:
            continue
        names = (known.names[name],) if name in known.names else (name, *others)
        if name == "hidden_size" and own.get("intermediate_size") is None and "intermediate_size" not in known.values:
            names = tuple(other for other in names if other != "hidden_dim")
        for source in sources:
            value = next((source[other] for other in names if _is_size(source.get(other))), None)
            if value is not None:
                found[name] = value
                break
    if values.get("multi_query") is True and not values.get("new_decoder_architecture"):
        found["num_key_value_heads"] = 1  # Falcon and StarCoder
    return found


def _is_size(value: object) -> bool:
    return isinstance(value, list) or (isinstance(value, int) and not isinstance(value, bool) and value != 0)


def _single_sizes(values: dict[str, Any], part: ConfigReader) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
    """The values with one number for each size; 0 counts as absent. And the numbers of each layer where they differ."""
    single, by_layer = dict(values), dict[str, tuple[int, ...]]()
    for name in SIZES:
        value = values.get(name)
        if isinstance(value, list):
            numbers = [0 if each is None else each for each in value]
            if not numbers or not all(type(each) is int and 0 <= each < MAX_SIZE for each in numbers):
                raise ModelCorruptError("models.not_sizes", name=name, where=part.where)
            by_layer[name] = tuple(numbers)
            value = max(numbers)
        single[name] = None if value == 0 and not isinstance(value, bool) else value
    return single, by_layer


def _block_sizes(part: ConfigReader, values: Mapping[str, Any]) -> dict[str, int]:
    """Sizes of files that describe every layer by itself (`block_configs`, Nemotron)."""
    blocks = part.values.get("block_configs")
    if not isinstance(blocks, list):
        return {}
    heads, hidden = values.get("num_attention_heads"), values.get("hidden_size")
    found: dict[str, int] = {}
    for block in blocks:
        attention = block.get("attention") if isinstance(block, dict) else None
        feed_forward = block.get("ffn") if isinstance(block, dict) else None
        group = attention.get("n_heads_in_group") if isinstance(attention, dict) else None
        if type(group) is int and group > 0 and type(heads) is int:
            found["num_key_value_heads"] = max(found.get("num_key_value_heads", 1), heads // group)
        if isinstance(feed_forward, dict):
            wide, times = feed_forward.get("intermediate_size"), feed_forward.get("ffn_mult")
            if type(wide) is not int and isinstance(times, (int, float)) and 0 < times < 1024 and type(hidden) is int:
                wide = -(-int(2 * times * hidden / 3) // 256) * 256
            if type(wide) is int:
                found["intermediate_size"] = max(found.get("intermediate_size", 1), wide)
    return found


def _missing(
    values: Mapping[str, Any], known: TypeDefaults, seen: Mapping[str, int]
) -> Iterator[tuple[str, int, Message | None]]:
    """Each required size that is still missing, a value for it, and why it is that (None: the class says so)."""
    for name in REQUIRED:
        if values.get(name) is not None:
            continue
        if known.values.get(name) is not None:
            yield name, known.values[name], None
        elif name in seen:
            yield name, seen[name], Message("models.size_of_tensors")
        elif name == "num_attention_heads" and (hidden := _whole(values.get("hidden_size"), seen.get("hidden_size"))):
            size = _whole(values.get("head_dim")) or ASSUMED_HEAD_SIZE
            yield name, max(1, hidden // size), Message("models.size_of_heads", head_size=size)
        elif name == "max_position_embeddings":
            yield name, ASSUMED_POSITIONS, Message("models.size_of_vllm")


def _whole(*values: object) -> int | None:
    """The first of these that is a positive whole number."""
    return next((value for value in values if type(value) is int and value > 0), None)
