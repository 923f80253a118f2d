"""Makes a plan from facts and a wish, with a reason for every number. Pure and deterministic."""

from collections.abc import Mapping
from dataclasses import replace

from vedette.device.device import Device, Family
from vedette.language.message import Message
from vedette.models.forms.reasoning import SWITCHED
from vedette.models.model import Model
from vedette.plan import memory as parts
from vedette.plan.calibration import Calibration
from vedette.plan.climb import Choice, climb
from vedette.plan.formats import Verdict, advice, weights_format
from vedette.plan.gate import gate_utilization
from vedette.plan.ladder import CLIP_FRAMES, Ladder, Rung
from vedette.plan.plan import (
    USUAL_ENGINE,
    Backend,
    Concession,
    Context,
    EngineSettings,
    EngineTraits,
    Graphs,
    Plan,
    Trust,
    Wish,
)
from vedette.plan.reasons.context_reasons import given_wish, missed_purpose
from vedette.plan.reasons.plan_reasons import plan_reasons
from vedette.plan.reasons.settings_reasons import own_files
from vedette.plan.speed import plan_speed


def make_plan(
    device: Device,
    model: Model,
    wish: Wish,
    backend: Backend | None = None,
    calibration: Calibration | None = None,
    engine: EngineTraits = USUAL_ENGINE,
) -> Plan:
    """Return how `model` runs on `device`: the best settings that fit.

    A wish that does not fit becomes a concession. If nothing fits, the plan is the smallest useful one, with
    `fits=False` and `shortfall_bytes`.

    backend: the kind of engine; by default CUDA where there is a GPU.
    calibration: measurements of an earlier start on this device.
    engine: what the version that will run can do.
    Raises BadInputError for a wish that no amount of memory could grant.
    """
    backend = backend or (Backend.CPU if device.family is Family.CPU else Backend.CUDA)
    site = parts.Site(device, model, backend, calibration, engine, wish.sounds_per_request or 0)
    eight_bits = _eight_bit_cache(site) is not None
    wished = Ladder(model, wish, backend, eight_bits, engine.limits_clips, eight_bits and model.cache_order == "fp8")
    choice = climb(site, wished)
    if choice is None:
        raise wished.refusal()
    choice, concession = _conceded(site, wished, choice)
    settings = replace(_settings(site, choice), trusts_own_code=bool(model.own_code) and wish.trust is Trust.GIVEN)
    unsupported = _unsupported(site, wish)
    return Plan(
        model_name=model.name,
        device_name=device.name,
        fits=choice.need.shortfall_bytes == 0 and unsupported is None,
        memory=choice.need,
        context=_context(choice.rung),
        settings=settings,
        speed=plan_speed(site, choice.rung),
        reasons=plan_reasons(site, wish, settings, choice),
        ignored=missed_purpose(site, wish, choice),
        concession=concession,
        unsupported=unsupported,
    )


def _conceded(site: parts.Site, ladder: Ladder, choice: Choice) -> tuple[Choice, Concession | None]:
    """Return `choice` if it fits, else the best choice that fits and grants less than the wish, with a concession."""
    if not choice.need.shortfall_bytes:
        return choice, None
    best = climb(site, replace(ladder, relaxed=True))
    if best is None or best.rung == choice.rung:
        return choice, None
    wished, planned = (given_wish(ladder.wish, rung) for rung in (choice.rung, best.rung))
    return best, Concession(wished, planned, choice.need.shortfall_bytes) if wished != planned else None


def _unsupported(site: parts.Site, wish: Wish) -> Message | None:
    model = site.model
    if (version := site.engine.later_architectures.get(model.architecture)) is not None:
        return Message("plan.newer_engine", architecture=model.architecture, version=version)
    if model.own_code and wish.trust is not Trust.GIVEN:
        files = own_files(model)
        if wish.trust is Trust.OUTDATED:
            return Message("plan.own_code_changed", model=model.name, files=files)
        return Message("plan.own_code", model=model.name, files=files)
    cuda = site.backend is Backend.CUDA
    capability = site.device.compute_capability if cuda else None
    answer = weights_format(site.model.quantization, capability, gpu=cuda, methods=site.engine.formats)
    if answer.verdict is not Verdict.REFUSED:
        return None
    return Message("plan.unsupported_format", format=answer.title, why=answer.why, advice=advice(capability))


def _context(rung: Rung) -> Context:
    return Context(
        max_model_len=rung.max_model_len,
        visual_tokens=rung.visual_tokens,
        images_per_request=rung.images,
        prompt_tokens=rung.prompt_tokens,
        answer_tokens=rung.answer_tokens,
        image_max_pixels=rung.image_max_pixels,
        concurrency=rung.concurrency,
        clip_frames=CLIP_FRAMES if rung.videos else 0,
    )


def _settings(site: parts.Site, choice: Choice) -> EngineSettings:
    model, rung, need = site.model, choice.rung, choice.need
    cuda = site.backend is Backend.CUDA
    graphs = cuda and rung.graphs
    return EngineSettings(
        backend=site.backend,
        dtype=model.dtype,
        max_model_len=rung.max_model_len,
        max_num_seqs=rung.concurrency,
        max_num_batched_tokens=rung.batched_tokens,
        kv_cache_bytes=need.kv_cache_bytes,
        gpu_memory_utilization=gate_utilization(site.device.memory_total_bytes, need.available_bytes) if cuda else None,
        kv_cache_dtype=_eight_bit_cache(site) if rung.fp8_cache else None,
        overrides_cache_order=model.cache_order is not None and not rung.fp8_cache,
        prefix_caching=parts.prefix_caching(model),
        graphs=Graphs.GRAPHS if graphs else Graphs.EAGER,
        capture_sizes=parts.capture_sizes(rung.concurrency) if graphs else (),
        images_per_prompt=rung.images,
        videos_per_prompt=rung.videos,
        image_max_pixels=rung.image_max_pixels,
        video_max_pixels=rung.video_max_pixels,
        video_frames=CLIP_FRAMES if rung.videos else 0,
        processor_cache_bytes=parts.processor_cache_bytes(rung.concurrency * rung.images, rung.image_max_pixels),
        reasoning_parser=(model.reasoning_parser or SWITCHED) if model.thinks else None,
        switches_thinking=model.reasoning_parser in {None, SWITCHED},
        sounds_per_prompt=(site.sounds if model.hears else None),
        # One core is left to the server: with a thread on each core, all threads wait when one core is taken.
        threads=None if cuda else max(1, site.device.cpu_count - 1),
        returns_memory=not cuda and need.available_bytes - need.total_bytes < parts.kept_bytes(model),
        processor_arguments=_processor_arguments(site, rung),
        hf_overrides=parts.position_overrides(site, rung.max_model_len),
    )


def _processor_arguments(site: parts.Site, rung: Rung) -> Mapping[str, object]:
    """Return the limits of pictures and clips, for engines that know one for both as that one."""
    vision = site.model.vision
    if vision is None or not rung.images:
        return {}
    if rung.videos and rung.image_max_pixels is not None and not site.engine.limits_clips:
        return vision.joint_arguments(rung.image_max_pixels)
    return vision.processor_arguments(rung.image_max_pixels, rung.video_max_pixels)


def _eight_bit_cache(site: parts.Site) -> str | None:
    """Return the 8-bit type for keys and values; None if the device cannot use it, or it would save nothing."""
    answer = parts.kv_format(site)
    # A backend that has to be named has not been tried on such a board yet.
    return answer.dtype if answer.attention_backend is None else None
