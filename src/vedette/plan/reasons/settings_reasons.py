"""Why the engine has its settings, including those that it would choose itself. Pure."""

from collections.abc import Iterator

from vedette.device.device import Device
from vedette.language.message import Message
from vedette.models.model import Model
from vedette.plan import memory as parts
from vedette.plan.formats import Verdict, advice, weights_format
from vedette.plan.plan import Backend, Basis, EngineSettings, Graphs, Reason
from vedette.plan.reasons.values import count_value, name_value, size_value

_GRAPHS = {
    (Backend.CPU, Graphs.EAGER): Message("plan.reason.cpu_eager"),
    (Backend.CUDA, Graphs.EAGER): Message("plan.reason.eager"),
    (Backend.CUDA, Graphs.GRAPHS): Message("plan.reason.graphs"),
    (Backend.CUDA, Graphs.COMPILED): Message("plan.reason.compiled"),
}
_ON, _OFF = Message("plan.value.on"), Message("plan.value.off")


def settings_reasons(site: parts.Site, settings: EngineSettings) -> Iterator[Reason]:
    """Yield a reason for each setting of the engine."""
    why = _GRAPHS[settings.backend, settings.graphs]
    yield Reason("graphs", name_value(settings.graphs.value), why, Basis.COMPUTED)
    if settings.threads is not None:
        yield Reason("threads", count_value(settings.threads), Message("plan.reason.threads"), Basis.COMPUTED)
    if settings.returns_memory:
        value, why = Message("plan.value.returned"), Message("plan.reason.returned")
        yield Reason("freed_memory", value, why, Basis.COMPUTED)
    yield Reason("dtype", name_value(settings.dtype), Message("plan.reason.dtype"), Basis.COMPUTED)
    yield _format_reason(site)
    if settings.trusts_own_code:
        why = Message("plan.reason.own_code", files=own_files(site.model))
        yield Reason("own_code", _ON, why, Basis.COMPUTED)
    yield from _attention_reasons(site, settings)
    if settings.prefix_caching:
        yield Reason("prefix_caching", _ON, Message("plan.reason.prefix_cache_on"), Basis.COMPUTED)
    else:
        yield Reason("prefix_caching", _OFF, Message("plan.reason.prefix_cache_off"), Basis.COMPUTED)
    if settings.gpu_memory_utilization is not None:
        value = Message("plan.value.share", share=settings.gpu_memory_utilization)
        why = Message("plan.reason.gate", page_cache=_page_cache(site.device))
        yield Reason("gpu_memory_utilization", value, why, Basis.COMPUTED)
    if settings.processor_cache_bytes:
        value = size_value(settings.processor_cache_bytes)
        yield Reason("processor_cache", value, Message("plan.reason.processor_cache"), Basis.COMPUTED)
    if settings.reasoning_parser is not None:
        value = name_value(settings.reasoning_parser)
        yield Reason("reasoning_parser", value, Message("plan.reason.reasoning_parser"), Basis.COMPUTED)


def own_files(model: Model) -> tuple[Message, ...]:
    """Return the Python files that a model brings, with their hashes."""
    return tuple(
        Message("plan.value.name", name=file.name)
        if file.sha256 is None
        else Message("plan.own_code.file", name=file.name, sha256=file.sha256[:16])
        for file in model.own_code
    )


def _format_reason(site: parts.Site) -> Reason:
    """Return how the device runs the checkpoint's format, and which other formats it runs."""
    cuda = site.backend is Backend.CUDA
    capability = site.device.compute_capability if cuda else None
    found = weights_format(site.model.quantization, capability, gpu=cuda, methods=site.engine.formats)
    why = found.why
    if capability is not None or not cuda:
        why = Message("plan.reason.format", why=why, advice=advice(capability))
    basis = Basis.ASSUMED if found.verdict is Verdict.UNKNOWN else Basis.COMPUTED
    return Reason("weights_format", found.title, why, basis)


def _attention_reasons(site: parts.Site, settings: EngineSettings) -> Iterator[Reason]:
    """Yield how prompts are read and how their keys and values are kept."""
    kept = parts.kv_format(site)
    order = site.model.cache_order
    if settings.kv_cache_dtype is not None:
        why = Message("plan.reason.kv_ordered") if order == "fp8" else Message("plan.reason.kv_8_bits")
    elif order is not None:
        why = Message("plan.reason.kv_order_overridden", order=order, why=kept.why)
    elif kept.dtype is not None and kept.attention_backend is None:
        why = Message("plan.reason.kv_16_bits")
    else:
        why = Message("plan.reason.kv_of_model", why=kept.why)
    yield Reason("kv_cache_dtype", name_value(settings.kv_cache_dtype or settings.dtype), why, Basis.COMPUTED)
    if settings.backend is Backend.CUDA and settings.attention_backend is None:
        value, why = Message("plan.value.vllm_default"), Message("plan.reason.attention_backend")
        yield Reason("attention_backend", value, why, Basis.ASSUMED)
    step = count_value(settings.max_num_batched_tokens)
    if settings.max_num_batched_tokens < settings.max_model_len:
        yield Reason("chunked_prefill", _ON, Message("plan.reason.chunked_prefill"), Basis.COMPUTED)
        yield Reason("max_num_batched_tokens", step, Message("plan.reason.pieces"), Basis.COMPUTED)
    else:
        yield Reason("max_num_batched_tokens", step, Message("plan.reason.one_step"), Basis.COMPUTED)


def _page_cache(device: Device) -> Message | None:
    if not device.page_cache_counts_as_used:
        return None
    if device.page_cache_bytes is None:
        return Message("plan.reason.page_cache")
    return Message("plan.reason.page_cache_now", cache_bytes=device.page_cache_bytes)
