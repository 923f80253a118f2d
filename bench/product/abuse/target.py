"""What is attacked: a tree's vedette in a memory cgroup, and what an attack does to it and to a bystander."""

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import textwrap
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.product.abuse import payloads
from tests.rig.cgroup import Cgroup
from tests.rig.processes import Vedette, clean_environment, command, run_vedette, start_vedette, stop_process

MIB = 1024**2
READY_S = 400.0
BYSTANDER_S = 60.0
"""How long a bystander waits for an answer."""
_SHOWN_CHARACTERS = 100
ATTACK_S = 120.0
"""How long an attack may take until it counts as never ending."""


@dataclass(frozen=True)
class Tree:
    """Sources under test."""

    name: str
    root: Path
    home: Path
    limit_bytes: int

    @property
    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(self.root / "src"), "TMPDIR": str(self.home / "tmp"), "PYTHONSAFEPATH": "1"}

    def run(self, *arguments: str, within_s: float = 60) -> "subprocess.CompletedProcess[str]":
        """Run a vedette command outside of the cgroup."""
        return run_vedette(self.home, *arguments, within_s=within_s, environment=self.environment)


@dataclass
class Target:
    """A vedette that serves."""

    tree: Tree
    vedette: Vedette
    cgroup: Cgroup
    notes: dict[str, float] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.vedette.url

    def log_bytes(self) -> int:
        """Of all that vedette and its engine have written."""
        logs = [*(self.tree.home / "run").glob("*.log*"), self.tree.home / "stderr.txt"]
        return sum(log.stat().st_size for log in logs if log.exists())

    def post(
        self,
        path: str,
        body: bytes,
        within_s: float = ATTACK_S,
        encoding: str | None = None,
        key: str | None = None,
    ) -> str:
        """The status of an answer; what went wrong if there was none."""
        sent = {"Content-Type": "application/json"} | ({"Content-Encoding": encoding} if encoding else {})
        sent |= {"Authorization": f"Bearer {key}"} if key else {}
        try:
            request = urllib.request.Request(self.url + path, body, sent)
            with urllib.request.urlopen(request, timeout=within_s) as answer:
                answer.read()
                return str(answer.status)
        except urllib.error.HTTPError as error:
            error.read()
            return str(error.code)
        except (OSError, ValueError) as error:
            return type(error).__name__

    def get(self, path: str, within_s: float = 10) -> str:
        try:
            with urllib.request.urlopen(self.url + path, timeout=within_s) as answer:
                answer.read()
                return str(answer.status)
        except urllib.error.HTTPError as error:
            return str(error.code)
        except OSError as error:
            return type(error).__name__


@dataclass(frozen=True)
class Effect:
    """What an attack did."""

    attack: str
    tree: str
    growth_bytes: int
    """Highest memory of engine and vedette during the attack, less that before."""
    killed: int
    """Processes that the kernel killed for lack of memory."""
    bystander_s: float | None
    """The longest wait of another client for an answer; None if one question was not answered."""
    log_bytes: int
    took_s: float
    outcome: str
    is_waited_for: bool = True
    """Whether a bystander asked at all."""


@contextlib.contextmanager
def serving(
    tree: Tree, *arguments: str, limit_bytes: int | None = None, descriptors: int | None = None
) -> Iterator[Target]:
    """A ready vedette of the tree in a cgroup; it and its engine are ended afterwards."""
    if not (tree.root / "src" / "vedette").is_dir():  # Python would take an installed vedette in its place
        raise FileNotFoundError(tree.root / "src" / "vedette")
    cgroup = _Joined(tree.limit_bytes if limit_bytes is None else limit_bytes, descriptors)
    (tree.home / "tmp").mkdir(parents=True, exist_ok=True)
    shutil.rmtree(tree.home / "run", ignore_errors=True)
    vedette = start_vedette(
        tree.home, arguments, cgroup=cgroup, stderr=tree.home / "stderr.txt", environment=tree.environment
    )
    try:
        if vedette.ready(READY_S) is None:
            raise RuntimeError(f"{tree.name} is not ready: {vedette.events[-3:]} {vedette.stderr_text[-500:]}")
        yield Target(tree, vedette, cgroup)
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            stop_process(vedette.process)
        with contextlib.suppress(subprocess.TimeoutExpired):
            tree.run("down")
        cgroup.remove()


class _Joined(Cgroup):
    """A cgroup whose processes may have only so many descriptors."""

    def __init__(self, limit_bytes: int, descriptors: int | None) -> None:
        super().__init__(limit_bytes)
        self._descriptors = descriptors

    def join(self) -> None:
        super().join()
        if self._descriptors is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self._descriptors, self._descriptors))


def ask(target: Target, within_s: float = BYSTANDER_S) -> float | None:
    """Seconds until a plain question is answered, as a client asks that tries again; None if it is not."""
    began = time.monotonic()
    while (left_s := within_s - (time.monotonic() - began)) > 0:
        if target.post("/v1/chat/completions", payloads.chat(), left_s) == "200":
            return time.monotonic() - began
        time.sleep(0.2)
    return None


def measure(
    target: Target,
    name: str,
    attack: Callable[[Target], str],
    bystander: Callable[[Target], float | None] | None = ask,
) -> Effect:
    """Attack, and let a bystander ask from the first second on, and once more after the attack: the longest wait."""
    before, logged, killed = _anonymous(target.cgroup), target.log_bytes(), target.cgroup.killed
    peak, over = before, threading.Event()
    waited: list[float | None] = [None]

    def sample() -> None:
        nonlocal peak
        while not over.wait(0.05):
            peak = max(peak, _anonymous(target.cgroup))

    def stand_by() -> None:
        if bystander is None:
            attacker.join(ATTACK_S)
            return
        time.sleep(1)
        while True:
            is_last = not attacker.is_alive()
            now = bystander(target)
            waited[0] = None if now is None else max(now, waited[0] or 0.0)
            if now is None or is_last:
                return

    outcome: list[str] = []
    began = time.monotonic()
    attacker = threading.Thread(target=lambda: outcome.append(attack(target)), daemon=True)
    sampler, asker = threading.Thread(target=sample), threading.Thread(target=stand_by)
    for thread in (sampler, attacker, asker):
        thread.start()
    attacker.join(ATTACK_S)
    took_s = time.monotonic() - began
    asker.join()
    time.sleep(1)
    over.set()
    sampler.join()
    return Effect(
        name,
        target.tree.name,
        max(0, peak - before),
        target.cgroup.killed - killed,
        waited[0],
        target.log_bytes() - logged,
        took_s,
        outcome[0] if outcome else f"no end in {ATTACK_S:.0f} s",
        bystander is not None,
    )


def measure_command(tree: Tree, name: str, arguments: list[str], within_s: float, outcome: str | None = None) -> Effect:
    """Run a vedette command in the cgroup; its end, or that it has none within the time."""
    cgroup = Cgroup(tree.limit_bytes)
    began = time.monotonic()
    output = tree.home / "output.txt"
    with output.open("w") as file:
        process = subprocess.Popen(
            command(*arguments),
            env=clean_environment(tree.home, tree.environment),
            stdout=file,
            stderr=file,
            preexec_fn=cgroup.join,
        )
        peak = 0
        while process.poll() is None and time.monotonic() - began < within_s:
            peak = max(peak, _anonymous(cgroup))
            time.sleep(0.02)
    took_s = time.monotonic() - began
    ended = process.poll()
    killed = cgroup.killed
    if ended is None:
        process.kill()
    process.wait()
    cgroup.remove()
    if outcome is None:
        said = next((line for line in output.read_text(errors="replace").splitlines() if line.startswith("✗")), "")
        end = f"no end in {within_s:.0f} s" if ended is None else f"exit {ended}"
        shown = textwrap.shorten(said.replace(str(tree.home), "HOME"), _SHOWN_CHARACTERS, placeholder=" …")
        outcome = f"{end} {shown}".strip()
    return Effect(name, tree.name, peak, killed, None, 0, took_s, outcome, is_waited_for=False)


def plan_bytes(tree_root: Path) -> int:
    """What a tree plans for vedette-tiny on this machine."""
    environment = {**os.environ, "PYTHONPATH": str(tree_root / "src")}
    result = subprocess.run(
        [sys.executable, "-m", "vedette", "plan", payloads.MODEL, "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    planned: int = json.loads(result.stdout)["memory"]["total_bytes"]
    return planned


def _anonymous(cgroup: Cgroup) -> int:
    try:
        stat = dict(line.split() for line in (cgroup.path / "memory.stat").read_text().splitlines())
    except OSError:
        return 0
    return int(stat["total_rss"]) + int(stat.get("total_shmem", 0))
