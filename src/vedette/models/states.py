"""Bytes of the state that a layer keeps for each sequence: convolutions, state spaces, linear attention. Pure.

Source: vLLM 0.32, `MambaStateShapeCalculator` and `MambaStateDtypeCalculator` of
model_executor/layers/mamba/mamba_utils.py, and `get_mamba_state_shape_from_config` of each model.
"""

from vedette.models.config_reader import ConfigReader
from vedette.models.model import DTYPE_BYTES

OWN_STATE_TYPE = {"qwen3_next": "auto"}
"""Types that do not follow the file's `mamba_ssm_dtype`."""


def state_bytes(text: ConfigReader, model_type: str, dtype: str) -> int | None:
    """Size of one layer's state for one sequence; None if the file describes no state that vedette knows.

    text: the language part's values, with defaults.
    """
    values = text.values
    conv_bytes = DTYPE_BYTES[dtype]
    if values.get("linear_num_value_heads") is not None:
        return _delta_net(text, conv_bytes, _state_bytes(text, model_type, conv_bytes))
    linear = text.section("linear_attn_config") if isinstance(values.get("linear_attn_config"), dict) else None
    if linear is not None and linear.values.get("num_heads") is not None:
        return _delta_attention(linear, conv_bytes)
    if values.get("conv_L_cache") is not None:
        channels = text.size("conv_dim", default=text.size("hidden_size")) if model_type == "lfm2" else None
        return (channels or text.size("hidden_size")) * (text.size("conv_L_cache") - 1) * conv_bytes
    if _has_heads(text):
        return _mamba2(text, conv_bytes, _state_bytes(text, model_type, conv_bytes))
    if values.get("mamba_d_state") is not None or values.get("state_size") is not None:
        return _mamba1(text, conv_bytes, _state_bytes(text, model_type, conv_bytes))
    return None


def _state_bytes(text: ConfigReader, model_type: str, conv_bytes: int) -> int:
    """Bytes of one element of the recurrent state; the model's own type unless the file names another."""
    named = text.values.get("mamba_ssm_cache_dtype") or text.values.get("mamba_ssm_dtype")
    if OWN_STATE_TYPE.get(model_type) == "auto" or not isinstance(named, str):
        return conv_bytes
    return DTYPE_BYTES.get(named, conv_bytes)


def _delta_net(text: ConfigReader, conv_bytes: int, state_bytes: int) -> int:
    """Gated-delta linear attention (Qwen3-Next, Qwen3.5, OLMo hybrid)."""
    key_heads, value_heads = text.size("linear_num_key_heads"), text.size("linear_num_value_heads")
    key_size, value_size = text.size("linear_key_head_dim"), text.size("linear_value_head_dim")
    channels = 2 * key_heads * key_size + value_heads * value_size
    convolution = channels * (text.size("linear_conv_kernel_dim", default=4) - 1)
    return convolution * conv_bytes + value_heads * value_size * key_size * state_bytes


def _delta_attention(linear: ConfigReader, conv_bytes: int) -> int:
    """Kimi's delta attention, whose recurrent state is float32."""
    heads, size = linear.size("num_heads"), linear.size("head_dim")
    kernel = linear.size("short_conv_kernel_size", default=4)
    return 3 * heads * size * (kernel - 1) * conv_bytes + heads * size * size * 4


def _has_heads(text: ConfigReader) -> bool:
    names = ("mamba_n_heads", "mamba_num_heads", "n_mamba_heads")
    if any(text.values.get(name) is not None for name in names):
        # Jamba's files name one head of Mamba's first version.
        return any(text.values.get(name) is not None for name in ("mamba_d_head", "mamba_head_dim", "mamba_headdim"))
    return text.values.get("n_groups") is not None and text.values.get("state_size") is not None


def _mamba2(text: ConfigReader, conv_bytes: int, state_bytes: int) -> int:
    """State spaces with heads (Mamba 2, Nemotron-H, Falcon-H1, Granite 4, Bamba, Zamba2)."""
    heads = _first(text, "mamba_n_heads", "mamba_num_heads", "n_mamba_heads", "num_heads")
    size = _first(text, "mamba_d_head", "mamba_head_dim", "mamba_headdim", "head_dim")
    state = _first(text, "mamba_d_state", "ssm_state_size", "state_size")
    groups = _first(text, "mamba_n_groups", "n_groups", "mamba_ngroups", default=1)
    kernel = _first(text, "mamba_d_conv", "conv_kernel", default=4)
    channels = heads * size + 2 * groups * state
    return channels * (kernel - 1) * conv_bytes + heads * size * state * state_bytes


def _mamba1(text: ConfigReader, conv_bytes: int, state_bytes: int) -> int:
    """State spaces without heads (Mamba, Falcon-Mamba, Jamba)."""
    state = _first(text, "mamba_d_state", "state_size")
    kernel = _first(text, "mamba_d_conv", "conv_kernel", default=4)
    wide = _first(text, "mamba_expand", "expand", default=2) * text.size("hidden_size")
    return wide * (kernel - 1) * conv_bytes + wide * state * state_bytes


def _first(text: ConfigReader, *names: str, default: int | None = None) -> int:
    """The first of these sizes that the file has."""
    name = next((name for name in names if text.values.get(name) is not None), names[0])
    return text.size(name, default=default)
