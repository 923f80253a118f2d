"""Takes the first rung of the ladder that fits. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from vedette.plan.ladder import Ladder, Rung
from vedette.plan.memory import Site, plan_memory
from vedette.plan.plan import Memory

CONTEXT_STEP = 16
"""Contexts between two rungs are multiples of this: one block of the KV cache on a GPU."""


@dataclass(frozen=True)
class Choice:
    """The rung that was taken with its memory, and the preferred rung with its memory."""

    rung: Rung
    need: Memory
    calibrated: frozenset[str]
    """Fields of `need` that were measured."""
    preferred: Rung
    """The first rung of the ladder."""
    preferred_need: Memory


def climb(site: Site, ladder: Ladder) -> Choice | None:
    """Return the first rung that fits, with a context as near as possible to the rung above; the last if none fits.

    None if the ladder has no rungs.
    """
    above: Rung | None = None
    first: tuple[Rung, Memory] | None = None
    last: tuple[Rung, Memory, frozenset[str]] | None = None
    for rung in ladder.rungs():
        need, calibrated = plan_memory(site, rung)
        first, last = first or (rung, need), (rung, need, calibrated)
        if not need.shortfall_bytes:
            if above is not None:
                rung = _with_longest_context(
                    ladder, above, rung, lambda tried: not plan_memory(site, tried)[0].shortfall_bytes
                )
                last = (rung, *plan_memory(site, rung))
            break
        above = rung
    return Choice(*last, *first) if last and first else None


def _with_longest_context(ladder: Ladder, above: Rung, below: Rung, fits: Callable[[Rung], bool]) -> Rung:
    """Return `below` with the longest context up to that of `above` that still fits."""
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
