"""Why each part of the memory has its size. Pure."""

from collections.abc import Iterator

from vedette.device.device import Device
from vedette.language.message import Message
from vedette.plan import memory as parts
from vedette.plan.climb import Choice
from vedette.plan.plan import Backend, Basis, EngineSettings, Memory, Reason
from vedette.plan.reasons.values import name_value, size_value

OTHERS = "other_processes"
"""Subject of the reason that names processes with memory that the plan could use."""


def memory_reasons(site: parts.Site, settings: EngineSettings, choice: Choice) -> Iterator[Reason]:
    """Yield a reason for each part of the memory that is not empty, for the available memory, and for swap."""
    model, device, need = site.model, site.device, choice.need

    def reason(subject: str, why: Message, basis: Basis = Basis.COMPUTED) -> Reason:
        name = f"{subject}_bytes"
        value = size_value(getattr(need, name))
        if name in choice.calibrated:
            return Reason(subject, value, Message("plan.reason.corrected", why=why), Basis.CALIBRATED)
        return Reason(subject, value, why, basis)

    unknown = Basis.ASSUMED if model.assumed_parts else Basis.COMPUTED
    if model.assumed_parts:
        why = Message("plan.reason.unknown_architecture", assumed=model.assumed_parts)
        yield Reason("architecture", name_value(model.architecture), why, Basis.ASSUMED)
    yield reason("weights", _weights(site, settings), Basis.ASSUMED if model.assumed else Basis.COMPUTED)
    why = Message("plan.reason.kv_cache", requests=settings.max_num_seqs, tokens=settings.max_model_len)
    yield reason("kv_cache", why, unknown)
    yield reason("activation", Message("plan.reason.activation", tokens=settings.max_num_batched_tokens), unknown)
    if need.vision_activation_bytes:
        yield reason("vision_activation", Message("plan.reason.vision_activation"))
    # CUDA's figures were measured on an H100.
    assumed = Basis.COMPUTED if device.compute_capability == (9, 0) else Basis.ASSUMED
    if need.cuda_graph_bytes:
        sizes = tuple(map(str, settings.capture_sizes))
        yield reason("cuda_graph", Message("plan.reason.cuda_graph", sizes=sizes), assumed)
    if need.runtime_bytes:
        yield reason("runtime", Message("plan.reason.runtime"), assumed)
    tokenizers_bytes = parts.tokenizers_bytes(model)
    if need.host_available_bytes is None:
        yield reason("host", Message("plan.reason.host_shared", tokenizers_bytes=tokenizers_bytes), Basis.ASSUMED)
    else:
        yield reason("host", Message("plan.reason.host_apart", tokenizers_bytes=tokenizers_bytes), Basis.ASSUMED)
    yield reason("reserve", _reserve(device), Basis.ASSUMED)
    yield reason("available", _available(device, need), Basis.ASSUMED if device.assumed else Basis.COMPUTED)
    if device.other_processes and _competes(device, choice):
        held_bytes = sum(process.resident_bytes for process in device.other_processes)
        yield Reason(OTHERS, size_value(held_bytes), _others(device), Basis.COMPUTED)
    if device.swap_total_bytes:
        yield Reason("swap", size_value(device.swap_total_bytes), _swap(site), Basis.COMPUTED)


def _weights(site: parts.Site, settings: EngineSettings) -> Message:
    model = site.model
    tables_bytes = parts.position_cache_bytes(site, settings.max_model_len)
    saved_bytes = parts.position_saving(site, settings.max_model_len)
    copied_bytes = parts.repacked_bytes(model, settings.backend)
    unloaded_bytes = 0 if settings.images_per_prompt else model.vision_weights_bytes
    return Message(
        "plan.reason.weights",
        source=Message("plan.reason.catalogue_weights") if model.assumed else Message("plan.reason.tensor_headers"),
        tables=Message("plan.reason.position_tables", tables_bytes=tables_bytes) if tables_bytes else None,
        saved=Message("plan.reason.tables_saved", saved_bytes=saved_bytes) if saved_bytes else None,
        vision=Message("plan.reason.vision_not_loaded", vision_bytes=unloaded_bytes) if unloaded_bytes else None,
        repacked=Message("plan.reason.repacked", copied_bytes=copied_bytes) if copied_bytes else None,
    )


def _reserve(device: Device) -> Message:
    if not parts.reserve_bytes(device):
        return Message("plan.reason.no_reserve")
    if device.memory_limited or not device.unified_memory:
        return Message("plan.reason.small_reserve")
    return Message("plan.reason.system_reserve")


def _available(device: Device, need: Memory) -> Message:
    total_bytes = device.memory_total_bytes
    if device.assumed:
        return Message("plan.reason.available_on_board", total_bytes=total_bytes)
    if need.available_bytes < device.memory_available_bytes:
        return Message("plan.reason.available_by_lesson", total_bytes=total_bytes)
    return Message("plan.reason.available_now", total_bytes=total_bytes)


def _competes(device: Device, choice: Choice) -> bool:
    """Return whether the plan lacks RAM that other processes hold."""
    need = choice.need
    if device.memory_limited:  # processes outside the cgroup do not use its memory
        return False
    if need.host_available_bytes is not None:
        return need.host_bytes > need.host_available_bytes
    return need.shortfall_bytes > 0 or choice.rung != choice.preferred


def _others(device: Device) -> Message:
    processes = tuple(
        Message("plan.process", name=process.name, held_bytes=process.resident_bytes)
        for process in device.other_processes
    )
    if len(processes) == 1:
        return Message("plan.reason.other_process", processes=processes)
    return Message("plan.reason.other_processes", processes=processes)


def _swap(site: parts.Site) -> Message:
    zram_bytes = site.device.swap_zram_bytes
    gpu = Message("plan.reason.gpu_never_swaps") if site.backend is Backend.CUDA else None
    if not zram_bytes:
        return Message("plan.reason.swap_disk", gpu=gpu)
    if zram_bytes == site.device.swap_total_bytes:
        return Message("plan.reason.swap_zram", gpu=gpu)
    return Message("plan.reason.swap_part_zram", zram_bytes=zram_bytes, gpu=gpu)
