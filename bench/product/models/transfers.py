"""What downloads of models withstand: `python -m bench.product.models.transfers --transfers 200`, from the root.

Every download is vedette's own process (models/store/fetching/downloader.py) against a local server that speaks as a
Hugging Face hub (whose own client asks it), NVIDIA's catalogue, ModelScope, and plain HTTP. Prints a table, and exits
with 1 where a corrupt model was accepted, a download hung, or more than 2 % of the bytes came twice.
"""

import argparse
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import msgspec

from tests.rig.model_servers import COMMIT, MODEL_ID, NGC_PATH, Fault, Library, ModelServer, serving
from tests.rig.safetensors_files import weights
from vedette.models.store.fetching.manifest import MANIFEST
from vedette.models.store.fetching.origin import Kind, Origin
from vedette.models.store.fetching.transfer_report import Report

HANGS_AFTER_S = 120.0
MOST_TWICE = 0.02
FULL = "full disk (tmpfs)"
"""What was under way when the disk filled up cannot be kept: this row has no limit of bytes that come twice."""
KEY = "nvapi-of-the-bench"
REQUIRED_BYTES = 256 << 20
"""What a download wants to be free besides the model."""
DICE = random.Random(20261128)


@dataclass
class Tally:
    """What has become of the downloads of one row."""

    name: str
    whole: int = 0
    refused: int = 0
    corrupt: int = 0
    hangs: int = 0
    unexpected: int = 0
    attempts: int = 0
    """Requests for a part of a file."""
    bytes_sent: int = 0
    bytes_twice: int = 0
    bytes_kept: int = 0
    troubles: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Place:
    """One server, one directory, and what is downloaded from there to here."""

    server: ModelServer
    origin: Origin
    directory: Path

    @property
    def library(self) -> Library:
        return self.server.library

    def start(self) -> "subprocess.Popen[str]":
        url = self.server.url
        own = dict.fromkeys(("HF_ENDPOINT", "NGC_CLI_API_URL", "NGC_CLI_AUTH_URL", "MODELSCOPE_DOMAIN"), url)
        own |= {"NO_PROXY": "127.0.0.1", "NGC_API_KEY": KEY, "HF_HOME": str(self.directory.parent / "hf")}
        module = "vedette.models.store.fetching.downloader"
        words = [f"{self.origin.kind.value}:{self.origin.path}", str(self.directory), "/nonexistent"]
        command = [sys.executable, "-m", module, *words]
        return subprocess.Popen(command, env=os.environ | own, stdout=subprocess.PIPE, text=True)

    def end(self, process: "subprocess.Popen[str]", tally: Tally, *, wanted: bool | None) -> Report | None:
        """Counts how a download ends. wanted: whether it should succeed; None if either will do."""
        try:
            out, _ = process.communicate(timeout=HANGS_AFTER_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            tally.hangs += 1
            return None
        last = msgspec.json.decode(out.splitlines()[-1], type=Report) if out else None
        if process.returncode == 0:
            right = self.is_right()
            tally.whole += right
            tally.corrupt += not right
            tally.unexpected += wanted is False
        else:
            tally.refused += 1
            tally.unexpected += wanted is True
            tally.corrupt += self.directory.exists() and not self.is_right()
            tally.troubles.add(last.trouble.value if last and last.trouble else f"status {process.returncode}")
        return last

    def run(self, tally: Tally, *, wanted: bool | None = True) -> Report | None:
        return self.end(self.start(), tally, wanted=wanted)

    def is_right(self) -> bool:
        """Whether the model is here, each file as the server has it."""
        here = {path.name: path for path in self.directory.iterdir() if path.name != MANIFEST}
        true = self.library.files
        return set(here) == set(true) and all(here[name].read_bytes() == data for name, data in true.items())

    def count(self, tally: Tally) -> None:
        tally.attempts += len(self.library.sent)
        tally.bytes_sent += sum(each.end - each.begin for each in self.library.sent)
        tally.bytes_twice += self.library.sent_twice()
        tally.bytes_kept += sum(map(len, self.library.files.values()))


def origins(url: str) -> list[Origin]:
    hub, ngc = Origin(Kind.HUGGING_FACE, MODEL_ID), Origin(Kind.NGC, NGC_PATH)
    return [hub, ngc, Origin(Kind.MODELSCOPE, MODEL_ID), Origin(Kind.WEB, f"{url}/plain")]


def model(elements: int = 150_000) -> dict[str, bytes]:
    """Two shards of about 300 kB, and what lies around them."""
    half = {name: weights(elements, tensor, seed=DICE.randrange(1 << 30)) for name, tensor in SHARDS.items()}
    index = b'{"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}'
    small = {"config.json": b'{"architectures": ["X"]}', "tokenizer.json": DICE.randbytes(20_000)}
    return {**small, **half, "model.safetensors.index.json": index}


SHARDS = {"model-1-of-2.safetensors": "a", "model-2-of-2.safetensors": "b"}


def places(number: int) -> Iterator[Place]:
    """`number` downloads, from each kind of source in turns, each into an empty directory."""
    for turn in range(number):
        with tempfile.TemporaryDirectory() as directory, serving(Library(model(), keys=frozenset({KEY}))) as server:
            origin = origins(server.url)[turn % 4]
            if origin.kind is Kind.NGC and turn % 8 == 1:
                server.library.keys = None
            yield Place(server, origin, Path(directory) / "models" / "model")


def cut(number: int) -> Tally:
    """Connections that end at random points, some with a reset; some processes are killed as well."""
    tally = Tally("cut at random points")
    for turn, place in enumerate(places(number)):
        left = {name: DICE.randrange(4) for name in place.library.files}

        def fault(name: str, begin: int, place: Place = place, left: dict[str, int] = left) -> Fault | None:
            if not left[name]:
                return None
            left[name] -= 1
            rest = len(place.library.files[name]) - begin
            return Fault(cut_after=DICE.randrange(rest), reset=DICE.random() < 0.2) if rest > 1 else None

        place.library.fault = fault
        if turn % 5 == 4:
            process = place.start()
            time.sleep(DICE.uniform(0.2, 1.2))
            process.kill()
            process.communicate()
        place.run(tally)
        place.count(tally)
    return tally


def damaged(number: int) -> Tally:
    """Wrong bytes: once, so that a second download helps, or every time."""
    tally = Tally("wrong sums")
    for turn, place in enumerate(places(number)):
        left = [1 if turn % 8 < 4 else 1000]

        def fault(name: str, _begin: int, left: list[int] = left) -> Fault | None:
            if name != "model-2-of-2.safetensors" or _begin > 0 or not left[0]:
                return None
            left[0] -= 1
            return Fault(damage=True)

        place.library.fault = fault
        once = turn % 8 < 4
        # A plain server's listing asks for the first byte, and takes the only damage.
        place.run(tally, wanted=once)
    return tally


def truncated(number: int) -> Tally:
    """Weights that the source itself has cut short, or with a broken header, and no hashes."""
    tally = Tally("truncated weights and headers, no sums")
    for turn, place in enumerate(places(number)):
        data = place.library.files["model-1-of-2.safetensors"]
        broken = [data[: DICE.randrange(9, len(data))], data[: DICE.randrange(8)], b"\xff" * 8 + data[8:]][turn % 3]
        place.library.files["model-1-of-2.safetensors"] = broken
        place.library.sums = False
        place.run(tally, wanted=False)
    return tally


def busy(number: int) -> Tally:
    """Every file is refused for a while: 429 and 503 with Retry-After, 500, 502, 504."""
    tally = Tally("429 and 5xx")
    for place in places(number):
        after = {"Retry-After": "1"}
        statuses = [Fault(status=429, headers=after), *(Fault(status=each) for each in (500, 502, 504))]
        left = {name: [*statuses, Fault(status=503, headers=after)][: DICE.randrange(6)] for name in SHARDS}

        def fault(name: str, begin: int, left: dict[str, list[Fault]] = left) -> Fault | None:
            return left[name].pop() if left.get(name) else None

        if place.origin.kind is Kind.WEB:  # its listing meets the first of them
            left = {name: each[:3] for name, each in left.items()}
        place.library.fault = fault
        place.run(tally)
        place.count(tally)
    return tally


def two_fetchers(number: int) -> Tally:
    """Two processes download one model into one directory at the same time."""
    tally = Tally("two fetchers of one model")
    for place in places(number):
        place.library.rate_bytes_per_s = 1_000_000
        both = [place.start(), place.start()]
        for process in both:
            place.end(process, tally, wanted=True)
        place.count(tally)
    return tally


def full_disk(number: int, disk: Path) -> Tally:
    """A small tmpfs that another program fills during the download; it is freed, and the download goes on."""
    tally = Tally(FULL)
    for turn in range(number):
        with serving(Library(model(8_000_000), keys=frozenset({KEY}))) as server:
            place = Place(server, origins(server.url)[turn % 4], disk / "models" / "model")
            filled, one_at_a_time = threading.Event(), threading.Lock()

            def fault(
                name: str, begin: int, filled: threading.Event = filled, lock: threading.Lock = one_at_a_time
            ) -> Fault | None:
                with lock:
                    if name in SHARDS and begin == 0 and not filled.is_set():
                        filled.set()
                        fill(disk, leave_bytes=3_000_000)
                return None

            if place.origin.kind is not Kind.WEB:
                place.library.fault = fault
            else:
                fill(disk, leave_bytes=REQUIRED_BYTES - 1)
            place.run(tally, wanted=False)
            (disk / "filler").unlink()
            place.library.fault = lambda _name, _begin: None
            place.run(tally)
            place.count(tally)
        shutil.rmtree(disk / "models")
    return tally


def fill(disk: Path, leave_bytes: int) -> None:
    with (disk / "filler").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, shutil.disk_usage(disk).free - leave_bytes))


def throughput(size: int = 900_000_000, rate: float = 60e6, rounds: int = 1) -> tuple[float, float]:
    """Bytes a second of one large file from a hub: the hub's client alone, and vedette, which also hashes."""
    code = "import sys; from huggingface_hub import hf_hub_url; from huggingface_hub.file_download import http_get\n"
    code += "url = hf_hub_url(sys.argv[1], 'model.safetensors', revision=sys.argv[3])\n"
    code += "http_get(url, open(sys.argv[2] + '/plain', 'wb'))"
    plain, own = [], []
    data = weights(size // 2)
    for _ in range(rounds):
        library = Library({"config.json": b"{}", "model.safetensors": data}, rate_bytes_per_s=rate)
        with tempfile.TemporaryDirectory() as directory, serving(library) as server:
            environment = os.environ | {"HF_ENDPOINT": server.url, "NO_PROXY": "127.0.0.1", "HF_HUB_DISABLE_XET": "1"}
            began_s = time.monotonic()
            command = [sys.executable, "-c", code, MODEL_ID, directory, COMMIT]
            subprocess.run(command, env=environment, check=True, capture_output=True)
            plain.append(size / (time.monotonic() - began_s))
            place = Place(server, origins(server.url)[0], Path(directory) / "models" / "model")
            began_s = time.monotonic()
            place.run(Tally("throughput"))
            own.append(size / (time.monotonic() - began_s))
    return statistics.median(plain), statistics.median(own)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transfers", type=int, default=200)
    parser.add_argument("--disk", type=Path, help="a mounted tmpfs of 320 MB, empty")
    parser.add_argument("--rows", type=int, nargs="*", default=range(6), help="only some, from 0 on")
    parser.add_argument("--throughput", action="store_true", help="also against the hub's client, in turns")
    given = parser.parse_args()
    few = max(8, given.transfers // 10)
    rows: list[Callable[[], Tally]] = [
        lambda: cut(given.transfers),
        lambda: damaged(few),
        lambda: truncated(few),
        lambda: busy(few),
        lambda: two_fetchers(few),
    ]
    if given.disk is not None:
        rows.append(lambda: full_disk(8, given.disk))
    heads = ["downloads", "whole", "refused (why)", "corrupt accepted", "hangs", "not as expected"]
    heads += ["parts asked for", "sent twice"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}", flush=True)
    bad = False
    for row in (row for number, row in enumerate(rows) if number in given.rows):
        tally = row()
        twice = tally.bytes_twice / tally.bytes_kept if tally.bytes_kept else None
        shown = "–" if twice is None else f"{twice:.3%}"
        why = f"{tally.refused} ({', '.join(sorted(tally.troubles))})" if tally.refused else "0"
        cells = (
            tally.name,
            tally.whole,
            why,
            tally.corrupt,
            tally.hangs,
            tally.unexpected,
            tally.attempts or "–",
            shown,
        )
        print(f"| {' | '.join(map(str, cells))} |", flush=True)
        bad |= bool(
            tally.corrupt or tally.hangs or tally.unexpected or (tally.name != FULL and (twice or 0) > MOST_TWICE)
        )
    if given.throughput:
        plain, own = throughput()
        print(
            f"\nOne file of 900 MB at 60 MB/s: the hub's client {plain / 1e6:.1f} MB/s, vedette {own / 1e6:.1f} MB/s."
        )
    versions = f"Python {platform.python_version()}, huggingface_hub {metadata.version('huggingface_hub')}"
    print(f"\n{versions}.")
    sys.exit(bad)


if __name__ == "__main__":
    main()
