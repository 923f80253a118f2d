"""Tensors of a checkpoint as lists of parts: what they are called, how large they are, which can be quantized."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One tensor. `linear` marks weights [out, in] that a quantized checkpoint stores in its own format."""

    name: str
    shape: tuple[int, ...]
    dtype: str | None = None
    """As safetensors writes it; None for the model's own type."""
    linear: bool = False


def linear(name: str, rows: int, columns: int, bias: bool = False) -> Iterator[Part]:
    """A weight that quantization changes, `rows` outputs and `columns` inputs, and its bias."""
    yield Part(f"{name}.weight", (rows, columns), linear=True)
    if bias:
        yield Part(f"{name}.bias", (rows,))


def plain(name: str, *shape: int, bias: bool = True) -> Iterator[Part]:
    """A weight that no quantization here touches; its bias is as long as the weight's first side."""
    yield Part(f"{name}.weight", shape)
    if bias:
        yield Part(f"{name}.bias", shape[:1])
