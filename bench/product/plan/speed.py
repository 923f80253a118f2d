"""Planned flags against the published board flags and against plain `vllm serve`, in the same GPU memory.

    python -m bench.product.plan.speed OUT [--seconds 560] [--only MODEL:WAY,…]

Another process leaves 6.4 GiB of the GPU free, as an 8 GB board would. Three ways to start each of two models, with
weights of their shape, random: `published` (NVIDIA's flags for the Orin Nano, "Deploying Open Source Vision Language
Models on Jetson", February 2026), `defaults` (nothing but the share of memory, and the planned context, without which
it would not start) and `planned`. Each is a start of new processes with no compiled code left by earlier ones.
Decode speed of one request: the median of three answers; time to the first token with a picture: the median of three
after one to warm up. Adds to OUT/speed.jsonl, leaves out what it finds there, writes OUT/speed.md.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.lab.hog import Hog
from bench.lab.shapes import make_shape
from bench.product.plan.engine_requests import (
    FailedRequest,
    picture_body,
    picture_url,
    prompt_tokens,
    stream,
    wait_ready,
)
from bench.product.plan.gpu_table import lines
from bench.product.plan.on_gpu import VERSION, device_of, for_version
from vedette.engine.vllm.flags import Target, serve_arguments, serve_environment
from vedette.engine.vllm.log import with_line
from vedette.models.checkpoint import read_model
from vedette.plan.calibration import Reported
from vedette.plan.make import make_plan
from vedette.plan.plan import Plan, Wish, Workload

GIB = 1 << 30
BUDGET = int(6.4 * GIB)
CONTEXT_BYTES = (GIB * 3 // 4, GIB * 5 // 4, GIB * 2, GIB * 3)
"""Bytes left to the CUDA context and to memory that vLLM does not count; the first that starts is used."""
MODELS = {
    "Qwen3-VL-2B-Instruct-FP8": Wish(workload=Workload.LIVE, concurrency=1),
    "ERNIE-4.5-0.3B-PT": Wish(workload=Workload.CHAT, concurrency=1),
}
WAYS = ("planned", "published", "defaults")
PUBLISHED = (
    *("--trust-remote-code", "--enforce-eager", "--max-model-len", "256", "--max-num-batched-tokens", "256"),
    *("--max-num-seqs", "1", "--enable-chunked-prefill"),
)
PUBLISHED_PICTURES = (
    *("--limit-mm-per-prompt", '{"image":1,"video":1}'),
    *("--mm-processor-kwargs", '{"num_frames":2,"max_pixels":150528}'),
)
BOARD_DEFAULTS = ("--max-num-batched-tokens", "2048", "--max-num-seqs", "256")
"""What vLLM takes by itself on less than 70 GiB; here it would see the whole GPU and take 8192 and 1024."""
PICTURE = (448, 336)
"""150,528 pixels, what the published flags allow: 147 tokens."""
PORT = 8900
READY_SECONDS = 200.0
REPEATS = 3


def flags(way: str, directory: Path, plan: Plan, shares: float) -> tuple[str, ...]:
    """The arguments of `vllm serve` for one way; shares: of the GPU's memory."""
    if way == "planned":
        target = Target(directory, "bench", PORT, cpu=False)
        chosen = serve_arguments(for_version(plan.settings), target, version=VERSION)
    else:
        chosen = ("serve", str(directory), "--served-model-name", "bench", "--host", "127.0.0.1", "--port", str(PORT))
        chosen += ("--gpu-memory-utilization", f"{shares:.4f}")
        if way == "published":
            chosen += (*PUBLISHED, *(PUBLISHED_PICTURES if plan.settings.images_per_prompt else ()))
        else:
            chosen += ("--max-model-len", str(plan.settings.max_model_len), *BOARD_DEFAULTS)
    return (*chosen, "--load-format", "dummy")


def run(way: str, directory: Path, hog: Hog, plan: Plan, scratch: Path) -> dict[str, Any]:
    """Starts the server one way, at the largest share of memory that starts, and measures it."""
    found: dict[str, Any] = {}
    for spared in CONTEXT_BYTES:
        arguments = flags(way, directory, plan, (BUDGET - spared) / hog.total)
        found = _measure(way, arguments, hog, plan, scratch)
        found["spared"] = spared
        if found.get("ready_s") is not None or way == "planned":
            break
    return found


def _measure(way: str, arguments: tuple[str, ...], hog: Hog, plan: Plan, scratch: Path) -> dict[str, Any]:
    cache, log = scratch / "cache", scratch / "speed.log"
    shutil.rmtree(cache, ignore_errors=True)  # code compiled earlier would make this start faster
    environment = os.environ | serve_environment(cache, for_version(plan.settings), VERSION)
    if way != "planned":
        del environment["VLLM_WORKER_MULTIPROC_METHOD"]  # vedette sets this
    free = hog.settle(BUDGET)
    hog.watch()
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "vllm.entrypoints.cli.main", *arguments],
            env=environment,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    found: dict[str, Any] = {"arguments": arguments[2:], "free_before": free}
    try:
        ready = wait_ready(PORT, lambda: server.poll() is None, READY_SECONDS)
        found["ready_s"] = None if ready is None else round(ready, 1)
        if ready is not None:
            found |= _requests(arguments, plan.settings.images_per_prompt > 0)
    except FailedRequest as error:
        found["failed"] = str(error)
    finally:
        found["peak"] = free - hog.look()["least"]
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(4)
        text = log.read_text(errors="replace")
        reported = Reported()
        for line in text.splitlines():
            reported = with_line(reported, line)
        found["reported"] = {name: value for name, value in asdict(reported).items() if value is not None}
        if found.get("ready_s") is None:
            found["log"] = text[-2500:]
    return found


def _requests(arguments: tuple[str, ...], sees: bool) -> dict[str, Any]:
    context = int(arguments[arguments.index("--max-model-len") + 1])
    answer = min(256, context - 64)
    body = {"model": "bench", "max_tokens": answer, "ignore_eos": True, "temperature": 0}
    speeds, firsts = [], []
    for _ in range(REPEATS + 1):  # the first request is a warm-up
        first, rest, tokens = stream(PORT, "/v1/completions", body | {"prompt": prompt_tokens(48)}, 120)
        speeds.append((tokens - 1) / rest)
        firsts.append(first * 1000)
    found = {"answer_tokens": answer, "decode_tokens_per_s": statistics.median(speeds[1:]), "all_speeds": speeds}
    found |= {"first_token_ms": statistics.median(firsts[1:])}
    if sees:
        pictures = []
        for _ in range(REPEATS + 1):
            sent = picture_body([picture_url(*PICTURE)], 8)
            pictures.append(stream(PORT, "/v1/chat/completions", sent, 60)[0] * 1000)
        found |= {"picture_first_token_ms": statistics.median(pictures[1:]), "all_pictures_ms": pictures}
    return found


def markdown(results: list[dict[str, Any]]) -> str:
    """The figures side by side, and the planned ones as a share of the others."""
    names = ("decode_tokens_per_s", "first_token_ms", "picture_first_token_ms", "ready_s", "peak")
    text = (
        "| model | flags | decode, tokens/s | first token, ms | with a picture, ms | ready, s | peak, GiB | KV tokens |"
    )
    text += "\n|" + "---|" * 8 + "\n"
    for found in results:
        cells = [found["model"], found["way"]]
        for name in names:
            value = found.get(name)
            cells.append(
                "-" if value is None else f"{value / (GIB if name == 'peak' else 1):.{2 if name == 'peak' else 1}f}"
            )
        cells.append(f"{found.get('reported', {}).get('kv_cache_tokens', 0):,}")
        text += "| " + " | ".join(cells) + " |\n"
    for model in MODELS:
        ways = {found["way"]: found for found in results if found["model"] == model}
        planned = ways.get("planned", {})
        for other in ("published", "defaults"):
            for name, said in (("decode_tokens_per_s", "decode speed"), ("ready_s", "time to ready"), ("peak", "peak")):
                if planned.get(name) and ways.get(other, {}).get(name):
                    text += f"\n{model}: {said} {planned[name] / ways[other][name]:.2f} times that of {other}"
    return text + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=560)
    parser.add_argument("--only", default="", help="MODEL:WAY, separated by commas")
    options = parser.parse_args()
    until = time.monotonic() + options.seconds
    options.out.mkdir(parents=True, exist_ok=True)
    results = options.out / "speed.jsonl"
    done = {(line["model"], line["way"]) for line in lines(results)}
    wanted = [tuple(name.split(":")) for name in options.only.split(",") if name]
    hog = Hog()
    with tempfile.TemporaryDirectory() as scratch:
        # The first import reads a GB from the disk: do that before the first measured start.
        subprocess.run(
            [sys.executable, "-c", "import vllm.entrypoints.cli.serve, vllm.v1.worker.gpu_worker"], check=False
        )
        for model, wish in MODELS.items():
            directory = make_shape(model, Path(scratch, model))
            free = hog.leave(BUDGET)
            plan = make_plan(device_of(free, hog.total), read_model(directory), wish)
            for way in WAYS:
                if (model, way) in done or (wanted and (model, way) not in wanted):
                    continue
                if until - time.monotonic() < 70:
                    print(f"no time left for {model} {way}")
                    continue
                found: dict[str, Any] = {"model": model, "way": way, "budget": free}
                try:
                    found |= run(way, directory, hog, plan, Path(scratch))
                except Exception as error:
                    found["error"] = f"{type(error).__name__}: {error}"
                with results.open("a") as file:
                    file.write(json.dumps(found) + "\n")
                short = {name: value for name, value in found.items() if name not in ("arguments", "log", "reported")}
                print(json.dumps(short), found.get("log", "")[-800:], flush=True)
    hog.end()
    text = markdown(lines(results))
    (options.out / "speed.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
