"""Parses what each layer of a language model caches of earlier tokens. Pure.

Source: vLLM 0.26 to 0.32, model_executor/models/*.py of each architecture, `Attention.get_kv_cache_spec`,
`MLAAttention.get_kv_cache_spec`.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vedette.errors import ModelCorruptError
from vedette.language.message import Message
from vedette.models.config_reader import ConfigReader
from vedette.models.forms.language_part import LanguagePart
from vedette.models.forms.type_defaults import is_known
from vedette.models.model import CacheKind, CacheLayers
from vedette.models.rotary import WIDE_GLOBAL
from vedette.models.states import state_bytes

FULL, SLIDING, LATENT, STATE = CacheKind.FULL, CacheKind.SLIDING, CacheKind.LATENT, CacheKind.STATE
KINDS: Mapping[str, tuple[CacheKind, ...]] = {
    "full_attention": (FULL,),
    "attention": (FULL,),
    "global_attention": (FULL,),
    "sliding_attention": (SLIDING,),
    "local_attention": (SLIDING,),
    # With chunks vLLM keeps all tokens: it switches its hybrid cache off (`VllmConfig.__post_init__`).
    "chunked_attention": (FULL,),
    "linear_attention": (STATE,),
    "conv": (STATE,),
    "mamba": (STATE,),
    "mamba2": (STATE,),
    "hybrid": (FULL, STATE),
    "mlp": (),
    "moe": (),
    "unknown": (FULL,),
}
"""What a layer of each kind caches, by the names in `layer_types` and in lists of that sort."""
LISTS = ("layer_types", "layers_block_type", "layer_block_types")
PATTERNS = (
    *("_sliding_window_pattern", "sliding_window_pattern", "full_attention_interval", "global_attn_every_n_layers"),
)
"""One layer of so many has full attention; transformers saves the first name with an underscore."""
LETTERS = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe", "L": "sliding_attention", "G": "full_attention"}
"""Kinds in `hybrid_override_pattern` (Nemotron-H) and in a pattern of windows (EXAONE 4)."""
PURE_STATES = frozenset({"mamba", "mamba2", "falcon_mamba"})
"""Types all of whose layers keep a state."""
PARALLEL = frozenset({"falcon_h1"})
"""Types whose layers have attention and a state side by side."""
INTERLEAVED = frozenset({"gemma2", "gemma3_text", "olmo3", "cohere2", "gpt_oss", "gemma3n_text", "gemma4_text"})
"""Types in which some layers slide where the file has a window, even if it lists no kinds."""
MLA = frozenset(
    {
        *("axk1", "deepseek_v2", "deepseek_v3", "deepseek_v32", "kimi_k2", "kimi_linear", "longcat_flash"),
        *("glm_moe_dsa", "glm4_moe_lite", "pangu_ultra_moe", "hy_v4", "dots3_note"),
    }
)
"""Types with multi-head latent attention, if the file has a `kv_lora_rank` (`is_deepseek_mla`)."""

KNOWN_ELSEWHERE = frozenset({"internlm2", "internlm3", "exaone", "phi3_v", "kimi_k2", "baichuan", "qwen", "minicpm"})
"""Plain types without a class of transformers' or vLLM's own."""
MOST_LAYERS = 10_000
"""Published models have some hundred at most."""
ASSUMED = (Message("models.assumed_cache"), Message("models.assumed_layers"))


def parse_cache_layers(
    part: LanguagePart, kv_heads: int, head_size: int, dtype: str
) -> tuple[tuple[CacheLayers, ...], tuple[Message, ...]]:
    """The layers by kind and size, and one phrase for each fact that had to be assumed.

    Raises ModelCorruptError for impossible values.
    """
    text, model_type = part.values, part.model_type
    layers = text.size("num_hidden_layers")
    if layers > MOST_LAYERS:
        raise ModelCorruptError(
            "models.not_a_size", name="num_hidden_layers", where=text.where, value=str(layers), limit=MOST_LAYERS + 1
        )
    state = state_bytes(text, model_type, dtype)
    kinds, all_known = _kinds_of_layers(part, layers)
    known = all_known and (is_known(model_type) or model_type in KNOWN_ELSEWHERE)
    assumed = [] if known else list(ASSUMED)
    if state is None and any(STATE in each for each in kinds):  # keys and values of every token are more than any state
        kinds, assumed = [(FULL,) if STATE in each else each for each in kinds], list(ASSUMED)
    heads = _kv_heads_by_layer(part, layers, kv_heads)
    window = _window(text)
    found: Counter[CacheLayers] = Counter()
    for index in range(own_key_layers(text)):
        for kind in kinds[index]:
            if kind is STATE:
                found[CacheLayers(STATE, 1, state_bytes=state or 0)] += 1
            elif heads[index]:
                found[_attention(text, model_type, kind, heads[index], head_size, window)] += 1
    order = (FULL, LATENT, SLIDING, STATE)
    cached = sorted(found.items(), key=lambda each: order.index(each[0].kind))
    return tuple(replace(cache, count=count) for cache, count in cached), tuple(assumed)


def _attention(
    text: ConfigReader, model_type: str, kind: CacheKind, kv_heads: int, head_size: int, window: int | None
) -> CacheLayers:
    """One layer of attention."""
    rank = text.values.get("kv_lora_rank")
    if rank is not None and model_type in MLA:
        return CacheLayers(LATENT, 1, latent_size=text.size("kv_lora_rank") + text.size("qk_rope_head_dim", default=64))
    if rank is not None and text.values.get("qk_nope_head_dim") is not None:
        head_size = text.size("qk_nope_head_dim") + text.size("qk_rope_head_dim", default=64)
    if kind is SLIDING and window is not None:
        return CacheLayers(SLIDING, 1, kv_heads, head_size, head_size, window_tokens=window)
    if model_type == "gemma4_text":
        head_size = text.size("global_head_dim", default=WIDE_GLOBAL)
        if text.values.get("attention_k_eq_v") is True:
            kv_heads = text.size("num_global_key_value_heads", default=kv_heads)
    return CacheLayers(FULL, 1, kv_heads, head_size, head_size)


def own_key_layers(text: ConfigReader) -> int:
    """Layers that cache at all: the last ones of Gemma 3n and Gemma 4 use the keys and values of earlier ones."""
    layers, shared = text.size("num_hidden_layers"), text.values.get("num_kv_shared_layers")
    return max(0, layers - text.size("num_kv_shared_layers")) if shared else layers


def _kv_heads_by_layer(part: LanguagePart, layers: int, kv_heads: int) -> tuple[int, ...]:
    """Heads of keys and values of every layer; 0 where a layer has no attention."""
    listed = part.by_layer.get("num_key_value_heads")
    if listed is not None:
        if len(listed) != layers:
            raise ModelCorruptError("models.wrong_layer_count", where=part.values.where, layers=layers)
        return listed
    blocks = part.values.values.get("block_configs")
    if not isinstance(blocks, list) or len(blocks) != layers:
        return (kv_heads,) * layers
    heads = part.values.size("num_attention_heads")
    return tuple(_block_heads(block, heads, kv_heads) for block in blocks)


def _block_heads(block: object, heads: int, kv_heads: int) -> int:
    """Heads of one entry of `block_configs` (Nemotron)."""
    attention = block.get("attention") if isinstance(block, dict) else None
    if not isinstance(attention, dict):
        return kv_heads
    if attention.get("no_op") or attention.get("replace_with_linear"):
        return 0
    group = attention.get("n_heads_in_group")
    return max(1, heads // group) if type(group) is int and group > 0 else kv_heads


def _window(text: ConfigReader) -> int | None:
    """Tokens in the window of a sliding layer; None if no layer slides, for which some files have 0."""
    if not text.values.get("sliding_window") or text.values.get("use_sliding_window") is False:
        return None
    return text.size("sliding_window")


def _kinds_of_layers(part: LanguagePart, layers: int) -> tuple[list[tuple[CacheKind, ...]], bool]:
    """What every layer caches, and whether vedette knows all of the kinds."""
    text, model_type = part.values, part.model_type
    if model_type in PURE_STATES:
        return [(STATE,)] * layers, True
    if model_type in PARALLEL:
        return [(FULL, STATE)] * layers, True
    names = _names_of_layers(part, layers)
    if names is not None:
        return [KINDS[name] for name in names], "unknown" not in names
    slides = _window(text) is not None and (is_known(model_type) or model_type in INTERLEAVED)
    return [(SLIDING if slides else FULL,)] * layers, True


def _names_of_layers(part: LanguagePart, layers: int) -> list[str] | None:
    """The kind of every layer: as the file lists them, by its numbers, or as the type's class has them; else None."""
    text = part.values
    for name in LISTS:
        if text.values.get(name) is not None:
            return _listed(text, text.values[name], layers)
    pattern = text.values.get("hybrid_override_pattern")
    if isinstance(pattern, str) and pattern:
        return _listed(text, [LETTERS.get(letter, "unknown") for letter in pattern], layers)
    attending = _attending(text, layers)
    if attending is not None:
        return ["attention" if layer in attending else "mamba" for layer in range(layers)]
    if _window(text) is None and not set(part.defaults.period) & {"linear_attention", "conv", "mamba"}:
        return None
    others = "linear_attention" if "linear_attention" in part.defaults.period else "sliding_attention"
    every = _pattern(text)
    if isinstance(every, str):
        letters = [LETTERS.get(letter, "unknown") for letter in every]
        return _listed(text, [letters[layer % len(letters)] for layer in range(layers)], layers) if letters else None
    if every is not None:
        return [("full_attention" if (layer + 1) % every == 0 else others) for layer in range(layers)]
    if not part.defaults.period:
        return None
    period = part.defaults.period
    names = [period[layer % len(period)] for layer in range(layers)]
    if part.defaults.last is not None:
        names[-1] = part.defaults.last
    return _listed(text, names, layers)


def _attending(text: ConfigReader, layers: int) -> set[int] | None:
    """The layers with attention of models that name them by number; None for other models."""
    for name in ("full_attn_idxs", "attn_layer_indices", "hybrid_layer_ids"):
        listed = text.values.get(name)
        if isinstance(listed, list) and all(type(each) is int for each in listed):
            return set(listed)
    linear = text.values.get("linear_attn_config")
    if isinstance(linear, dict) and isinstance(linear.get("full_attn_layers"), list):
        return {each - 1 for each in linear["full_attn_layers"] if type(each) is int}
    if text.values.get("attn_layer_period") is not None:
        every, first = text.size("attn_layer_period"), text.values.get("attn_layer_offset")
        first = first if type(first) is int else 0
        return {layer for layer in range(layers) if layer % every == first}
    return None


def _pattern(text: ConfigReader) -> int | str | None:
    """One layer of so many has full attention; or a pattern in letters."""
    for name in PATTERNS:
        value: Any = text.values.get(name)
        if isinstance(value, str):
            return value
        if value is not None:
            return text.size(name)
    return None


def _listed(text: ConfigReader, listed: object, layers: int) -> list[str]:
    """A list of kinds, one for each layer. Raises ModelCorruptError for a list of another length or not of names."""
    if not isinstance(listed, list) or len(listed) != layers:
        raise ModelCorruptError("models.wrong_layer_count", where=text.where, layers=layers)
    if not all(isinstance(name, str) for name in listed):
        raise ModelCorruptError("models.wrong_layer_kinds", where=text.where)
    return [name if name in KINDS else "unknown" for name in listed]
