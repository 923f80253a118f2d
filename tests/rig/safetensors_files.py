"""Whole safetensors files, small and of bytes that differ."""

import json
import random
import struct


def weights(elements: int, name: str = "model.layers.0.weight", seed: int = 0) -> bytes:
    """A safetensors file with one tensor of so many 16-bit elements."""
    size = 2 * elements
    header = json.dumps({name: {"dtype": "BF16", "shape": [elements], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + random.Random(seed).randbytes(size)  # noqa: S311 - no secret
