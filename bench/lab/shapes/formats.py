"""How quantized checkpoints store a linear layer: which tensors stand for its weight [out, in]."""

from collections.abc import Callable, Iterator
from typing import Any

from bench.lab.shapes.parts import Part

IN_ONE_I32 = 8
"""4-bit values in one 32-bit integer."""


def stored_parts(parts: Iterator[Part], quantization: dict[str, Any] | None) -> Iterator[Part]:
    """`parts` as a checkpoint with this `quantization_config` stores them."""
    if quantization is None:
        yield from parts
        return
    store = FORMATS[quantization.get("format", quantization["quant_method"])]
    for part in parts:
        if part.linear:
            rows, columns = part.shape
            yield from store(part.name.removesuffix(".weight"), rows, columns, quantization)
        elif quantization["quant_method"] != "gptq" or not part.name.endswith("_proj.bias"):
            yield part


def _awq(name: str, rows: int, columns: int, quantization: dict[str, Any]) -> Iterator[Part]:
    groups = columns // quantization["group_size"]
    yield Part(f"{name}.qweight", (columns, rows // IN_ONE_I32), "I32")
    yield Part(f"{name}.qzeros", (groups, rows // IN_ONE_I32), "I32")
    yield Part(f"{name}.scales", (groups, rows), "F16")


def _gptq(name: str, rows: int, columns: int, quantization: dict[str, Any]) -> Iterator[Part]:
    """AutoGPTQ's: every layer gets a bias, used or not."""
    groups = columns // quantization["group_size"]
    yield Part(f"{name}.bias", (rows,), "F16")
    yield Part(f"{name}.g_idx", (columns,), "I32")
    yield Part(f"{name}.qweight", (columns // IN_ONE_I32, rows), "I32")
    yield Part(f"{name}.qzeros", (groups, rows // IN_ONE_I32), "I32")
    yield Part(f"{name}.scales", (groups, rows), "F16")


def _fp8_blocks(name: str, rows: int, columns: int, quantization: dict[str, Any]) -> Iterator[Part]:
    block_rows, block_columns = quantization["weight_block_size"]
    yield Part(f"{name}.weight", (rows, columns), "F8_E4M3")
    yield Part(f"{name}.weight_scale_inv", (-(-rows // block_rows), -(-columns // block_columns)))


def _w4a16(name: str, rows: int, columns: int, quantization: dict[str, Any]) -> Iterator[Part]:
    groups = columns // quantization["config_groups"]["group_0"]["weights"]["group_size"]
    yield Part(f"{name}.weight_packed", (rows, columns // IN_ONE_I32), "I32")
    yield Part(f"{name}.weight_scale", (rows, groups))
    yield Part(f"{name}.weight_shape", (2,), "I64")


def _fp8_channels(name: str, rows: int, columns: int, _: dict[str, Any]) -> Iterator[Part]:
    yield Part(f"{name}.weight", (rows, columns), "F8_E4M3")
    yield Part(f"{name}.weight_scale", (rows, 1))


def _int8_channels(name: str, rows: int, columns: int, _: dict[str, Any]) -> Iterator[Part]:
    yield Part(f"{name}.weight", (rows, columns), "I8")
    yield Part(f"{name}.weight_scale", (rows, 1))


def _nvfp4(name: str, rows: int, columns: int, _: dict[str, Any]) -> Iterator[Part]:
    yield Part(f"{name}.weight_packed", (rows, columns // 2), "U8")
    yield Part(f"{name}.weight_scale", (rows, columns // 16), "F8_E4M3")
    yield Part(f"{name}.weight_global_scale", (1,), "F32")
    yield Part(f"{name}.input_global_scale", (1,), "F32")


FORMATS: dict[str, Callable[[str, int, int, dict[str, Any]], Iterator[Part]]] = {
    "awq": _awq,
    "gptq": _gptq,
    "fp8": _fp8_blocks,
    "pack-quantized": _w4a16,
    "float-quantized": _fp8_channels,
    "int-quantized": _int8_channels,
    "nvfp4-pack-quantized": _nvfp4,
}
