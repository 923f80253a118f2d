"""Parses the storage format of a checkpoint's weights, and what it orders for keys and values. Pure.

Source: vLLM 0.32, `get_scheme` of compressed_tensors.py, auto_gptq.py, modelopt.py and
`_normalize_quantization_config` of transformers_utils/model_arch_config_convertor.py.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from vedette.models.config_reader import ConfigReader
from vedette.models.forms.language_part import SECTIONS
from vedette.models.model import JOINED

SIDE_FILE = "hf_quant_config.json"
"""Older ModelOpt checkpoints describe their format in this file, beside a config.json that says nothing."""
MODELOPT = {
    "fp8": "fp8",
    "fp8_per_channel_per_token": "fp8",
    "fp8_pb_wo": "fp8",
    "fp8_block_scales": "fp8",
    "nvfp4": "nvfp4",
    "nvfp4_awq": "nvfp4",
    "w4a16_nvfp4": "nvfp4",
    "mxfp8": "mxfp8",
}
"""Formats by ModelOpt's names of algorithms; others keep their own."""


def parse_quantization(whole: ConfigReader) -> str | None:
    """The format's name: `fp8`, `awq`, `gptq` (4 bits; `gptq-8bit`, `gptq-3bit`, `gptq-2bit`, and `-asymmetric`),
    `w4a16`, `w8a16`, `w8a8-int8`, `w8a8-fp8`, `nvfp4`, `mxfp4`, `mlx`, several of them joined, or the file's own name
    for others; None for plain weights."""
    section = _section(whole)
    if section is None:
        return None
    inner = section.section("quantization") if isinstance(section.values.get("quantization"), dict) else section
    inner = inner or section
    method = (section.text("quant_method") or inner.text("quant_method") or "").replace("_", "-").lower()
    if method == "compressed-tensors":
        return _compressed(section)
    if method.startswith("modelopt") or inner.values.get("quant_algo") is not None:
        return _modelopt(inner, method)
    if not method:
        # MLX writes its group size and bits without a method.
        return "mlx" if section.values.get("bits") is not None else "unknown"
    if method.startswith("gptq") or method == "auto-gptq":
        return _gptq(section)
    if method.startswith(("awq", "auto-awq")):
        return "awq"
    return "mxfp4" if method.endswith("mxfp4") else method.replace("-", "_")


def parse_cache_order(whole: ConfigReader) -> str | None:
    """The type that the checkpoint orders for keys and values: `fp8`, or the file's name for others; None for none."""
    section = _section(whole)
    if section is None:
        return None
    inner = section.section("quantization") if isinstance(section.values.get("quantization"), dict) else None
    for reader in (inner, section):
        scheme = reader.values.get("kv_cache_scheme") if reader is not None else None
        if isinstance(scheme, dict) and scheme.get("num_bits") is not None:
            bits, kind = scheme["num_bits"], scheme.get("type")
            return "fp8" if (bits, kind) == (8, "float") else f"{kind}{bits}"
        algorithm = reader.values.get("kv_cache_quant_algo") if reader is not None else None
        if isinstance(algorithm, str) and algorithm.lower() != "none":
            return "fp8" if algorithm.lower().startswith("fp8") else algorithm.lower()
    return None


def parse_dropped_tensors(whole: ConfigReader) -> frozenset[str]:
    """Last parts of the names of tensors that vLLM drops: GPTQ files hold an order and zero points even if unused.

    Source: MarlinLinearKernel.process_weights_after_loading, vllm/model_executor/kernels/linear/mixed_precision.
    """
    section = _section(whole)
    if section is None or not (parse_quantization(whole) or "").startswith("gptq"):
        return frozenset()
    unordered = {"g_idx"} if section.values.get("desc_act") is not True else set()
    symmetric = {"qzeros"} if section.values.get("sym", True) is True else set()
    return frozenset(unordered | symmetric)


def _section(whole: ConfigReader) -> ConfigReader | None:
    """The description of the format: at the top, in the language part, or MLX's own."""
    for reader in (whole, *_parts(whole)):
        for name in ("quantization_config", "compression_config"):
            found = reader.section(name)
            if found is not None:
                return found
    values = whole.values.get("quantization")
    return whole.section("quantization") if isinstance(values, dict) and values.get("bits") is not None else None


def _parts(whole: ConfigReader) -> Iterator[ConfigReader]:
    for name in SECTIONS:
        if isinstance(whole.values.get(name), dict):
            part = whole.section(name)
            if part is not None:
                yield part


def _gptq(section: ConfigReader) -> str:
    bits = section.size("bits", default=4)
    name = "gptq" if bits == 4 else f"gptq-{bits}bit"
    return name if section.values.get("sym", True) is not False else f"{name}-asymmetric"


def _modelopt(inner: ConfigReader, method: str) -> str:
    """The format of a ModelOpt file; one for layers of several kinds joins them."""
    algorithm = (
        inner.text("quant_algo") or {"modelopt-fp4": "nvfp4", "modelopt-mxfp8": "mxfp8"}.get(method, method)
    ).lower()
    if algorithm != "mixed_precision":
        return MODELOPT.get(algorithm, algorithm)
    layers = inner.values.get("quantized_layers")
    named = (
        [layer.get("quant_algo") for layer in layers.values() if isinstance(layer, dict)]
        if isinstance(layers, dict)
        else []
    )
    return _joined(MODELOPT.get(name.lower(), name.lower()) for name in named if isinstance(name, str)) or algorithm


def _compressed(section: ConfigReader) -> str:
    """The scheme of a compressed-tensors file; one of several groups joins theirs."""
    groups = section.section("config_groups")
    found = groups.values.values() if groups is not None else ()
    own = section.text("format")
    schemes = [_scheme(ConfigReader(group, section.where), own) for group in found if isinstance(group, dict)]
    return _joined(scheme for scheme in schemes if scheme is not None) or "compressed-tensors"


def _scheme(group: ConfigReader, own_format: str | None) -> str | None:
    """The scheme of one group of layers; None if it does not store weights in another way."""
    weights = group.section("weights")
    if weights is None:
        return None
    bits, kind = weights.size("num_bits", default=8), weights.text("type") or "int"
    written = group.text("format") or own_format or ""
    if kind == "float" and bits == 4:
        return "mxfp4" if written.startswith("mxfp4") or weights.values.get("group_size") == 32 else "nvfp4"
    if kind == "float" and (written.startswith("mxfp8") or weights.values.get("group_size") == 32):
        return "mxfp8"
    inputs = group.section("input_activations")
    if inputs is None:
        return f"w{bits}a16"
    of_inputs = inputs.size("num_bits", default=8)
    return f"w{bits}a{of_inputs}-{'fp8' if kind == 'float' else 'int8'}"


def _joined(names: Iterator[str]) -> str:
    return JOINED.join(dict.fromkeys(names))


def with_side_file(config: dict[str, Any], side: Mapping[str, Any] | None) -> dict[str, Any]:
    """A config.json with the format that a side file describes; the file itself comes first, as in vLLM."""
    return (
        config
        if side is None or config.get("quantization_config") is not None
        else {**config, "quantization_config": side}
    )
