"""Compares the estimates of four other tools with vedette's plan, for the same models and context lengths.

    python -m bench.product.plan.against_peers [--work DIRECTORY] [--measured FILE] [--only NAME,…]

Makes an environment for each tool from PyPI (pinned versions) and the models' shapes under DIRECTORY, serves the
shapes on a loopback address as the Hugging Face hub would, and writes the tables. The cases are those that on_gpu.py
measured, if its on_gpu.jsonl lies beside this file; else every shape with two context lengths, and nothing measured.
"""

import argparse
import http.server
import json
import os
import re
import subprocess
import sys
import threading
import venv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.lab.shapes import SHAPES, make_shape, read_config

HERE = Path(__file__).parent
GIB = 1024**3
DEVICE = "agx-thor"
"""A board that has room for every shape and runs every format."""
CONTEXTS = (4096, 32_768)
TOOLS = {
    "hf-mem": ("0.5.6", ["hf-mem"], []),
    "modelinfo-cli": ("1.4.4", ["modelinfo-cli"], []),
    "jetfit": ("0.2.7", [], ["jetfit"]),
    "vllm-speculative-autoconfig": ("0.2.20", ["transformers==5.19.0"], ["vllm-speculative-autoconfig"]),
}
"""Version, what is installed with its dependencies, and what without (torch, vLLM and a TUI are not needed here)."""
REFERENCED = {
    "lmsys/vicuna-7b-v1.5": {
        "architectures": ["LlamaForCausalLM"], "hidden_size": 4096, "intermediate_size": 11_008, "model_type": "llama",
        "max_position_embeddings": 4096, "num_attention_heads": 32, "num_hidden_layers": 32,
        "num_key_value_heads": 32, "torch_dtype": "float16", "vocab_size": 32_000,
    }
}  # fmt: skip
"""Configurations that a shape's own configuration refers to."""


@dataclass(frozen=True)
class Case:
    """One model that is to serve requests of `context` tokens, so many at once."""

    shape: str
    context: int
    requests: int = 1
    board: int | None = None
    """GB of the board whose memory the GPU was cut to."""


@dataclass(frozen=True)
class Estimate:
    """One tool's estimates for one case, in bytes; None where it gives none."""

    weights: float | None = None
    kv: float | None = None
    total: float | None = None
    note: str | None = None


Said = dict[str, dict[Case, Estimate]]
Note = tuple[str, str]


def longest_context(shape: str) -> int:
    """The context that a shape's configuration allows."""
    config = read_config(shape)
    longest: int = config.get("text_config", config).get("max_position_embeddings", 131_072)
    return longest


def all_cases() -> list[Case]:
    """Every shape at every context length, the last one cut to what the model allows."""
    return list(
        dict.fromkeys(Case(shape, min(tokens, longest_context(shape))) for shape in SHAPES for tokens in CONTEXTS)
    )


def weight_bits(shape: str) -> int:
    """Bits of a weight in a shape's checkpoint."""
    quantization = read_config(shape).get("quantization_config")
    if quantization is None:
        return 16
    group = quantization.get("config_groups", {}).get("group_0", {}).get("weights", {})
    bits: int = quantization.get("bits") or group.get("num_bits") or 8
    return bits


class Hub(http.server.BaseHTTPRequestHandler):
    """Lists and serves the files of shapes by the hub's addresses, ranges included."""

    protocol_version = "HTTP/1.1"
    shapes: Path

    def do_GET(self) -> None:
        listed = re.fullmatch(r"/api/models/(.+)/tree/main\?recursive=true", self.path)
        wanted = re.fullmatch(r"/([^/]+/[^/]+)/resolve/main/([^/]+)", self.path)
        if listed and (directory := self._directory(listed[1])):
            files = [{"type": "file", "path": path.name} for path in sorted(directory.iterdir())]
            self._answer(200, json.dumps(files).encode())
        elif wanted and wanted[1] in REFERENCED:
            self._answer(200, json.dumps(REFERENCED[wanted[1]]).encode())
        elif wanted and (directory := self._directory(wanted[1])) and (directory / wanted[2]).is_file():
            self._send(directory / wanted[2])
        else:
            self._answer(404, b"{}")

    def _directory(self, repository: str) -> Path | None:
        return next((self.shapes / name for name, shape in SHAPES.items() if shape.repository == repository), None)

    def _send(self, path: Path) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked is None:
            self._answer(200, path.read_bytes())
            return
        with path.open("rb") as file:
            file.seek(int(asked[1]))
            self._answer(206, file.read(int(asked[2]) - int(asked[1]) + 1))

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing, so that only the tables are printed."""


@contextmanager
def serving(shapes: Path) -> Iterator[str]:
    """The address of a hub that serves `shapes`."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("ShapesHub", (Hub,), {"shapes": shapes}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def environment(tool: str, work: Path) -> Path:
    """The Python of a tool's own environment, which is made once."""
    version, whole, bare = TOOLS[tool]
    python = work / "tools" / f"{tool}-{version}" / "bin" / "python"
    if not python.exists():
        venv.create(python.parents[1], with_pip=True)
        for packages, alone in ((whole, []), (bare, ["--no-deps"])):
            pinned = [f"{package}=={version}" if package == tool else package for package in packages]
            if pinned:
                command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
                subprocess.run([*command, *alone, *pinned], check=True, stdout=sys.stderr)
    return python


def make_shapes(cases: list[Case], work: Path) -> None:
    """Writes the shapes, and links them into a hub cache for tools that look for a downloaded model."""
    for shape in {case.shape for case in cases}:
        directory = make_shape(shape, work / "shapes" / shape)
        cached = work / "hub" / f"models--{SHAPES[shape].repository.replace('/', '--')}"
        (cached / "refs").mkdir(parents=True, exist_ok=True)
        (cached / "snapshots").mkdir(exist_ok=True)
        (cached / "refs" / "main").write_text("0" * 40)
        link = cached / "snapshots" / ("0" * 40)
        link.unlink(missing_ok=True)
        link.symlink_to(directory.resolve())


def ask(tool: str, cases: list[Case], work: Path, hub: str) -> dict[Case, Estimate]:
    """A tool's estimates, from one process in its own environment."""
    asked = [
        {
            "shape": case.shape,
            "repository": SHAPES[case.shape].repository,
            "directory": str(work / "shapes" / case.shape),
            "context": case.context,
            "requests": case.requests,
            "bits": weight_bits(case.shape),
        }
        for case in cases
    ]
    settings = os.environ | {"HF_HUB_CACHE": str(work / "hub"), "HF_HUB_OFFLINE": "1", "HOME": str(work)}
    command = [str(environment(tool, work)), str(HERE / "ask_peer.py"), tool, hub]
    done = subprocess.run(command, input=json.dumps(asked), env=settings, check=True, text=True, stdout=subprocess.PIPE)
    answers = [
        Estimate(note=answer["failed"]) if "failed" in answer else Estimate(**answer)
        for answer in json.loads(done.stdout)
    ]
    return dict(zip(cases, answers, strict=True))


def plan(case: Case, work: Path) -> Estimate:
    """vedette's plan of a case, without the operating system's reserve and the engine's host processes."""
    command = [sys.executable, "-m", "vedette", "plan", str(work / "shapes" / case.shape), "--device", DEVICE]
    command += ["--for", "chat", "--context", str(case.context), "--concurrency", str(case.requests), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return Estimate(note=done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"rc {done.returncode}")
    served = found["context"]["max_model_len"]
    return planned(found["memory"], None if served == case.context else f"planned with {served} tokens")


def planned(memory: dict[str, int], note: str | None = None) -> Estimate:
    """The parts of a plan that lie on a GPU: neither the engine's host processes nor the system's reserve."""
    on_gpu = ("weights", "kv_cache", "activation", "vision_activation", "cuda_graph", "runtime")
    total = sum(memory[f"{part}_bytes"] for part in on_gpu)
    return Estimate(memory["weights_bytes"], memory["kv_cache_bytes"], total, note)


def read_measured(path: Path) -> dict[Case, tuple[Estimate, Estimate]]:
    """Measured and planned memory of each case that served its full context; {} without a file.

    Total is the most that was in use at any time, CUDA's context and everything else included; weights what vLLM
    reports; keys and values the part of its pool that these requests can fill, by the tokens it says the pool holds.
    """
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    found = {}
    for line in lines:
        first = line.get("first")
        if first is None or not first["ok"]:
            continue
        flags = first["arguments"]
        requests = int(flags[flags.index("--max-num-seqs") + 1])
        fits = first["reported"].get("kv_cache_tokens")
        took = Estimate(
            weights=first["reported"].get("model_weights_bytes"),
            kv=fits and first["kv_cache_bytes"] * requests * line["max_model_len"] / fits,
            total=first["free_before"] - first["least_free"],
        )
        case = Case(line["shape"], line["max_model_len"], requests, line["board"])
        found[case] = (took, planned(line["memory"]))
    return found


def in_gib(value: float | None, measured: float | None) -> str:
    """A size in GiB and its error against what was measured."""
    if value is None:
        return "–"
    error = f" ({value / measured - 1:+.1%})" if measured else ""
    return f"{value / GIB:.2f}{error}"


def off(part: str, measured: dict[Case, Estimate], estimates: dict[Case, Estimate]) -> str:
    """A tool's errors for one part, over the cases that it has an estimate for."""
    pairs = [
        (getattr(estimates[case], part), getattr(took, part)) for case, took in measured.items() if case in estimates
    ]
    errors = [said / took - 1 for said, took in pairs if said and took]
    return f"{sum(map(abs, errors)) / len(errors):.1%}, {min(0, *errors):+.1%} ({len(errors)})" if errors else "–"


def table(part: str, cases: list[Case], measured: dict[Case, Estimate], said: Said, notes: list[Note]) -> str:
    """One part of memory (weights, kv, total): a row for each case, a column for each tool; [n] is a remark."""
    rows = [["model", "board", "tokens", "measured", *said], ["---", *["---:"] * (3 + len(said))]]
    for case in cases:
        truth = getattr(measured[case], part) if case in measured else None
        board = "–" if case.board is None else f"{case.board} GB"
        row = [case.shape, board, f"{case.requests} × {case.context:,}", in_gib(truth, None)]
        for tool, estimates in said.items():
            note = estimates[case].note
            mark = f" [{notes.index((tool, note)) + 1}]" if note else ""
            row.append(in_gib(getattr(estimates[case], part), truth) + mark)
        rows.append(row)
    if measured:
        rows.append(
            ["mean error, largest under-estimate", *[""] * 3, *(off(part, measured, said[tool]) for tool in said)]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def remarks(said: Said) -> list[Note]:
    """Reasons why a tool gave no number or a number for another case: (tool, reason), each once."""
    notes = [(tool, estimate.note) for tool, estimates in said.items() for estimate in estimates.values()]
    return list(dict.fromkeys((tool, note) for tool, note in notes if note))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--work", type=Path, default=Path.home() / ".cache" / "vedette-side-by-side")
    parser.add_argument("--measured", type=Path, default=HERE / "on_gpu.jsonl", help="results of on_gpu.py")
    parser.add_argument("--only", default="", help="names of shapes, separated by commas")
    arguments = parser.parse_args()
    work = arguments.work.absolute()
    seen = read_measured(arguments.measured)
    only = set(filter(None, arguments.only.split(",")))
    cases = [case for case in (seen or all_cases()) if not only or case.shape in only]
    make_shapes(cases, work)
    with serving(work / "shapes") as hub, ThreadPoolExecutor(2) as pool:
        plans = pool.map(lambda case: seen[case][1] if seen else plan(case, work), cases)
        said = {"vedette": dict(zip(cases, plans, strict=True))}
        said |= {tool: ask(tool, cases, work, hub) for tool in TOOLS}
    measured = {case: took for case, (took, _) in seen.items()}
    versions = ", ".join(f"{tool} {version}" for tool, (version, *_) in TOOLS.items())
    print(INTRODUCTION.format(versions=versions, device=DEVICE))
    notes = remarks(said)
    for title, part, rows in (
        ("Memory to serve, GiB", "total", cases),
        ("Of it weights", "weights", cases),
        ("Of it keys and values", "kv", cases),
    ):
        print(f"\n## {title}\n\n{table(part, rows, measured, said, notes)}")
    print("\n## Remarks\n")
    for number, (tool, note) in enumerate(notes, 1):
        print(f"{number}. {tool}: {note}")


INTRODUCTION = """\
# Estimates side by side

Made by `python -m bench.product.plan.against_peers > bench/product/plan/against_peers.md`, with {versions}.

The same models (bench/lab/shapes: published configurations and tensor headers), so many requests of so many tokens at
once. Sizes are GiB, errors are against what vLLM took on a GPU that was cut to a board's memory
(bench/product/plan/on_gpu.py), – where there is no number, [n] a remark below. *vedette* is the plan that was run
(where nothing was measured: one for `--device {device}`) without the reserve for the operating system and the
engine's host processes, which lie beside a GPU with memory of its own and which the other tools leave out. *hf-mem*
and *modelinfo-cli* see the published files; *vllm-speculative-autoconfig* plans only where torch finds a GPU and is
shown one of 122 GiB; *jetfit* knows a list of models by name, one request of 4,096 tokens and llama.cpp's formats."""


if __name__ == "__main__":
    main()
