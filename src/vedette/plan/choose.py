"""Chooses a model: the best of those that fit."""

from collections.abc import Sequence
from typing import TypeVar

from vedette.device.device import Device, Family
from vedette.errors import BadInputError, DoesNotFitError
from vedette.models.model import Model
from vedette.plan.make import make_plan
from vedette.plan.plan import USUAL_ENGINE, EngineTraits, Wish
from vedette.plan.reasons.plan_reasons import free_memory

MAX_CPU_WEIGHTS_BYTES = 500_000_000
"""A processor reads every weight once for each token from memory of some 10 GB/s: larger models are too slow."""

Ref = TypeVar("Ref")


def choose_model(
    device: Device,
    candidates: Sequence[tuple[Ref, Model]],
    wish: Wish,
    engine: EngineTraits = USUAL_ENGINE,
) -> tuple[Ref, Model]:
    """Return the first of `candidates` (best first) that takes pictures and fits, else the first that fits.

    On a machine without a GPU only models count that are small enough to answer at a useful speed.
    Raises DoesNotFitError, which names the closest model, if none fits, and BadInputError for a wish that none can
    grant.
    """
    fast_enough = [
        (ref, model)
        for ref, model in candidates
        if device.family is not Family.CPU or model.weights_bytes <= MAX_CPU_WEIGHTS_BYTES
    ]
    with_vision_first = sorted(fast_enough, key=lambda candidate: candidate[1].vision is None)
    plans, refusals = [], []
    for ref, model in with_vision_first:
        try:
            plans.append((make_plan(device, model, wish, engine=engine), ref, model))
        except BadInputError as error:  # another model may grant the wish
            refusals.append((model.max_position_embeddings, error))
    if refusals and not plans:
        raise max(refusals, key=lambda refusal: refusal[0])[1]
    for plan, ref, model in plans:
        if plan.fits:
            return ref, model
    if not plans:
        raise DoesNotFitError("plan.none_quick_enough")
    closest = min((plan for plan, _, _ in plans), key=lambda plan: plan.shortfall_bytes)
    raise DoesNotFitError(
        "plan.none_fits",
        model=closest.model_name,
        missing_bytes=closest.shortfall_bytes,
        free=free_memory(closest),
    )


def choose_smaller(
    device: Device,
    smaller: Sequence[tuple[Ref, Model]],
    wish: Wish,
    engine: EngineTraits = USUAL_ENGINE,
) -> tuple[Ref, Model] | None:
    """Return the first of `smaller` that fits and can grant the wish at least in part; None if none does.

    smaller: models on disk before models to be fetched, the better before the worse.
    """
    for ref, model in smaller:
        try:
            plan = make_plan(device, model, wish, engine=engine)
        except BadInputError:  # such as pictures for a model that takes none
            continue
        if plan.fits:
            return ref, model
    return None
