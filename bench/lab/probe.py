"""Measures on a GPU the memory of each part of a running vLLM, for every shape: the source of plan/memory.py's terms.

    python -m bench.lab.probe OUT [--only NAME,…] [--seconds 500] [--host]

Writes OUT/probe.jsonl, one object a line as each case ends (OUT/probe.log: the ends of their logs), and prints a table
last. A case is a shape, or a shape and a variant after a colon, which is only loaded: `text` (no pictures), `short`
(position caches cut to 8192), `few` (4 sequences, 2048 tokens a step), `long` (the model's whole context).
--host also starts the real server twice, by spawn and by fork, and writes its processes' memory. Children prepare
side by side, but only one uses the GPU.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from bench.lab import host_memory
from bench.lab.engine_parts import Parts, environment
from bench.lab.shapes import SHAPES, make_shape
from bench.lab.zygote import Zygote, architectures_of, restore_transformers_names, wait
from vedette.models.checkpoint import read_model

MIB = 1024**2
AHEAD = 3
"""Number of cases that prepare while another one measures."""
VARIANTS = (
    "Qwen3-0.6B:few",
    "Qwen3-0.6B:long",
    "Qwen3-VL-2B-Instruct:text",
    "Qwen3-VL-2B-Instruct:short",
    "Qwen3-VL-2B-Instruct:few",
    "Qwen3-VL-2B-Instruct:long",
    "gemma-3-4b-it:text",
    "Qwen3.5-2B:text",
    "SmolVLM-500M-Instruct:text",
)
CASE_SECONDS = 100.0


def arguments_of(directory: Path, variant: str) -> dict[str, Any]:
    """vLLM's arguments for a case, in its Python names."""
    config = json.loads((directory / "config.json").read_text())
    text = next((config[name] for name in ("text_config", "llm_config") if name in config), config)
    most = text.get("max_position_embeddings") or config.get("max_position_embeddings") or 8192
    sees = any(name in config for name in ("vision_config", "visual"))
    few = variant == "few"
    arguments: dict[str, Any] = {
        "model": str(directory),
        "load_format": "dummy",
        "max_model_len": most if variant == "long" else min(8192, most),
        "max_num_seqs": 4 if few else 256,
        "max_num_batched_tokens": 2048 if few else 8192,
        "gpu_memory_utilization": 0.9,
        "compilation_config": {
            "mode": 0,
            "cudagraph_mode": "FULL_DECODE_ONLY",
            "cudagraph_capture_sizes": [1, 2, 4] if few else [1, 2, 4, 8, 16, 32],
        },
        "mm_processor_cache_gb": 0,
    }
    if sees:
        arguments["limit_mm_per_prompt"] = {"image": 0, "video": 0} if variant == "text" else {"image": 4, "video": 1}
    if variant == "short":
        cut = {"max_position_embeddings": 8192}
        arguments["hf_overrides"] = {"text_config": cut} if "text_config" in config else cut
    return arguments


def one(case: str, directory: Path, go: Path, out: Path) -> None:
    """Measures a case in this process and writes its line."""
    restore_transformers_names()
    shape, _, variant = case.partition(":")
    parts = Parts(directory, arguments_of(directory, variant), bool(variant))
    began = time.monotonic()
    parts.prepare()
    prepared = time.monotonic() - began
    while not go.exists():
        time.sleep(0.01)
    began = time.monotonic()
    try:
        if "config" not in parts.found["errors"]:
            parts.measure()
    finally:
        model = None
        with contextlib.suppress(Exception):
            model = read_model(directory)
        computed = {"weights": model.weights_bytes, "vision": model.vision_weights_bytes} if model else {}
        line = {
            "case": case,
            "shape": shape,
            "variant": variant,
            "checkpoint": computed,
            "prepare_s": round(prepared, 1),
            "gpu_s": round(time.monotonic() - began, 1),
            **parts.found,
        }
        with (out / "probe.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")


def default_cases() -> list[str]:
    return [*SHAPES, *VARIANTS]


def run_all(cases: list[str], directories: dict[str, Path], out: Path, until: float) -> None:
    """Forks the children a few ahead and lets one after another onto the GPU."""
    zygote = Zygote(architectures_of(list(directories.values())))
    scratch = Path(tempfile.mkdtemp())
    children: list[tuple[str, int, Path]] = []
    waiting = list(cases)
    while waiting or children:
        while waiting and len(children) < AHEAD + 1 and time.monotonic() < until:
            case = waiting.pop(0)
            directory = directories[case.partition(":")[0]]
            go = scratch / f"{case.replace(':', '-')}.go"
            again = [
                sys.executable,
                "-m",
                "bench.lab.probe",
                str(out),
                "--one",
                case,
                "--directory",
                str(directory),
                "--go",
                str(go),
            ]
            log = scratch / f"{case.replace(':', '-')}.log"
            pid = zygote.fork(
                partial(one, case, directory, go, out),
                log,
                environment() | {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"},
                again,
            )
            children.append((case, pid, log))
        if not children:
            print(f"no time left for {', '.join(waiting)}")
            break
        case, pid, log = children.pop(0)
        log.with_suffix(".go").touch()
        began = time.monotonic()
        status = wait(pid, min(CASE_SECONDS, max(1.0, until + 20 - time.monotonic())))
        print(f"{case}: status {status}, {time.monotonic() - began:.1f} s", flush=True)
        if status != 0:
            with contextlib.suppress(OSError):
                print(log.read_text(errors="replace")[-1500:])
        with contextlib.suppress(OSError), (out / "probe.log").open("a") as file:
            file.write(f"===== {case}\n{log.read_text(errors='replace')[-20_000:]}\n")


def table(out: Path) -> None:
    """The main figures, in MiB."""
    columns = "case runner weights vs.file around context beyond act2048 act8192 smp256 vision1M graph1 end seconds"
    print("| " + " | ".join(columns.split()) + " |\n|" + "---|" * len(columns.split()))
    for text in (out / "probe.jsonl").read_text().splitlines():
        found = json.loads(text)
        load, errors = found.get("load", {}), found.get("errors", {})
        vision = next((v["peak"] for v in found.get("vision", ()) if v.get("picture") == [1024, 1024]), None)
        graph = next((g["used"] for g in found.get("graphs", ())), None)
        computed = found["checkpoint"].get("weights")
        ratio = f"{load['weights'] / computed:.4f}" if load and computed else "-"
        figures = [
            load.get("weights"),
            None,
            load.get("around"),
            found.get("context", {}).get("beyond_torch"),
            load.get("beyond_torch"),
            found.get("activation", {}).get("2048", {}).get("peak"),
            found.get("activation", {}).get("8192", {}).get("peak"),
            found.get("sampler", {}).get("256", {}).get("peak"),
            vision,
            graph,
            found.get("end", {}).get("beyond_torch"),
        ]
        shown = ["-" if figure is None else f"{figure / MIB:.1f}" for figure in figures]
        shown[1] = ratio
        print("| " + " | ".join([found["case"], found.get("runner", "?"), *shown, str(found["gpu_s"])]) + " |")
        for part, error in errors.items():
            print(f"  {found['case']}: {part}: {error[:160]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", default="", help="cases, separated by commas")
    parser.add_argument("--seconds", type=float, default=500)
    parser.add_argument("--host", action="store_true")
    for name in ("--one", "--directory", "--go"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options.one, Path(options.directory), Path(options.go), options.out)
        return
    until = time.monotonic() + options.seconds
    options.out.mkdir(parents=True, exist_ok=True)
    cases = options.only.split(",") if options.only else default_cases()
    with tempfile.TemporaryDirectory() as scratch:
        directories: dict[str, Path] = {}
        for case in list(cases):
            shape = case.partition(":")[0]
            try:
                if shape not in directories:
                    directories[shape] = make_shape(shape, Path(scratch, shape))
            except Exception as error:
                print(f"{shape}: no shape: {error}")
                cases.remove(case)
        os.environ.update(environment())
        run_all(cases, directories, options.out, until)
        if options.host:
            name = "Qwen3-VL-2B-Instruct"
            directory = directories.get(name) or make_shape(name, Path(scratch, name))
            host_memory.compare(directory, options.out)
    table(options.out)


if __name__ == "__main__":
    main()
