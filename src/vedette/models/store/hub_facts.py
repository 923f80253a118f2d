"""Reads the facts of a model on a Hugging Face hub without its weights: small files, and the headers of tensors.

A hub is an untrusted server: every response is limited in bytes and in time, and a redirect must lead from HTTPS to
HTTPS or stay on its host. A token is only sent to the hub's own origin.
"""

import http.client
import json
import os
import struct
import tempfile
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from vedette.errors import ModelCorruptError, ModelNotFoundError, VedetteError
from vedette.language.message import Message, Parameter
from vedette.models.checkpoint import MAX_JSON_BYTES, TOKENIZERS, read_model
from vedette.models.model import Model
from vedette.models.tensors import INDEX, MAX_HEADER_BYTES, Shard, Tensor, parse_header, parse_index

SMALL_FILES = (
    *("config.json", "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json"),
    *("chat_template.jinja", "chat_template.json", "tokenizer_config.json", INDEX),
)
MAX_TOKENIZER_BYTES = 16_000_000
"""A larger tokenizer is not read; numbers that depend on its tokens are then upper bounds, not exact."""
FIRST_READ_BYTES = 256 * 1024
"""Most headers are not longer."""
TIMEOUT_S = 15.0
DEADLINE_S = 120.0
CONNECTIONS = 8
REDIRECTS = 5


def hub_address() -> str:
    """The hub's address as its client finds it, without a user name and password."""
    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    scheme, separator, rest = address.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def read_hub_model(model_id: str, path: Path, suggestion: Message | None = None) -> Model:
    """The facts of the hub's model `model_id`, whose files will lie in `path`.

    suggestion: for the error if the hub does not have the model or does not answer. Raises ModelNotFoundError if no hub
    answers or the hub refuses, ModelCorruptError if the files are not a model's.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise ModelNotFoundError("models.hub_forbidden", name=model_id)
    token = os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN")
    hub = _Hub(hub_address(), token, model_id, suggestion)
    commit, sizes = hub.list_files()
    with tempfile.TemporaryDirectory(prefix="vedette-") as mirror:
        directory = Path(mirror)
        for name in SMALL_FILES:
            if name in sizes:
                (directory / name).write_bytes(hub.read(commit, name, MAX_JSON_BYTES))
        for name in TOKENIZERS:
            if name in sizes:
                wanted = name == "tokenizer.json" and (sizes[name] or 0) <= MAX_TOKENIZER_BYTES
                wanted = wanted and "preprocessor_config.json" in sizes
                (directory / name).write_bytes(hub.read(commit, name, MAX_TOKENIZER_BYTES) if wanted else b"")
        try:
            tensors = _read_tensors(hub, commit, directory, sizes) if "config.json" in sizes else {}
            model = read_model(directory, model_id, tensors)
        except VedetteError as error:
            # A person knows the model's ID, not the temporary directory of its files.
            message = _replaced(error.message, mirror, model_id)
            raise type(error)(message.code, **message.params) from None
    return replace(model, path=path, tokenizer_bytes=sizes.get("tokenizer.json"))


def _read_tensors(hub: "_Hub", commit: str, directory: Path, sizes: dict[str, int | None]) -> dict[str, Tensor]:
    """Every tensor of the model by name, from the headers of its weights files."""
    index = directory / INDEX
    if index.exists():
        names = parse_index(index.read_bytes(), index)
    else:
        names = sorted(name for name in sizes if name.endswith(".safetensors"))
        names = [name for name in names if not name.startswith("consolidated")] or names
    missing = [name for name in names if name not in sizes]
    if missing or not names:
        raise ModelCorruptError(
            "models.hub_without_weights", name=hub.model_id, file=missing[0] if missing else "*.safetensors"
        )
    tensors: dict[str, Tensor] = {}
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for shard in pool.map(lambda name: _read_shard(hub, commit, name, sizes[name]), names):
            tensors.update(shard.tensors)
    return tensors


def _read_shard(hub: "_Hub", commit: str, name: str, size: int | None) -> Shard:
    shown = Path(hub.model_id) / name
    start = hub.read(commit, name, FIRST_READ_BYTES, begin=0)
    length = struct.unpack("<Q", start[:8])[0] if len(start) >= 8 else 0
    if not 2 <= length <= MAX_HEADER_BYTES or (size is not None and size < 8 + length):
        raise ModelCorruptError("models.not_safetensors", path=str(shown))
    header = start[8 : 8 + length]
    if len(header) < length:
        header += hub.read(commit, name, length - len(header), begin=len(start))
    if len(header) < length:
        raise ModelCorruptError("models.header_cut_short", path=str(shown), header_bytes=len(header))
    shard = parse_header(header, shown)
    if size is not None and size < shard.file_bytes:
        raise ModelCorruptError(
            "models.weights_cut_short", path=str(shown), here_bytes=size, whole_bytes=shard.file_bytes
        )
    return shard


@dataclass(frozen=True)
class _Hub:
    """One model on one hub."""

    address: str
    token: str | None
    model_id: str
    suggestion: Message | None = None

    def list_files(self) -> tuple[str, dict[str, int | None]]:
        """The commit of the main branch, and the size of each of its files (None if the hub does not say it)."""
        data = self._get(f"{self.address}/api/models/{quote(self.model_id)}?blobs=true", MAX_JSON_BYTES, None)
        try:
            info = json.loads(data)
            commit, siblings = info["sha"], info["siblings"]
            files = {entry["rfilename"]: entry.get("size") for entry in siblings}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise self._not_a_hub() from error
        if not isinstance(commit, str) or not commit.isalnum() or not all(isinstance(name, str) for name in files):
            raise self._not_a_hub()
        plain = {name: _size(size) for name, size in files.items() if PurePosixPath(name).name == name}
        return commit, plain

    def read(self, commit: str, name: str, most_bytes: int, begin: int | None = None) -> bytes:
        """A whole file or, with `begin`, at most `most_bytes` of it from there on.

        Raises ModelCorruptError if a whole file is larger than `most_bytes`.
        """
        return self._get(f"{self.address}/{quote(self.model_id)}/resolve/{commit}/{quote(name)}", most_bytes, begin)

    def _get(self, url: str, most_bytes: int, begin: int | None) -> bytes:
        deadline_s = time.monotonic() + DEADLINE_S
        try:
            with self._open(url, None if begin is None else (begin, begin + most_bytes - 1)) as response:
                skipped = begin or 0
                if begin is not None and response.status == http.client.PARTIAL_CONTENT:
                    if not (response.headers.get("Content-Range") or "").startswith(f"bytes {begin}-"):
                        raise self._not_a_hub()
                    skipped = 0
                # A server without ranges sends the file from its start: read no more than the wanted range.
                data = _read_bounded(response, skipped + most_bytes + (begin is None), deadline_s)
        except urllib.error.HTTPError as error:
            raise self._refused(error) from None
        except (OSError, http.client.HTTPException) as error:
            raise ModelNotFoundError(
                "models.no_hub",
                hub=self.address,
                name=self.model_id,
                error=type(error).__name__,
                suggestion=self.suggestion,
            ) from None
        if begin is None and len(data) > most_bytes:
            name = urlsplit(url).path.rpartition("/")[2]
            raise ModelCorruptError("models.file_too_large", path=f"{self.model_id}/{name}")
        return data[skipped:]

    def _open(self, url: str, span: tuple[int, int] | None) -> "http.client.HTTPResponse":
        """The response at the end of a chain of redirects."""
        opener = urllib.request.build_opener(_NoRedirects)
        for _ in range(REDIRECTS):
            request = urllib.request.Request(url, headers={"User-Agent": "vedette"})  # noqa: S310 - checked below
            if span is not None:
                request.add_header("Range", f"bytes={span[0]}-{span[1]}")
            if self.token and _origin(urlsplit(url)) == _origin(urlsplit(self.address)):
                request.add_unredirected_header("Authorization", f"Bearer {self.token}")
            if urlsplit(url).scheme not in {"http", "https"}:
                raise self._not_a_hub()
            response: http.client.HTTPResponse = opener.open(request, timeout=TIMEOUT_S)
            if response.status not in {301, 302, 303, 307, 308}:
                return response
            response.close()
            target = urljoin(url, response.headers.get("Location") or "")
            here, there = urlsplit(url), urlsplit(target)
            secure = here.scheme == there.scheme == "https"
            if not secure and (here.scheme, here.hostname) != (there.scheme, there.hostname):
                raise ModelNotFoundError("models.untrusted_redirect", hub=self.address)
            url = target
        raise self._not_a_hub()

    def _refused(self, error: urllib.error.HTTPError) -> ModelNotFoundError:
        """The error for a response with an error status."""
        if error.code == 403 or error.headers.get("X-Error-Code") == "GatedRepo":
            return ModelNotFoundError("models.terms_not_accepted", hub=self.address, name=self.model_id)
        if error.headers.get("X-Error-Message") == "Invalid credentials in Authorization header":
            return ModelNotFoundError("models.token_refused", hub=self.address)
        if error.code in {401, 404}:
            return ModelNotFoundError(
                "models.unknown_to_hub", hub=self.address, name=self.model_id, suggestion=self.suggestion
            )
        return ModelNotFoundError("models.hub_refused", hub=self.address, name=self.model_id, status=error.code)

    def _not_a_hub(self) -> ModelNotFoundError:
        return ModelNotFoundError("models.not_a_hub", hub=self.address)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Returns redirects to the caller, who checks where they lead."""

    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage
    ) -> Any:
        return fp

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _read_bounded(response: http.client.HTTPResponse, most_bytes: int, deadline_s: float) -> bytes:
    """At most `most_bytes` of a response. Raises TimeoutError after `deadline_s` (of `time.monotonic`)."""
    data = bytearray()
    while len(data) < most_bytes:
        chunk = response.read1(min(1 << 16, most_bytes - len(data)))
        if not chunk:
            break
        if time.monotonic() > deadline_s:
            raise TimeoutError
        data += chunk
    return bytes(data)


def _replaced(message: Message, old: str, new: str) -> Message:
    """The message with `new` for `old` in all of its texts."""

    def value(parameter: Parameter) -> Parameter:
        if isinstance(parameter, str):
            return parameter.replace(old, new)
        return _replaced(parameter, old, new) if isinstance(parameter, Message) else parameter

    return Message(message.code, **{name: value(parameter) for name, parameter in message.params.items()})


def _origin(address: SplitResult) -> tuple[str, str | None, int | None]:
    return address.scheme, address.hostname, address.port


def _size(value: object) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None
