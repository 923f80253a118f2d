"""A plan: how one model runs on one device, with a reason for every number. Values only; no files, no clocks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from vedette.language.message import Message


class Basis(Enum):
    """Where a number comes from."""

    COMPUTED = "computed"
    ASSUMED = "assumed"
    CALIBRATED = "calibrated"


class Backend(Enum):
    """The kind of vLLM that will run."""

    CPU = "cpu"
    CUDA = "cuda"


@dataclass(frozen=True)
class EngineTraits:
    """Properties of the engine's version that a plan depends on. The defaults are those of vLLM 0.29 to 0.31."""

    limits_clips: bool = True
    """Clips can be limited apart from pictures. Without that, one limit holds for both."""
    spare_positions: bool = True
    """Rotary tables have room for long videos (`Rotary.spare`)."""
    formats: frozenset[str] | None = None
    """The engine's methods of quantization; None: unknown."""
    later_architectures: Mapping[str, str] = field(default_factory=dict)
    """Architectures that only newer engines have a class for, with the first version of each."""


USUAL_ENGINE = EngineTraits()


class Workload(Enum):
    """The main use of the model. It decides what is reduced first when memory is short."""

    LIVE = "live"
    """One picture after another, each with a short question and a short answer."""
    CLIP = "clip"
    """Short clips with a question."""
    CHAT = "chat"
    """Conversations, with pictures now and then."""
    API = "api"
    """Other programs' requests: as long a context as fits."""


class Trust(Enum):
    """Whether a model's own code may run."""

    NONE = "none"
    OUTDATED = "outdated"
    """It was trusted, but has changed since."""
    GIVEN = "given"


class Graphs(Enum):
    """How the engine launches a decode step."""

    EAGER = "eager"
    GRAPHS = "graphs"
    """CUDA graphs without torch.compile."""
    COMPILED = "compiled"


@dataclass(frozen=True)
class Wish:
    """What the user asks for; `None` lets the plan choose."""

    workload: Workload | None = None
    """None: a live page and conversations at the same time."""
    image_max_pixels: int | None = None
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    images_per_request: int | None = None
    concurrency: int | None = None
    max_model_len: int | None = None
    sounds_per_request: int | None = None
    """Recordings; None is 0."""
    trust: Trust = Trust.NONE


@dataclass(frozen=True)
class Memory:
    """The parts of the memory. On unified memory all of them are the same RAM."""

    weights_bytes: int
    kv_cache_bytes: int
    activation_bytes: int
    vision_activation_bytes: int
    cuda_graph_bytes: int
    runtime_bytes: int
    """CUDA context and other memory that the engine does not count."""
    host_bytes: int
    """Private memory of the engine's own processes: RAM, which is separate only beside a discrete GPU."""
    reserve_bytes: int
    """Left to the operating system and other programs."""
    available_bytes: int
    host_available_bytes: int | None = None
    """RAM for `host_bytes` beside a discrete GPU; None where it is the same memory."""

    @property
    def engine_bytes(self) -> int:
        """Memory of the engine beside the model; on a GPU, what its check at start asks for."""
        return (
            self.weights_bytes
            + self.kv_cache_bytes
            + self.activation_bytes
            + self.vision_activation_bytes
            + self.cuda_graph_bytes
        )

    @property
    def total_bytes(self) -> int:
        """Everything the plan uses or keeps free of `available_bytes`."""
        shared = self.host_bytes if self.host_available_bytes is None else 0
        return self.engine_bytes + self.runtime_bytes + shared + self.reserve_bytes

    @property
    def shortfall_bytes(self) -> int:
        """How much more memory would be needed; 0 when everything fits."""
        short = max(0, self.total_bytes - self.available_bytes)
        if self.host_available_bytes is not None:
            short += max(0, self.host_bytes - self.host_available_bytes)
        return short


@dataclass(frozen=True)
class Context:
    """The context as one budget: pictures + prompt + answer tokens never exceed `max_model_len`."""

    max_model_len: int
    visual_tokens: int
    """The most that one picture of any shape takes, markers included; 0 for a text model."""
    images_per_request: int
    prompt_tokens: int
    answer_tokens: int
    """Reasoning and answer together."""
    image_max_pixels: int | None
    """Of a picture, and of each frame of a clip."""
    concurrency: int
    clip_frames: int = 0
    """The most frames of a clip; 0 where clips are off."""


@dataclass(frozen=True)
class EngineSettings:
    """The plan in the engine's terms, without the flag names of a version, which `engine/vllm/flags.py` knows."""

    backend: Backend
    dtype: str
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    kv_cache_bytes: int
    gpu_memory_utilization: float | None
    """Only the check at start; None where the engine skips it (CPU)."""
    kv_cache_dtype: str | None
    graphs: Graphs
    capture_sizes: tuple[int, ...]
    images_per_prompt: int
    """0 switches the modality off."""
    videos_per_prompt: int
    image_max_pixels: int | None
    video_max_pixels: int | None
    """Limit of a clip in its processor's terms (`Vision.clip_max_pixels`); None where clips are off."""
    video_frames: int
    """Frames taken of a clip; 0 where clips are off."""
    processor_cache_bytes: int
    reasoning_parser: str | None
    threads: int | None = None
    """Threads that compute; None where a GPU does."""
    returns_memory: bool = False
    """On a CPU: the engine returns large blocks as soon as they are free, and reads prompts more slowly."""
    prefix_caching: bool = True
    attention_backend: str | None = None
    """None leaves the choice to the engine."""
    processor_arguments: Mapping[str, object] = field(default_factory=dict)
    """Options of the model's own picture processor (`--mm-processor-kwargs`)."""
    trusts_own_code: bool = False
    """The engine may run the Python files that the model brings."""
    switches_thinking: bool = True
    """A request can switch reasoning on and off; False where the chat template always opens a thought."""
    sounds_per_prompt: int | None = None
    """0 switches sound off; None for a model that does not hear."""
    overrides_cache_order: bool = False
    """The checkpoint orders another type for keys and values than `dtype`, which is said explicitly."""
    hf_overrides: Mapping[str, object] = field(default_factory=dict)
    """Values that replace those of config.json."""


@dataclass(frozen=True)
class Reason:
    """Why one number is what it is."""

    subject: str
    value: Message
    why: Message
    """A phrase without a capital letter and a full stop."""
    basis: Basis


@dataclass(frozen=True)
class Speed:
    """Limits of the hardware; None where a figure of the device is not known."""

    decode_tokens_per_s_ceiling: float | None = None
    """Of one request: the memory's bandwidth over the bytes read for each token."""
    decode_tokens_per_s: float | None = None
    """The ceiling times the share of it that a measured start on this device reached."""
    first_token_ms_floor: float | None = None
    """Of a request with one largest picture (or, for a text model, a prompt of full length): arithmetic alone."""


@dataclass(frozen=True)
class Concession:
    """A wish that does not fit, and what is planned instead."""

    wished: Message
    """A phrase: `4 requests at once`."""
    planned: Message
    missing_bytes: int
    """How much more memory the wish would need."""


@dataclass(frozen=True)
class Plan:
    """Whether and how a model runs on a device."""

    model_name: str
    device_name: str
    fits: bool
    memory: Memory
    context: Context
    settings: EngineSettings
    speed: Speed
    reasons: tuple[Reason, ...] = field(default_factory=tuple)
    ignored: tuple[Message, ...] = ()
    """Parts of the wish that the plan is made without: what the model cannot do, and what the workload was for."""
    concession: Concession | None = None
    """Set where the wish does not fit and the plan is the best that fits."""
    unsupported: Message | None = None
    """Why this device cannot run this model with any amount of memory, a sentence; then `fits` is False."""

    @property
    def shortfall_bytes(self) -> int:
        """How much more memory would be needed; 0 when the plan fits."""
        return self.memory.shortfall_bytes
