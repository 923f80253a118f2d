"""The one way to a plan: facts, a wish and what earlier starts taught, joined. Pure.

`vedette plan`, `up --print`, `plan --try`, `up`, `swap`, recovery and several models side by side all come through
`plan_for`, with the same wish and the same target, so that all of them show and run the same plan.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vedette.device.device import Device, Family
from vedette.engine.vllm.flags import Target, engine_traits, serve_arguments, serve_environment, substitutes
from vedette.errors import DoesNotFitError
from vedette.events import Event, Note, PlanMade
from vedette.language.message import Message
from vedette.models.model import Model
from vedette.models.store.model_lookup import ModelRef
from vedette.plan.calibration import Calibration, Key, calibration_key
from vedette.plan.make import make_plan
from vedette.plan.memory import reserve_bytes
from vedette.plan.plan import EngineTraits, Plan, Wish, Workload
from vedette.plan.reasons.plan_reasons import free_memory
from vedette.plan.side_by_side import Room, Share, Wanted, pack, share_of
from vedette.report.concession import concession_notes
from vedette.report.document import (
    EngineDocument,
    PackingDocument,
    PlanDocument,
    device_document,
    document_json,
    plan_document,
)
from vedette.settings.table import Settings

PRINTED_PORT = 8000
"""In commands that are shown, for a person to run: vLLM's own default. An engine that vedette starts has no port."""

Recall = Callable[[Key], Calibration | None]
"""Finds what an earlier start under a key took."""


@dataclass(frozen=True)
class EngineFacts:
    """What would run the engine (engine/hosts/host.py)."""

    kind: str
    version: str
    image: str | None

    @property
    def traits(self) -> EngineTraits:
        """What a plan depends on of this vLLM. Raises EngineVersionError."""
        return engine_traits(self.version)


@dataclass(frozen=True)
class Subject:
    """What a plan is made of."""

    device: Device
    ref: ModelRef
    model: Model
    wish: Wish
    """As the settings say it, whatever the model can do."""
    engine: EngineFacts
    cache: Path
    """Where the engine keeps compiled code between starts."""


@dataclass(frozen=True)
class Proposal:
    """A plan with all that it was made of, and the engine that would run it."""

    device: Device
    ref: ModelRef
    model: Model
    wish: Wish
    """Without what the model cannot do whatever the memory (`plan.ignored`)."""
    engine: EngineFacts
    cache: Path
    plan: Plan
    calibration: Calibration | None
    """What an earlier start took; the plan is corrected by it."""
    key: Key
    """Under which a start of this plan is recorded."""
    target: Target

    @property
    def arguments(self) -> tuple[str, ...]:
        """The engine's command as a person would type it. Raises EngineVersionError."""
        return ("vllm", *serve_arguments(self.plan.settings, self.target, self.engine.version))

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that vedette sets for the engine. Raises EngineVersionError."""
        return serve_environment(self.cache, self.plan.settings, self.engine.version)

    def replan(self, wish: Wish) -> Plan:
        """The plan of the same model on the same device for another wish."""
        return make_plan(self.device, self.model, wish, calibration=self.calibration, engine=self.engine.traits)

    def on_socket(self, also_named: tuple[str, ...] = ()) -> "Proposal":
        """The same plan for an engine that only vedette can ask. also_named: further names that requests may use."""
        return replace(self, target=replace(self.target, port=None, also_named=also_named))

    @property
    def document(self) -> PlanDocument:
        """The plan as programs read it. Raises EngineVersionError."""
        facts = self.engine
        engine = EngineDocument(facts.kind, facts.version, facts.image, list(self.arguments), self.variables)
        return plan_document(self.plan, self.device, engine)

    def as_json(self) -> dict[str, Any]:
        """The JSON object of `vedette plan --json`."""
        return document_json(self.document)

    @property
    def notes(self) -> list[Message]:
        """Notes for a person beside the plan: parts of the wish that are not met, and what this vLLM cannot do."""
        return [*concession_notes(self.plan), *substitutes(self.plan.settings, self.engine.version)]

    @property
    def events(self) -> list[Event]:
        """The events that announce a plan before it runs."""
        return [PlanMade(self.as_json()), *map(Note, self.notes)]


@dataclass(frozen=True)
class PackedProposal:
    """Plans of several models on one device; the plans of `together` share its memory."""

    device: Device
    together: tuple[Proposal, ...]
    in_turns: tuple[Proposal, ...]
    shares: tuple[Share, ...]
    """What each of `together` may take."""

    @property
    def room(self) -> Room:
        """The memory that is shared out."""
        return Room(self.device.memory_available_bytes, reserve_bytes(self.device))

    def as_json(self) -> dict[str, Any]:
        """The JSON object of `vedette plan A B --json`."""
        together, in_turns = ([each.document for each in group] for group in (self.together, self.in_turns))
        return document_json(PackingDocument(device_document(self.device), self.room.reserve_bytes, together, in_turns))


def plan_for(subject: Subject, recall: Recall, known: Device | None = None, allowed: Device | None = None) -> Proposal:
    """The plan of a model. One that does not fit is returned, not raised.

    known: the device with the memory that is this model's, where several share it; by default all of it.
    allowed: `known` with what the plan may take, where crashes taught to take less.
    Raises BadInputError for a wish that no memory could grant, EngineVersionError.
    """
    known = known or subject.device
    wanted, ignored = _wanted(subject, recall, known)
    plan = wanted.plan_on(allowed or known, subject.engine.traits)
    plan = replace(plan, ignored=ignored or plan.ignored)
    return Proposal(
        device=subject.device,
        ref=subject.ref,
        model=subject.model,
        wish=wanted.wish,
        engine=subject.engine,
        cache=subject.cache,
        plan=plan,
        calibration=wanted.calibration,
        key=calibration_key(known, subject.model, plan.settings, subject.engine.version),
        target=Target(subject.ref.path, subject.ref.name, PRINTED_PORT, cpu=subject.device.family is Family.CPU),
    )


def plan_beside(subjects: Sequence[Subject], recall: Recall) -> PackedProposal:
    """The plans of several models on one device, each as `plan_for` makes it with that model's share.

    subjects: all with the same device and engine, at least one.
    """
    device, traits = subjects[0].device, subjects[0].engine.traits
    by_name = {subject.model.name: subject for subject in subjects}
    packing = pack(device, [_wanted(subject, recall, device)[0] for subject in subjects], traits)
    shares = tuple(map(share_of, packing.together))
    return PackedProposal(
        device,
        together=tuple(
            plan_for(by_name[plan.model_name], recall, share.of(device))
            for plan, share in zip(packing.together, shares, strict=True)
        ),
        in_turns=tuple(plan_for(by_name[plan.model_name], recall) for plan in packing.in_turns),
        shares=shares,
    )


def _wanted(subject: Subject, recall: Recall, known: Device) -> tuple[Wanted, tuple[Message, ...]]:
    """The model with the wish that it can grant and what is known of its starts, and what of the wish it cannot."""
    wish, ignored = grantable(subject.model, subject.wish)
    settings = make_plan(known, subject.model, wish, engine=subject.engine.traits).settings
    calibration = recall(calibration_key(known, subject.model, settings, subject.engine.version))
    return Wanted(subject.model, wish, calibration), ignored


def grantable(model: Model, wish: Wish) -> tuple[Wish, tuple[Message, ...]]:
    """The wish without what this model cannot do on any device, and a sentence for each part that is left out."""
    if model.vision is not None or not (wish.images_per_request or wish.image_max_pixels):
        return wish, ()
    text = replace(wish, image_max_pixels=None, images_per_request=None)
    if model.unknown_vision:
        return text, (Message("deploy.pictures_unknown", model=model.name, architecture=model.architecture),)
    return text, (Message("deploy.pictures_ignored", model=model.name),)


def wish_of(settings: Settings) -> Wish:
    """What the settings ask of a model."""
    width, height = settings.picture or (0, 0)
    return Wish(
        workload=Workload(settings.workload) if settings.workload else None,
        image_max_pixels=width * height or None,
        prompt_tokens=settings.prompt_tokens,
        answer_tokens=settings.answer_tokens,
        images_per_request=settings.images,
        concurrency=settings.concurrency,
        max_model_len=settings.context,
        sounds_per_request=settings.audio,
    )


def does_not_fit(plan: Plan) -> DoesNotFitError:
    """The error of a plan that needs more memory than there is, or whose model this device cannot run at all."""
    if plan.unsupported is not None and plan.unsupported.code.startswith("plan.own_code"):
        return DoesNotFitError("deploy.own_code", model=plan.model_name, reason=plan.unsupported)
    if plan.unsupported is not None:
        return DoesNotFitError(
            "deploy.cannot_run_here", model=plan.model_name, device=plan.device_name, reason=plan.unsupported
        )
    return DoesNotFitError(
        "deploy.does_not_fit",
        model=plan.model_name,
        missing_bytes=plan.shortfall_bytes,
        available_bytes=plan.memory.available_bytes,
        free_memory=free_memory(plan),
    )


def with_engine_returned(device: Device, plan: Plan) -> Device:
    """The device once the engine of that plan has ended, as far as the plan tells."""
    memory = plan.memory
    free = device.memory_available_bytes + memory.total_bytes - memory.reserve_bytes
    host = device.host_memory_available_bytes
    return replace(
        device,
        memory_available_bytes=min(device.memory_total_bytes, free),
        host_memory_available_bytes=None if host is None else host + memory.host_bytes,
    )


def with_process_returned(device: Device, held_bytes: int) -> Device:
    """The device once a process that holds so much RAM has ended, or has become the engine."""
    if device.host_memory_available_bytes is None:
        return replace(device, memory_available_bytes=device.memory_available_bytes + held_bytes)
    return replace(device, host_memory_available_bytes=device.host_memory_available_bytes + held_bytes)
