"""What would run: facts and a plan with its reasons, before anything is fetched, installed or started."""

import asyncio
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from vedette.deploy.calibration_store import read_calibration
from vedette.deploy.hosting import host_for
from vedette.device.boards import device_named
from vedette.device.device import Device, Family
from vedette.device.probe import read_device
from vedette.engine.hosts.host import Host
from vedette.engine.hosts.recipes import CPU_RECIPE
from vedette.engine.vllm.flags import Target, engine_traits, serve_arguments, serve_environment
from vedette.errors import DoesNotFitError, ModelNotFoundError
from vedette.models.model import Model
from vedette.models.store.model_lookup import Source, candidates, find_model, read_source
from vedette.plan.calibration import Calibration, calibration_key
from vedette.plan.choose import choose_model
from vedette.plan.make import make_plan
from vedette.plan.memory import reserve_bytes
from vedette.plan.plan import EngineTraits, Plan, Wish, Workload
from vedette.plan.reasons.plan_reasons import free_memory
from vedette.plan.side_by_side import Wanted, pack
from vedette.report.document import (
    EngineDocument,
    PackingDocument,
    PlanDocument,
    device_document,
    document_json,
    plan_document,
)
from vedette.report.packing import Room
from vedette.settings.home import Home
from vedette.settings.table import Settings
from vedette.units import missing_size, size

_USUAL = engine_traits(CPU_RECIPE.version)
"""Of the vLLM that there is a recipe for."""


@dataclass(frozen=True)
class Proposal:
    """What `up` would run, before anything is fetched, installed or started."""

    device: Device
    source: Source
    model: Model
    wish: Wish
    plan: Plan
    cache: Path
    calibration: Calibration | None
    """What an earlier start with such settings took; the plan is put right by it."""
    host: Host
    """What would run it; only looked at."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """The engine's command as one would type it. Raises EngineVersionError."""
        return ("vllm", *serve_arguments(self.plan.settings, self._target, self.host.version))

    def replan(self, wish: Wish) -> Plan:
        """The plan of the same model on the same device for another wish."""
        return make_plan(self.device, self.model, wish, calibration=self.calibration, engine=_traits(self.host))

    @property
    def document(self) -> PlanDocument:
        """The plan as programs read it. Raises EngineVersionError."""
        engine = engine_document(self.host, self.plan, self._target, self.cache)
        return plan_document(self.plan, self.device, engine)

    def as_json(self) -> dict[str, Any]:
        """The JSON object of `vedette plan --json`."""
        return document_json(self.document)

    @property
    def _target(self) -> Target:
        return Target(self.source.path, self.source.name, 0, self.device.family is Family.CPU)


def propose(settings: Settings, home: Home, device_name: str | None = None, host: Host | None = None) -> Proposal:
    """Facts and plan for this machine, or for the catalogue board `device_name`. host: the one that `up` would have.

    Raises DeviceError, ModelNotFoundError, ModelCorruptError, or EngineInstallError where nothing is known to run the
    engine; a plan that does not fit is returned, not raised.
    """
    device = _device(home, device_name)
    host = host or _host(device, settings, home)
    source, model = _known(settings, home, device, _traits(host))
    wish = wish_of(settings)
    calibration = calibration_for(device, model, wish, home, host.version)
    plan = make_plan(device, model, wish, calibration=calibration, engine=_traits(host))
    return Proposal(device, source, model, wish, plan, home.cache, calibration, host)


@dataclass(frozen=True)
class PackedProposal:
    """What several models would run as on one device; the plans of `together` share its memory."""

    device: Device
    together: tuple[Proposal, ...]
    in_turns: tuple[Proposal, ...]

    @property
    def room(self) -> Room:
        return Room(self.device.memory_available_bytes, reserve_bytes(self.device))

    def as_json(self) -> dict[str, Any]:
        """The JSON object of `vedette plan A B --json`."""
        together, in_turns = ([each.document for each in group] for group in (self.together, self.in_turns))
        device = device_document(self.device)
        return document_json(PackingDocument(device, self.room.reserve_bytes, together, in_turns))


def propose_packed(
    settings: Settings, models: Sequence[str], home: Home, device_name: str | None = None
) -> PackedProposal:
    """As `propose`, for several models that are to serve side by side."""
    device = _device(home, device_name)
    host = _host(device, settings, home)
    traits = _traits(host)
    found = [_known(dataclasses.replace(settings, model=name), home, device, traits) for name in models]
    wanted = {}
    for source, model in found:
        wish = wish_for(model, wish_of(settings))
        wanted[model.name] = source, Wanted(model, wish, calibration_for(device, model, wish, home, host.version))
    packing = pack(device, [wanted[model.name][1] for _, model in found], traits)

    def proposals(plans: tuple[Plan, ...]) -> tuple[Proposal, ...]:
        return tuple(
            Proposal(device, source, each.model, each.wish, plan, home.cache, each.calibration, host)
            for plan in plans
            for source, each in [wanted[plan.model_name]]
        )

    return PackedProposal(device, proposals(packing.together), proposals(packing.in_turns))


def read_machine(home: Home) -> Device:
    """This machine, its disk where the home keeps models, and who else than its engine holds memory."""
    return read_device(storage=home.data, workplace=home.workplace, cache=home.cache)


def _device(home: Home, name: str | None) -> Device:
    """This machine, or the catalogue board called `name`."""
    return device_named(name) if name is not None else read_machine(home)


def _host(device: Device, settings: Settings, home: Home) -> Host:
    """What would run the engine, as far as it can be told without running any. Not for use inside an event loop."""
    return asyncio.run(host_for(device, settings, home, home.slot().workplace, only_looks=True))


def _traits(host: Host) -> EngineTraits:
    return engine_traits(host.version)


def device_json(device: Device) -> dict[str, Any]:
    """A device's facts as JSON."""
    facts = dataclasses.asdict(device)
    return {name: value.value if isinstance(value, Enum) else value for name, value in facts.items()}


def choose(
    settings: Settings, home: Home, device: Device, traits: EngineTraits = _USUAL
) -> tuple[Source, Model | None]:
    """The model that was asked for, or the best of the catalogue that fits; None of an id that only a hub knows."""
    if settings.model is None:
        return choose_model(device, candidates(home.models), wish_of(settings), traits)
    source = find_model(settings.model, home.models)
    return source, read_source(source)


def calibration_for(device: Device, model: Model, wish: Wish, home: Home, version: str) -> Calibration | None:
    """What an earlier start of that vLLM with the settings that this wish leads to took."""
    settings = make_plan(device, model, wish, engine=engine_traits(version)).settings
    return read_calibration(calibrations(home), calibration_key(device, model, settings, version))


def _known(settings: Settings, home: Home, device: Device, traits: EngineTraits) -> tuple[Source, Model]:
    """As `choose`. Raises ModelNotFoundError for an id that only a hub knows."""
    source, model = choose(settings, home, device, traits)
    if model is None:
        raise ModelNotFoundError(
            f"Nothing is known of {source.name} before its files are here.",
            f"Fetch them with `vedette up {source.name}`.",
        )
    return source, model


def calibrations(home: Home) -> Path:
    """Where the calibration records of a home are."""
    return home.state / "calibrations"


def engine_document(host: Host, plan: Plan, target: Target, cache: Path) -> EngineDocument:
    """The engine's part of a plan's JSON: what runs it, and what one would type to start it by hand.

    Raises EngineVersionError.
    """
    return EngineDocument(
        kind=host.kind,
        version=host.version,
        image=host.image,
        argv=["vllm", *serve_arguments(plan.settings, target, host.version)],
        env=dict(serve_environment(cache, plan.settings, host.version)),
    )


def wish_of(settings: Settings) -> Wish:
    width, height = settings.picture or (0, 0)
    return Wish(
        workload=Workload(settings.workload) if settings.workload else None,
        image_max_pixels=width * height or None,
        prompt_tokens=settings.prompt_tokens,
        answer_tokens=settings.answer_tokens,
        images_per_request=settings.images,
        concurrency=settings.concurrency,
        max_model_len=settings.context,
    )


def wish_for(model: Model, wish: Wish) -> Wish:
    """Of several models, those that see get the pictures."""
    if model.vision is not None:
        return wish
    return dataclasses.replace(wish, image_max_pixels=None, images_per_request=None)


def does_not_fit(plan: Plan) -> DoesNotFitError:
    """The error of a plan that needs more than there is, or whose model this device cannot run at all."""
    if plan.unsupported is not None:
        return DoesNotFitError(
            f"{plan.model_name} cannot run on {plan.device_name}. {plan.unsupported}",
            "Choose a checkpoint in another format, or another model.",
        )
    return DoesNotFitError(
        f"{plan.model_name} does not fit: it needs {missing_size(plan.shortfall_bytes)} more than the "
        f"{size(plan.memory.available_bytes)} available.",
        f"{free_memory(plan)}, choose a smaller model, or ask for less (`--context`, `--concurrency`).",
    )
