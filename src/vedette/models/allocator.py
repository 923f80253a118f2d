"""Computes the GPU memory that torch's caching allocator takes for a model's tensors. Pure.

Source: c10/cuda/CUDACachingAllocator.cpp of torch 2.11. Compared with measurements of vLLM 0.26.0 for 20 models on one
H100: 17 agree within 1 MiB (bench/product/plan/on_gpu.md).
"""

import re
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Mapping

MIB = 1024**2
_ROUND = 512
_SMALL = MIB
"""Tensors up to this size share small segments. A rest up to this size is not split off a segment."""
_SHARED_SEGMENT = 20 * MIB
_OWN_SEGMENT_FROM = 10 * MIB
_SEGMENT_STEP = 2 * MIB

_LAYER = re.compile(r"(?:layers|blocks)\.(\d+)\.")
_ORDER = ("embed", "qkv", "q_proj", "kv_a", "kv_b", "o_proj", "gate_up", "up_proj", "down", "lm_head")
"""Modules of a layer in the order in which vLLM creates them."""


def allocator_slack_bytes(weights: Mapping[str, int], vision: frozenset[str]) -> int:
    """Bytes that the allocator takes beyond the sum of `weights` (bytes by the checkpoint's tensor names).

    vision: the names that belong to the vision tower, which is created first.
    """
    fused: dict[str, int] = {}
    towers: set[str] = set()
    for name, size in weights.items():
        whole = _fused(name, name in vision)
        fused[whole] = fused.get(whole, 0) + size
        if name in vision:
            towers.add(whole)
    ordered = sorted(fused, key=lambda name: (name not in towers, _place(name)))
    return _allocated(fused[name] for name in ordered) - sum(fused.values())


def held_bytes(tensors: Iterable[int]) -> int:
    """Bytes of the segments that the allocator takes for tensors of these sizes.

    A tensor of 10 MiB or more has its own segment, in steps of 2 MiB. Smaller tensors share segments of 20 MiB (up to
    1 MiB: of 2 MiB) with others of the same size. More tensors never take less. Larger tensors take less only where
    they stop sharing: then at most 10 MiB for each size, half a segment that was empty.
    """
    held = 0
    for wanted, count in Counter(tensors).items():
        size = max(1, -(-wanted // _ROUND)) * _ROUND
        if size >= _OWN_SEGMENT_FROM:
            held += count * -(-size // _SEGMENT_STEP) * _SEGMENT_STEP
        else:
            segment = _SEGMENT_STEP if size <= _SMALL else _SHARED_SEGMENT
            held += -(-count // (segment // size)) * segment
    return held


def _fused(name: str, vision: bool) -> str:
    """The name of the tensor in which vLLM stores this one: it joins queries, keys and values, and gate and up."""
    name = re.sub(r"\.experts\.\d+\.(gate_up_proj|gate_proj|up_proj)\.", ".experts.w13.", name)
    name = re.sub(r"\.experts\.\d+\.down_proj\.", ".experts.w2.", name)
    name = re.sub(r"\.(q|k|v)_proj\.", ".qkv_proj.", name)
    # Vision towers of Qwen keep gate and up apart (measured, not explained).
    return name if vision else re.sub(r"\.(gate|up)_proj\.", ".gate_up_proj.", name)


def _place(name: str) -> tuple[int, int]:
    layer = _LAYER.search(name)
    number = int(layer[1]) if layer else (-1 if "embed" in name else 1 << 30)
    return number, next((index for index, part in enumerate(_ORDER) if part in name), len(_ORDER))


def _allocated(sizes: Iterable[int]) -> int:
    """Bytes that the allocator counts for tensors of these sizes in this order: best fit in large segments."""
    total, free = 0, list[int]()
    for wanted in sizes:
        size = -(-wanted // _ROUND) * _ROUND
        if size <= _SMALL:
            total += size
            continue
        place = bisect_left(free, size)
        if place < len(free):
            block, unsplit = free.pop(place), _SMALL
        elif size < _OWN_SEGMENT_FROM:
            block, unsplit = _SHARED_SEGMENT, _SMALL
        else:
            block, unsplit = -(-size // _SEGMENT_STEP) * _SEGMENT_STEP, _SEGMENT_STEP
        if block - size > unsplit:
            insort(free, block - size)
            total += size
        else:
            total += block
    return total
