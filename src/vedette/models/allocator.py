"""How much memory torch's caching allocator takes for a model's tensors on a GPU. Pure.

Followed: c10/cuda/CUDACachingAllocator.cpp of torch 2.11. Held against what vLLM 0.26.0 measured for 20 models on one
H100: 17 of them agree within 1 MiB (bench/product/plan/on_gpu.md).
"""

import re
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Mapping

MIB = 1024**2
_ROUND = 512
_SMALL = MIB
"""Tensors up to this size share segments of their own; and a rest up to this size is not split off a segment."""
_SHARED_SEGMENT = 20 * MIB
_OWN_SEGMENT_FROM = 10 * MIB
_SEGMENT_STEP = 2 * MIB

_LAYER = re.compile(r"(?:layers|blocks)\.(\d+)\.")
_ORDER = ("embed", "qkv", "q_proj", "kv_a", "kv_b", "o_proj", "gate_up", "up_proj", "down", "lm_head")
"""Modules of a layer in the order in which vLLM makes them."""


def allocator_slack_bytes(weights: Mapping[str, int], vision: frozenset[str]) -> int:
    """What the allocator takes beyond the sum of `weights`, which are bytes by the checkpoint's tensor names.

    vision: the names among them that belong to the vision tower, which is made first.
    """
    fused: dict[str, int] = {}
    seen: set[str] = set()
    for name, size in weights.items():
        whole = _fused(name, name in vision)
        fused[whole] = fused.get(whole, 0) + size
        if name in vision:
            seen.add(whole)
    ordered = sorted(fused, key=lambda name: (name not in seen, _place(name)))
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
    """The name of the tensor that vLLM keeps this one in: queries, keys and values are one, gate and up are one."""
    name = re.sub(r"\.experts\.\d+\.(gate_up_proj|gate_proj|up_proj)\.", ".experts.w13.", name)
    name = re.sub(r"\.experts\.\d+\.down_proj\.", ".experts.w2.", name)
    name = re.sub(r"\.(q|k|v)_proj\.", ".qkv_proj.", name)
    # Vision towers of the Qwen family take the room of two (seen, not understood).
    return name if vision else re.sub(r"\.(gate|up)_proj\.", ".gate_up_proj.", name)


def _place(name: str) -> tuple[int, int]:
    layer = _LAYER.search(name)
    number = int(layer[1]) if layer else (-1 if "embed" in name else 1 << 30)
    return number, next((index for index, part in enumerate(_ORDER) if part in name), len(_ORDER))


def _allocated(sizes: Iterable[int]) -> int:
    """Bytes the allocator counts for tensors of these sizes, made one after another: best fit in large segments."""
    total, free = 0, list[int]()
    for wanted in sizes:
        size = -(-wanted // _ROUND) * _ROUND
        if size <= _SMALL:
            total += size
            continue
        place = bisect_left(free, size)
        if place < len(free):
            block, rest_kept = free.pop(place), _SMALL
        elif size < _OWN_SEGMENT_FROM:
            block, rest_kept = _SHARED_SEGMENT, _SMALL
        else:
            block, rest_kept = -(-size // _SEGMENT_STEP) * _SEGMENT_STEP, _SEGMENT_STEP
        if block - size > rest_kept:
            insort(free, block - size)
            total += size
        else:
            total += block
    return total
