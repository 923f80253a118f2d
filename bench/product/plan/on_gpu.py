"""Tests plans on a GPU: each must start, serve its full context and be at least 95 % of the largest that works.

    python -m bench.product.plan.on_gpu OUT [--seconds 540] [--only SHAPE@BOARD,…] [--closer N | --planned-only]
        [--probe PROBE.jsonl]

Each case makes a smaller board of the GPU: another process takes all memory but the board's budget. The plan for that
device, with as long a context as fits, starts the real `vllm serve` (weights of the right shape, random), which must
serve a request that fills its context, and one with the largest planned picture. Then a context longer by a
twentieth, with the KV cache to match, is started in the same memory: if that fails, the planned one is at least 95 %
of the largest; if it works, a search goes on upwards until one fails. --closer N: N more starts narrow down what
lies between. The share is always of the shortest context that failed. Every start is forked off a process that
has vLLM imported (zygote.py), so `ready` leaves out some 20 s of imports.

Adds to OUT/on_gpu.jsonl a line for each case, leaves out the cases that it finds there, and writes OUT/on_gpu.md.
--probe: exact weights by probe.py; without it the server's own line counts.
"""

import argparse
import contextlib
import dataclasses
import json
import math
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.lab.hog import Hog
from bench.lab.shapes import make_shape
from bench.lab.zygote import Zygote, architectures_of, exact_figures, restore_transformers_names, serve_like_vllm, wait
from bench.product.plan import gpu_table
from bench.product.plan.engine_requests import FailedRequest, ask, full_request, picture_body, picture_url, wait_ready
from vedette.device.device import Device, Family
from vedette.engine.vllm.flags import Target, can_limit_clips, serve_arguments, serve_environment
from vedette.engine.vllm.log import with_line
from vedette.models.checkpoint import read_model
from vedette.models.model import CacheKind, Model
from vedette.plan.calibration import Reported
from vedette.plan.kv import kv_cache_bytes
from vedette.plan.make import make_plan
from vedette.plan.plan import EngineSettings, Plan, Wish, Workload

VERSION = "0.26.0"
GIB = 1 << 30
BOARDS = {8: 6.4, 16: 14.0, 32: 29.0, 64: 59.0, 80: 72.0}
"""Free GiB of a board of so many GB; 80 is almost the whole GPU."""
CASES = (
    ("Meta-Llama-3.1-8B-Instruct-quantized.w4a16", 8), ("Qwen3-VL-2B-Instruct-FP8", 8), ("Qwen3-VL-2B-Instruct", 8),
    ("Qwen3-0.6B", 8), ("Qwen3-30B-A3B", 64), ("Meta-Llama-3.1-8B-Instruct-FP8-dynamic", 16),
    ("Meta-Llama-3.1-8B-Instruct-quantized.w4a16", 16), ("Llama-3.2-1B-Instruct", 8), ("Qwen3-VL-2B-Instruct", 16),
    ("Meta-Llama-3.1-8B-Instruct-quantized.w8a8", 16), ("Qwen3-VL-2B-Instruct-FP8", 16), ("Qwen3.5-2B", 8),
    ("gemma-3-1b-it", 8), ("Qwen2.5-1.5B-Instruct-AWQ", 8), ("SmolVLM-500M-Instruct", 8), ("ERNIE-4.5-0.3B-PT", 8),
    ("SmolLM2-1.7B-Instruct", 8), ("Qwen2-7B-Instruct-GPTQ-Int4", 16), ("Qwen3-8B-NVFP4", 16), ("gemma-3-4b-it", 16),
    ("Qwen2.5-VL-3B-Instruct", 16), ("llava-1.5-7b-hf", 32), ("DeepSeek-V2-Lite", 64), ("Qwen3.5-2B", 16),
    ("OLMoE-1B-7B-0125-Instruct", 32), ("Qwen2.5-1.5B-Instruct-AWQ", 16),
    ("Meta-Llama-3.1-8B-Instruct-FP8-dynamic", 32), ("gemma-3-4b-it", 32),
)  # fmt: skip
"""Shape and board, the most important first in case time runs out."""
START_SECONDS = 200.0
REQUEST_SECONDS = 100.0
MOST_STARTS = 4
"""Number of longer contexts tried after the first one, if that worked."""
SHARE = 0.95
KEPT = ("max_model_len", "kv_cache_bytes", "ok", "timed_out", "failed", "least_free", "least_serving", "seconds")
"""Results kept of each start for a longer context."""


@dataclasses.dataclass(frozen=True)
class Bench:
    """Values shared by all cases."""

    zygote: Zygote
    hog: Hog
    scratch: Path
    out: Path
    until: float
    closer: int
    planned_only: bool


def device_of(free: int, total: int) -> Device:
    """The device as vedette would read it with this much free."""
    pages = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in Path("/proc/meminfo").read_text().splitlines()}
    return Device(
        name="H100",
        family=Family.NVIDIA,
        machine="x86_64",
        memory_total_bytes=total,
        memory_available_bytes=free,
        unified_memory=False,
        cpu_count=os.cpu_count() or 1,
        gpu_name="NVIDIA H100 80GB HBM3",
        compute_capability=(9, 0),
        memory_bandwidth_bytes_per_s=3_350_000_000_000,
        host_memory_available_bytes=pages["MemAvailable"],
    )


def for_version(settings: EngineSettings) -> EngineSettings:
    """The settings without clips where this vLLM has no limit for clips apart from pictures."""
    if can_limit_clips(VERSION) or not settings.videos_per_prompt:
        return settings
    arguments = {name: value for name, value in settings.processor_arguments.items() if name != "videos_kwargs"}
    return dataclasses.replace(
        settings, videos_per_prompt=0, video_frames=0, video_max_pixels=None, processor_arguments=arguments
    )


def without_flashinfer(model: Model) -> bool:
    """Whether to turn off FlashInfer: linear attention uses it by default on Hopper, and this vLLM archive lacks it."""
    return any(layers.kind is CacheKind.STATE for layers in model.cache_layers)


def attempt(bench: Bench, directory: Path, settings: EngineSettings, budget: int) -> dict[str, Any]:
    """Starts the server on these settings within the budget and fills its context once."""
    model = read_model(directory)
    free = bench.hog.settle(budget)
    bench.hog.watch()
    port = 8200 + int(time.monotonic() * 10) % 700
    arguments = (
        *serve_arguments(settings, Target(directory, "bench", port, cpu=False), version=VERSION),
        *("--load-format", "dummy"),
        *(("--gdn-prefill-backend", "triton") if without_flashinfer(model) else ()),
    )
    environment = serve_environment(bench.scratch / "cache", settings, VERSION)
    log = bench.scratch / f"{directory.name}-{settings.max_model_len}.log"
    log.unlink(missing_ok=True)
    again = [sys.executable, "-m", "bench.product.plan.on_gpu", str(bench.out), "--serve", json.dumps(arguments)]
    pid = bench.zygote.fork(lambda: serve_like_vllm(arguments), log, environment, again)
    found: dict[str, Any] = {"max_model_len": settings.max_model_len, "kv_cache_bytes": settings.kv_cache_bytes}
    found |= {"arguments": arguments[2:], "free_before": free, "ok": False}
    began = time.monotonic()
    try:
        ready = wait_ready(port, lambda: _alive(pid), START_SECONDS)
        found["ready_s"] = None if ready is None else round(ready, 1)
        found["timed_out"] = ready is None and _alive(pid)
        if ready is not None:
            at_ready = bench.hog.look()
            found |= {"free_ready": at_ready["free"], "least_starting": at_ready["least"]}
            bench.hog.watch()
            found |= _exercise(port, settings)
            found["least_serving"] = bench.hog.look()["least"]
    finally:
        found["seconds"] = round(time.monotonic() - began, 1)
        found["least_free"] = min(bench.hog.look()["least"], found.get("least_starting", bench.hog.total))
        wait(pid, 0)
        text = log.read_text(errors="replace") if log.exists() else ""
        found["reported"] = _reported(text)
        found["out_of_memory"] = "OutOfMemoryError" in text or "CUDA out of memory" in text
        if not found["ok"]:
            found["log"] = _cause(text)
            with (bench.out / "on_gpu.log").open("a") as file:
                file.write(f"===== {log.stem}\n{text[-12_000:]}\n")
        log.unlink(missing_ok=True)
    return found


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"


def _exercise(port: int, settings: EngineSettings) -> dict[str, Any]:
    """One request that fills the context and, where pictures are planned, one with the largest."""
    began = time.monotonic()
    try:
        usage = full_request(port, settings.max_model_len, REQUEST_SECONDS)
        found: dict[str, Any] = {"usage": usage, "request_s": round(time.monotonic() - began, 1), "ok": True}
        if settings.images_per_prompt:
            pixels = settings.image_max_pixels or 896 * 896
            # Four by three, slightly larger than the limit: the processor shrinks it to the limit.
            width = math.ceil(math.sqrt(pixels * 4 / 3) * 1.1)
            urls = [picture_url(width, width * 3 // 4) for _ in range(settings.images_per_prompt)]
            answered = ask(port, "/v1/chat/completions", picture_body(urls, 16), REQUEST_SECONDS)
            found["picture_usage"] = answered["usage"]
    except FailedRequest as error:
        return {"ok": False, "failed": str(error), "timed_out": "timed out" in str(error)}
    return found


def _reported(text: str) -> dict[str, Any]:
    reported = Reported()
    for line in text.splitlines():
        reported = with_line(reported, line)
    return {name: value for name, value in dataclasses.asdict(reported).items() if value is not None}


def _cause(text: str) -> str:
    lines = [line for line in text.splitlines() if any(mark in line for mark in ("Error", "error", "exceed", "Killed"))]
    return "\n".join(lines[-6:])[-900:] or text[-600:]


def grown(settings: EngineSettings, model: Model, max_model_len: int) -> EngineSettings:
    """The same settings for a longer context, with the KV cache that it needs."""

    def needed(length: int) -> int:
        dtype_bytes = 1 if (settings.kv_cache_dtype or "").startswith("fp8") else 2
        requests, step, reused = settings.max_num_seqs, settings.max_num_batched_tokens, settings.prefix_caching
        return kv_cache_bytes(model, length, requests, 16, step, dtype_bytes, prefix_caching=reused)

    ratio = needed(max_model_len) / needed(settings.max_model_len)
    return dataclasses.replace(
        settings,
        max_model_len=max_model_len,
        kv_cache_bytes=math.ceil(settings.kv_cache_bytes * ratio),
        hf_overrides=_with_positions(settings.hf_overrides, max_model_len),
    )


def _with_positions(overrides: Any, length: int) -> Any:
    if not hasattr(overrides, "items"):
        return overrides
    return {
        name: length if name == "max_position_embeddings" else _with_positions(value, length)
        for name, value in overrides.items()
    }


def search(bench: Bench, directory: Path, plan: Plan, model: Model, first: dict[str, Any]) -> dict[str, Any]:
    """Finds how near the planned context is to the largest that works in the same memory."""
    planned = plan.settings.max_model_len
    most = model.max_position_embeddings
    longer = min(most, int(planned / SHARE))
    if longer <= planned:
        return {"share": 1.0, "because": "the model's whole context"}
    tried: list[dict[str, Any]] = []

    def works(length: int) -> bool:
        found = attempt(bench, directory, grown(plan.settings, model, length), first["free_before"])
        tried.append({name: found.get(name) for name in KEPT})
        return bool(found["ok"])

    if bench.until - time.monotonic() < 30:
        return {"share": None, "because": "no time left"}
    low, high = (longer, None) if works(longer) else (planned, longer)
    if tried[0]["timed_out"]:
        return {"share": None, "because": "took too long", "tried": tried}
    # The first guess adds the context that fits in the memory left free by the last start.
    kv, starts = plan.settings.kv_cache_bytes, 0
    while high is None and low < most and starts < MOST_STARTS:
        spare = max(0, tried[-1]["least_free"]) + kv // 50
        length = min(most, math.ceil(low * (1 + spare / tried[-1]["kv_cache_bytes"])))
        low, high = (length, None) if works(length) else (low, length)
        starts += 1
    for _ in range(bench.closer):
        if high is None or high - low <= max(16, planned // 100) or bench.until - time.monotonic() < 30:
            break
        middle = (low + high) // 2
        low, high = (middle, high) if works(middle) else (low, middle)
    return {"share": planned / (high or low), "served": low, "too_long": high, "tried": tried}


def run_case(bench: Bench, shape: str, board: int, directory: Path) -> dict[str, Any]:
    """Plans for the board, starts the plan, searches for a longer context."""
    free = bench.hog.leave(int(BOARDS[board] * GIB))
    model = read_model(directory)
    plan = make_plan(device_of(free, bench.hog.total), model, Wish(workload=Workload.API))
    plan = dataclasses.replace(plan, settings=for_version(plan.settings))
    found: dict[str, Any] = {
        "shape": shape,
        "board": board,
        "budget": free,
        "fits": plan.fits,
        "shortfall": plan.shortfall_bytes,
        "memory": dataclasses.asdict(plan.memory),
        "max_model_len": plan.settings.max_model_len,
        "model_max": model.max_position_embeddings,
        "quantization": model.quantization,
    }
    if not plan.fits:
        return found
    first = attempt(bench, directory, plan.settings, free)
    found["first"] = first
    if first["ok"] and not bench.planned_only:
        found["search"] = search(bench, directory, plan, model, first)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=540)
    parser.add_argument("--only", default="", help="cases as SHAPE@BOARD, separated by commas")
    parser.add_argument("--closer", type=int, default=0, help="starts that narrow the largest context down")
    parser.add_argument("--planned-only", action="store_true", help="no search for longer contexts")
    parser.add_argument("--probe", type=Path)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        restore_transformers_names()
        serve_like_vllm(tuple(json.loads(options.serve)))
        return
    until = time.monotonic() + options.seconds
    options.out.mkdir(parents=True, exist_ok=True)
    results = options.out / "on_gpu.jsonl"
    done = {(line["shape"], line["board"]) for line in gpu_table.lines(results)}
    asked = [tuple(name.rsplit("@", 1)) for name in options.only.split(",") if name]
    cases = [(shape, int(board)) for shape, board in asked] or list(CASES)
    with tempfile.TemporaryDirectory() as scratch:
        directories = {shape: make_shape(shape, Path(scratch, shape)) for shape in {shape for shape, _ in cases}}
        hog = Hog()
        zygote = Zygote(architectures_of(list(directories.values())))
        bench = Bench(zygote, hog, Path(scratch), options.out, until, options.closer, options.planned_only)
        for shape, board in cases:
            if (shape, board) in done:
                continue
            if until - time.monotonic() < 45:
                print(f"no time left for {shape} on {board} GB and what follows")
                break
            began = time.monotonic()
            found: dict[str, Any] = {"shape": shape, "board": board}
            try:
                found = run_case(bench, shape, board, directories[shape])
            except Exception as error:
                import traceback

                traceback.print_exc()
                found["error"] = f"{type(error).__name__}: {error}"[:600]
            with results.open("a") as file:
                file.write(json.dumps(found, default=str) + "\n")
            with contextlib.suppress(Exception):
                print(f"{time.monotonic() - began:5.1f} s {gpu_table.row(found, {})}", flush=True)
        hog.end()
    text = gpu_table.markdown(results, options.probe)
    (options.out / "on_gpu.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":  # an engine core that vLLM starts as a new interpreter, as for linear attention
    exact_figures()
