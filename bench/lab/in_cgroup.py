"""Runs the engine on a plan inside a memory cgroup (version 1) and prints planned beside measured memory.

    python -m bench.lab.in_cgroup MODEL_DIRECTORY ENGINE_PYTHON [--limit-mib N] [--cgroup-mib N]

Needs root and a writable /sys/fs/cgroup/memory. The plan is made for a machine that has only the limit; then as
many requests as it allows run at once, each filling its context: pictures, prompt and answer together.
"""

import argparse
import asyncio
import base64
import contextlib
import dataclasses
import io
import json
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aiohttp
from PIL import Image

from tests.rig.cgroup import Cgroup
from tests.rig.processes import free_port
from vedette.device.device import Device
from vedette.device.probe import read_device
from vedette.engine.hosts.recipes import CPU_RECIPE
from vedette.engine.process import standby
from vedette.engine.vllm.flags import Target, preload, serve_arguments, serve_environment
from vedette.models.checkpoint import read_model
from vedette.plan.make import make_plan
from vedette.plan.plan import Plan, Wish

MIB = 1024**2
STARTER = Path(standby.__file__).with_name("preloader.py")
READY_S = 240.0
"""An engine with enough memory is ready in 40 to 90 s on two cores."""
ANSWER_S = 180.0


@dataclass
class Seen:
    """The results of one start; bytes are peaks."""

    outcome: str = ""
    """`answered`, or the reason why not."""
    ready_s: float | None = None
    load_s: float | None = None
    anonymous_bytes: int = 0
    mapped_bytes: int = 0
    charged_bytes: int = 0
    killed: int = 0
    usages: list[dict[str, Any]] = field(default_factory=list)
    log_tail: str = ""


class _TooSmallError(Exception):
    """The engine did not serve as planned; the text says what happened."""


def run_plan(
    plan: Plan,
    model_directory: Path,
    engine_python: Path,
    limit_mib: int | None,
    more_arguments: Sequence[str] = (),
    more_environment: Mapping[str, str] = MappingProxyType({}),
) -> Seen:
    """Starts the engine as planned in a cgroup of `limit_mib`, sends one full request alone, then as many full requests
    at once as the plan allows."""
    version = CPU_RECIPE.version
    port = free_port()
    target = Target(model_directory, "bench", port, cpu=True)
    arguments = serve_arguments(plan.settings, target, version)
    forget_files(engine_python.resolve().parent.parent, engine_python.parent.parent, model_directory)
    seen, cgroup = Seen(), Cgroup(limit_mib * MIB if limit_mib else None)
    with tempfile.TemporaryDirectory() as scratch, Path(scratch, "log").open("wb") as log:
        variables = serve_environment(Path(scratch), plan.settings, version)
        variables |= {"PATH": os.environ["PATH"], "HOME": scratch, **more_environment}
        # As engine/process/standby.py starts it: imports come first, and the core is a fork.
        ours, its_end = socket.socketpair()
        process = subprocess.Popen(
            [str(engine_python), str(STARTER), "go", "fork", *preload(plan.settings).modules],
            env=variables,
            stdin=its_end.fileno(),
            stdout=log,
            stderr=log,
            preexec_fn=cgroup.join,
            start_new_session=True,
        )
        program = [str(engine_python.parent / "vllm"), *arguments, *more_arguments]
        ours.sendall(json.dumps({"arguments": program, "workplace": scratch}).encode() + b"\n")
        try:
            asyncio.run(_exercise(cgroup, process, plan, port, seen))
            seen.outcome = "answered"
        except _TooSmallError as error:
            seen.outcome = str(error)
            seen.log_tail = Path(scratch, "log").read_text(errors="replace")[-3000:]
        finally:
            seen.anonymous_bytes, seen.mapped_bytes, seen.charged_bytes = (
                cgroup.most.get(name, 0) for name in ("anonymous", "mapped", "charged")
            )
            seen.killed = cgroup.killed
            _end(process)
            cgroup.remove()
    return seen


def _end(process: "subprocess.Popen[bytes]") -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
            return


def forget_files(*roots: Path) -> None:
    """Drops the page cache of files under `roots`, which is charged to the cgroup that read them first."""
    for root in roots:
        for directory, _, names in os.walk(root):
            for name in names:
                with contextlib.suppress(OSError):
                    number = os.open(Path(directory, name), os.O_RDONLY)
                    os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
                    os.close(number)


async def _exercise(cgroup: Cgroup, process: "subprocess.Popen[bytes]", plan: Plan, port: int, seen: Seen) -> None:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        seen.ready_s = await _until_ready(session, cgroup, process)
        for count in (1, plan.context.concurrency):
            began = time.monotonic()
            waiting = [asyncio.create_task(full_request(session, plan)) for _ in range(count)]
            try:
                while not all(task.done() for task in waiting):
                    _check(cgroup, process, began, ANSWER_S, "not answered")
                    await asyncio.sleep(0.1)
                seen.usages = [task.result() for task in waiting]
            except (aiohttp.ClientError, OSError, KeyError, ValueError) as error:
                raise _TooSmallError(f"a request failed: {error!r}") from error
            finally:
                for task in waiting:
                    task.cancel()
            seen.load_s = time.monotonic() - began
            refused = [usage for usage in seen.usages if "completion_tokens" not in usage]
            if refused:
                raise _TooSmallError(f"a request was refused: {json.dumps(refused[0])[:200]}")
        _check(cgroup, process, time.monotonic(), ANSWER_S, "")


async def _until_ready(session: aiohttp.ClientSession, cgroup: Cgroup, process: "subprocess.Popen[bytes]") -> float:
    began = time.monotonic()
    patience = aiohttp.ClientTimeout(5)
    while True:
        _check(cgroup, process, began, READY_S, "not ready")
        with contextlib.suppress(aiohttp.ClientError, asyncio.TimeoutError):
            async with session.get("/health", timeout=patience) as answer:
                if answer.status == 200:
                    return time.monotonic() - began
        await asyncio.sleep(0.2)


def _check(cgroup: Cgroup, process: "subprocess.Popen[bytes]", began: float, patience_s: float, what: str) -> None:
    cgroup.look()
    if cgroup.killed:
        raise _TooSmallError("killed by the kernel")
    if process.poll() is not None:
        raise _TooSmallError(f"ended with status {process.returncode}")
    if time.monotonic() - began > patience_s:
        raise _TooSmallError(f"{what} after {patience_s:.0f} s")


async def full_request(session: aiohttp.ClientSession, plan: Plan) -> dict[str, Any]:
    """A request that fills the context; the engine itself counts the prompt's tokens."""
    pictures = [
        {"type": "image_url", "image_url": {"url": picture(plan)}} for _ in range(plan.context.images_per_request)
    ]
    words = "red circle left of the blue square "

    def body(count: int) -> dict[str, Any]:
        content = [*pictures, {"type": "text", "text": words * count}]
        return {"model": "bench", "messages": [{"role": "user", "content": content}]}

    async with session.post("/tokenize", json=body(10)) as answer:
        ten = (await answer.json())["count"]
    async with session.post("/tokenize", json=body(20)) as answer:
        twenty = (await answer.json())["count"]
    room = plan.context.max_model_len - plan.context.answer_tokens
    count = max(1, 10 + int((room - ten) / ((twenty - ten) / 10)))
    request = body(count) | {"max_tokens": plan.context.answer_tokens, "ignore_eos": True, "temperature": 0}
    async with session.post("/v1/chat/completions", json=request) as answer:
        found: dict[str, Any] = await answer.json()
        return found.get("usage") or found


def picture(plan: Plan) -> str:
    """A noisy picture of exactly the plan's pixels as a data URL; each call makes another one."""
    side = int((plan.context.image_max_pixels or 1) ** 0.5)
    image = Image.frombytes("RGB", (side, side), random.randbytes(side * side * 3))
    data = io.BytesIO()
    image.save(data, "JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()


def machine_with(limit_mib: int | None) -> Device:
    """This machine, or, with a limit, one like it that has no more memory, all of it available."""
    device = read_device()
    if limit_mib is None:
        return device
    limit_bytes = limit_mib * MIB
    return dataclasses.replace(
        device, memory_total_bytes=limit_bytes, memory_available_bytes=limit_bytes, memory_limited=True
    )


def planned_parts(plan: Plan) -> dict[str, int]:
    """The plan's memory by part, in MiB, without what it leaves free."""
    values = dataclasses.asdict(plan.memory)
    free = ("available_bytes", "host_available_bytes", "reserve_bytes")
    return {name.removesuffix("_bytes"): value // MIB for name, value in values.items() if value and name not in free}


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that SIGTERM stops the engine too
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("python", type=Path, help="the engine environment's interpreter")
    parser.add_argument("--limit-mib", type=int, help="the cgroup's limit, and the memory the plan is made for")
    parser.add_argument("--cgroup-mib", type=int, help="a limit of the cgroup other than the planned memory")
    parser.add_argument("--arguments", default="", help="arguments after the plan's own")
    parser.add_argument("--environment", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    plan = make_plan(machine_with(options.limit_mib), read_model(options.model), Wish())
    print("fits" if plan.fits else "does not fit", plan.context, planned_parts(plan))
    seen = run_plan(
        plan,
        options.model.absolute(),
        options.python.absolute(),
        options.cgroup_mib or options.limit_mib,
        shlex.split(options.arguments),
        dict(pair.split("=", 1) for pair in options.environment),
    )
    print(json.dumps(dataclasses.asdict(seen) | {"planned_mib": sum(planned_parts(plan).values())}, indent=1))


if __name__ == "__main__":
    main()
