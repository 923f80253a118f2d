"""Parses the language part of a config.json, which is hostile input. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vedette.errors import ModelCorruptError
from vedette.language.message import Message
from vedette.models.config_reader import ConfigReader
from vedette.models.forms.language_part import LanguagePart, find_language_part
from vedette.models.forms.type_defaults import defaults_of, is_known
from vedette.models.forms.vision_part import find_vision_part, has_audio_part
from vedette.models.layers import own_key_layers, parse_cache_layers
from vedette.models.model import DTYPE_BYTES, CacheLayers, Rotary
from vedette.models.quantization import parse_cache_order, parse_dropped_tensors, parse_quantization
from vedette.models.roles import Seen, what_is_seen
from vedette.models.rotary import parse_rotary

EXPERT_COUNTS = ("num_experts", "n_routed_experts", "moe_num_experts", "num_local_experts")
EXPERTS_PER_TOKEN = ("num_experts_per_tok", "num_experts_per_token", "top_k_experts", "moe_k", "moe_topk", "moe_top_k")
NO_FLOAT16 = {"gemma2", "gemma3", "gemma3_text", "glm4"}
"""Types that overflow in float16: vLLM takes bfloat16 (`_FLOAT16_NOT_SUPPORTED_MODELS`, vllm/config/model.py)."""
_NOTHING_SEEN = what_is_seen({})


@dataclass(frozen=True)
class Shape:
    """The sizes of the language part, and how it works."""

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
    cache_order: str | None
    tied_embeddings: bool
    has_vision: bool
    has_audio: bool
    cache_layers: tuple[CacheLayers, ...]
    own_key_layers: int
    """The first layers, which have keys and values of their own; later ones use theirs (Gemma 3n and 4)."""
    keys_are_values: bool
    """Layers without values in the file use their keys as values, of which vLLM keeps two copies (Gemma 4)."""
    rotary: tuple[Rotary, ...]
    experts: int
    """Routed experts in one layer; 0 for a dense model."""
    experts_per_token: int
    expert_intermediate_size: int
    dropped_tensors: frozenset[str]
    """Last parts of the names of tensors that are not kept after loading, by the checkpoint's format."""
    vision_layers: int | None
    """Layers of the vision tower that vLLM builds; None if it builds all."""
    deepstack_levels: int
    text_section: str | None
    assumed_parts: tuple[Message, ...]


def parse_config(config: Mapping[str, Any], where: str, seen: Seen = _NOTHING_SEEN) -> Shape:
    """The language part of a config.json; a vision-language model has it in `text_config`.

    where: the file's name for error messages. seen: what the tensors show, for what the file does not say.
    Raises ModelCorruptError for impossible values.
    """
    whole = ConfigReader(config, where)
    architectures = config.get("architectures")
    if not isinstance(architectures, list) or not architectures or not isinstance(architectures[0], str):
        raise ModelCorruptError("models.no_architecture", where=where)
    part = find_language_part(whole, seen.sizes)
    text, model_type = part.values, part.model_type
    heads = text.size("num_attention_heads")
    hidden_size = text.size("hidden_size")
    kv_heads = text.size("num_key_value_heads", default=heads)
    head_size = text.size("head_dim", default=max(1, hidden_size // heads))
    intermediate_size = text.size("intermediate_size", default=4 * hidden_size)
    dtype = _dtype(whole, part, seen)
    cache_layers, assumed = parse_cache_layers(part, kv_heads, head_size, dtype)
    vision = find_vision_part(whole)
    experts = _first(text, EXPERT_COUNTS)
    return Shape(
        architecture=architectures[0],
        layers=text.size("num_hidden_layers"),
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        attention_heads=heads,
        kv_heads=kv_heads,
        head_size=head_size,
        vocabulary_size=text.size("vocab_size"),
        max_position_embeddings=text.size("max_position_embeddings"),
        dtype=dtype,
        quantization=parse_quantization(whole),
        cache_order=parse_cache_order(whole),
        tied_embeddings=_tied(whole, part, seen),
        has_vision=vision is not None or seen.has_vision,
        has_audio=has_audio_part(whole) or seen.has_audio,
        cache_layers=cache_layers,
        own_key_layers=own_key_layers(text),
        keys_are_values=text.values.get("attention_k_eq_v") is True,
        rotary=parse_rotary(text, model_type, head_size, DTYPE_BYTES[dtype]),
        experts=experts,
        experts_per_token=min(experts, _first(text, EXPERTS_PER_TOKEN) or 1),
        expert_intermediate_size=text.size("moe_intermediate_size", default=intermediate_size) if experts else 0,
        dropped_tensors=parse_dropped_tensors(whole),
        vision_layers=_vision_layers(whole, vision),
        deepstack_levels=_deepstack_levels(vision),
        text_section=_text_section(whole, part),
        assumed_parts=(*part.assumed, *assumed),
    )


def _text_section(whole: ConfigReader, part: LanguagePart) -> str | None:
    """The section in which vLLM has the language part's values: older files have them at the top."""
    if part.path:
        return part.path[-1]
    own = defaults_of(whole.text("model_type") or "")
    return "text_config" if "text_config" in own.sections else None


def _vision_layers(whole: ConfigReader, vision: ConfigReader | None) -> int | None:
    """Layers of the vision tower that a model of the LLaVA kind uses; None for all layers and for other kinds."""
    own = defaults_of(whole.text("model_type") or "").values
    feature_layer = whole.values.get("vision_feature_layer", own.get("vision_feature_layer"))
    if vision is None or feature_layer is None or vision.values.get("num_hidden_layers") is None:
        return None
    layers = vision.size("num_hidden_layers")
    wanted = feature_layer if isinstance(feature_layer, list) else [feature_layer]
    if not wanted or not all(isinstance(layer, int) and -layers - 1 <= layer <= layers for layer in wanted):
        raise ModelCorruptError("models.no_such_vision_layer", where=whole.where)
    # Layer -1 is the output of the last one, layer 0 the input of the first.
    return max(int(layer) if layer >= 0 else layers + int(layer) + 1 for layer in wanted)


def _deepstack_levels(vision: ConfigReader | None) -> int:
    """Number of vision layers whose outputs are added in the language model's first layers (Qwen3-VL)."""
    indexes = vision.values.get("deepstack_visual_indexes") if vision is not None else None
    return len(indexes) if isinstance(indexes, list) else 0


def _first(text: ConfigReader, names: tuple[str, ...]) -> int:
    """The first of these sizes that the file has; 0 if it has none or the value is 0."""
    for name in names:
        if text.values.get(name):
            return text.size(name)
    return 0


def _tied(whole: ConfigReader, part: LanguagePart, seen: Seen) -> bool:
    """Whether the output head is the input embeddings; the whole model's value comes before its language part's."""
    name, outer_type = "tie_word_embeddings", whole.text("model_type") or ""
    said = (whole.values, part.values.values if part.own(name) else {}, defaults_of(outer_type).values)
    for values in (*said, part.defaults.values):
        if values.get(name) is not None:
            return values[name] is True
    return not seen.has_head and bool(seen.sizes) and not is_known(part.model_type)


def _dtype(whole: ConfigReader, part: LanguagePart, seen: Seen) -> str:
    """The activation type, as vLLM chooses it: never float32, and bfloat16 for unknown types.

    Source: `_resolve_auto_dtype` of vllm/config/model.py and `get_torch_dtype` of model_arch_config_convertor.py.
    """
    said = (reader.text(name) for reader in (whole, part.values) for name in ("dtype", "torch_dtype"))
    named = next((value for value in said if value is not None), None)
    if named is None:
        named = "float16" if seen.float_types == {"F16"} else "bfloat16"
    overflows = {whole.text("model_type"), part.model_type} & NO_FLOAT16
    return "float16" if named.removeprefix("torch.") in {"float16", "half"} and not overflows else "bfloat16"
