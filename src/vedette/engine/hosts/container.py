"""The engine in a container. vedette uses the command line of Docker or Podman, which a person can repeat."""

import asyncio
import contextlib
import hashlib
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import psutil

from vedette.engine.hosts.container_record import container_processes, end_container, record_container
from vedette.engine.hosts.docker import ContainerEngine
from vedette.engine.hosts.host import Report
from vedette.engine.hosts.image_pull import explain_pull, parse_layer
from vedette.engine.hosts.images import (
    Fetched,
    Image,
    find_digest,
    parse_inspected,
    read_fetched,
    software_of,
    software_path,
    write_fetched,
)
from vedette.engine.process.oom_kills import read_machine_kills
from vedette.engine.process.process import spawn
from vedette.engine.process.process_command import Command
from vedette.engine.vllm.flags import Target, serve_arguments, serve_environment
from vedette.engine.vllm.software import QUESTIONS, Software, parse_software, read_software, write_software
from vedette.errors import EngineInstallError
from vedette.files import list_directory
from vedette.language.message import Message
from vedette.outputs import LONGEST_STEP_BYTES, last_line, lines_of
from vedette.plan.plan import Backend, Plan

_OOM_SCORE_ADJ = 500
"""As in launcher.py: when memory runs out, the kernel kills the engine before vedette, which can start it again."""
_SHM_SIZE = "1g"
"""Limit of the shared memory of vLLM's processes; only used memory is taken. The default of 64 MiB is too little."""
_PLACE = "/run/vedette"
"""The engine's working directory, as the container sees it: for its socket."""
_FOR_ITS_OWNER = ("sh", "-c", 'umask 0; exec "$@"', "sh")
"""Makes root in the container create a socket that this user may use. Other users cannot enter the directories of this
machine in which the engine creates files."""
_MOST_FILES = 20_000
"""Of a model's directory."""
_OUTPUT_LINES = 20
"""Last lines of a pull's output that are kept, to explain a failure."""


class ContainerHost:
    """The host for one image, which runs as one container; the container's name depends on the working directory."""

    kind = "container"
    python = None

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
        """The image's name, by digest once that is known."""
        return self._fetched.pinned if self._fetched else self._image.pinned

    async def make_ready(self, report: Report) -> None:
        """Pull the image if it is missing, and read its version and options if they are not known.

        Raises EngineInstallError.
        """
        found = await self._find(self._image.pinned)
        if found is None:  # its tag may stand for another image by now: fetch the image that ran here before
            found = await self._find(self.image) or await self._pull(self.image, report)
        elif self._fetched is not None and self._fetched.image_id != found.image_id:
            report(Message("engine.image_changed", image=self._image.reference))
        self._fetched = found
        record_container(self._workplace, self._engine.program, self.name)
        await self._engine.run("rm", "-f", self.name)  # started by hand, or left behind without a record
        path = software_path(self._cache, found.image_id)
        software = read_software(path)
        if software is None:
            report(Message("engine.reading_image"))
            software = await self._read_software()
            write_software(path, software)
        self._software = software
        write_fetched(self._cache, found)

    def command(self, plan: Plan, target: Target) -> Command:
        for directory in ("vllm", "inductor", "triton"):
            (self._cache / directory).mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(PermissionError):  # a directory that this account shares
            self._cache.chmod(0o700)
        # The container is in none of vedette's cgroups: only the whole machine's counter counts its kills.
        return Command(self.arguments(plan, target), dict(os.environ), self._workplace, read_machine_kills)

    def arguments(self, plan: Plan, target: Target) -> tuple[str, ...]:
        """The whole command line, Docker's or Podman's program first. Raises EngineVersionError."""
        settings, software = plan.settings, self._software
        serve = serve_arguments(settings, target, software.version, software.options)
        variables = serve_environment(self._cache, settings, software.version)
        memory = plan.memory
        limit = memory.available_bytes if settings.backend is Backend.CPU else memory.host_available_bytes
        return (
            self._engine.program,
            "run",
            *(word for pair in self._options(target.model_path, limit) for word in pair),
            *self._socket_options(target),
            *(word for name, value in variables.items() for word in ("--env", f"{name}={value}")),
            *self._image_words(serve, () if target.port is not None or os.geteuid() == 0 else _FOR_ITS_OWNER),
        )

    def mark_broken(self) -> None:
        """Do nothing: only the publisher of an image can repair it."""

    async def end(self) -> None:
        await asyncio.to_thread(end_container, self._workplace)

    def processes(self) -> list[psutil.Process]:
        """The processes of the running container, as this machine sees them."""
        return container_processes(self._workplace)

    def _options(self, model: Path, limit_bytes: int | None) -> Iterator[tuple[str, ...]]:
        yield "--name", self.name
        yield ("--rm",)
        yield "--restart", "no"  # vedette restarts it, with another plan if necessary
        yield "--log-driver", "none"  # vedette keeps the output itself, and less of it than Docker does
        yield "--pull", "never"  # `make_ready` has pulled it and shown the progress
        yield self._engine.gpu
        yield "--network", "host"  # for the processes of the engine, which speak on 127.0.0.1
        yield "--ipc", "private"
        yield "--shm-size", _SHM_SIZE
        yield "--security-opt", "no-new-privileges"
        yield "--oom-score-adj", str(_OOM_SCORE_ADJ)
        if limit_bytes is not None:  # None for shared memory: the kernel does not count what the GPU takes of it
            yield "--memory", str(limit_bytes)
        # At the same paths as on this machine: links out of a directory stay valid, and logs name real files.
        yield "--mount", _mount(model, "readonly")
        for target in _linked_directories(model):
            yield "--mount", _mount(target, "readonly")
        yield "--mount", _mount(self._cache)

    def _socket_options(self, target: Target) -> tuple[str, ...]:
        if target.port is not None:
            return ()
        return ("--mount", _mount(self._workplace, target=_PLACE), "--workdir", _PLACE)

    def _image_words(self, arguments: tuple[str, ...], before: tuple[str, ...] = ()) -> tuple[str, ...]:
        """The image and the command in it. before: words of a program that then becomes vLLM."""
        if self._image.entrypoint is None:
            return (self.image, *before, "vllm", *arguments)
        entrypoint, *words = (*before, self._image.entrypoint)
        return ("--entrypoint", entrypoint, self.image, *words, *arguments)

    async def _find(self, name: str) -> Fetched | None:
        """The image of this name on this machine; None if there is none."""
        status, output = await self._engine.run("image", "inspect", "--format", "{{.Id}} {{json .RepoDigests}}", name)
        if status != 0:
            return None
        image_id, digests = parse_inspected(output)
        reference = self._image.reference
        return Fetched(reference, image_id, self._image.digest or find_digest(reference, digests))

    async def _pull(self, name: str, report: Report) -> Fetched:
        report(Message("engine.fetching_image", image=self._image.reference))
        command = Command((self._engine.program, "pull", name), dict(os.environ), self._workplace)
        process = await spawn(command)
        layers: dict[str, bool] = {}
        output: deque[str] = deque(maxlen=_OUTPUT_LINES)
        try:
            async for line in lines_of(process.stdout, LONGEST_STEP_BYTES):
                output.append(line.strip())
                layer = parse_layer(line.strip())
                if layer is not None:
                    layers[layer[0]] = layer[1]
                    done, total = sum(layers.values()), len(layers)
                    report(Message("engine.fetching_layers", done=done, total=total))
            status = await process.wait()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        found = await self._find(name) if status == 0 else None
        if found is None:
            raise explain_pull(name, tuple(output))
        return found

    async def _read_software(self) -> Software:
        """The version and the options of the image's vLLM; two runs, each of which imports vLLM."""
        answers = []
        for question in QUESTIONS:
            status, output = await self._engine.run(
                *("run", "--rm", "--name", self.name, "--pull", "never", "--network", "none", *self._engine.gpu),
                *self._image_words(question),
            )
            if status != 0:
                raise self._explain(output)
            answers.append(output)
        software = parse_software(*answers)
        if software is None:
            raise EngineInstallError("engine.image_without_version", image=self._image.reference)
        return software

    def _explain(self, output: str) -> EngineInstallError:
        last = last_line(output)
        if last is None:
            return EngineInstallError("engine.image_failed_silently", image=self._image.reference)
        return EngineInstallError("engine.image_failed", image=self._image.reference, error=last)


def _mount(path: Path, *options: str, target: str | None = None) -> str:
    fields = ["type=bind", f"source={path}", f"target={target or path}", *options]
    return ",".join(map(_csv_field, fields))


def _csv_field(text: str) -> str:
    """A field of the line of CSV that the option's value is."""
    return '"' + text.replace('"', '""') + '"' if any(character in text for character in ',"\r\n') else text


def _linked_directories(model: Path) -> list[Path]:
    """Directories outside the model's own that its files link to, as in a hub's cache."""
    try:
        links = [path for path in list_directory(model, _MOST_FILES) if path.is_symlink() and path.is_file()]
    except OSError:
        return []
    real = {Path(os.path.realpath(path)).parent for path in links}
    return sorted(parent for parent in real if not parent.is_relative_to(model) and parent != Path("/"))
