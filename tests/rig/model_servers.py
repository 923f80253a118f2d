"""A local server of one model that speaks to every kind of client: a hub, NVIDIA's catalogue, ModelScope, plain HTTP.

It can break off, answer with other statuses, and damage what it sends; it keeps what it was asked and what it has sent.
"""

import base64
import contextlib
import hashlib
import json
import socket
import struct
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL_ID = "someone/small"
COMMIT = "c" * 40
NGC_PATH = "nim/nvidia/small:1208-fp8"
NGC_PLACE = ("nim", "nvidia", "small", "1208-fp8")
_PIECE_BYTES = 1 << 16
TOKEN = "a-token-for-an-older-key"


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one answer that holds a part of a file."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    """Bytes of this answer after which the connection ends."""
    reset: bool = False
    """It ends with a reset instead of an end."""
    damage: bool = False
    """One byte of this answer is another."""


@dataclass(frozen=True)
class Sent:
    """A part of a file that was sent."""

    name: str
    begin: int
    end: int


@dataclass
class Library:
    """What the server has and how it behaves."""

    files: dict[str, bytes]
    fault: Callable[[str, int], Fault | None] = lambda _name, _begin: None
    """Called with a file's name and the first byte that is asked for."""
    listing_status: int = 200
    listing_headers: Mapping[str, str] = field(default_factory=dict)
    keys: frozenset[str] | None = None
    """Keys that may see the model in NVIDIA's catalogue; None for everybody."""
    sums: bool = True
    """The source says the hashes of the files."""
    extra_names: tuple[str, ...] = ()
    """Names in the listing that have no file."""
    data_address: str | None = None
    """The address of another server, which has the files of NVIDIA's catalogue."""
    page_files: int = 500
    rate_bytes_per_s: float | None = None
    """How fast one connection gets a file; None for as fast as this machine can."""
    authorizations: list[tuple[str, str | None]] = field(default_factory=list)
    """Each request's path, and what it said who asks."""
    sent: list[Sent] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def sent_twice(self) -> int:
        """Bytes of all files that were sent more than once."""
        twice = 0
        for name in self.files:
            reached = 0
            for begin, end in sorted((each.begin, each.end) for each in self.sent if each.name == name):
                twice += max(0, min(end, reached) - begin)
                reached = max(reached, end)
        return twice


class ModelServer(ThreadingHTTPServer):
    """Serves a library on a free port of this machine."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, library: Library) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.library = library

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is none of the server's errors."""


@contextlib.contextmanager
def serving(library: Library) -> Iterator[ModelServer]:
    with ModelServer(library) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def setup(self) -> None:
        super().setup()
        # What lies in this buffer when a client ends has been sent for nothing.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _PIECE_BYTES)

    @property
    def library(self) -> Library:
        assert isinstance(self.server, ModelServer)
        return self.server.library

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        asked = {name: values[0] for name, values in urllib.parse.parse_qs(query).items()}
        scopes = urllib.parse.parse_qs(query).get("scope", [])
        with self.library.lock:
            self.library.authorizations.append((path, self.headers["Authorization"]))
        parts = path.strip("/").split("/")
        if path == "/token":
            self._give_token(scopes)
        elif parts[0] == "v2":
            self._speak_ngc(parts[1:], asked)
        elif path == f"/api/models/{MODEL_ID}":
            self._list(_hub_listing(self.library))
        elif path == f"/api/v1/models/{MODEL_ID}/repo/files":
            self._list(_modelscope_listing(self.library))
        elif path == f"/api/v1/models/{MODEL_ID}/repo":
            self._send_file(asked["FilePath"])
        elif path == "/plain/SHA256SUMS" and self.library.sums:
            lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in self.library.files.items()]
            self._answer(200, "".join(lines).encode())
        elif parts[0] in {"signed", "plain"} or path.startswith(f"/{MODEL_ID}/resolve/{COMMIT}/"):
            self._send_file(urllib.parse.unquote(parts[-1]))
        else:
            self._answer(404, b"")

    def _list(self, document: object) -> None:
        library = self.library
        if library.listing_status != 200:
            return self._answer(library.listing_status, b"no", library.listing_headers)
        return self._answer(200, json.dumps(document).encode())

    def _give_token(self, scopes: list[str]) -> None:
        """For an older key, as basic authorization; a token is good for the scopes that were asked for."""
        given = base64.b64decode((self.headers["Authorization"] or "").removeprefix("Basic ")).decode()
        user, _, key = given.partition(":")
        org, team = NGC_PLACE[:2]
        wanted = [f"group/ngc:{org}", f"group/ngc:{org}/{team}"]
        if user != "$oauthtoken" or key not in (self.library.keys or ()) or scopes != wanted:
            return self._answer(401, b"")
        return self._answer(200, json.dumps({"token": TOKEN, "expires_in": 900}).encode())

    def _speak_ngc(self, parts: list[str], asked: dict[str, str]) -> None:
        org, team, model, version = NGC_PLACE
        place = ["org", org, "team", team]
        guest = parts[0] == "models"
        files = ["models", org, team, model, "versions", version, "files"]
        download = ["models", *place, model, version, "files"]
        if not guest:
            files = [*place, "models", model, "versions", version, "files"]
            download = [*place, "models", model, version, "files"]
        library = self.library
        bearer = (self.headers["Authorization"] or "").removeprefix("Bearer ")
        allowed = library.keys is None or (not guest and bearer in {TOKEN, *library.keys})
        if not allowed:
            return self._answer(401, b"")
        if parts == files:
            return self._list(_ngc_page(library, int(asked.get("page-number", 0))))
        if parts == download and asked.get("path") in library.files:
            assert isinstance(self.server, ModelServer)
            address = library.data_address or self.server.url
            url = f"{address}/signed/{urllib.parse.quote(asked['path'])}?signature=secret"
            return self._answer(200, json.dumps({"urls": [url], "filepath": [asked["path"]]}).encode())
        return self._answer(404, b"")

    def _send_file(self, name: str) -> None:
        library, data = self.library, self.library.files.get(name)
        if data is None:
            return self._answer(404, b"")
        span = self.headers["Range"]
        begin, end = 0, len(data)
        if span is not None:
            first, _, last = span.removeprefix("bytes=").partition("-")
            begin, end = int(first), min(int(last) + 1 if last else len(data), len(data))
            if begin >= len(data):
                return self._answer(416, b"")
        fault = library.fault(name, begin) or Fault()
        if fault.status is not None:
            return self._answer(fault.status, b"", fault.headers)
        part = data[begin:end]
        if fault.damage:
            part = bytes([part[0] ^ 1]) + part[1:]
        self.send_response(206 if span is not None else 200)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()[:16]}"')
        if span is not None:
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(data)}")
        self.end_headers()
        part = part[: fault.cut_after] if fault.cut_after is not None else part
        self._write(name, begin, part)
        if fault.cut_after is not None:
            self.close_connection = True
            if fault.reset:
                time.sleep(0.05)  # a reset takes with it what the client has not read
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
        return None

    def _write(self, name: str, first: int, data: bytes) -> None:
        """Sends a part of a file piece by piece, and keeps how much of it was sent."""
        library, began_s, written = self.library, time.monotonic(), 0
        try:
            for begin in range(0, len(data), _PIECE_BYTES):
                written += self.wfile.write(data[begin : begin + _PIECE_BYTES])
                if library.rate_bytes_per_s is not None:
                    time.sleep(max(0.0, written / library.rate_bytes_per_s - (time.monotonic() - began_s)))
        finally:
            with library.lock:
                library.sent.append(Sent(name, first, first + written))

    def _answer(self, status: int, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass


def _hub_listing(library: Library) -> object:
    entries: list[dict[str, object]] = [{"rfilename": name, "size": 1} for name in library.extra_names]
    for name, data in library.files.items():
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
        entry: dict[str, object] = {"rfilename": name, "size": len(data), "blobId": blob}
        if name.endswith(".safetensors"):
            entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
        entries.append(entry)
    return {"_id": "1", "id": MODEL_ID, "sha": COMMIT, "siblings": entries}


def _ngc_page(library: Library, number: int) -> object:
    entries: list[dict[str, object]] = [{"path": name, "sizeInBytes": 1} for name in library.extra_names]
    for name, data in library.files.items():
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
        entries.append({"path": name, "sizeInBytes": len(data), **({"sha256_base64": digest} if library.sums else {})})
    size = library.page_files
    pages = -(-len(entries) // size)
    return {
        "modelFiles": entries[number * size : (number + 1) * size],
        "paginationInfo": {"totalPages": pages, "size": size, "index": number},
    }


def _modelscope_listing(library: Library) -> object:
    entries: list[dict[str, object]] = [{"Path": name, "Size": 1, "Type": "blob"} for name in library.extra_names]
    for name, data in library.files.items():
        digest = hashlib.sha256(data).hexdigest() if library.sums else ""
        entries.append({"Path": name, "Size": len(data), "Type": "blob", "Sha256": digest, "Revision": COMMIT})
    return {"Code": 200, "Success": True, "Data": {"Files": [{"Path": "onnx", "Type": "tree"}, *entries]}}
