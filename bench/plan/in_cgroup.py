"""Runs the engine on a plan inside a memory cgroup (version 1) and prints what was planned beside what was seen.

    python bench/plan/in_cgroup.py MODEL_DIRECTORY ENGINE_PYTHON [--limit-mib N] [--cgroup-mib N]

Needs root and a writable /sys/fs/cgroup/memory. The plan is made for a machine that has only the limit; then as
many requests as it allows run at once, each filling its context: pictures, prompt and answer together.
"""

import argparse
import asyncio
import base64
import dataclasses
import io
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
from PIL import Image

from vedette.device.facts import Device
from vedette.device.read import read_device
from vedette.engine.environment import CPU_RECIPE
from vedette.engine.flags import Target, serve_arguments, serve_environment
from vedette.models.read import read_model
from vedette.plan.explain import explain_plan
from vedette.plan.make import make_plan
from vedette.plan.plan import Plan, Wish

MIB = 1024**2
PORT = 8137


class Cgroup:
    """One memory cgroup of its own, removed at the end."""

    def __init__(self, limit_bytes: int | None) -> None:
        self.path = Path(f"/sys/fs/cgroup/memory/vedette-bench-{os.getpid()}")
        self.path.mkdir()
        if limit_bytes is not None:
            (self.path / "memory.limit_in_bytes").write_text(str(limit_bytes))
        self.most: dict[str, int] = {}
        self.now: dict[str, int] = {}

    def join(self) -> None:
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def look(self) -> None:
        """Notes the largest values so far: anonymous memory, and with it the mapped files that processes run on."""
        stat = dict(line.split() for line in (self.path / "memory.stat").read_text().splitlines())
        anonymous, mapped = int(stat["total_rss"]), int(stat["total_mapped_file"])
        shared = int(stat["total_shmem"]) if "total_shmem" in stat else 0
        self.now = {"anonymous": anonymous + shared, "with mapped files": anonymous + mapped}
        for name, value in self.now.items():
            self.most[name] = max(self.most.get(name, 0), value)

    @property
    def killed(self) -> int:
        lines = (self.path / "memory.oom_control").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))

    def remove(self) -> None:
        for _ in range(50):
            try:
                self.path.rmdir()
                return
            except OSError:
                time.sleep(0.1)


def picture(plan: Plan) -> str:
    """A noisy picture of exactly the plan's pixels as a data URL; each call makes another one."""
    side = int((plan.context.image_max_pixels or 1) ** 0.5)
    image = Image.frombytes("RGB", (side, side), random.randbytes(side * side * 3))
    data = io.BytesIO()
    image.save(data, "JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()


async def full_request(session: aiohttp.ClientSession, plan: Plan) -> dict[str, Any]:
    """One request that fills the context; tokens of a prompt are counted by the engine itself."""
    base = f"http://127.0.0.1:{PORT}"
    pictures = [
        {"type": "image_url", "image_url": {"url": picture(plan)}} for _ in range(plan.context.images_per_request)
    ]
    words = "red circle left of the blue square "

    def body(count: int) -> dict[str, Any]:
        content = [*pictures, {"type": "text", "text": words * count}]
        return {"model": "bench", "messages": [{"role": "user", "content": content}]}

    async with session.post(f"{base}/tokenize", json=body(10)) as answer:
        ten = (await answer.json())["count"]
    async with session.post(f"{base}/tokenize", json=body(20)) as answer:
        twenty = (await answer.json())["count"]
    room = plan.context.max_model_len - plan.context.answer_tokens
    count = max(1, 10 + int((room - ten) / ((twenty - ten) / 10)))
    request = body(count) | {"max_tokens": plan.context.answer_tokens, "ignore_eos": True, "temperature": 0}
    async with session.post(f"{base}/v1/chat/completions", json=request) as answer:
        found: dict[str, Any] = await answer.json()
        return found.get("usage") or found


async def exercise(cgroup: Cgroup, process: "subprocess.Popen[bytes]", plan: Plan) -> None:
    began = time.monotonic()
    async with aiohttp.ClientSession() as session:
        while True:
            cgroup.look()
            if process.poll() is not None:
                raise SystemExit(f"the engine ended with {process.returncode}; killed by the kernel: {cgroup.killed}")
            try:
                async with session.get(f"http://127.0.0.1:{PORT}/health") as answer:
                    if answer.status == 200:
                        break
            except aiohttp.ClientError:
                await asyncio.sleep(0.2)
        print(f"ready after {time.monotonic() - began:.1f} s; most: {_shown(cgroup.most)}; now: {_shown(cgroup.now)}")
        for count in (1, plan.context.concurrency):
            began = time.monotonic()
            waiting = [asyncio.create_task(full_request(session, plan)) for _ in range(count)]
            while not all(task.done() for task in waiting):
                cgroup.look()
                await asyncio.sleep(0.1)
            usages = [task.result() for task in waiting]
            print(f"{count} full requests in {time.monotonic() - began:.1f} s: {json.dumps(usages[0])[:200]}")
            answered = sum(usage.get("completion_tokens", 0) for usage in usages)
            print(f"  {answered / (time.monotonic() - began):.1f} tokens/s, prompts included")


def _shown(most: dict[str, int]) -> str:
    return ", ".join(f"{name} {value / MIB:.0f} MiB" for name, value in most.items())


def machine_with(limit_mib: int | None) -> Device:
    device = read_device()
    if limit_mib is None:
        return device
    return dataclasses.replace(device, memory_total_bytes=limit_mib * MIB, memory_available_bytes=limit_mib * MIB)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the engine is stopped then, too
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("python", type=Path, help="the engine environment's interpreter")
    parser.add_argument("--limit-mib", type=int, help="the cgroup's limit, and the memory the plan is made for")
    parser.add_argument("--cgroup-mib", type=int, help="a limit of the cgroup other than the planned memory")
    parser.add_argument("--arguments", default="", help="arguments after the plan's own")
    options = parser.parse_args()
    plan = make_plan(machine_with(options.limit_mib), read_model(options.model), Wish())
    print(explain_plan(plan))
    arguments = serve_arguments(plan.settings, Target(options.model, "bench", PORT, cpu=True), CPU_RECIPE.version)
    limit_mib = options.cgroup_mib or options.limit_mib
    cgroup = Cgroup(limit_mib * MIB if limit_mib else None)
    with tempfile.TemporaryDirectory() as scratch, Path(scratch, "log").open("wb") as log:
        program = [str(options.python), str(options.python.parent / "vllm")]
        process = subprocess.Popen(
            [*program, *arguments, *shlex.split(options.arguments)],
            env=serve_environment(Path(scratch), plan.settings, CPU_RECIPE.version)
            | {"PATH": os.environ["PATH"], "HOME": scratch},
            stdout=log,
            stderr=log,
            preexec_fn=cgroup.join,
            start_new_session=True,
        )
        try:
            asyncio.run(exercise(cgroup, process, plan))
            print(f"most: {_shown(cgroup.most)}; killed by the kernel: {cgroup.killed}")
            planned = plan.memory.total_bytes - plan.memory.reserve_bytes
            print(f"planned without the reserve: {planned / MIB:.0f} MiB")
        except BaseException:
            print(Path(scratch, "log").read_text(errors="replace")[-3000:])
            raise
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            cgroup.remove()


if __name__ == "__main__":
    main()
