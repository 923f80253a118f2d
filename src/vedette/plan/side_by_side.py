"""Several models on one device: which can serve side by side, and the memory of each. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vedette.device.device import Device
from vedette.models.model import Model
from vedette.plan.calibration import Calibration
from vedette.plan.make import make_plan
from vedette.plan.memory import reserve_bytes
from vedette.plan.plan import USUAL_ENGINE, EngineTraits, Plan, Wish


@dataclass(frozen=True)
class Wanted:
    """One of the models that share a device."""

    model: Model
    wish: Wish
    calibration: Calibration | None = None
    """Measurements of an earlier start on this device."""

    def plan_on(self, device: Device, engine: EngineTraits) -> Plan:
        return make_plan(device, self.model, self.wish, calibration=self.calibration, engine=engine)


@dataclass(frozen=True)
class Share:
    """Memory that one of several models may use, without the system's reserve."""

    memory_bytes: int
    host_bytes: int | None
    """RAM beside a discrete GPU; None where it is the same memory."""

    def of(self, device: Device) -> Device:
        """Return the device with this share, or with less where other models hold some of it now."""
        left = _without_reserve(device)
        host = left.host_memory_available_bytes or 0
        return _with_memory(left, min(self.memory_bytes, left.memory_available_bytes), min(self.host_bytes or 0, host))


@dataclass(frozen=True)
class Room:
    """Memory of a device that several models share."""

    available_bytes: int
    reserve_bytes: int
    """Kept free once for all of them."""


def share_of(plan: Plan) -> Share:
    """Return the share that a plan of a packing was made for."""
    return Share(plan.memory.available_bytes, plan.memory.host_available_bytes)


@dataclass(frozen=True)
class Packing:
    """Plans for several models on one device."""

    together: tuple[Plan, ...]
    """Side by side, in the order named; each plan's `available_bytes` is its share."""
    in_turns: tuple[Plan, ...]
    """Plans of models that do not fit beside the others, made as if each were alone."""


def pack(
    device: Device,
    wanted: Sequence[Wanted],
    engine: EngineTraits = USUAL_ENGINE,
) -> Packing:
    """Plan several models on one device. Earlier models get more memory, but later ones keep their minimum.

    A model is taken if its smallest useful plan fits beside those of the models taken before it. Then each model is
    planned with all memory except the minimum of the later ones.
    """
    shared = _without_reserve(device)
    taken: list[tuple[Wanted, Plan]] = []
    in_turns: list[Plan] = []
    for each in wanted:
        least = each.plan_on(_with_memory(shared, 0, 0), engine)
        if least.unsupported is None and _fit(shared, [*(plan for _, plan in taken), least]):
            taken.append((each, least))
        else:
            in_turns.append(each.plan_on(device, engine))
    together: list[Plan] = []
    for index, (each, _) in enumerate(taken):
        others = [*together, *(least for _, least in taken[index + 1 :])]
        together.append(each.plan_on(_with_memory(shared, *_left(shared, others)), engine))
    return Packing(tuple(together), tuple(in_turns))


def _without_reserve(device: Device) -> Device:
    """Return the device without the system's reserve, which is then counted once and not for each model."""
    available = max(0, device.memory_available_bytes - reserve_bytes(device))
    return replace(device, memory_available_bytes=available, memory_limited=True)


def _with_memory(device: Device, available_bytes: int, host_bytes: int) -> Device:
    host = None if device.host_memory_available_bytes is None else host_bytes
    return replace(device, memory_available_bytes=available_bytes, host_memory_available_bytes=host)


def _left(device: Device, plans: Sequence[Plan]) -> tuple[int, int]:
    """Return what `plans` leave of the device's memory and of the RAM beside a discrete GPU."""
    free = device.memory_available_bytes - sum(plan.memory.total_bytes for plan in plans)
    host = (device.host_memory_available_bytes or 0) - sum(plan.memory.host_bytes for plan in plans)
    return max(0, free), max(0, host)


def _fit(device: Device, plans: Sequence[Plan]) -> bool:
    on_device = sum(plan.memory.total_bytes for plan in plans) <= device.memory_available_bytes
    host = device.host_memory_available_bytes
    return on_device and (host is None or sum(plan.memory.host_bytes for plan in plans) <= host)
