"""Several models on one device: which can serve side by side, and how much each gets. Pure."""

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
    """One of the models that are to share a device."""

    model: Model
    wish: Wish
    calibration: Calibration | None = None
    """What an earlier start on this device reported."""

    def plan_on(self, device: Device, engine: EngineTraits) -> Plan:
        return make_plan(device, self.model, self.wish, calibration=self.calibration, engine=engine)


@dataclass(frozen=True)
class Share:
    """What one of several models may take of a device, the system's reserve left aside."""

    memory_bytes: int
    host_bytes: int | None
    """Of the RAM beside a discrete GPU; None where it is the same memory."""

    def of(self, device: Device) -> Device:
        """The device as that model may see it now: others may hold what was free when it was shared out."""
        left = _without_reserve(device)
        host = left.host_memory_available_bytes or 0
        return _with_memory(left, min(self.memory_bytes, left.memory_available_bytes), min(self.host_bytes or 0, host))


def share_of(plan: Plan) -> Share:
    """The share that a plan of a packing was made for."""
    return Share(plan.memory.available_bytes, plan.memory.host_available_bytes)


@dataclass(frozen=True)
class Packing:
    """Plans for several models on one device."""

    together: tuple[Plan, ...]
    """Side by side, in the order named; each plan's `available_bytes` is its share."""
    in_turns: tuple[Plan, ...]
    """Those that find no room beside the others, planned as if alone."""


def pack(
    device: Device,
    wanted: Sequence[Wanted],
    engine: EngineTraits = USUAL_ENGINE,
) -> Packing:
    """Whoever is named first is served first, but never so well that a later one goes without.

    A model is taken in if the least useful plans of all those before it and its own fit together. Then each is
    planned with everything but what the later ones need at least.
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
    """The device less what the system keeps, which is then counted once and not for every model."""
    available = max(0, device.memory_available_bytes - reserve_bytes(device))
    return replace(device, memory_available_bytes=available, memory_limited=True)


def _with_memory(device: Device, available_bytes: int, host_bytes: int) -> Device:
    host = None if device.host_memory_available_bytes is None else host_bytes
    return replace(device, memory_available_bytes=available_bytes, host_memory_available_bytes=host)


def _left(device: Device, plans: Sequence[Plan]) -> tuple[int, int]:
    """What `plans` leave of the device's memory and of the RAM beside a discrete GPU."""
    free = device.memory_available_bytes - sum(plan.memory.total_bytes for plan in plans)
    host = (device.host_memory_available_bytes or 0) - sum(plan.memory.host_bytes for plan in plans)
    return max(0, free), max(0, host)


def _fit(device: Device, plans: Sequence[Plan]) -> bool:
    on_device = sum(plan.memory.total_bytes for plan in plans) <= device.memory_available_bytes
    host = device.host_memory_available_bytes
    return on_device and (host is None or sum(plan.memory.host_bytes for plan in plans) <= host)
