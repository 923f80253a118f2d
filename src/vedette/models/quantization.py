"""Parses the storage format of a checkpoint's weights. Pure."""

from vedette.models.config_reader import ConfigReader


def parse_quantization(whole: ConfigReader) -> str | None:
    """The format's name: `fp8`, `awq`, `gptq`, `w4a16`, `w8a16`, `w8a8-int8`, `w8a8-fp8`, `nvfp4`, or the file's own
    name for others; None for plain weights."""
    section = _section(whole)
    if section is None:
        return None
    method = section.text("quant_method") or "unknown"
    if method in {"compressed-tensors", "compressed_tensors"}:
        return _compressed(section)
    if method.startswith("modelopt") or section.values.get("quant_algo") is not None:
        algorithm = (section.text("quant_algo") or method).lower()
        return "nvfp4" if "fp4" in algorithm else "fp8" if "fp8" in algorithm else algorithm
    return "awq" if method.startswith("awq") else "gptq" if method.startswith("gptq") else method


def parse_dropped_tensors(whole: ConfigReader) -> frozenset[str]:
    """Last parts of the names of tensors that vLLM drops: GPTQ files hold an order and zero points even if unused.

    Source: MarlinLinearKernel.process_weights_after_loading, vllm/model_executor/kernels/linear/mixed_precision.
    """
    section = _section(whole)
    if section is None or parse_quantization(whole) != "gptq":
        return frozenset()
    unordered = {"g_idx"} if section.values.get("desc_act") is not True else set()
    symmetric = {"qzeros"} if section.values.get("sym", True) is True else set()
    return frozenset(unordered | symmetric)


def _section(whole: ConfigReader) -> ConfigReader | None:
    text = whole.section("text_config") or whole
    return (
        whole.section("quantization_config")
        or whole.section("compression_config")
        or text.section("quantization_config")
    )


def _compressed(section: ConfigReader) -> str:
    """The scheme of a compressed-tensors file: that of its first group of layers."""
    groups = section.section("config_groups")
    first = next(iter(groups.values.values()), None) if groups is not None else None
    group = ConfigReader(first, section.where) if isinstance(first, dict) else ConfigReader({}, section.where)
    weights = group.section("weights")
    if weights is None:
        return "compressed-tensors"
    bits, kind = weights.size("num_bits", default=8), weights.text("type") or "int"
    if kind == "float" and bits == 4:
        return "nvfp4"
    if group.section("input_activations") is None:
        return f"w{bits}a16"
    return f"w{bits}a8-{'fp8' if kind == 'float' else 'int8'}"
