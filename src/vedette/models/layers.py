"""Parses what each layer of a language model caches of earlier tokens. Pure.

Source: vLLM 0.26 to 0.32, model_executor/models/*.py of each architecture, `Attention.get_kv_cache_spec`,
`MLAAttention.get_kv_cache_spec`, `MambaStateShapeCalculator.gated_delta_net_state_shape`.
"""

from collections import Counter

from vedette.errors import ModelCorruptError
from vedette.language.message import Message
from vedette.models.config_reader import ConfigReader
from vedette.models.defaults import DELTA_NET, INTERLEAVED, LATENT, PLAIN
from vedette.models.model import DTYPE_BYTES, CacheKind, CacheLayers

KINDS = {
    "full_attention": CacheKind.FULL,
    "sliding_attention": CacheKind.SLIDING,
    "linear_attention": CacheKind.STATE,
}
"""Names in `layer_types`."""


def parse_cache_layers(
    text: ConfigReader, model_type: str, kv_heads: int, head_size: int, dtype: str
) -> tuple[tuple[CacheLayers, ...], tuple[Message, ...]]:
    """The layers by kind, and one phrase for each fact that had to be assumed.

    text: the language part's values, with defaults. Raises ModelCorruptError for impossible values.
    """
    layers = text.size("num_hidden_layers")
    attention = {"kv_heads": kv_heads, "key_size": head_size, "value_size": head_size}
    if model_type in LATENT and text.values.get("kv_lora_rank") is not None:
        latent = text.size("kv_lora_rank") + text.size("qk_rope_head_dim")
        return (CacheLayers(CacheKind.LATENT, layers, latent_size=latent),), ()
    if model_type in DELTA_NET:
        kinds = _kinds(text, layers, text.size("full_attention_interval"), CacheKind.STATE)
        state = _delta_net_state_bytes(text, model_type, dtype)
        made = (
            CacheLayers(CacheKind.FULL, kinds[CacheKind.FULL], **attention),
            CacheLayers(CacheKind.STATE, kinds[CacheKind.STATE], state_bytes=state),
        )
        return tuple(cache for cache in made if cache.count), ()
    window = _window(text)
    known = model_type in PLAIN | INTERLEAVED | LATENT
    if known and window is not None and (model_type in INTERLEAVED or text.values.get("layer_types")):
        kinds = _kinds(text, layers, _pattern(text), CacheKind.SLIDING)
        made = (
            CacheLayers(CacheKind.FULL, kinds[CacheKind.FULL], **attention),
            CacheLayers(CacheKind.SLIDING, kinds[CacheKind.SLIDING], **attention, window_tokens=window),
        )
        return tuple(cache for cache in made if cache.count), ()
    assumed = () if known else (Message("models.assumed_cache"), Message("models.assumed_layers"))
    if window is not None and known:
        return (CacheLayers(CacheKind.SLIDING, layers, **attention, window_tokens=window),), ()
    return (CacheLayers(CacheKind.FULL, layers, **attention),), assumed


def _window(text: ConfigReader) -> int | None:
    """Tokens in the window of a sliding layer; None if no layer slides, for which some files have 0."""
    if not text.values.get("sliding_window") or text.values.get("use_sliding_window") is False:
        return None
    return text.size("sliding_window")


def _pattern(text: ConfigReader) -> int:
    """One layer of so many has full attention; transformers saves the name with an underscore."""
    return text.size("_sliding_window_pattern", default=text.size("sliding_window_pattern", default=1))


def _kinds(text: ConfigReader, layers: int, every: int, others: CacheKind) -> Counter[CacheKind]:
    """Number of layers of each kind: as `layer_types` lists them, else one of `every` layers has full attention."""
    listed = text.values.get("layer_types")
    if listed is None:
        full = layers // every
        return Counter({CacheKind.FULL: full, others: layers - full})
    if not isinstance(listed, list) or len(listed) != layers:
        raise ModelCorruptError("models.wrong_layer_count", where=text.where, layers=layers)
    kinds = Counter(KINDS.get(name) if isinstance(name, str) else None for name in listed)
    if not set(kinds) <= {CacheKind.FULL, others}:
        raise ModelCorruptError("models.wrong_layer_kinds", where=text.where)
    return Counter({kind: count for kind, count in kinds.items() if kind is not None})


def _delta_net_state_bytes(text: ConfigReader, model_type: str, dtype: str) -> int:
    """Size of the convolution and recurrent state of one layer of gated-delta linear attention."""
    key_heads, value_heads = text.size("linear_num_key_heads"), text.size("linear_num_value_heads")
    key_size, value_size = text.size("linear_key_head_dim"), text.size("linear_value_head_dim")
    channels = 2 * key_heads * key_size + value_heads * value_size
    convolution = channels * (text.size("linear_conv_kernel_dim") - 1)
    # Qwen3.5 names the type of its recurrent state, and vLLM follows; Qwen3-Next's is the model's own.
    named = None if model_type == "qwen3_next" else text.text("mamba_ssm_dtype")
    return convolution * DTYPE_BYTES[dtype] + value_heads * value_size * key_size * DTYPE_BYTES.get(
        named or dtype, DTYPE_BYTES[dtype]
    )
