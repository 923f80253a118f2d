"""Measures vedette itself, without its engine: installed size, time to listening, idle memory.

    .venv-check/bin/python -m bench.product.footprint [--home DIR]

DIR holds an installed engine (default .cache/check, where ./check makes it). About 2 minutes.

Installs vedette as a user would, into a fresh environment, and starts it from there. Prints a table in Markdown.
"""

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
STARTS = 5
LIMITS = {"installed": 150.0, "listening": 1.0, "idle": 60.0}


def install(directory: Path) -> Path:
    """Makes an environment with the pinned requirements and vedette; returns its `bin`."""

    def run(*command: str) -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    run(sys.executable, "-m", "venv", "--without-pip", str(directory))
    pip = (sys.executable, "-m", "pip", "--python", str(directory / "bin/python"), "install", "-q")
    run(*pip, "--no-deps", "--require-hashes", "-r", str(ROOT / "requirements/vedette.txt"))
    run(*pip, "--no-deps", str(ROOT))
    return directory / "bin"


def megabytes(directory: Path) -> float:
    return sum(path.lstat().st_size for path in directory.rglob("*") if path.is_file()) / 1e6


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def seconds_to_listening(program: Path, environment: dict[str, str]) -> float:
    """Seconds from the command to the page's first byte; stops vedette afterwards."""
    port = free_port()
    began = time.perf_counter()
    process = subprocess.Popen(
        [program, "up", "vedette-tiny", "--port", str(port)], env=environment, stdout=subprocess.DEVNULL
    )
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/").read(1)
            break
        except OSError:
            time.sleep(0.002)
    elapsed = time.perf_counter() - began
    process.terminate()
    process.wait()
    return elapsed


def megabytes_idle(program: Path, environment: dict[str, str]) -> float:
    """Resident memory of vedette's process while it serves without requests, 20 s after it was ready."""
    command = [str(program), "up", "vedette-tiny", "--json", "--port", str(free_port())]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    for line in process.stdout:
        if json.loads(line)["event"] == "ready":
            break
    time.sleep(20)
    resident = psutil.Process(process.pid).memory_info().rss / 1e6
    process.terminate()
    process.wait()
    return float(resident)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=ROOT / ".cache/check")
    home = parser.parse_args().home.absolute()
    environment = {**os.environ, "VEDETTE_HOME": str(home)}
    with tempfile.TemporaryDirectory() as directory:
        programs = install(Path(directory))
        installed = megabytes(Path(directory))
        seconds_to_listening(programs / "vedette", environment)  # compiles the modules once, as an installation does
        starts = [seconds_to_listening(programs / "vedette", environment) for _ in range(STARTS)]
        idle = megabytes_idle(programs / "vedette", environment)
    print(f"Python {platform.python_version()}, {platform.machine()}, {psutil.cpu_count()} cores; starts: {STARTS}\n")
    print("| figure | measured | limit |\n| --- | --- | --- |")
    print(f"| installed, model included | {installed:.0f} MB | {LIMITS['installed']:.0f} MB |")
    listening = statistics.median(starts)
    spread = f"{min(starts):.2f} to {max(starts):.2f}"
    print(f"| from command to listening, median | {listening:.2f} s ({spread}) | {LIMITS['listening']:.0f} s |")
    print(f"| resident while serving, idle | {idle:.0f} MB | {LIMITS['idle']:.0f} MB |")
    sys.exit(installed > LIMITS["installed"] or listening > LIMITS["listening"] or idle > LIMITS["idle"])


if __name__ == "__main__":
    main()
