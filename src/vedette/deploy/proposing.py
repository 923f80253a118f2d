"""Reads what a plan is made of: the machine, the model, and what would run the engine."""

import asyncio
import dataclasses
from collections.abc import Sequence

from vedette.deploy.calibration_store import calibrations_of, read_calibration
from vedette.deploy.hosting import host_for
from vedette.deploy.planning import (
    EngineFacts,
    PackedProposal,
    Proposal,
    Recall,
    Subject,
    plan_beside,
    plan_for,
    wish_of,
)
from vedette.deploy.trust_store import trust_in
from vedette.device.boards import device_named
from vedette.device.device import Device
from vedette.device.probe import read_device
from vedette.engine.hosts.host import Host
from vedette.engine.hosts.recipes import CPU_RECIPE
from vedette.engine.vllm.flags import engine_traits
from vedette.errors import ModelCorruptError, ModelNotFoundError
from vedette.models.model import Model
from vedette.models.store.model_catalogue import smaller_of_family
from vedette.models.store.model_lookup import ModelRef, candidates, find_model, read_facts
from vedette.plan.choose import choose_model, choose_smaller
from vedette.plan.plan import EngineTraits, Wish
from vedette.settings.home import Home
from vedette.settings.table import Settings

_USUAL = engine_traits(CPU_RECIPE.version)
"""Of the vLLM that vedette installs."""


def read_machine(home: Home) -> Device:
    """This machine now, with the disk where the home keeps models and the processes that are not the home's engine.

    Everything in `deploy` reads the machine here, so that a test replaces one function.
    """
    return read_device(storage=home.data, workplace=home.workplace, cache=home.cache)


def propose(settings: Settings, home: Home, device_name: str | None = None, host: Host | None = None) -> Proposal:
    """The plan that `up` would run on this machine, or on the catalogue board `device_name`.

    host: the one that `up` would use; by default it is found without running anything.
    Not for use inside an event loop. A plan that does not fit is returned, not raised. Raises DeviceError,
    ModelNotFoundError, ModelCorruptError, BadInputError, or EngineInstallError where nothing can run the engine.
    """
    device = device_named(device_name) if device_name is not None else read_machine(home)
    engine = engine_facts(host or _host(device, settings, home))
    return plan_for(_subject(settings, home, device, engine), recall_from(home))


def propose_packed(
    settings: Settings, models: Sequence[str], home: Home, device_name: str | None = None
) -> PackedProposal:
    """As `propose`, for several models that are to serve side by side."""
    device = device_named(device_name) if device_name is not None else read_machine(home)
    engine = engine_facts(_host(device, settings, home))
    each = (dataclasses.replace(settings, model=model) for model in models)
    return plan_beside([_subject(one, home, device, engine) for one in each], recall_from(home))


def engine_facts(host: Host) -> EngineFacts:
    """What a plan has to know of a host."""
    return EngineFacts(host.kind, host.version, host.image)


def recall_from(home: Home) -> Recall:
    """Finds the calibration records of a home."""
    directory = calibrations_of(home)
    return lambda key: read_calibration(directory, key)


def choose(
    settings: Settings, home: Home, device: Device, traits: EngineTraits = _USUAL
) -> tuple[ModelRef, Model | None]:
    """The model that was asked for, or the best of the catalogue that fits; None of an id that only a hub knows."""
    if settings.model is None:
        return choose_model(device, candidates(home.models), wish_of(settings), traits)
    ref = find_model(settings.model, home.models)
    return ref, read_facts(ref)


def read_installed(ref: ModelRef) -> Model:
    """The model of files that are here by now. Raises ModelCorruptError."""
    model = read_facts(dataclasses.replace(ref, installed=True))
    if model is None:
        raise ModelCorruptError("deploy.no_model_files", model=ref.name, path=str(ref.path))
    return model


def find_smaller(ref: ModelRef, wish: Wish, device: Device, home: Home, traits: EngineTraits) -> ModelRef | None:
    """A smaller model of the same family that fits; installed models come before those to be downloaded."""
    names = smaller_of_family(ref.name)
    found = [each for each in candidates(home.models) if each[0].name in names]
    found.sort(key=lambda each: not each[0].installed)
    chosen = choose_smaller(device, found, wish, traits)
    return chosen and chosen[0]


def _subject(settings: Settings, home: Home, device: Device, engine: EngineFacts) -> Subject:
    """Raises ModelNotFoundError for an id that only a hub knows."""
    ref, model = choose(settings, home, device, engine.traits)
    if model is None:
        raise ModelNotFoundError("deploy.nothing_known", model=ref.name)
    trust = trust_in(model, home, given=settings.trust_remote_code)
    wish = dataclasses.replace(wish_of(settings), trust=trust)
    return Subject(device, ref, model, wish, engine, home.cache)


def _host(device: Device, settings: Settings, home: Home) -> Host:
    return asyncio.run(host_for(device, settings, home, home.slot().workplace, only_looks=True))
