"""Makes the plan: facts and a wish in, every number with its reason out. Pure and deterministic."""

from vedette.device.facts import Device, Family
from vedette.errors import BadInputError
from vedette.models.facts import Model
from vedette.plan import memory as parts
from vedette.plan.ladder import CLIP_FRAMES, Rung, rungs
from vedette.plan.plan import Backend, Context, EngineSettings, Graphs, Memory, Plan, Speed, Wish
from vedette.plan.reasons import plan_reasons


def make_plan(device: Device, model: Model, wish: Wish, backend: Backend | None = None) -> Plan:
    """How `model` runs on `device`: the first of what one would like that fits, or, if nothing does, the least
    with `fits=False` and `shortfall_bytes`.

    backend: the kind of engine; by default CUDA's where there is a GPU.
    Raises BadInputError for a wish that no memory could grant.
    """
    backend = backend or (Backend.CPU if device.family is Family.CPU else Backend.CUDA)
    asked = list(rungs(model, wish, backend))
    if not asked:
        raise BadInputError(
            f"The wished pictures, prompt and answer do not all fit into the context of {model.name}.",
            f"Ask for less, or for a longer context (at most {model.max_position_embeddings}).",
        )
    needs = [_memory(device, model, rung, backend) for rung in asked]
    chosen = next((index for index, need in enumerate(needs) if need.shortfall_bytes == 0), len(asked) - 1)
    rung, need = asked[chosen], needs[chosen]
    settings = _settings(device, model, rung, need, backend)
    return Plan(
        model_name=model.name,
        device_name=device.name,
        fits=need.shortfall_bytes == 0,
        memory=need,
        context=_context(rung),
        settings=settings,
        speed=Speed(decode_tokens_per_s_ceiling=_decode_ceiling(device, model, backend)),
        reasons=plan_reasons(device, model, wish, settings, need, (asked[0], rung, needs[0])),
    )


def _memory(device: Device, model: Model, rung: Rung, backend: Backend) -> Memory:
    load = parts.Load(
        max_model_len=rung.max_model_len,
        concurrency=rung.concurrency,
        batched_tokens=rung.batched_tokens,
        images=rung.images,
        image_max_pixels=rung.image_max_pixels,
        clip_tokens=rung.clip_tokens,
    )
    sees = rung.images > 0
    return Memory(
        weights_bytes=model.weights_bytes
        - (0 if sees else model.vision_weights_bytes)
        + parts.position_cache_bytes(model)
        + parts.repacked_bytes(model, backend),
        kv_cache_bytes=parts.kv_cache_bytes(model, load, backend),
        activation_bytes=parts.activation_bytes(model, load, backend),
        vision_activation_bytes=parts.vision_activation_bytes(model, load),
        cuda_graph_bytes=parts.GRAPH_BYTES if backend is Backend.CUDA else 0,
        runtime_bytes=parts.runtime_bytes(backend),
        host_bytes=parts.host_bytes(model, backend),
        reserve_bytes=parts.reserve_bytes(device.memory_available_bytes),
        available_bytes=device.memory_available_bytes,
        host_available_bytes=None if device.unified_memory else device.host_memory_available_bytes,
    )


def _context(rung: Rung) -> Context:
    return Context(
        max_model_len=rung.max_model_len,
        visual_tokens=rung.visual_tokens,
        images_per_request=rung.images,
        prompt_tokens=rung.prompt_tokens,
        answer_tokens=rung.answer_tokens,
        image_max_pixels=rung.image_max_pixels,
        concurrency=rung.concurrency,
    )


def _settings(device: Device, model: Model, rung: Rung, need: Memory, backend: Backend) -> EngineSettings:
    cuda = backend is Backend.CUDA
    return EngineSettings(
        backend=backend,
        dtype=model.dtype,
        max_model_len=rung.max_model_len,
        max_num_seqs=rung.concurrency,
        max_num_batched_tokens=rung.batched_tokens,
        kv_cache_bytes=need.kv_cache_bytes,
        gpu_memory_utilization=_utilization(need, device.memory_total_bytes) if cuda else None,
        kv_cache_dtype=None,
        graphs=Graphs.GRAPHS if cuda else Graphs.EAGER,
        capture_sizes=_capture_sizes(rung.concurrency) if cuda else (),
        images_per_prompt=rung.images,
        videos_per_prompt=rung.videos,
        image_max_pixels=rung.image_max_pixels,
        video_max_pixels=rung.video_max_pixels,
        video_frames=CLIP_FRAMES if rung.videos else 0,
        processor_cache_bytes=parts.PROCESSOR_CACHE_BYTES if model.vision else 0,
        reasoning_parser="qwen3" if model.thinks else None,
    )


def _utilization(need: Memory, total_bytes: int) -> float:
    """The gate at start: as much as the engine will put there, rounded down, so that a plan that fits passes."""
    return min(0.95, max(0.01, need.engine_bytes * 100 // total_bytes / 100))


def _capture_sizes(concurrency: int) -> tuple[int, ...]:
    """Batch sizes with a graph of their own: the powers of two up to the concurrency, and that itself."""
    powers = [1 << exponent for exponent in range(concurrency.bit_length()) if 1 << exponent < concurrency]
    return (*powers, concurrency)


def _decode_ceiling(device: Device, model: Model, backend: Backend) -> float | None:
    """Tokens/s that no engine can pass: every weight but the vision tower's is read once a token."""
    if device.memory_bandwidth_bytes_per_s is None or backend is Backend.CPU:
        return None
    return device.memory_bandwidth_bytes_per_s / model.decode_weights_bytes
