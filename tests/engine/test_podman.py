"""Real containers: Podman runs an image made here, through which real vLLM serves vedette-tiny.

The image has a root file system of its own with `vllm` on its PATH. The machine's /usr and the engine's environment
are too large to copy: Podman is set up to mount them read-only into every container.
"""

import asyncio
import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.rig.chat import ask, image_part, question
from tests.rig.engine_settings import TEXT, VLLM_HELP, plan_with
from tests.rig.processes import READY_WITHIN_S, free_port, run_vedette, start_vedette, vedette_running
from vedette.deploy.calibration_store import host_bytes
from vedette.engine.hosts.container import ContainerHost
from vedette.engine.hosts.container_record import container_processes
from vedette.engine.hosts.docker import find_container_engine
from vedette.engine.hosts.images import image_named
from vedette.engine.hosts.installer import InstallSettings, ensure
from vedette.engine.hosts.recipes import CPU_RECIPE
from vedette.engine.process.process import EngineProcess
from vedette.engine.state import Phase
from vedette.engine.vllm.causes import find_cause
from vedette.engine.vllm.flags import Target
from vedette.plan.plan import Backend
from vedette.settings.load import read_settings

SERVING = "localhost/vedette-check:serving"
SETTINGS = {"VEDETTE_ENGINE": "container", "VEDETTE_IMAGE": SERVING}
STARVING = "localhost/vedette-check:starving"
"""A child takes more memory than the container's limit, and the parent ends as vLLM's server does then."""
STARVING_VLLM = """#!/bin/sh
case "$1 $2" in
  --version*) echo 0.32.0 ;;
  *--help=all) echo "VLLM_HELP" ;;
  *) PYTHON -c 'b"x" * (1 << 30)'; exit 1 ;;
esac
"""
SYSTEM = ("bin", "lib", "lib32", "lib64", "sbin")
MIB = 1024**2


@dataclass(frozen=True)
class Podman:
    home: Path
    settings: Path
    """Podman's own directory."""
    python: Path
    """The interpreter, which every container sees too."""

    def run(self, *words: str) -> str:
        ended = subprocess.run(["podman", *words], capture_output=True, text=True)
        assert ended.returncode == 0, f"podman {' '.join(words)}: {ended.stderr}"
        return ended.stdout.strip()

    def containers(self) -> list[str]:
        return self.run("ps", "--all", "--format", "{{.Names}} {{.State}}").splitlines()

    def make_image(self, name: str, script: str) -> None:
        """Makes an image: the directories of a system besides /usr, and `script` as its `vllm`."""
        root = self.settings / name.rpartition(":")[2]
        for directory in ("dev", "etc", "opt", "proc", "root", "run", "sys", "tmp", "usr", "var/tmp"):
            (root / directory).mkdir(parents=True)
        for name_of_link in SYSTEM:
            if Path("/", name_of_link).is_symlink():
                (root / name_of_link).symlink_to(Path("/", name_of_link).readlink())
        (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        shutil.copy("/etc/ld.so.cache", root / "etc")
        shutil.copytree("/etc/alternatives", root / "etc/alternatives", symlinks=True)
        (root / "opt/vllm").write_text(script)
        (root / "opt/vllm").chmod(0o755)
        with tarfile.open(f"{root}.tar", "w") as archive:
            archive.add(root, "/")
        self.run("import", "--change", "ENV PATH=/opt:/usr/sbin:/usr/bin:/sbin:/bin", f"{root}.tar", name)


@pytest.fixture
def podman(own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Podman]:
    """A Podman that keeps its data in a directory of the test, and is the only container engine on PATH."""
    torch_index = read_settings({}, {}).torch_index
    workshop = InstallSettings(own_home / "engines", torch_index, tmp_path / "workshop", lambda _: None)
    environment = asyncio.run(ensure(CPU_RECIPE, workshop))
    python = environment.python.resolve()
    mounted = {Path("/usr"), environment.root.resolve(), python.parents[1]}
    mounted |= {Path("/", name) for name in SYSTEM if Path("/", name).is_dir() and not Path("/", name).is_symlink()}
    settings = Path(tempfile.mkdtemp(prefix="podman-"))  # with longer paths Podman took 20 s more to end a container
    volumes = [f"{path}:{path}:ro" for path in sorted(mounted)]
    # Root lacks the right to raise limits on some machines. Without systemd only Podman can make cgroups.
    (settings / "containers.conf").write_text(
        f"[containers]\ndefault_ulimits = []\nvolumes = {json.dumps(volumes)}\n"
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\n'
    )
    (settings / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{settings}/images"\nrunroot = "{settings}/run"\n'
    )
    (settings / "bin").mkdir()
    (settings / "bin/podman").symlink_to("/usr/bin/podman")
    for name, value in {
        "CONTAINERS_CONF": f"{settings}/containers.conf",
        "CONTAINERS_STORAGE_CONF": f"{settings}/storage.conf",
        "PATH": f"{settings}/bin",
    }.items():
        monkeypatch.setenv(name, value)
    made = Podman(own_home, settings, environment.python)
    root = environment.root.resolve()
    made.make_image(SERVING, f'#!/bin/sh\nexec {root}/bin/python {root}/bin/vllm "$@"\n')
    yield made
    run_vedette(own_home, "down")
    left = made.containers()
    if left:
        made.run("rm", "--all", "--force")
    shutil.rmtree(settings)
    assert left == []


async def test_real_vllm_serves_from_a_container_and_leaves_nothing(podman: Podman) -> None:
    by_hand = run_the_printed_command(podman)
    running = start_vedette(podman.home, ["vedette-tiny"], environment=SETTINGS)
    try:
        first = running.wait_until_ready()
        by_hand.wait(10)  # vedette removes the other container, which has the same name
        plan = running.status()["plan"]
        status, answer = await ask(running, question(image_part(1)))
        assert status == 200
        assert len(answer["choices"][0]["message"]["content"].split()) > 3

        (name,) = (line.split()[0] for line in podman.containers())
        assert limit_bytes(podman, name) == plan["memory"]["available_bytes"] // 4096 * 4096
        inside = container_processes(podman.home / "run/engine/1")
        assert any(process.name().startswith("VLLM::EngineCor") for process in inside)
        assert (host_bytes(inside) or 0) > 500 * MIB

        podman.run("kill", name)
        failed = running.wait_for(lambda event: event.get("state") == "failed")
        assert failed["cause"]["code"] == "killed"
        running.wait_for(lambda event: event["event"] == "ready" and event is not first)
        status, _ = await ask(running, question())
        assert status == 200

        began = time.monotonic()
        assert run_vedette(podman.home, "down").returncode == 0
        assert time.monotonic() - began < 10
        assert podman.containers() == []
    finally:
        running.process.kill()


def run_the_printed_command(podman: Podman) -> "subprocess.Popen[bytes]":
    """Runs the printed command as a person would; returns its process once it answers."""
    printed = run_vedette(podman.home, "up", "vedette-tiny", "--print", "--json", environment=SETTINGS)
    assert printed.returncode == 0, printed.stderr
    argv, port = json.loads(printed.stdout)["argv"], str(free_port())
    by_hand = subprocess.Popen([port if word == "8000" else word for word in argv])
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        with (
            contextlib.suppress(urllib.error.URLError, ConnectionError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=5) as response,
        ):
            assert json.load(response)["data"][0]["id"] == "vedette-tiny"
            return by_hand
        assert by_hand.poll() is None, "it ended"
        assert time.monotonic() < deadline, "the printed command does not answer"
        time.sleep(0.5)


def limit_bytes(podman: Podman, name: str) -> int:
    """The container's memory limit in bytes, from cgroups version 1 or 2."""
    pid = podman.run("inspect", "--format", "{{.State.Pid}}", name)
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            return int(Path(f"/sys/fs/cgroup/memory{path}/memory.limit_in_bytes").read_text())
        v2 = Path(f"/sys/fs/cgroup{path}/memory.max")
        if controllers == "" and v2.exists():
            return int(v2.read_text())
    raise AssertionError("it is in no memory cgroup")


def test_the_next_start_removes_the_container_that_a_killed_vedette_and_podman_left(podman: Podman) -> None:
    running = start_vedette(podman.home, ["vedette-tiny"], environment=SETTINGS)
    running.wait_for(lambda event: event.get("phase") == Phase.LOADING.value)
    os.kill(running.status()["engine_pid"], signal.SIGKILL)
    running.process.kill()
    running.process.wait()
    (left,) = container_processes(podman.home / "run/engine/1")[:1]
    assert left.is_running()
    with vedette_running(podman.home, "vedette-tiny", environment=SETTINGS) as again:
        again.wait_for(lambda event: event["event"] == "listening")
        assert not left.is_running()


async def test_a_container_that_exceeds_its_memory_limit_has_out_of_memory_as_its_cause(
    podman: Podman, tmp_path: Path
) -> None:
    podman.make_image(STARVING, STARVING_VLLM.replace("PYTHON", str(podman.python)).replace("VLLM_HELP", VLLM_HELP))
    host = ContainerHost(
        await find_container_engine(needs_gpu=False), image_named(STARVING), tmp_path / "cache", tmp_path / "place"
    )
    await host.make_ready(lambda _: None)
    plan = plan_with(dataclasses.replace(TEXT, backend=Backend.CPU, threads=1))
    plan = dataclasses.replace(plan, memory=dataclasses.replace(plan.memory, available_bytes=64 * MIB))
    command = host.command(plan, Target(tmp_path, "any", None, cpu=True))
    process = await EngineProcess.launch(command, tmp_path / "engine.log")
    death = await process.listen(lambda _: None)
    assert death.exit_status == 1
    assert find_cause(death).code == "out_of_memory"
    await host.end()
    await process.stop(1)
