"""Formats of weights and of keys and values that a device runs natively, by a fallback, or not at all. Pure.

Taken from vLLM's sources, 0.11.0 to 0.33.0, without running them on these devices. Versions are named where they
matter.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from vedette.language.message import Message
from vedette.models.model import JOINED

ComputeCapability = tuple[int, int]
"""(8, 7) for sm_87."""


class Verdict(Enum):
    """How a device runs a format."""

    NATIVE = "native"
    FALLBACK = "fallback"
    """It runs in another way than intended: it saves the memory, but not all of the time."""
    REFUSED = "refused"
    UNKNOWN = "unknown"


_FROM_BEST = (Verdict.NATIVE, Verdict.FALLBACK, Verdict.UNKNOWN, Verdict.REFUSED)


@dataclass(frozen=True)
class Format:
    """How a device runs one format of weights."""

    quantization: str | None
    """As in `Model.quantization`; None: plain weights."""
    verdict: Verdict
    why: Message
    source: str
    """The file of vLLM that shows this, and its version."""

    @property
    def title(self) -> Message:
        """The format as people write it."""
        quantization = self.quantization
        rule = _RULES.get(quantization) or _FURTHER_RULES.get(quantization)
        if rule is not None:
            return rule.title
        if quantization is not None and JOINED in quantization:
            titles = (Format(part, self.verdict, self.why, self.source).title for part in quantization.split(JOINED))
            return Message("plan.format.several", formats=tuple(titles))
        if quantization is not None and (odd := _ODD_GPTQ.fullmatch(quantization)):
            bits = int(odd[1] or 4)
            return (
                Message("plan.format.gptq_asymmetric", bits=bits)
                if odd[2]
                else Message("plan.format.gptq_of", bits=bits)
            )
        if quantization == "mlx":
            return Message("plan.value.name", name="MLX")
        return Message("plan.value.name", name=self.quantization)


@dataclass(frozen=True)
class KvFormat:
    """How keys and values can be kept."""

    dtype: str | None
    """`fp8`, or None where only the model's own type works."""
    attention_backend: str | None
    """The backend that the engine must be given; None leaves the choice to the engine."""
    why: Message


PLAIN = Message("plan.format.plain")
"""Title of weights in 16 bits."""
_KERNELS_NEED_7_5 = Message("plan.format.kernels_need_7_5")
_NO_CPU_KERNEL = Message("plan.format.no_cpu_kernel")


@dataclass(frozen=True)
class _Rule:
    """Compute capabilities as vLLM writes them: 87 for (8, 7)."""

    title: Message
    bits: float
    """Of one weight, scales included."""
    native: tuple[int, int]
    """From the first, before the second."""
    native_why: Message
    source: str
    fallback_from: int | None = None
    refused_why: Message = _KERNELS_NEED_7_5
    cpu: Verdict = Verdict.REFUSED
    cpu_why: Message = _NO_CPU_KERNEL


_ANY = (0, 1000)
_LAYERS = "model_executor/layers/quantization"
_KERNELS = "model_executor/kernels/linear"
_BACKENDS = "vLLM 0.32.0, v1/attention/backends"
_FLASHINFER_HEADS = (64, 128, 256)
_CPU_KERNEL = Message("plan.format.cpu_kernel")
_PACKED_INTEGERS = Message("plan.format.int4_widened")
_NOT_PACKED = Message("plan.format.not_packed")


def _name(name: str) -> Message:
    return Message("plan.value.name", name=name)


_RULES: dict[str | None, _Rule] = {
    "nvfp4": _Rule(
        _name("NVFP4"),
        4.5,
        (100, 130),
        Message("plan.format.fp4"),
        f"{_KERNELS}/nvfp4, csrc/quantization/fp4/nvfp4_scaled_mm_entry.cu (0.32.0)",
        fallback_from=75,
        refused_why=Message("plan.format.fp4_needs_7_5"),
    ),
    "mxfp4": _Rule(
        _name("MXFP4"),
        4.25,
        (100, 130),
        Message("plan.format.fp4"),
        f"{_LAYERS}/mxfp4.py (0.32.0)",
        fallback_from=80,
        refused_why=Message("plan.format.mxfp4_needs_8_0"),
    ),
    "w4a16": _Rule(
        _name("W4A16"),
        4.5,
        (75, 1000),
        _PACKED_INTEGERS,
        f"{_LAYERS}/compressed_tensors/schemes/compressed_tensors_wNa16.py (0.32.0)",
        cpu=Verdict.NATIVE,
        cpu_why=_CPU_KERNEL,
    ),
    "awq": _Rule(
        _name("AWQ"),
        4.5,
        (75, 1000),
        _PACKED_INTEGERS,
        f"{_LAYERS}/auto_awq.py (0.32.0)",
        cpu=Verdict.NATIVE,
        cpu_why=_CPU_KERNEL,
    ),
    "gptq": _Rule(
        _name("GPTQ"),
        4.5,
        (75, 1000),
        _PACKED_INTEGERS,
        f"{_LAYERS}/auto_gptq.py (0.32.0)",
        refused_why=Message("plan.format.fast_kernels_need_7_5"),
        cpu=Verdict.NATIVE,
        cpu_why=_CPU_KERNEL,
    ),
    "fp8": _Rule(
        _name("FP8"),
        8,
        (89, 1000),
        Message("plan.format.fp8"),
        f"{_LAYERS}/fp8.py (0.32.0)",
        fallback_from=75,
        refused_why=Message("plan.format.fp8_needs_7_5"),
        cpu=Verdict.UNKNOWN,
        cpu_why=Message("plan.format.amx"),
    ),
    "w8a8-fp8": _Rule(
        _name("W8A8 FP8"),
        8,
        (89, 1000),
        Message("plan.format.fp8"),
        f"{_LAYERS}/compressed_tensors/compressed_tensors.py (0.32.0)",
        fallback_from=75,
        refused_why=Message("plan.format.fp8_needs_7_5"),
    ),
    "w8a8-int8": _Rule(
        _name("W8A8 INT8"),
        8,
        (75, 100),
        Message("plan.format.int8"),
        "csrc/quantization/w8a8/cutlass/c3x/scaled_mm_helper.hpp (0.32.0)",
        refused_why=Message("plan.format.int8_refused"),
        cpu=Verdict.NATIVE,
        cpu_why=_CPU_KERNEL,
    ),
    "w8a16": _Rule(
        _name("W8A16"),
        8,
        (75, 1000),
        Message("plan.format.int8_widened"),
        f"{_LAYERS}/compressed_tensors/schemes/compressed_tensors_wNa16.py (0.32.0)",
        cpu=Verdict.NATIVE,
        cpu_why=_CPU_KERNEL,
    ),
    None: _Rule(
        PLAIN,
        16,
        _ANY,
        _NOT_PACKED,
        f"{_LAYERS}/base_config.py (0.32.0)",
        cpu=Verdict.NATIVE,
        cpu_why=_NOT_PACKED,
    ),
}


_FURTHER_RULES: dict[str | None, _Rule] = {
    "gptq-8bit": _Rule(
        Message("plan.format.gptq_of", bits=8),
        8,
        (75, 1000),
        Message("plan.format.int8_widened"),
        f"{_LAYERS}/auto_gptq.py (0.32.0)",
        refused_why=Message("plan.format.fast_kernels_need_7_5"),
    ),
}
"""Formats that are seldom published: no advice names them."""
_ODD_GPTQ = re.compile(r"gptq(?:-(\d)bit)?(-asymmetric)?")
"""GPTQ that Marlin's kernels do not run."""
OLD_GPTQ = "gptq exllama"
"""Among an engine's methods: it has kernels for every GPTQ."""
_OWN_NAME = re.compile(r"w\d+a\d+.*|compressed-tensors|unknown|mxfp\d|.*fp4.*|.*fp8.*")
"""Formats that are schemes of a method, not methods themselves."""


def weights_format(
    quantization: str | None,
    compute_capability: ComputeCapability | None,
    *,
    gpu: bool = False,
    methods: frozenset[str] | None = None,
) -> Format:
    """Return how a GPU of this compute capability, or a CPU (None), runs weights in this format.

    quantization: several formats, joined, are as good as the worst of them.
    gpu: the device is a GPU even without a compute capability, which is then unknown.
    methods: the engine's methods of quantization; None: unknown.
    """
    if quantization is not None and JOINED in quantization:
        parts = quantization.split(JOINED)
        return _joined(
            quantization,
            [weights_format(part, compute_capability, gpu=gpu, methods=methods) for part in parts],
        )
    rule = _RULES.get(quantization) or _FURTHER_RULES.get(quantization)
    if rule is None:
        return _without_rule(quantization or "", gpu, methods)
    if compute_capability is None and gpu:
        if quantization is None:
            return Format(quantization, Verdict.NATIVE, rule.native_why, rule.source)
        why = Message("plan.format.unknown_gpu", format=rule.title)
        return Format(quantization, Verdict.UNKNOWN, why, rule.source)
    if compute_capability is None:
        return Format(quantization, rule.cpu, rule.cpu_why, f"{_KERNELS}/__init__.py (0.32.0)")
    capability = 10 * compute_capability[0] + compute_capability[1]
    if rule.native[0] <= capability < rule.native[1]:
        return Format(quantization, Verdict.NATIVE, rule.native_why, rule.source)
    if rule.fallback_from is not None and rule.fallback_from <= capability < rule.native[0]:
        bits, caveat = 4 if rule.bits < 8 else 8, _caveat(quantization, capability)
        why = Message("plan.format.widened", bits=bits, caveat=caveat)
        return Format(quantization, Verdict.FALLBACK, why, rule.source)
    return Format(quantization, Verdict.REFUSED, rule.refused_why, rule.source)


def _joined(quantization: str, parts: Sequence[Format]) -> Format:
    """Return how a device runs layers of several formats."""
    worst = max(parts, key=lambda each: _FROM_BEST.index(each.verdict))
    reasons = tuple(Message("plan.format.one_of_several", format=each.title, why=each.why) for each in parts)
    return Format(quantization, worst.verdict, Message("plan.format.several_why", parts=reasons), worst.source)


def _without_rule(quantization: str, gpu: bool, methods: frozenset[str] | None) -> Format:
    """Return what is known of a format that has no rule for each GPU."""
    source = f"{_LAYERS}/__init__.py (0.32.0)"
    if quantization == "mlx":
        return Format(quantization, Verdict.REFUSED, Message("plan.format.mlx"), source)
    if _ODD_GPTQ.fullmatch(quantization):
        return _odd_gptq(quantization, gpu and (methods is None or OLD_GPTQ in methods))
    if methods is not None and quantization not in methods and not _OWN_NAME.fullmatch(quantization):
        return Format(quantization, Verdict.REFUSED, Message("plan.format.no_method", format=quantization), source)
    return Format(quantization, Verdict.UNKNOWN, Message("plan.format.unknown", format=quantization), source)


def _odd_gptq(quantization: str, has_kernels: bool) -> Format:
    source = f"{_LAYERS}/auto_gptq.py (0.32.0)"
    if has_kernels:
        return Format(quantization, Verdict.FALLBACK, Message("plan.format.gptq_old_kernels"), source)
    return Format(quantization, Verdict.REFUSED, Message("plan.format.gptq_not_marlin"), source)


def _caveat(quantization: str | None, capability: int) -> Message | None:
    if capability < 80:
        return Message("plan.format.since_0_16")
    if quantization != "fp8":
        return None
    return Message("plan.format.fp8_on_orin") if capability == 87 else Message("plan.format.modelopt")


def best_formats(compute_capability: ComputeCapability | None) -> tuple[Format, ...]:
    """Return every known format, the best first: native, fallback, unknown, refused; each with the fewest bits first.

    Decoding for one person reads all weights for every token, so the fewest bits are the fastest.
    """
    found = [weights_format(quantization, compute_capability) for quantization in _RULES]
    return tuple(sorted(found, key=lambda found: (_FROM_BEST.index(found.verdict), _RULES[found.quantization].bits)))


def advice(compute_capability: ComputeCapability | None) -> Message:
    """Return which checkpoints to look for: the formats by verdict, as a sentence without its full stop."""
    found = best_formats(compute_capability)

    def titles(verdict: Verdict) -> tuple[Message, ...]:
        return tuple(each.title for each in found if each.verdict is verdict)

    native, widened = titles(Verdict.NATIVE), titles(Verdict.FALLBACK)
    uncertain, refused = titles(Verdict.UNKNOWN), titles(Verdict.REFUSED)
    also_widened = Message("plan.advice.widened", formats=widened) if widened else None
    also_uncertain = Message("plan.advice.uncertain", formats=uncertain) if uncertain else None
    but_refused = Message("plan.advice.refused", formats=refused) if refused else None
    if compute_capability is None:
        return Message(
            "plan.advice.cpu", native=native, widened=also_widened, uncertain=also_uncertain, refused=but_refused
        )
    return Message(
        "plan.advice.gpu",
        major=compute_capability[0],
        minor=compute_capability[1],
        native=native,
        widened=also_widened,
        uncertain=also_uncertain,
        refused=but_refused,
    )


def kv_dtype(
    compute_capability: ComputeCapability | None,
    head_size: int,
    *,
    bidirectional_pictures: bool = False,
    avx512: bool | None = None,
) -> KvFormat:
    """Return whether 8 bits can hold keys and values, which halves them, and with which attention backend.

    bidirectional_pictures: the tokens of one picture attend to each other (Gemma 3). avx512: of a CPU; None: unknown.
    8 bits lose precision: the user has to judge whether the answers are still good.
    """
    if compute_capability is None:
        source = f"{_BACKENDS}/cpu_attn.py"
        if avx512 and head_size % 32 == 0:
            return KvFormat("fp8", None, Message("plan.kv.cpu_avx512", source=source))
        return KvFormat(None, None, Message("plan.kv.cpu", source=source))
    source = f"{_BACKENDS}/flashinfer.py"
    if compute_capability < (8, 0):
        return KvFormat(None, None, Message("plan.kv.old_gpu", source=source))
    if compute_capability >= (8, 9):
        return KvFormat("fp8", None, Message("plan.kv.native", source=_BACKENDS))
    if bidirectional_pictures or head_size not in _FLASHINFER_HEADS:
        return KvFormat(None, None, Message("plan.kv.flashinfer_cannot", source=source))
    # Without this backend vLLM uses Triton where FlashInfer is missing, and Triton then ends the start.
    return KvFormat("fp8", "FLASHINFER", Message("plan.kv.flashinfer", source=source))
