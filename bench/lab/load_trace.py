"""Records what torch's allocator does on a GPU while vLLM loads a model: the source of models/allocator.py's rules.

    python -m bench.lab.load_trace OUT [--only SHAPE,…] [--seconds 400]

Writes OUT/load_trace.jsonl.gz, an object a line: the bytes that vLLM reports, the events in order (`+` or `-`, block,
bytes) and the blocks in use at the end (bytes of the block, bytes asked for). A shape with `:marlin` is loaded as on an
older GPU: without Hopper's kernel for 4 bits, and without arithmetic in FP8. Prints a table last.
"""

import argparse
import gzip
import json
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from bench.lab.engine_parts import Parts, environment
from bench.lab.probe import arguments_of
from bench.lab.shapes import SHAPES, make_shape
from bench.lab.zygote import Zygote, architectures_of, restore_transformers_names, wait
from vedette.models.checkpoint import read_model

MIB = 1024**2
CASE_SECONDS = 60.0
OLDER_GPU = {"VLLM_DISABLED_KERNELS": "MacheteLinearKernel", "VLLM_TEST_FORCE_FP8_MARLIN": "1"}


def one(case: str, directory: Path, out: Path) -> None:
    """Loads a model in this process and writes its line."""
    import torch

    restore_transformers_names()
    parts = Parts(directory, arguments_of(directory, ""), load_only=True)
    parts.prepare()
    torch.cuda.init()
    torch.zeros(1, device="cuda")
    torch.cuda.memory._record_memory_history(max_entries=2_000_000, context=None)
    parts.measure()
    snapshot = torch.cuda.memory._snapshot()
    (trace,) = snapshot["device_traces"][:1]
    signs = {"alloc": "+", "free_completed": "-", "segment_alloc": "S", "segment_free": "F"}
    events = [(signs[e["action"]], e["addr"], e["size"]) for e in trace if e["action"] in signs]
    blocks = [
        (block["size"], block["requested_size"])
        for segment in snapshot["segments"]
        for block in segment["blocks"]
        if block["state"] == "active_allocated"
    ]
    model = read_model(directory)
    found = {
        "case": case,
        "weights": parts.found.get("load", {}).get("weights"),
        "errors": parts.found["errors"],
        "checkpoint": model.weights_bytes,
        "tensors": parts.found.get("tensors"),
        "events": events,
        "blocks": blocks,
    }
    with gzip.open(out / "load_trace.jsonl.gz", "at") as file:
        file.write(json.dumps(found) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", default="", help="cases, separated by commas")
    parser.add_argument("--seconds", type=float, default=400)
    for name in ("--one", "--directory"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options.one, Path(options.directory), options.out)
        return
    until = time.monotonic() + options.seconds
    options.out.mkdir(parents=True, exist_ok=True)
    cases = options.only.split(",") if options.only else [name for name in SHAPES if SHAPES[name].quantized_like]
    with tempfile.TemporaryDirectory() as scratch:
        shapes = {case.partition(":")[0] for case in cases}
        directories = {name: make_shape(name, Path(scratch, name)) for name in shapes}
        os.environ.update(environment())
        zygote = Zygote(architectures_of(list(directories.values())))
        for case in cases:
            name, _, kernel = case.partition(":")
            if time.monotonic() > until - 10:
                print(f"{case}: no time left")
                continue
            again = [sys.executable, "-m", "bench.lab.load_trace", str(options.out), "--one", case]
            again += ["--directory", str(directories[name])]
            settings = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
            settings |= OLDER_GPU if kernel == "marlin" else {}
            log = Path(scratch, f"{case.replace(':', '-')}.log")
            began = time.monotonic()
            status = wait(
                zygote.fork(partial(one, case, directories[name], options.out), log, settings, again), CASE_SECONDS
            )
            print(f"{case}: status {status}, {time.monotonic() - began:.1f} s", flush=True)
            if status != 0 and log.exists():
                print(log.read_text(errors="replace")[-1200:])
    _print_table(options.out)


def _print_table(out: Path) -> None:
    with gzip.open(out / "load_trace.jsonl.gz", "rt") as file:
        for line in file:
            found: dict[str, Any] = json.loads(line)
            asked, held = sum(b[1] for b in found["blocks"]), sum(b[0] for b in found["blocks"])
            figures = [found["weights"] or 0, found["checkpoint"], asked, held]
            print(f"{found['case']:45s}", *(f"{figure / MIB:9.1f}" for figure in figures), found["errors"] or "")


if __name__ == "__main__":
    main()
