"""Measures a real `vllm serve` for each way to start its engine: host memory of each process, and time to ready.

    python -m bench.lab.host_memory MODEL_DIRECTORY OUT [WAY,…]

Ways: spawn (a second interpreter), fork (of the API server), one (the engine in the server's process), rust (vLLM's
own front end, where its binary exists).
"""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

PORT = 8161
MIB = 1024**2
READY_SECONDS = 120.0


def compare(directory: Path, out: Path, ways: tuple[str, ...] = ()) -> None:
    """Starts the server each way and prints its processes' memory; writes OUT/host.jsonl."""
    for way, environment in (
        ("spawn", {"VLLM_WORKER_MULTIPROC_METHOD": "spawn"}),
        ("fork", {"VLLM_WORKER_MULTIPROC_METHOD": "fork"}),
        ("one", {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}),
        ("rust", {"VLLM_WORKER_MULTIPROC_METHOD": "spawn", "VLLM_USE_RUST_FRONTEND": "1"}),
    ):
        if ways and way not in ways:
            continue
        if way == "rust" and not _has_rust():
            print("host rust: not measured, this vLLM has no vllm-rs binary")
            continue
        found = _start(directory, way, environment)
        with (out / "host.jsonl").open("a") as file:
            file.write(json.dumps(found) + "\n")
        print(f"host {way}: ready {found['ready_s']} s, private {found['private'] / MIB:.0f} MiB", end="")
        print(f", proportional {found['pss'] / MIB:.0f} MiB", flush=True)
        for process in found["processes"]:
            print(
                f"  {process['name'][:40]:40} pss {process['pss'] / MIB:7.0f} private {process['private'] / MIB:7.0f}"
            )


def _start(directory: Path, way: str, environment: dict[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", str(directory), "--load-format", "dummy"]
    command += ["--port", str(PORT), "--host", "127.0.0.1", "--max-model-len", "4096", "--max-num-seqs", "4"]
    command += ["--max-num-batched-tokens", "2048", "--kv-cache-memory-bytes", "1G", "--gpu-memory-utilization", "0.1"]
    command += ["--mm-processor-cache-gb", "0.1", "--enforce-eager", "--limit-mm-per-prompt", '{"image":1,"video":0}']
    with tempfile.TemporaryFile() as log:
        began = time.monotonic()
        server = subprocess.Popen(command, env=os.environ | environment, stdout=log, stderr=log, start_new_session=True)
        try:
            ready = _ready(server, began)
            time.sleep(1)
            processes = [_memory(pid) for pid in _session(server.pid)]
        finally:
            _stop(server)
        log.seek(0)
        tail = log.read()[-1500:].decode(errors="replace") if ready is None else ""
    print(tail, end="")
    found = [process for process in processes if process]
    return {
        "way": way,
        "ready_s": ready,
        "pss": sum(process["pss"] for process in found),
        "private": sum(process["private"] for process in found),
        "processes": found,
    }


def _ready(server: "subprocess.Popen[bytes]", began: float) -> float | None:
    while time.monotonic() - began < READY_SECONDS and server.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=2):
            return round(time.monotonic() - began, 1)
        time.sleep(0.1)
    return None


def _session(leader: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if entry.name.isdigit() and os.getsid(int(entry.name)) == leader:
                found.append(int(entry.name))
    return sorted(found)


def _memory(pid: int) -> dict[str, Any]:
    """Bytes of one process; `private` are the bytes that its end would free."""
    values: dict[str, int] = {}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, _, value = line.partition(":")
            values[name] = int(value.split()[0]) * 1024
        name = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        return {
            "name": name[-60:],
            "pss": values["Pss"],
            "pss_anonymous": values.get("Pss_Anon", 0),
            "pss_file": values.get("Pss_File", 0),
            "pss_shared": values.get("Pss_Shmem", 0),
            "private": values["Private_Clean"] + values["Private_Dirty"],
            "private_dirty": values["Private_Dirty"],
        }
    return {}


def _stop(server: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(15)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def _has_rust() -> bool:
    spec = importlib.util.find_spec("vllm")
    return spec is not None and any(Path(place, "vllm-rs").exists() for place in spec.submodule_search_locations or ())


if __name__ == "__main__":
    compare(Path(sys.argv[1]), Path(sys.argv[2]), tuple("".join(sys.argv[3:4]).split(",")) if sys.argv[3:] else ())
