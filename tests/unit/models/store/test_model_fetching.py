"""Fetching from a hub: the real client against a local server that speaks the hub's protocol."""

import asyncio
import hashlib
import json
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from aiohttp import web

from tests.rig.safetensors_files import weights
from vedette.errors import DiskFullError, ModelCorruptError, ModelNotFoundError, VedetteError
from vedette.language.message import Message, say
from vedette.models.store.fetching.file_transfer import unfinished
from vedette.models.store.fetching.manifest import MANIFEST, read_manifest
from vedette.models.store.fetching.model_source import RemoteFile, SourceError, flat
from vedette.models.store.model_fetching import Progress, fetch_model
from vedette.models.store.model_lookup import ModelRef, find_model

pytestmark = pytest.mark.processes


MODEL_ID = "someone/small"
COMMIT = "a" * 40
BIG = weights(2_560_000)
SECRET = "hf_this_is_a_secret"


@dataclass
class Hub:
    """A hub with one model; tests change what it does."""

    files: dict[str, bytes] = field(
        default_factory=lambda: {
            "config.json": b'{"architectures": ["X"]}',
            "tokenizer.json": b"{}",
            "model.safetensors": BIG,
            "model.bin": b"not wanted",
            "onnx/model.safetensors": b"not wanted",
            ".gitattributes": b"not wanted",
        }
    )
    url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    break_after: int | None = None
    """Bytes of the weights after which the connection is dropped."""
    hang_after: int | None = None
    damaged: int = 0
    """How many downloads of the weights arrive damaged."""
    ranges: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    announced_bytes: int | None = None
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    def describe(self, request: web.Request) -> web.Response:
        self.tokens.add(request.headers.get("Authorization", ""))
        if self.status != 200:
            return web.json_response({"error": "no"}, status=self.status, headers=self.headers)
        siblings = []
        for name, data in self.files.items():
            entry: dict[str, object] = {
                "rfilename": name,
                "size": self.announced_bytes or len(data),
                "blobId": hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest(),
            }
            if name.endswith(".safetensors"):
                digest = hashlib.sha256(data).hexdigest()
                entry["lfs"] = {"sha256": digest, "size": len(data), "pointerSize": 134}
            siblings.append(entry)
        return web.json_response({"_id": "1", "id": MODEL_ID, "sha": COMMIT, "siblings": siblings})

    async def send(self, request: web.Request) -> web.StreamResponse:
        name, data = request.match_info["name"], self.files[request.match_info["name"]]
        begin = 0
        if "Range" in request.headers:
            self.ranges.append(request.headers["Range"])
            begin = int(request.headers["Range"].removeprefix("bytes=").partition("-")[0])
        length = {"Content-Length": str(len(data) - begin)}
        if begin:
            length["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        response = web.StreamResponse(status=206 if begin else 200, headers=length)
        await response.prepare(request)
        weights = name == "model.safetensors"
        if weights and self.damaged:
            self.damaged -= 1
            data = data[:-1] + b"!"
        if weights and self.break_after is not None:
            await response.write(data[begin : begin + self.break_after])
            self.break_after = None
            assert request.transport is not None
            request.transport.abort()
            return response
        if weights and self.hang_after is not None:
            await response.write(data[begin : self.hang_after])
            await self.closing.wait()
            return response
        await response.write(data[begin:])
        return response


@pytest.fixture
async def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Hub]:
    """A running hub; the client of this test's children knows no other."""
    hub = Hub()
    app = web.Application()

    async def describe(request: web.Request) -> web.Response:
        return hub.describe(request)

    app.router.add_get(f"/api/models/{MODEL_ID}", describe)
    app.router.add_get(f"/{MODEL_ID}/resolve/{COMMIT}/{{name}}", hub.send)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    hub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    use_hub(monkeypatch, tmp_path, hub.url)
    yield hub
    hub.closing.set()
    await runner.cleanup()


def use_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf-home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


async def fetch(models: Path) -> tuple[ModelRef, list[Progress]]:
    ref = find_model(MODEL_ID, models)
    return ref, [step async for step in fetch_model(ref, models)]


def partial_of(ref: ModelRef) -> Path:
    return ref.path.with_name(ref.path.name + ".partial")


async def test_a_model_is_fetched_whole_and_checked(hub: Hub, models: Path) -> None:
    ref, steps = await fetch(models)
    here = {path.name: path.read_bytes() for path in ref.path.iterdir()}
    manifest = read_manifest(ref.path)
    assert manifest is not None
    del here[MANIFEST]
    assert here == {name: hub.files[name] for name in ("config.json", "tokenizer.json", "model.safetensors")}
    assert (manifest.origin, manifest.revision) == (MODEL_ID, COMMIT)
    assert {file.name: file.sha256 for file in manifest.files} == {
        name: hashlib.sha256(data).hexdigest() for name, data in here.items()
    }
    total = sum(map(len, here.values()))
    assert steps[-1] == Progress(total, total, Message("detail.verbatim", text=ref.path.name))
    done = [step.done_bytes for step in steps if step.done_bytes is not None]
    assert done == sorted(done)
    assert find_model(MODEL_ID, models).installed
    assert not partial_of(ref).exists()


async def test_a_dropped_connection_resumes_where_it_broke(hub: Hub, models: Path) -> None:
    hub.break_after = 2_500_000
    ref, _ = await fetch(models)
    assert (ref.path / "model.safetensors").read_bytes() == BIG
    assert len(hub.ranges) == 1
    assert 0 < int(hub.ranges[0].removeprefix("bytes=").rstrip("-")) <= 2_500_000


async def hang_in_the_weights(models: Path) -> tuple[ModelRef, AsyncGenerator[Progress, None]]:
    """A download that has received 2 MB of the weights and waits for more."""
    ref = find_model(MODEL_ID, models)
    steps = fetch_model(ref, models)
    async for step in steps:
        if say(step.detail) == "model.safetensors":
            break
    for _ in range(600):
        if unfinished_bytes(ref) > 2_000_000:
            return ref, steps
        await asyncio.sleep(0.05)
    raise AssertionError("no bytes arrived in 30 s")


def unfinished_bytes(ref: ModelRef) -> int:
    return sum(path.stat().st_size for path in partial_of(ref).glob("*.unfinished"))


async def test_a_stopped_download_is_not_installed_and_resumes_later(hub: Hub, models: Path) -> None:
    hub.hang_after = 2_500_000
    ref, steps = await hang_in_the_weights(models)
    children = psutil.Process().children(recursive=True)
    assert children
    await steps.aclose()
    assert not any(child.is_running() for child in children), "the download ends with its reader"
    assert not ref.path.exists()
    assert not find_model(MODEL_ID, models).installed
    here = unfinished_bytes(ref)
    hub.hang_after = None
    await fetch(models)
    assert (ref.path / "model.safetensors").read_bytes() == BIG
    assert hub.ranges == [f"bytes={here}-"], "and nothing is fetched twice"


async def test_a_killed_download_resumes_later(hub: Hub, models: Path) -> None:
    hub.hang_after = 2_500_000
    ref, steps = await hang_in_the_weights(models)
    for child in psutil.Process().children(recursive=True):
        os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(ModelNotFoundError, match="ended with status -9"):
        await anext(steps)
    hub.hang_after = None
    await fetch(models)
    assert (ref.path / "model.safetensors").read_bytes() == BIG
    assert len(hub.ranges) == 1


async def test_a_damaged_file_is_downloaded_again(hub: Hub, models: Path) -> None:
    hub.damaged = 1
    ref, _ = await fetch(models)
    assert (ref.path / "model.safetensors").read_bytes() == BIG


async def test_a_file_damaged_twice_is_an_error(hub: Hub, models: Path) -> None:
    hub.damaged = 2
    with pytest.raises(ModelCorruptError, match=r"model\.safetensors of someone/small was damaged"):
        await fetch(models)
    assert not find_model(MODEL_ID, models).installed


async def test_files_of_an_earlier_version_are_removed(hub: Hub, models: Path) -> None:
    ref = find_model(MODEL_ID, models)
    partial = partial_of(ref)
    (partial / "stray").mkdir(parents=True)
    (partial / "vocab.json").write_text("old")
    (partial / "tokenizer.json").write_text("[]")
    (partial / "model.safetensors.0000.unfinished").write_text("old")
    await fetch(models)
    assert sorted(path.name for path in ref.path.iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        MANIFEST,
    ]
    assert (ref.path / "tokenizer.json").read_bytes() == b"{}"


@pytest.mark.parametrize(
    ("status", "headers", "message"),
    [
        (404, {"X-Error-Code": "RepoNotFound"}, "has no model someone/small, or the model is private"),
        (401, {}, "has no model someone/small, or the model is private"),
        (401, {"X-Error-Message": "Invalid credentials in Authorization header"}, "does not accept your token"),
        (403, {"X-Error-Code": "GatedRepo"}, "only to accounts that have accepted its terms"),
        (403, {}, "only to accounts that have accepted its terms"),
        (400, {}, "refused someone/small with status 400"),
    ],
)
async def test_each_refusal_has_its_error(
    hub: Hub, models: Path, status: int, headers: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    hub.status, hub.headers = status, headers
    with pytest.raises(ModelNotFoundError, match=message) as caught:
        await fetch(models)
    assert SECRET not in str(caught.value)
    assert hub.tokens == {f"Bearer {SECRET}"}
    assert not find_model(MODEL_ID, models).installed


async def test_no_hub_answers(models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_hub(monkeypatch, tmp_path, "http://user:password@127.0.0.1:9")
    installed = models / "someone--else"
    installed.mkdir(parents=True)
    (installed / "config.json").write_text("{}")
    with pytest.raises(ModelNotFoundError) as caught:
        await fetch(models)
    assert "No model hub answers at http://127.0.0.1:9, so someone/small" in caught.value.sentence
    assert "someone/else" in caught.value.hint
    assert "password" not in str(caught.value)


async def test_a_repository_without_weights_that_can_be_served(hub: Hub, models: Path) -> None:
    del hub.files["model.safetensors"]
    with pytest.raises(ModelNotFoundError, match="cannot be served"):
        await fetch(models)


async def test_a_full_disk_is_an_error_before_the_download(hub: Hub, models: Path) -> None:
    hub.announced_bytes = 1 << 60
    with pytest.raises(DiskFullError, match=r"GiB are free"):
        await fetch(models)
    assert hub.ranges == []
    assert not any(path.stat().st_size for path in models.rglob("*") if path.is_file())


async def test_a_directory_that_cannot_be_written(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file, not a directory")
    with pytest.raises(VedetteError, match="could not be written"):
        await fetch(tmp_path / "models")


async def test_a_hostile_file_name_is_refused(hub: Hub, models: Path) -> None:
    hub.files["../../escaped.json"] = b"{}"
    with pytest.raises(ModelCorruptError, match="leads out of its directory"):
        await fetch(models)
    assert not list(models.parent.rglob("*.json"))


@pytest.mark.parametrize("name", ["../a.json", "/tmp/a.json", "a/../../b.json", "a\\b.json", "a\nb.json", ""])
def test_names_that_lead_out_of_a_directory(name: str) -> None:
    with pytest.raises(SourceError, match="hostile_name"):
        flat([RemoteFile("config.json", 1), RemoteFile(name, 1)])


async def test_links_in_an_unfinished_download_are_removed(hub: Hub, models: Path, tmp_path: Path) -> None:
    """Who could write there must not make a download write elsewhere."""
    ref = find_model(MODEL_ID, models)
    partial_of(ref).mkdir(parents=True)
    file = RemoteFile("model.safetensors", len(BIG), hashlib.sha256(BIG).hexdigest())
    target = tmp_path / "precious"
    target.write_text("keep")
    unfinished(partial_of(ref), file).symlink_to(target)
    await fetch(models)
    assert target.read_text() == "keep"
    assert (ref.path / "model.safetensors").read_bytes() == BIG


async def test_a_child_does_not_import_from_the_current_directory(
    hub: Hub, models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    ref, _ = await fetch(models)
    assert (ref.path / "model.safetensors").read_bytes() == BIG


async def test_the_child_prints_only_json(hub: Hub, models: Path) -> None:
    import sys

    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "vedette.models.store.fetching.downloader",
        f"huggingface:{MODEL_ID}",
        str(models / "x"),
        str(models / "keys"),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert all({"file", "done_bytes", "total_bytes"} <= set(line) for line in lines)
