"""Climbs down the ladder to the first rung that fits. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from vedette.plan.ladder import Ladder, Rung
from vedette.plan.memory import Site, plan_memory
from vedette.plan.plan import Memory

CONTEXT_STEP = 16
"""A context between two rungs is a multiple of this: a block of the KV cache on a GPU."""


@dataclass(frozen=True)
class Choice:
    """The rung that was taken and what it needs, beside what one would have liked."""

    rung: Rung
    need: Memory
    calibrated: frozenset[str]
    """Fields of `need` that rest on a measurement."""
    liked: Rung
    liked_need: Memory


def climb(site: Site, ladder: Ladder) -> Choice | None:
    """The first rung that fits, its context stretched towards the rung above it; the last one if none fits.

    None if the ladder has no rung at all.
    """
    above: Rung | None = None
    liked: tuple[Rung, Memory] | None = None
    last: tuple[Rung, Memory, frozenset[str]] | None = None
    for rung in ladder.rungs():
        need, calibrated = plan_memory(site, rung)
        liked, last = liked or (rung, need), (rung, need, calibrated)
        if not need.shortfall_bytes:
            if above is not None:
                rung = _stretched(ladder, above, rung, lambda tried: not plan_memory(site, tried)[0].shortfall_bytes)
                last = (rung, *plan_memory(site, rung))
            break
        above = rung
    return Choice(*last, *liked) if last and liked else None


def _stretched(ladder: Ladder, above: Rung, below: Rung, fits: Callable[[Rung], bool]) -> Rung:
    """The longest context from that of `below` up to that of `above` that still fits."""
    low, high = below.max_model_len // CONTEXT_STEP, above.max_model_len // CONTEXT_STEP
    longest = below
    while high - low > 1:
        middle = (low + high) // 2
        rung = ladder.between(above, below, middle * CONTEXT_STEP)
        if rung is None:
            break
        if fits(rung):
            low, longest = middle, rung
        else:
            high = middle
    return longest
