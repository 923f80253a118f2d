"""Computes the GPU memory that torch's caching allocator takes for tensors. Pure.

Source: c10/cuda/CUDACachingAllocator.cpp of torch 2.11.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

MIB = 1024**2
_ROUND = 512
_SMALL = MIB
"""Tensors up to this size share small segments. A rest up to this size is not split off a large block."""
_SHARED_SEGMENT = 20 * MIB
_OWN_SEGMENT_FROM = 10 * MIB
_SEGMENT_STEP = 2 * MIB
_UNSPLIT_FROM = 20 * MIB
"""While it loads a model, vLLM lets no block from this size on be split (`max_split_size_mb`, v1/worker/gpu_worker.py).
The allocator gives such a block only to a tensor that is less than 20 MiB smaller."""


@dataclass(eq=False)
class Block:
    """A part of a segment. It has a tensor, or is free."""

    size_bytes: int
    place: tuple[int, int]
    """The number of the segment, and the block's offset in it."""
    small: bool
    used: bool = False
    before: "Block | None" = None
    after: "Block | None" = None

    @property
    def key(self) -> tuple[int, tuple[int, int]]:
        """The order in which free blocks are tried."""
        return self.size_bytes, self.place


class Allocator:
    """The allocator while vLLM loads a model: the block of each tensor.

    Compared with 57 loads of 0.7 to 30 GiB on an H200 (vLLM 0.26.0, bench/lab/load_trace.py): given the same tensors in
    the same order, the blocks add up to the same bytes within 2.3 MiB.
    """

    def __init__(self) -> None:
        self.allocated_bytes = 0
        """Size of all blocks in use. torch counts a block that is larger than its tensor as a whole."""
        self.peak_bytes = 0
        """The most that `allocated_bytes` ever was."""
        self._free: dict[bool, list[tuple[int, tuple[int, int]]]] = {True: [], False: []}
        self._blocks: dict[tuple[int, int], Block] = {}
        self._segments = 0

    def allocate(self, wanted_bytes: int) -> Block:
        """Return a block for a tensor: the smallest free one that is large enough, or one of a new segment."""
        size = max(1, -(-wanted_bytes // _ROUND)) * _ROUND
        block = self._best_fit(size) or self._new_segment(size)
        rest = block.size_bytes - size
        if rest >= _ROUND if block.small else rest > _SMALL and size < _UNSPLIT_FROM:
            self._split(block, size)
        block.used = True
        self.allocated_bytes += block.size_bytes
        self.peak_bytes = max(self.peak_bytes, self.allocated_bytes)
        return block

    def free(self, block: Block) -> None:
        """Give a block back. It joins the free blocks beside it."""
        self.allocated_bytes -= block.size_bytes
        block.used = False
        for other in (block.after, block.before):
            if other is not None and not other.used:
                self._free[other.small].remove(other.key)
                first, second = (block, other) if other is block.after else (other, block)
                first.size_bytes += second.size_bytes
                first.after = second.after
                if second.after is not None:
                    second.after.before = first
                del self._blocks[second.place]
                block = first
        insort(self._free[block.small], block.key)

    @property
    def gaps_bytes(self) -> int:
        """Size of the free blocks in segments that are partly in use: the device does not get them back."""
        used = {block.place[0] for block in self._blocks.values() if block.used}
        return sum(block.size_bytes for block in self._blocks.values() if not block.used and block.place[0] in used)

    def _best_fit(self, size: int) -> Block | None:
        free = self._free[size <= _SMALL]
        index = bisect_left(free, (size, (0, 0)))
        if index == len(free):
            return None
        found = free[index][0]
        if found >= _UNSPLIT_FROM and size > _SMALL and (size < _UNSPLIT_FROM or found >= size + _UNSPLIT_FROM):
            return None
        return self._blocks[free.pop(index)[1]]

    def _new_segment(self, size: int) -> Block:
        self._segments += 1
        small = size <= _SMALL
        shared = _SEGMENT_STEP if small else _SHARED_SEGMENT
        own = -(-size // _SEGMENT_STEP) * _SEGMENT_STEP
        block = Block(own if size >= _OWN_SEGMENT_FROM else shared, (self._segments, 0), small)
        self._blocks[block.place] = block
        return block

    def _split(self, block: Block, size: int) -> None:
        place = (block.place[0], block.place[1] + size)
        rest = Block(block.size_bytes - size, place, block.small, before=block, after=block.after)
        if block.after is not None:
            block.after.before = rest
        block.after, block.size_bytes = rest, size
        self._blocks[place] = rest
        insort(self._free[block.small], rest.key)


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
