"""The order of things: facts, plan, engine. The only place that joins them; knows neither terminal nor HTTP."""

import asyncio
import contextlib
import dataclasses
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from vedette.config import Home, Settings
from vedette.device.catalogue import device_named
from vedette.device.facts import Device, Family
from vedette.device.read import read_device
from vedette.engine import environment
from vedette.engine.client import EngineClient
from vedette.engine.engine import Engine, EngineDiedError, free_port
from vedette.engine.flags import Target, inherited_environment, serve_arguments, serve_environment
from vedette.engine.process import Command, find_processes
from vedette.engine.state import Cause, Life, Phase, State
from vedette.errors import DeviceError, DoesNotFitError, EngineFailedError, EngineInstallError, ModelNotFoundError
from vedette.instance import workplace
from vedette.measure.calibration import measured_start, read_calibration, record_start
from vedette.models.facts import Model
from vedette.models.fetch import fetch_model
from vedette.models.store import Source, candidates, find_model, read_source
from vedette.plan.calibration import Calibration, calibration_key
from vedette.plan.choose import choose_model
from vedette.plan.document import plan_json
from vedette.plan.explain import concession_sentence
from vedette.plan.make import make_plan
from vedette.plan.plan import Context, Plan, Wish, Workload

Tell = Callable[[Mapping[str, Any]], None]
"""Receives each finding (`{"event": "device" | "model" | "plan" | "note", …}`) as it is made."""

_RESTARTS = 3
"""Starts that may fail in a row, once the engine has served, before it is given up."""
_BACKOFF_S = 2.0

log = logging.getLogger(__name__)


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

    @property
    def arguments(self) -> tuple[str, ...]:
        """The engine's command as one would type it."""
        return ("vllm", *serve_arguments(self.plan.settings, self._target, environment.CPU_RECIPE.version))

    def replan(self, wish: Wish) -> Plan:
        """The plan of the same model on the same device for another wish."""
        return make_plan(self.device, self.model, wish, calibration=self.calibration)

    def as_json(self) -> dict[str, Any]:
        """The JSON object of `vedette plan --json`."""
        return plan_json(self.plan, self.device, _engine_json(self.device, self.plan, self._target, self.cache))

    @property
    def _target(self) -> Target:
        return Target(self.source.path, self.source.name, 0, self.device.family is Family.CPU)


def propose(settings: Settings, home: Home, device_name: str | None = None) -> Proposal:
    """Facts and plan for this machine, or for the catalogue board `device_name`.

    Raises DeviceError, ModelNotFoundError or ModelCorruptError; a plan that does not fit is returned, not raised.
    """
    device = device_named(device_name) if device_name else read_device(storage=home.data)
    source, model = _choose(settings, home, device)
    if model is None:
        raise ModelNotFoundError(
            f"Nothing is known of {source.name} before its files are here.",
            f"Fetch them with `vedette up {source.name}`.",
        )
    wish = _wish(settings)
    calibration = _calibration_for(device, model, wish, home)
    plan = make_plan(device, model, wish, calibration=calibration)
    return Proposal(device, source, model, wish, plan, home.cache, calibration)


def device_json(device: Device) -> dict[str, Any]:
    """A device's facts as JSON."""
    facts = dataclasses.asdict(device)
    return {name: value.value if isinstance(value, Enum) else value for name, value in facts.items()}


class Deployment:
    """One model from a wish to an answering engine and back; what `serve` and `status` look at."""

    def __init__(self, settings: Settings, home: Home, url: str, tell: Tell) -> None:
        self.life = Life()
        self.url = url
        self.plan_json: dict[str, Any] | None = None
        self._settings = settings
        self._home = home
        self._tell = tell
        self._model: Model | None = None
        self._plan: Plan | None = None
        self._engine: Engine | None = None
        self._learning: asyncio.Future[Calibration | None] | None = None

    # What `serve` sees (serve/backend.py)

    @property
    def client(self) -> EngineClient | None:
        return self._engine.client if self._engine and self.life.status.state is State.READY else None

    @property
    def context(self) -> Context | None:
        return self._plan.context if self._plan else None

    @property
    def thinks(self) -> bool:
        return self._model is not None and self._model.thinks

    @property
    def sees(self) -> bool:
        return self._model is not None and self._model.vision is not None

    def status_json(self) -> dict[str, Any]:
        return {
            **self.life.status.as_json(),
            "model": self._model.name if self._model else None,
            "page_url": f"{self.url}/",
            "api_url": f"{self.url}/v1",
            "engine_pid": self._engine.pid if self._engine else None,
            "plan": self.plan_json,
        }

    async def watch(self) -> AsyncIterator[dict[str, Any]]:
        async with contextlib.aclosing(self.life.watch()) as statuses:
            async for _ in statuses:
                yield self.status_json()

    # The way up, and staying up

    async def run(self) -> None:
        """Brings the model up and keeps it up until cancelled. Raises VedetteError when it cannot."""
        async with self._serving() as (source, made):
            while True:
                await self._keep_up(source, made)

    async def try_once(self) -> tuple[Plan, Calibration | None]:
        """Brings the model up, measures what that took, and stops it; None if it could not be measured.

        Raises VedetteError when it cannot come up.
        """
        async with self._serving():
            assert self._plan is not None and self._learning is not None  # noqa: S101, PT018 - it is ready
            return self._plan, await self._learning

    @contextlib.asynccontextmanager
    async def _serving(self) -> AsyncIterator[tuple[Source, environment.Environment]]:
        """A ready engine inside, none after."""
        try:
            self.life.enter(State.PREPARING, Phase.DETECTING)
            source, made = await self._prepare()
            await self._start(source, made)
            yield source, made
        finally:
            self.life.enter(State.DRAINING)
            await self._stop_engine()
            self.life.enter(State.STOPPED)

    async def _prepare(self) -> tuple[Source, environment.Environment]:
        device = await asyncio.to_thread(read_device, storage=self._home.data)
        self._tell({"event": "device", **device_json(device)})
        self.life.progress(Phase.CHOOSING)
        source, model = await asyncio.to_thread(_choose, self._settings, self._home, device)
        if model is None:  # an id that only a hub knows: its files have to be here before they can be planned for
            await self._fetch(source, None)
            model = await asyncio.to_thread(_read_fetched, source)
        why = "as you asked" if self._settings.model else "the best of the catalogue that fits here"
        self._tell({"event": "model", "name": source.name, "weights_bytes": model.weights_bytes, "why": why})
        self._model = model
        self._make_plan(device, model)  # before gigabytes are fetched and installed for nothing
        workshop = environment.Workshop(
            self._home.engines,
            self._settings.torch_index,
            workplace(self._home),
            lambda step: self.life.progress(Phase.INSTALLING, step),
        )
        self.life.progress(Phase.INSTALLING)
        made = await environment.ensure(_recipe_for(device), workshop)
        await self._fetch(source, made)
        return source, made

    async def _fetch(self, source: Source, made: environment.Environment | None) -> None:
        python = made.python if made else None
        async with contextlib.aclosing(fetch_model(source, self._home.models, python)) as steps:
            async for step in steps:
                self.life.progress(Phase.FETCHING, step.detail, step.done_bytes, step.total_bytes)

    async def _start(self, source: Source, made: environment.Environment) -> None:
        """Plans with the memory of this moment and starts the engine. Raises VedetteError."""
        self.life.progress(Phase.PLANNING)
        device = await asyncio.to_thread(read_device, storage=self._home.data)
        self._model = await asyncio.to_thread(_read_fetched, source)
        plan = self._make_plan(device, self._model)
        target = Target(source.path, source.name, free_port(), device.family is Family.CPU)
        arguments = serve_arguments(plan.settings, target, environment.CPU_RECIPE.version)
        self.plan_json = plan_json(plan, device, _engine_json(device, plan, target, self._home.cache))
        self._tell({"event": "plan", "plan": self.plan_json})
        if plan.concession is not None:
            self._tell({"event": "note", "sentence": concession_sentence(plan.concession)})
        self.life.enter(State.STARTING, Phase.LAUNCHING)
        environ = inherited_environment(os.environ) | serve_environment(
            self._home.cache, plan.settings, environment.CPU_RECIPE.version
        )
        command = Command((*made.program, *arguments), environ, workplace(self._home))
        client = EngineClient(f"http://127.0.0.1:{target.port}", source.name)
        self._engine = await Engine.launch(command, self._home.engine_log, client, self.life)
        try:
            await self._engine.wait_until_ready(plan.context)
        except EngineDiedError as error:
            if error.cause.code == "engine_broken":
                environment.mark_broken(made)
            raise
        self.life.enter(State.READY)
        self._learning = asyncio.ensure_future(asyncio.to_thread(self._learn, device, plan, self._engine))

    async def _keep_up(self, source: Source, made: environment.Environment) -> None:
        """Waits for the engine to die and brings it back. Raises EngineFailedError when that fails too often."""
        assert self._engine is not None  # noqa: S101 - only called once it has served
        cause = await self._engine.wait_until_dead()
        for attempt in range(_RESTARTS):
            self.life.enter(State.FAILED, cause=cause)
            await self._stop_engine()
            await asyncio.sleep(_BACKOFF_S * 2**attempt)
            self.life.enter(State.PREPARING, Phase.PLANNING)
            try:
                await self._start(source, made)
            except EngineDiedError as error:
                cause = error.cause
            except (EngineFailedError, DoesNotFitError) as error:
                cause = Cause(error.code, error.sentence, error.hint)
            else:
                return
        raise EngineFailedError(f"The engine died and did not come back: {cause.sentence}", cause.hint)

    def _learn(self, device: Device, plan: Plan, engine: Engine) -> Calibration | None:
        """What this start took, kept for the next plan; never fails. Runs in a thread."""
        assert self._model is not None  # noqa: S101 - it is what runs
        key = calibration_key(device, self._model, plan.settings, environment.CPU_RECIPE.version)
        try:
            taken = device.memory_available_bytes - read_device().memory_available_bytes
            processes = find_processes(workplace(self._home))
            measured = measured_start(key, plan, engine, self.life.phase_s, processes, taken)
            if self._engine is not engine:  # it ended meanwhile, and some of it was not there to be measured
                return None
            record_start(_calibrations(self._home), measured)
        except (OSError, DeviceError) as error:
            log.warning("What this start took is not kept: %s.", error)
            return None
        return measured

    async def _stop_engine(self) -> None:
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await engine.stop()

    def _make_plan(self, device: Device, model: Model) -> Plan:
        wish = _wish(self._settings)
        plan = make_plan(device, model, wish, calibration=_calibration_for(device, model, wish, self._home))
        if not plan.fits:
            raise does_not_fit(plan)
        self._plan = plan
        return plan


def _choose(settings: Settings, home: Home, device: Device) -> tuple[Source, Model | None]:
    """The model that was asked for, or the best of the catalogue that fits; None of an id that only a hub knows."""
    if settings.model is None:
        return choose_model(device, candidates(home.models), _wish(settings))
    source = find_model(settings.model, home.models)
    return source, read_source(source)


def _calibration_for(device: Device, model: Model, wish: Wish, home: Home) -> Calibration | None:
    """What an earlier start with the settings that this wish leads to took."""
    settings = make_plan(device, model, wish).settings
    return read_calibration(
        _calibrations(home), calibration_key(device, model, settings, environment.CPU_RECIPE.version)
    )


def _calibrations(home: Home) -> Path:
    """Where the calibration records of a home are."""
    return home.state / "calibrations"


def _read_fetched(source: Source) -> Model:
    model = read_source(dataclasses.replace(source, installed=True))
    assert model is not None  # noqa: S101 - an installed model has facts or raises
    return model


def _recipe_for(device: Device) -> environment.Recipe:
    if device.family is Family.CPU:
        return environment.CPU_RECIPE
    raise EngineInstallError(
        f"vedette cannot yet run an engine on {device.name}: it only makes the CPU engine so far.",
        "Run `vedette plan` for the flags to start vLLM's container with.",
    )


def _engine_json(device: Device, plan: Plan, target: Target, cache: Path) -> dict[str, Any]:
    """The engine's part of a plan's JSON: what one would type to start it by hand."""
    return {
        "kind": "environment" if device.family is Family.CPU else "container",
        "version": environment.CPU_RECIPE.version,
        "argv": ["vllm", *serve_arguments(plan.settings, target, environment.CPU_RECIPE.version)],
        "env": serve_environment(cache, plan.settings, environment.CPU_RECIPE.version),
    }


def _wish(settings: Settings) -> Wish:
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


def does_not_fit(plan: Plan) -> DoesNotFitError:
    """The error of a plan that needs more than there is, or whose model this device cannot run at all."""
    if plan.unsupported is not None:
        return DoesNotFitError(
            f"{plan.model_name} cannot run on {plan.device_name}. {plan.unsupported}",
            "Choose a checkpoint in another format, or another model.",
        )
    missing, available = plan.shortfall_bytes / 1024**3, plan.memory.available_bytes / 1024**3
    return DoesNotFitError(
        f"{plan.model_name} does not fit: it needs {missing:.2f} GiB more than the {available:.2f} GiB available.",
        "Free memory, choose a smaller model, or ask for less (`--context`, `--concurrency`).",
    )
