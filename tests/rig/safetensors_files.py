"""Whole safetensors files, small and of bytes that differ."""

import json
import random
import struct


def weights(elements: int, name: str = "model.layers.0.weight", seed: int = 0) -> bytes:
    """A safetensors file with one tensor of so many 16-bit elements."""
    size = 2 * elements
    header = json.dumps({name: {"dtype": "BF16", "shape": [elements], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + _noise(size, seed)


def _noise(size: int, seed: int) -> bytes:
    block = random.Random(seed).randbytes(min(size, 1 << 20))  # noqa: S311 - no secret
    return (block * (size // len(block) + 1))[:size] if block else b""
