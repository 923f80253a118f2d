"""Computes the memory that torch's allocator takes while vLLM loads and repacks a model's weights, and after. Pure.

vLLM makes the tensors of one layer after the other, and then repacks those of quantized layers for its kernels: new
tensors come before the old ones are freed. Where they land decides how much memory is lost, up to 2 % of the weights.
Compared with 57 loads on an H200 (vLLM 0.26.0): weights within 0.1 % in all but one (0.16 %, Gemma 3 4B).
Source: `process_weights_after_loading` in vllm/model_executor/layers/quantization and kernels/linear (0.26.0), and the
order of the tensors in bench/lab/load_trace.py.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache

from vedette.models.allocator import Allocator, Block


class Kernel(Enum):
    """What computes with weights that the GPU has no arithmetic for. It decides how they are repacked."""

    NATIVE = "native"
    """Nothing is repacked: the GPU computes in the format of the file."""
    MARLIN = "marlin"
    MACHETE = "machete"
    """For 4 bits, on Hopper only."""


@dataclass(frozen=True)
class Module:
    """A layer's part with the tensors of one weight, as vLLM joins them (queries, keys and values; gate and up)."""

    name: str
    tensors: tuple[tuple[str, int], ...]
    """The last part of each tensor's name, and its bytes."""
    vision: bool

    def times(self, factor: float) -> "Module":
        """Return the module with tensors so many times as large."""
        return replace(self, tensors=tuple((name, round(size * factor)) for name, size in self.tensors))

    def bytes_of(self, *names: str) -> int:
        """Return the size of the first of these tensors that the module has; 0 if it has none."""
        sizes = dict(self.tensors)
        return next((sizes[name] for name in names if name in sizes), 0)


_LAYER = re.compile(r"(?:layers|blocks)\.(\d+)\.")
_ORDER = ("embed", "qkv", "q_proj", "kv_a", "kv_b", "o_proj", "gate_up", "up_proj", "down", "lm_head")
"""Modules of a layer in the order in which vLLM creates them."""
_PACKED = ("qweight", "weight_packed", "weight")
_SCALES = ("scales", "weight_scale")
_ZEROS = ("qzeros",)
_UNPACKED = 8
"""Four-bit numbers that are unpacked to 32 bits each take eight times the memory."""


def modules_of(weights: Mapping[str, int], vision: frozenset[str]) -> tuple[Module, ...]:
    """The modules in the order in which vLLM makes them.

    weights: bytes by the checkpoint's tensor names. vision: the names that belong to the vision tower, which is first.
    """
    joined: dict[tuple[str, bool], dict[str, int]] = {}
    for name, size in weights.items():
        module, _, tensor = _fused(name, name in vision).rpartition(".")
        tensors = joined.setdefault((module, name in vision), {})
        tensors[tensor] = tensors.get(tensor, 0) + size
    ordered = sorted(joined, key=lambda key: (not key[1], _place(f"{key[0]}.")))
    return tuple(Module(name, tuple(joined[name, tower].items()), tower) for name, tower in ordered)


@dataclass(frozen=True)
class Loaded:
    """Memory of a loaded model beyond the bytes of its tensors and tables."""

    unused_bytes: int
    """In blocks that are larger than their tensors. An engine reports it as loaded."""
    gaps_bytes: int
    """In free blocks between tensors, after repacking; 0 for weights that are not repacked."""
    peak_bytes: int
    """The most that all blocks took while the model was loaded, tensors included."""


AWQ_IN_PLACE = "awq-in-place"
"""AWQ as vLLM before 0.24 repacks it: its kernel reads AWQ's order of numbers, and nothing is unpacked."""


@lru_cache(maxsize=64)
def load(modules: tuple[Module, ...], tables: tuple[int, ...], format_name: str | None, kernel: Kernel) -> Loaded:
    """Load a model into an empty allocator.

    tables: bytes of each rotary table. format_name: that of `Model.quantization`, or AWQ_IN_PLACE.
    """
    allocator = Allocator()
    blocks: dict[tuple[str, str], Block] = {}
    with_tables = next((module for module in modules if not module.vision and "o_proj" in module.name), None)
    if with_tables is None:
        for size in tables:
            allocator.allocate(size)
    for module in modules:
        for name, size in module.tensors:
            blocks[module.name, name] = allocator.allocate(size)
        if module is with_tables:
            for size in tables:
                _make_table(allocator, size)
    kept = sum(tables) + sum(size for module in modules for _, size in module.tensors)
    repack = _REPACKING.get((format_name, kernel))
    for module in modules if repack else ():
        if repack and _LAYER.search(f"{module.name}.") and module.bytes_of(*_PACKED):
            kept += repack(_Repacking(allocator, module, blocks))
    # Without repacking the gaps are few, and activations were seen to fit in them (bench/product/plan/on_gpu.md).
    gaps = allocator.gaps_bytes if repack else 0
    return Loaded(allocator.allocated_bytes - kept, gaps, allocator.peak_bytes)


def _make_table(allocator: Allocator, size: int) -> None:
    """The angles, cosines and sines in 32 bits, then the table: float32 halves, joined, converted (base.py)."""
    parts = [allocator.allocate(size) for _ in range(3)]
    joined = allocator.allocate(2 * size)
    for part in parts:
        allocator.free(part)
    allocator.allocate(size)
    allocator.free(joined)


@dataclass(frozen=True)
class _Repacking:
    """The repacking of one module: temporary tensors, and those that take the place of the file's."""

    allocator: Allocator
    module: Module
    blocks: dict[tuple[str, str], Block]

    def size(self, names: tuple[str, ...]) -> int:
        return self.module.bytes_of(*names)

    def replace(self, names: tuple[str, ...], size: int, copies: int = 1) -> None:
        """Put a new tensor in the place of a file's, after so many copies, of which each frees the one before."""
        if self.size(names):
            block = self.chain([size] * copies)
            self.free(names)
            self.keep(names, block)

    def chain(self, sizes: list[int]) -> Block:
        """Make one tensor of the other; return the last."""
        block = self.allocator.allocate(sizes[0])
        for size in sizes[1:]:
            following = self.allocator.allocate(size)
            self.allocator.free(block)
            block = following
        return block

    def free(self, names: tuple[str, ...]) -> None:
        self.allocator.free(self.blocks.pop(self._key(names)))

    def keep(self, names: tuple[str, ...], block: Block) -> None:
        self.blocks[self._key(names)] = block

    def _key(self, names: tuple[str, ...]) -> tuple[str, str]:
        present = {name for name, _ in self.module.tensors}
        return self.module.name, next(name for name in names if name in present)


def _weight_once(of: _Repacking) -> int:
    of.replace(_PACKED, of.size(_PACKED))
    of.replace(_SCALES, of.size(_SCALES))
    return 0


def _weight_twice(of: _Repacking) -> int:
    of.replace(_PACKED, of.size(_PACKED), copies=2)
    of.replace(_SCALES, of.size(_SCALES), copies=2)
    return 0


def _weight_alone_twice(of: _Repacking) -> int:
    of.replace(_PACKED, of.size(_PACKED), copies=2)
    return 0


def _awq(of: _Repacking) -> Block:
    """AWQ's order of numbers becomes GPTQ's: everything is unpacked and packed again. Returns the weight's block."""
    packed, zeros = of.size(_PACKED), of.size(_ZEROS)
    weight, unpacked = _packed_again(of, packed)
    if zeros:
        again, unpacked_zeros = _packed_again(of, zeros)
    of.free(_PACKED)
    of.allocator.free(unpacked)
    if zeros:
        of.free(_ZEROS)
        of.keep(_ZEROS, again)
        of.allocator.free(unpacked_zeros)
    return weight


def _packed_again(of: _Repacking, size: int) -> tuple[Block, Block]:
    """Return the packed tensor, and the unpacked one that is freed later."""
    unpacked = of.chain([_UNPACKED * size] * 3)
    shifted = of.allocator.allocate(_UNPACKED * size)
    packed = of.allocator.allocate(size)
    of.allocator.free(shifted)
    return packed, unpacked


def _awq_for_marlin(of: _Repacking) -> int:
    weight = _awq(of)
    if zeros := of.size(_ZEROS):
        unpacked = of.chain([_UNPACKED * zeros] * 3)
        ordered = of.allocator.allocate(zeros)
        of.allocator.free(unpacked)
        of.free(_ZEROS)
        of.keep(_ZEROS, ordered)
    of.keep(_PACKED, of.allocator.allocate(of.size(_PACKED)))
    of.allocator.free(weight)
    of.replace(_SCALES, of.size(_SCALES))
    return 0


def _awq_for_machete(of: _Repacking) -> int:
    """Machete needs the zero points in 16 bits each: four times as large."""
    weight = _awq(of)
    of.keep(_PACKED, of.chain([of.size(_PACKED)] * 2))
    of.allocator.free(weight)
    zeros = of.size(_ZEROS)
    of.replace(_ZEROS, 4 * zeros)
    return 3 * zeros


def _nvfp4_for_marlin(of: _Repacking) -> int:
    """The weight is repacked once. Its scales go through 16 bits (marlin_utils_fp4.py)."""
    weight, scales = of.size(_PACKED), of.size(_SCALES)
    first = of.allocator.allocate(weight)
    second = of.allocator.allocate(weight)
    of.free(_PACKED)
    if scales:
        wide = of.chain([scales, 2 * scales, 2 * scales])
        of.allocator.free(of.allocator.allocate(scales))
        permuted = of.chain([2 * scales, 2 * scales])
        of.allocator.free(of.chain([4 * scales, 4 * scales, scales]))
        narrowed = of.chain([4 * scales, 4 * scales, 2 * scales])
        of.allocator.free(permuted)
        shifted = of.allocator.allocate(2 * scales)
        of.allocator.free(narrowed)
        of.allocator.free(of.allocator.allocate(scales))
        whole = of.allocator.allocate(2 * scales)
        of.allocator.free(shifted)
        last = of.allocator.allocate(scales)
        of.allocator.free(whole)
        of.allocator.free(wide)
        of.free(_SCALES)
        of.keep(_SCALES, last)
    of.keep(_PACKED, second)
    of.allocator.free(first)
    return 0


_REPACKING: dict[tuple[str | None, Kernel], Callable[[_Repacking], int]] = {
    ("w4a16", Kernel.MARLIN): _weight_twice,
    ("w4a16", Kernel.MACHETE): _weight_once,
    ("w8a16", Kernel.MARLIN): _weight_twice,
    ("w8a16", Kernel.MACHETE): _weight_once,
    ("gptq", Kernel.MARLIN): _weight_once,
    ("gptq", Kernel.MACHETE): _weight_alone_twice,
    ("awq", Kernel.MARLIN): _awq_for_marlin,
    (AWQ_IN_PLACE, Kernel.MARLIN): _weight_once,
    ("awq", Kernel.MACHETE): _awq_for_machete,
    ("nvfp4", Kernel.MARLIN): _nvfp4_for_marlin,
    ("w8a8-fp8", Kernel.MARLIN): _weight_alone_twice,
}
"""What each format's weights go through for each kernel. Formats that are missing are not repacked, or not measured.
Each returns the bytes by which the tensors have grown."""


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
