"""Measures what vedettes of two trees add to the first token of honest requests, interleaved in one run.

    python -m bench.product.api.first_token --tree before=DIR --tree after=. --scratch DIR --times 1000

Each tree's vedette is attached to the same stand-in for an engine, which answers at once. So the time from a request to
the first byte of words is vedette's own. The requests take turns: before, after, before, after. About 2 minutes.
"""

import argparse
import contextlib
import io
import random
import socket
import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from bench.product.abuse import payloads
from bench.product.abuse.connections import stand_in
from bench.product.faults.harness import machine
from tests.rig.processes import vedette_running

RESULTS = Path(__file__).with_name("first_token.md")
LIMIT_MS = 0.3
"""What checks of requests may cost."""
_RESAMPLES = 2000


def picture() -> bytes:
    """A JPEG of the size that a plan allows, with the detail of a photo."""
    noise = Image.effect_noise((320, 240), 60).convert("RGB")
    buffer = io.BytesIO()
    noise.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def bodies() -> dict[str, bytes]:
    """The honest requests."""
    right = picture()
    part = {"type": "image_url", "image_url": {"url": payloads.url_of(right, "image/jpeg")}}
    talk = [{"role": role, "content": "What do you see in the picture? " * 20} for role in ("user", "assistant")] * 10
    return {
        "words": payloads.chat(stream=True),
        "a talk of 20 messages": payloads.chat(stream=True, messages=[*talk, {"role": "user", "content": "And now?"}]),
        f"a picture of {len(right) // 1000} kB": payloads.chat(part, stream=True),
        "two such pictures": payloads.chat(part, part, stream=True),
    }


def first_word_ms(port: int, body: bytes) -> float:
    """From the request to the first byte of an event with words, on a new connection."""
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = time.perf_counter()
        connection.sendall(head + body)
        read = b""
        while b"data: " not in read:
            piece = connection.recv(65_536)
            if not piece:
                raise RuntimeError(f"no answer: {read[:300]!r}")
            read += piece
        took_ms = (time.perf_counter() - began) * 1000
        while connection.recv(65_536):
            pass
    if not read.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"refused: {read[:300]!r}")
    return took_ms


def difference_ms(before: Sequence[float], after: Sequence[float]) -> tuple[float, float, float]:
    """The median of the pairs' differences, and the limits within which it lies with 95 %."""
    pairs = [b - a for a, b in zip(before, after, strict=True)]
    dice = random.Random(1)
    medians = sorted(statistics.median(dice.choices(pairs, k=len(pairs))) for _ in range(_RESAMPLES))
    return statistics.median(pairs), medians[_RESAMPLES // 40], medians[-_RESAMPLES // 40]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", action="append", required=True, metavar="NAME=DIR")
    parser.add_argument("--scratch", type=Path, required=True, help="a directory for the homes")
    parser.add_argument("--times", type=int, default=1000)
    parser.add_argument("--publish", action="store_true", help=f"write {RESULTS.name}")
    options = parser.parse_args()
    trees = [text.partition("=")[::2] for text in options.tree]
    requests = bodies()
    times: dict[str, dict[str, list[float]]] = {what: {name: [] for name, _ in trees} for what in requests}
    with contextlib.ExitStack() as stack:
        address, _ = stack.enter_context(stand_in())
        ports = {}
        for name, directory in trees:
            home = options.scratch / f"first-token-{name}"
            home.mkdir(parents=True, exist_ok=True)
            environment = {"PYTHONPATH": str(Path(directory).absolute() / "src"), "PYTHONSAFEPATH": "1"}
            vedette = stack.enter_context(vedette_running(home, "--engine", address, environment=environment))
            vedette.wait_until_ready()
            ports[name] = vedette.port
        for number in range(options.times + 20):
            for what, body in requests.items():
                for name, _ in trees if number % 2 else reversed(trees):
                    took_ms = first_word_ms(ports[name], body)
                    if number >= 20:  # the first ones load modules
                        times[what][name].append(took_ms)
    lines = report(times, trees, options.times)
    print("\n".join(lines))
    if options.publish:
        RESULTS.write_text("\n".join(lines) + "\n")


def report(times: dict[str, dict[str, list[float]]], trees: Sequence[tuple[str, str]], count: int) -> list[str]:
    """The medians and their differences as Markdown."""
    (first, _), (second, _) = trees
    compared = ", ".join(f"{name} is {_commit(Path(directory))}" for name, directory in trees)
    rows = []
    for what, by_tree in times.items():
        median, low, high = difference_ms(by_tree[first], by_tree[second])
        medians = " | ".join(f"{statistics.median(by_tree[name]):.2f}" for name, _ in trees)
        rows.append(f"| {what} | {medians} | {median:+.2f} ({low:+.2f} to {high:+.2f}) |")
    return [
        "# The first token of honest requests",
        "",
        f"`python -m bench.product.api.first_token --times {count} …`, {machine()}; {compared}.",
        f"Milliseconds from the request to the first words, medians of {count:,} interleaved requests each, with an",
        f"engine that answers at once. The checks of requests may cost {LIMIT_MS} ms. In brackets: 95 % confidence.",
        "",
        f"| request | {first} | {second} | difference of the pairs, ms |",
        "|---|---|---|---|",
        *rows,
    ]


def _commit(root: Path) -> str:
    result = subprocess.run(["git", "-C", str(root), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return result.stdout.strip()


if __name__ == "__main__":
    main()
