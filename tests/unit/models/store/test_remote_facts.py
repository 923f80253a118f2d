"""Facts of a model on a hub: a real local server speaks the hub's protocol, well or badly."""

import json
import struct
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from vedette.errors import ModelCorruptError, ModelNotFoundError
from vedette.models.checkpoint import read_model
from vedette.models.store.fetching.origin import Kind, Origin
from vedette.models.store.remote_facts import read_remote_model

MODEL_ID = "someone/small"
ORIGIN = Origin(Kind.HUGGING_FACE, MODEL_ID)
NO_KEYS = Path("/nonexistent")
COMMIT = "c" * 40
SECRET = "hf_a_secret"
CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "torch_dtype": "bfloat16",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 100,
    "max_position_embeddings": 512,
}


def weights(names: list[str], note: str = "") -> bytes:
    """A safetensors file of some tensors of 1 MB; `note` makes its header longer."""
    header: dict[str, Any] = {"__metadata__": {"note": note}}
    for turn, name in enumerate(names):
        header[name] = {
            "dtype": "BF16",
            "shape": [500, 1000],
            "data_offsets": [turn * 1_000_000, (turn + 1) * 1_000_000],
        }
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"\1" * (1_000_000 * len(names))


@dataclass
class Hub:
    """What a server holds, how it behaves, and what it has seen."""

    files: dict[str, bytes] = field(
        default_factory=lambda: {
            "config.json": json.dumps(CONFIG).encode(),
            "tokenizer.json": b"{}",
            "tokenizer_config.json": b'{"chat_template": "<think>"}',
            "model.safetensors": weights(["model.embed_tokens.weight", "model.layers.0.weight"]),
        }
    )
    url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    redirect: str | None = None
    """Where files are said to be, with `{name}` for theirs."""
    cut_at: int | None = None
    """Bytes of a weights file's answer after which the connection ends before the announced length."""
    sizes: bool = True
    sent_bytes: int = 0
    tokens: set[str | None] = field(default_factory=set)
    listing: bytes | None = None

    def describe(self) -> bytes:
        entries = [{"rfilename": name, "size": len(data)} for name, data in self.files.items()]
        if not self.sizes:
            entries = [{"rfilename": str(entry["rfilename"])} for entry in entries]
        return self.listing or json.dumps({"sha": COMMIT, "siblings": entries}).encode()


class Server(ThreadingHTTPServer):
    """A local server: a hub, or something else."""

    daemon_threads = True

    def __init__(self, hub: Hub) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.hub = hub


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> Hub:
        assert isinstance(self.server, Server)
        return self.server.hub

    def do_GET(self) -> None:
        hub = self.hub
        hub.tokens.add(self.headers["Authorization"])
        path = self.path.partition("?")[0]
        if hub.status != 200:
            self.answer(hub.status, b"no", hub.headers)
        elif path == f"/api/models/{MODEL_ID}":
            self.answer(200, hub.describe(), {})
        elif path.startswith(f"/{MODEL_ID}/resolve/{COMMIT}/") and hub.redirect:
            name = path.rpartition("/")[2]
            self.answer(302, b"", {"Location": hub.redirect.format(name=name)})
        else:
            self.send_file(path.rpartition("/")[2])

    def send_file(self, name: str) -> None:
        hub = self.hub
        data = hub.files.get(name)
        if data is None:
            return self.answer(404, b"", {})
        span = self.headers["Range"]
        if span is None or not hub.ranges:
            return self.answer(200, data, {}, name)
        begin, _, end = span.removeprefix("bytes=").partition("-")
        part = data[int(begin) : int(end) + 1]
        return self.answer(206, part, {"Content-Range": f"bytes {begin}-{end}/{len(data)}"}, name)

    def answer(self, status: int, data: bytes, headers: dict[str, str], name: str = "") -> None:
        hub = self.hub
        self.send_response(status)
        for key, value in ({"Content-Length": str(len(data))} | headers).items():
            self.send_header(key, value)
        self.end_headers()
        if hub.cut_at is not None and name.endswith(".safetensors"):
            data = data[: hub.cut_at]
            self.close_connection = True
        try:
            for start in range(0, len(data), 65_536):
                self.wfile.write(data[start : start + 65_536])
                hub.sent_bytes += min(65_536, len(data) - start)
        except OSError:
            self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A running hub, which this test's environment names."""
    hub = Hub()
    server = Server(hub)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    yield hub
    server.shutdown()
    thread.join()
    server.server_close()


def test_facts_equal_those_of_the_downloaded_files(hub: Hub, tmp_path: Path) -> None:
    remote = read_remote_model(ORIGIN, tmp_path / "later", NO_KEYS)
    here = tmp_path / "here"
    here.mkdir()
    for name, data in hub.files.items():
        (here / name).write_bytes(data)
    local = read_model(here, MODEL_ID)
    assert remote.path == tmp_path / "later"
    assert not remote.path.exists(), "planning leaves nothing behind"
    assert (remote.weights_bytes, remote.thinks) == (2_000_000, True)
    assert remote.__dict__ | {"path": None} == local.__dict__ | {"path": None}


def test_weights_stay_on_the_hub(hub: Hub, tmp_path: Path) -> None:
    hub.files["model.safetensors"] = weights([f"layers.{turn}.weight" for turn in range(20)])
    read_remote_model(ORIGIN, tmp_path, NO_KEYS)
    assert hub.sent_bytes < 400_000


@pytest.mark.parametrize("ranges", [True, False])
def test_a_long_header_is_read_whole(hub: Hub, tmp_path: Path, ranges: bool) -> None:
    hub.ranges = ranges
    hub.files["model.safetensors"] = weights(["model.layers.0.weight"], note="x" * 700_000)
    assert read_remote_model(ORIGIN, tmp_path, NO_KEYS).weights_bytes == 1_000_000


def test_weights_are_not_read_from_a_server_without_ranges(hub: Hub, tmp_path: Path) -> None:
    hub.ranges = False
    # More than what the sockets of both sides hold.
    hub.files["model.safetensors"] = weights([f"model.layers.0.{turn}.weight" for turn in range(60)])
    assert read_remote_model(ORIGIN, tmp_path, NO_KEYS).weights_bytes == 60_000_000
    assert hub.sent_bytes < 30_000_000


def test_weights_in_parts(hub: Hub, tmp_path: Path) -> None:
    del hub.files["model.safetensors"]
    parts = {f"model-{turn}-of-9.safetensors": weights([f"model.layers.0.{turn}.weight"]) for turn in range(9)}
    index = {"weight_map": {f"model.layers.0.{turn}.weight": name for turn, name in enumerate(parts)}}
    hub.files |= parts | {"model.safetensors.index.json": json.dumps(index).encode()}
    assert read_remote_model(ORIGIN, tmp_path, NO_KEYS).weights_bytes == 9_000_000
    del hub.files["model-3-of-9.safetensors"]
    with pytest.raises(ModelCorruptError, match=r"has no weights named model-3-of-9\.safetensors"):
        read_remote_model(ORIGIN, tmp_path, NO_KEYS)


def test_a_redirect_on_the_same_host_is_followed(hub: Hub, tmp_path: Path) -> None:
    hub.redirect = "/elsewhere/{name}"
    assert read_remote_model(ORIGIN, tmp_path, NO_KEYS).weights_bytes == 2_000_000


@pytest.mark.parametrize(
    ("redirect", "message"),
    [
        ("http://localhost:1/{name}", "not trusted"),
        ("file:///etc/{name}", "not trusted"),
        (f"/{MODEL_ID}/resolve/{COMMIT}/{{name}}", "is not a model hub"),
    ],
)
def test_other_redirects_are_refused(hub: Hub, tmp_path: Path, redirect: str, message: str) -> None:
    hub.redirect = redirect
    with pytest.raises(ModelNotFoundError, match=message):
        read_remote_model(ORIGIN, tmp_path, NO_KEYS)


def test_a_token_is_only_sent_to_the_hub(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    read_remote_model(ORIGIN, tmp_path, NO_KEYS)
    assert hub.tokens == {f"Bearer {SECRET}"}
    hub.tokens.clear()
    other = Server(stranger := Hub())
    threading.Thread(target=other.serve_forever, args=(0.05,), daemon=True).start()
    hub.redirect = f"http://127.0.0.1:{other.server_port}/{{name}}"
    read_remote_model(ORIGIN, tmp_path, NO_KEYS)
    other.shutdown()
    other.server_close()
    assert stranger.tokens == {None}, "another port of the same host is another server"


@pytest.mark.parametrize("inside", ["\n", "\r\n", "é", "\t", "\udcff"])
def test_a_token_that_cannot_be_sent_is_in_no_error(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", f"{SECRET}{inside}{SECRET}")
    with pytest.raises(ModelNotFoundError, match="does not accept your token") as refused:
        read_remote_model(ORIGIN, tmp_path, NO_KEYS)
    assert SECRET not in "".join(traceback.format_exception(refused.value))
    assert not hub.tokens


@pytest.mark.parametrize(
    ("status", "headers", "message"),
    [
        (404, {}, "has no model someone/small, or the model is private"),
        (401, {}, "has no model someone/small, or the model is private"),
        (401, {"X-Error-Code": "GatedRepo"}, "accepted its terms"),
        (401, {"X-Error-Message": "Invalid credentials in Authorization header"}, "does not accept your token"),
        (403, {}, "accepted its terms"),
        (503, {}, "with status 503"),
    ],
)
def test_refusals(hub: Hub, tmp_path: Path, status: int, headers: dict[str, str], message: str) -> None:
    hub.status, hub.headers = status, headers
    with pytest.raises(ModelNotFoundError, match=message):
        read_remote_model(ORIGIN, tmp_path, NO_KEYS)


def test_a_response_that_is_cut_short(hub: Hub, tmp_path: Path) -> None:
    hub.cut_at = 20
    with pytest.raises(ModelCorruptError, match="cut short: its header ends after"):
        read_remote_model(ORIGIN, tmp_path, NO_KEYS)


def test_weights_shorter_than_their_header_says(hub: Hub, tmp_path: Path) -> None:
    hub.files["model.safetensors"] = hub.files["model.safetensors"][:-5]
    with pytest.raises(ModelCorruptError, match=r"cut short: it has [\d,]+ of [\d,]+ bytes"):
        read_remote_model(ORIGIN, tmp_path, NO_KEYS)
    hub.sizes = False
    assert read_remote_model(ORIGIN, tmp_path, NO_KEYS).weights_bytes == 2_000_000, (
        "a hub that names no sizes cannot be asked"
    )


@pytest.mark.parametrize("length", [0, 1, 2**63, 99_000_000])
def test_a_header_that_lies_about_its_length(hub: Hub, tmp_path: Path, length: int) -> None:
    hub.files["model.safetensors"] = struct.pack("<Q", length) + hub.files["model.safetensors"][8:]
    with pytest.raises(ModelCorruptError, match="not a safetensors file, or it is cut short"):
        read_remote_model(ORIGIN, tmp_path, NO_KEYS)


@pytest.mark.parametrize(
    "listing", [b"<html>", b"[]", b'{"sha": 1, "siblings": []}', b'{"sha": "../x", "siblings": []}']
)
def test_a_server_that_is_not_a_hub(hub: Hub, tmp_path: Path, listing: bytes) -> None:
    hub.listing = listing
    with pytest.raises(ModelNotFoundError, match="is not a model hub"):
        read_remote_model(ORIGIN, tmp_path, NO_KEYS)


def test_a_repository_without_a_model(hub: Hub, tmp_path: Path) -> None:
    del hub.files["config.json"]
    with pytest.raises(ModelNotFoundError, match=r"There is no config\.json in someone/small"):
        read_remote_model(ORIGIN, tmp_path, NO_KEYS)


def test_what_stands_beside_the_configuration_is_read_too(hub: Hub, tmp_path: Path) -> None:
    order = {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}
    hub.files["hf_quant_config.json"] = json.dumps({"producer": {"name": "modelopt"}, "quantization": order}).encode()
    own = {"model_type": "novel", "auto_map": {"AutoConfig": "configuration_novel.Novel"}}
    hub.files["config.json"] = json.dumps(CONFIG | own).encode()
    hub.files["configuration_novel.py"] = b"class Novel: ...\n"
    found = read_remote_model(ORIGIN, tmp_path, NO_KEYS)
    assert (found.quantization, found.cache_order) == ("fp8", "fp8")
    assert [(file.name, file.sha256 is not None) for file in found.own_code] == [("configuration_novel.py", True)]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("model.gguf",), "GGUF"),
        (("adapter_config.json", "adapter_model.safetensors"), "adapter"),
        (("a.onnx",), "ONNX"),
    ],
)
def test_a_repository_of_something_else(hub: Hub, tmp_path: Path, files: tuple[str, ...], message: str) -> None:
    hub.files = dict.fromkeys(files, b"{}")
    with pytest.raises(ModelNotFoundError, match=message):
        read_remote_model(ORIGIN, tmp_path, NO_KEYS)


def test_the_error_of_a_damaged_configuration_names_the_model(hub: Hub, tmp_path: Path) -> None:
    hub.files["config.json"] = b"{"
    with pytest.raises(ModelCorruptError, match=r"someone/small/config\.json is not valid JSON"):
        read_remote_model(ORIGIN, tmp_path, NO_KEYS)


def test_a_file_too_large_for_its_name(hub: Hub, tmp_path: Path) -> None:
    hub.files["config.json"] = b" " * 33_000_000
    with pytest.raises(ModelCorruptError, match=r"someone/small/config\.json is too large"):
        read_remote_model(ORIGIN, tmp_path, NO_KEYS)


def test_no_hub_is_asked_if_that_is_forbidden(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelNotFoundError, match="HF_HUB_OFFLINE"):
        read_remote_model(ORIGIN, tmp_path, NO_KEYS)
    assert not hub.tokens
