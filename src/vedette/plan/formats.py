"""Which formats of weights and of keys and values a device computes with, falls back for, or cannot run. Pure.

Read in vLLM's sources, 0.11.0 to 0.33.0, without running them on these devices; where a version matters it is named.
"""

from dataclasses import dataclass
from enum import Enum

ComputeCapability = tuple[int, int]
"""(8, 7) for sm_87."""


class Verdict(Enum):
    """What becomes of a format on a device."""

    NATIVE = "native"
    FALLBACK = "fallback"
    """It runs in another way than it was made for: the memory is saved, not all of the time."""
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Format:
    """What a device makes of one format of weights."""

    quantization: str | None
    """As in `Model.quantization`; None: plain weights."""
    verdict: Verdict
    why: str
    """A sentence."""
    source: str
    """The file of vLLM that says so, and the version it was read in."""

    @property
    def title(self) -> str:
        """The format as people write it."""
        return _RULES[self.quantization].title if self.quantization in _RULES else str(self.quantization)


@dataclass(frozen=True)
class KvFormat:
    """How keys and values can be kept."""

    dtype: str | None
    """`fp8`, or None where only the model's own type works."""
    attention_backend: str | None
    """The backend that must be asked for; None leaves the choice to the engine."""
    why: str


_WIDENED = (
    "the weights stay {bits}-bit in memory and are widened to 16 bits inside the kernel (Marlin, weight-only): "
    "decoding, which waits for memory, gains as much; reading a prompt gains nothing"
)


@dataclass(frozen=True)
class _Rule:
    """Compute capabilities as vLLM writes them: 87 for (8, 7)."""

    title: str
    bits: float
    """Of one weight, scales included."""
    native: tuple[int, int]
    """From the first, before the second."""
    native_why: str
    source: str
    fallback_from: int | None = None
    refused_why: str = ""
    cpu: Verdict = Verdict.REFUSED
    cpu_why: str = "vLLM has no kernel for it on a CPU"


_NO_CAPABILITY = "the GPU's compute capability is not known:"
_ANY = (0, 1000)
_LAYERS = "model_executor/layers/quantization"
_KERNELS = "model_executor/kernels/linear"
_BACKENDS = "vLLM 0.32.0, v1/attention/backends"
_FLASHINFER_HEADS = (64, 128, 256)
_AMX = "on a CPU vLLM computes it only with AMX tiles (Intel's Sapphire Rapids or newer)"
_INTEGER = "4-bit integers, which every kernel since Turing widens by design (Marlin)"
_CPU_INTEGER = "vLLM has a kernel for it on CPUs"

_RULES: dict[str | None, _Rule] = {
    "nvfp4": _Rule(
        "NVFP4",
        4.5,
        (100, 130),
        "Blackwell multiplies 4-bit floats",
        f"{_KERNELS}/nvfp4, csrc/quantization/fp4/nvfp4_scaled_mm_entry.cu (0.32.0)",
        fallback_from=75,
        refused_why="4-bit floats need a GPU of compute capability 7.5 or newer",
    ),
    "mxfp4": _Rule(
        "MXFP4",
        4.25,
        (100, 130),
        "Blackwell multiplies 4-bit floats",
        f"{_LAYERS}/mxfp4.py (0.32.0)",
        fallback_from=80,
        refused_why="4-bit floats with shared exponents need a GPU of compute capability 8.0 or newer",
    ),
    "w4a16": _Rule(
        "W4A16",
        4.5,
        (75, 1000),
        _INTEGER,
        f"{_LAYERS}/compressed_tensors/schemes/compressed_tensors_wNa16.py (0.32.0)",
        refused_why="its kernels need a GPU of compute capability 7.5 or newer",
        cpu=Verdict.NATIVE,
        cpu_why=_CPU_INTEGER,
    ),
    "awq": _Rule(
        "AWQ",
        4.5,
        (75, 1000),
        _INTEGER,
        f"{_LAYERS}/auto_awq.py (0.32.0)",
        refused_why="its kernels need a GPU of compute capability 7.5 or newer",
        cpu=Verdict.NATIVE,
        cpu_why=_CPU_INTEGER,
    ),
    "gptq": _Rule(
        "GPTQ",
        4.5,
        (75, 1000),
        _INTEGER,
        f"{_LAYERS}/auto_gptq.py (0.32.0)",
        refused_why="its fast kernels need a GPU of compute capability 7.5 or newer",
        cpu=Verdict.NATIVE,
        cpu_why=_CPU_INTEGER,
    ),
    "fp8": _Rule(
        "FP8",
        8,
        (89, 1000),
        "the GPU multiplies 8-bit floats",
        f"{_LAYERS}/fp8.py (0.32.0)",
        fallback_from=75,
        refused_why="8-bit floats need a GPU of compute capability 7.5 or newer",
        cpu=Verdict.UNKNOWN,
        cpu_why=_AMX,
    ),
    "w8a8-fp8": _Rule(
        "W8A8 FP8",
        8,
        (89, 1000),
        "the GPU multiplies 8-bit floats",
        f"{_LAYERS}/compressed_tensors/compressed_tensors.py (0.32.0)",
        fallback_from=75,
        refused_why="8-bit floats need a GPU of compute capability 7.5 or newer",
    ),
    "w8a8-int8": _Rule(
        "W8A8 INT8",
        8,
        (75, 100),
        "the GPU multiplies 8-bit integers",
        "csrc/quantization/w8a8/cutlass/c3x/scaled_mm_helper.hpp (0.32.0)",
        refused_why="vLLM has no 8-bit integer kernel for Blackwell (`Int8 not supported on SM…`), nor before 7.5",
        cpu=Verdict.NATIVE,
        cpu_why=_CPU_INTEGER,
    ),
    "w8a16": _Rule(
        "W8A16",
        8,
        (75, 1000),
        "8-bit weights, which every kernel since Turing widens by design (Marlin)",
        f"{_LAYERS}/compressed_tensors/schemes/compressed_tensors_wNa16.py (0.32.0)",
        refused_why="its kernels need a GPU of compute capability 7.5 or newer",
        cpu=Verdict.NATIVE,
        cpu_why=_CPU_INTEGER,
    ),
    None: _Rule(
        "plain 16-bit weights",
        16,
        _ANY,
        "nothing is packed",
        f"{_LAYERS}/base_config.py (0.32.0)",
        cpu=Verdict.NATIVE,
        cpu_why="nothing is packed",
    ),
}


def weights_format(
    quantization: str | None, compute_capability: ComputeCapability | None, *, gpu: bool = False
) -> Format:
    """What a GPU of this compute capability, or a CPU (None), makes of weights in this format.

    gpu: without a compute capability it is a GPU all the same, of which that is not known.
    """
    rule = _RULES.get(quantization)
    if rule is None:
        why = f"vedette does not know the format {quantization!r}; whether vLLM runs it here shows at its start"
        return Format(quantization, Verdict.UNKNOWN, why, f"{_LAYERS}/__init__.py (0.32.0)")
    if compute_capability is None and gpu:
        verdict = Verdict.UNKNOWN if quantization else Verdict.NATIVE
        why = f"{_NO_CAPABILITY} whether it runs {rule.title} shows at the engine's start"
        return Format(quantization, verdict, why if quantization else rule.native_why, rule.source)
    if compute_capability is None:
        return Format(quantization, rule.cpu, rule.cpu_why, f"{_KERNELS}/__init__.py (0.32.0)")
    capability = 10 * compute_capability[0] + compute_capability[1]
    if rule.native[0] <= capability < rule.native[1]:
        return Format(quantization, Verdict.NATIVE, rule.native_why, rule.source)
    if rule.fallback_from is not None and rule.fallback_from <= capability < rule.native[0]:
        why = _WIDENED.format(bits=4 if rule.bits < 8 else 8) + _caveat(quantization, capability)
        return Format(quantization, Verdict.FALLBACK, why, rule.source)
    return Format(quantization, Verdict.REFUSED, rule.refused_why, rule.source)


def _caveat(quantization: str | None, capability: int) -> str:
    if capability < 80:
        return "; from vLLM 0.16 on"
    if quantization == "fp8":
        trouble = "wrong answers were reported for one release on Orin, so look at the first ones; " * (
            capability == 87
        )
        return f"; {trouble}checkpoints made with ModelOpt need vLLM 0.27 or newer for that"
    return ""


def best_formats(compute_capability: ComputeCapability | None) -> tuple[Format, ...]:
    """Every format known, the best first: native ones before fallbacks before refused, the fewest bits first.

    Decoding for one person reads all weights for every token, so the fewest bits are the fastest.
    """
    found = [weights_format(quantization, compute_capability) for quantization in _RULES]
    order = (Verdict.NATIVE, Verdict.FALLBACK, Verdict.UNKNOWN, Verdict.REFUSED)
    return tuple(sorted(found, key=lambda found: (order.index(found.verdict), _RULES[found.quantization].bits)))


def advice(compute_capability: ComputeCapability | None) -> str:
    """Which checkpoint to look for, in one sentence."""
    device = "This CPU" if compute_capability is None else "This GPU (sm_{}{})".format(*compute_capability)
    parts = []
    for verdict, verb in (
        (Verdict.NATIVE, "runs natively"),
        (Verdict.FALLBACK, "widens in the kernel"),
        (Verdict.UNKNOWN, "may run"),
        (Verdict.REFUSED, "cannot run"),
    ):
        titles = [found.title for found in best_formats(compute_capability) if found.verdict is verdict]
        if titles:
            parts.append(f"{verb} {', '.join(titles)}")
    return f"{device} {'; '.join(parts)}."


def kv_dtype(
    compute_capability: ComputeCapability | None,
    head_size: int,
    *,
    bidirectional_pictures: bool = False,
    avx512: bool | None = None,
) -> KvFormat:
    """Whether keys and values can be kept in 8 bits, which halves them, and with which attention backend.

    bidirectional_pictures: the tokens of one picture see each other (Gemma 3). avx512: of a CPU; None: not known.
    8 bits lose precision: whether the answers are still good is for the model's user to see.
    """
    if compute_capability is None:
        if avx512 and head_size % 32 == 0:
            return KvFormat("fp8", None, f"a CPU with AVX-512 reads 8-bit keys and values ({_BACKENDS}/cpu_attn.py)")
        why = f"on a CPU 8-bit keys and values take AVX-512 and heads of a multiple of 32 ({_BACKENDS}/cpu_attn.py)"
        return KvFormat(None, None, why)
    if compute_capability < (8, 0):
        why = f"8-bit keys and values need a GPU of compute capability 8.0 or newer ({_BACKENDS}/flashinfer.py)"
        return KvFormat(None, None, why)
    if compute_capability >= (8, 9):
        return KvFormat("fp8", None, f"the GPU has 8-bit floats, and every choice of backend reads them ({_BACKENDS})")
    if bidirectional_pictures or head_size not in _FLASHINFER_HEADS:
        why = (
            "below sm_89 only FlashInfer reads 8-bit keys and values, and it does not do this model's attention "
            f"({_BACKENDS}/flashinfer.py)"
        )
        return KvFormat(None, None, why)
    # Left to itself vLLM takes Triton where FlashInfer is missing, and Triton then ends the start.
    why = (
        "FlashAttention 2 cannot read 8-bit keys and values and Triton refuses them below sm_89; FlashInfer takes them "
        f"from sm_80 on ({_BACKENDS}/flashinfer.py), which was read, not tried on such a board"
    )
    return KvFormat("fp8", "FLASHINFER", why)
