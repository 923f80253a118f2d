"""Which model? The best of those that fit."""

from collections.abc import Sequence
from typing import TypeVar

from vedette.device.device import Device, Family
from vedette.errors import BadInputError, DoesNotFitError
from vedette.models.model import Model
from vedette.plan.make import make_plan
from vedette.plan.plan import USUAL_ENGINE, EngineTraits, Wish
from vedette.plan.reasons import free_memory
from vedette.units import missing_size

MOST_CPU_WEIGHTS_BYTES = 500_000_000
"""A processor reads every weight once a token from memory of some 10 GB/s: with more, answers crawl."""

Source = TypeVar("Source")


def choose_model(
    device: Device,
    candidates: Sequence[tuple[Source, Model]],
    wish: Wish,
    engine: EngineTraits = USUAL_ENGINE,
) -> tuple[Source, Model]:
    """The first of `candidates` (best first) that sees and fits, else the first that fits.

    On a machine without a GPU only models small enough to answer at a bearable pace count.
    Raises DoesNotFitError, naming the one that came closest, if none fits, and BadInputError for a wish that none
    could grant.
    """
    quick = [
        (source, model)
        for source, model in candidates
        if device.family is not Family.CPU or model.weights_bytes <= MOST_CPU_WEIGHTS_BYTES
    ]
    seeing_first = sorted(quick, key=lambda candidate: candidate[1].vision is None)
    plans, refusals = [], []
    for source, model in seeing_first:
        try:
            plans.append((make_plan(device, model, wish, engine=engine), source, model))
        except BadInputError as error:  # this one cannot grant the wish; another may
            refusals.append((model.max_position_embeddings, error))
    if refusals and not plans:
        raise max(refusals, key=lambda refusal: refusal[0])[1]
    for plan, source, model in plans:
        if plan.fits:
            return source, model
    if not plans:
        raise DoesNotFitError("No model of the catalogue is quick enough for this machine.", "Name a model yourself.")
    closest = min((plan for plan, _, _ in plans), key=lambda plan: plan.shortfall_bytes)
    raise DoesNotFitError(
        f"No model of the catalogue fits: {closest.model_name}, the nearest, needs "
        f"{missing_size(closest.shortfall_bytes)} more.",
        f"{free_memory(closest)}, or ask for less (`--context`, `--concurrency`).",
    )


def choose_smaller(
    device: Device,
    smaller: Sequence[tuple[Source, Model]],
    wish: Wish,
    engine: EngineTraits = USUAL_ENGINE,
) -> tuple[Source, Model] | None:
    """The first of `smaller` (those that are here before those to be fetched, the better before the worse) that fits
    and grants what was wished for as far as any plan may; None if none does: what it stands in for is to be waited for.
    """
    for source, model in smaller:
        try:
            plan = make_plan(device, model, wish, engine=engine)
        except BadInputError:  # pictures of a model that takes none
            continue
        if plan.fits:
            return source, model
    return None
