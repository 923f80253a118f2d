"""The engine in a container, through the command line of Docker or Podman: what a person can repeat by hand."""

import asyncio
import contextlib
import hashlib
import json
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import psutil

from vedette.engine.hosts.container_record import container_processes, end_container, note_container
from vedette.engine.hosts.docker import ContainerEngine
from vedette.engine.hosts.host import Report
from vedette.engine.hosts.image_pull import explain_pull, parse_layer
from vedette.engine.hosts.images import (
    Fetched,
    Image,
    find_digest,
    read_fetched,
    software_of,
    software_path,
    write_fetched,
)
from vedette.engine.process.oom_kills import read_machine_kills
from vedette.engine.process.process import Command, spawn
from vedette.engine.vllm.flags import Target, serve_arguments, serve_environment
from vedette.engine.vllm.software import QUESTIONS, Software, parse_software, read_software, write_software
from vedette.errors import EngineInstallError
from vedette.plan.plan import Backend, Plan

_OOM_SCORE_ADJ = 500
"""As for an engine that is a process (launcher.py): killed before whoever can start it again."""
_SHM_SIZE = "1g"
"""At most, for what vLLM's processes pass each other; only what is used is taken. 64 MiB, the default, are too few."""


class ContainerHost:
    """One image that runs as one container, whose name tells the home that it belongs to."""

    kind = "container"
    python = None
    """It has none of this machine's."""

    def __init__(self, engine: ContainerEngine, image: Image, cache: Path, workplace: Path) -> None:
        self.name = "vedette-" + hashlib.sha256(str(workplace).encode()).hexdigest()[:8]
        self._engine = engine
        self._image = image
        self._cache = cache
        self._workplace = workplace
        self._fetched = read_fetched(cache, image)
        self._software = software_of(image, cache)

    @property
    def version(self) -> str:
        return self._software.version

    @property
    def image(self) -> str:
        """Its name, by digest as soon as that is known."""
        return self._fetched.pinned if self._fetched else self._image.pinned

    async def make_ready(self, report: Report) -> None:
        """Pulls the image unless it is here, and asks it what it understands unless it has said so before.

        Raises EngineInstallError.
        """
        found = await self._find(self._image.pinned)
        if found is None:  # its name may stand for another image by now: the one that ran here is fetched again
            found = await self._find(self.image) or await self._pull(self.image, report)
        elif self._fetched is not None and self._fetched.image_id != found.image_id:
            report(f"{self._image.reference} was fetched anew and is another image than before")
        self._fetched = found
        note_container(self._workplace, self._engine.program, self.name)
        await self._engine.ask("rm", "-f", self.name)  # started by hand, or left where nothing was noted
        kept = software_path(self._cache, found.image_id)
        software = read_software(kept)
        if software is None:
            report("asking the image for its vLLM")
            software = await self._ask()
            write_software(kept, software)
        self._software = software
        write_fetched(self._cache, found)

    def command(self, plan: Plan, target: Target) -> Command:
        for directory in ("vllm", "inductor", "triton"):
            (self._cache / directory).mkdir(parents=True, exist_ok=True)
        # The container is in none of vedette's cgroups, so that only the machine's count can tell.
        return Command(self.arguments(plan, target), dict(os.environ), self._workplace, read_machine_kills)

    def arguments(self, plan: Plan, target: Target) -> tuple[str, ...]:
        """The whole command line, the container engine's program first. Raises EngineVersionError."""
        settings, software = plan.settings, self._software
        serve = serve_arguments(settings, target, software.version, software.options)
        variables = serve_environment(self._cache, settings, software.version)
        memory = plan.memory
        limit = memory.available_bytes if settings.backend is Backend.CPU else memory.host_available_bytes
        return (
            self._engine.program,
            "run",
            *(word for pair in self._options(target.model_path, limit) for word in pair),
            *(word for name, value in variables.items() for word in ("--env", f"{name}={value}")),
            *self._image_words(serve),
        )

    def mark_broken(self) -> None:
        """An image is not mended here: whoever made it does that."""

    async def end(self) -> None:
        await asyncio.to_thread(end_container, self._workplace)

    def processes(self) -> list[psutil.Process]:
        """Those of the running container, as this machine sees them."""
        return container_processes(self._workplace)

    def _options(self, model: Path, limit_bytes: int | None) -> Iterator[tuple[str, ...]]:
        yield "--name", self.name
        yield ("--rm",)
        yield "--restart", "no"  # vedette starts it again, with another plan if need be
        yield "--pull", "never"  # it was fetched before, with its progress shown
        yield self._engine.gpu
        yield "--network", "host"  # the engine listens on 127.0.0.1 alone
        yield "--ipc", "private"
        yield "--shm-size", _SHM_SIZE
        yield "--security-opt", "no-new-privileges"
        yield "--oom-score-adj", str(_OOM_SCORE_ADJ)
        if limit_bytes is not None:  # what a GPU takes of memory that it shares is not counted: no limit would hold
            yield "--memory", str(limit_bytes)
        # Where they are on this machine: links out of either lead to the same place, and logs name real files.
        yield "--mount", _mount(model, "readonly")
        for target in _linked_directories(model):
            yield "--mount", _mount(target, "readonly")
        yield "--mount", _mount(self._cache)

    def _image_words(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        if self._image.entrypoint is not None:
            return ("--entrypoint", self._image.entrypoint, self.image, *arguments)
        return (self.image, "vllm", *arguments)

    async def _find(self, name: str) -> Fetched | None:
        """What a name stands for on this machine."""
        status, output = await self._engine.ask("image", "inspect", "--format", "{{.Id}} {{json .RepoDigests}}", name)
        if status != 0:
            return None
        image_id, _, digests = output.strip().splitlines()[-1].partition(" ")
        reference = self._image.reference
        return Fetched(reference, image_id, self._image.digest or find_digest(reference, json.loads(digests) or ()))

    async def _pull(self, name: str, report: Report) -> Fetched:
        report(f"fetching the image {self._image.reference}")
        command = Command((self._engine.program, "pull", name), dict(os.environ), self._workplace)
        process = await spawn(command)
        layers: dict[str, bool] = {}
        tail: deque[str] = deque(maxlen=20)
        try:
            assert process.stdout is not None  # noqa: S101 - launched with a pipe
            async for raw in process.stdout:
                line = raw.decode(errors="replace").strip()
                tail.append(line)
                layer = parse_layer(line)
                if layer is not None:
                    layers[layer[0]] = layer[1]
                    report(f"fetching the image: {sum(layers.values())} of {len(layers)} layers")
            status = await process.wait()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        found = await self._find(name) if status == 0 else None
        if found is None:
            raise explain_pull(name, tuple(tail))
        return found

    async def _ask(self) -> Software:
        """What the vLLM in the image calls itself and understands; two runs, each with its imports."""
        said = []
        for question in QUESTIONS:
            status, output = await self._engine.ask(
                *("run", "--rm", "--name", self.name, "--pull", "never", "--network", "none", *self._engine.gpu),
                *self._image_words(question),
            )
            if status != 0:
                last = next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "nothing")
                raise EngineInstallError(
                    f"The image {self._image.reference} does not run here; it said: {last}",
                    "Mend what it names, or name another image (VEDETTE_IMAGE).",
                )
            said.append(output)
        software = parse_software(*said)
        if software is None:
            raise EngineInstallError(
                f"The image {self._image.reference} does not say which vLLM it holds.",
                "Name another image (VEDETTE_IMAGE).",
            )
        return software


def _mount(path: Path, *options: str) -> str:
    fields = ["type=bind", f"source={path}", f"target={path}", *options]
    return ",".join(f'"{field}"' if "," in field else field for field in fields)  # it is a line of CSV


def _linked_directories(model: Path) -> list[Path]:
    """Directories outside a model's own that its files are links into, as in a hub's cache."""
    if not model.is_dir():
        return []
    real = {path.resolve().parent for path in model.iterdir() if path.is_symlink()}
    return sorted(parent for parent in real if not parent.is_relative_to(model))
