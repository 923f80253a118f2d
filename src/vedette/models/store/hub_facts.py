"""Reads the facts of a model on a Hugging Face hub without its weights: small files, and the headers of tensors.

A hub is an untrusted server: every response is limited in bytes and in time.
"""

import http.client
import json
import struct
import tempfile
import time
import urllib.error
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from vedette.errors import ModelCorruptError, ModelNotFoundError, VedetteError
from vedette.files import read_whole, write_whole
from vedette.language.message import Message, Parameter
from vedette.models.checkpoint import read_model
from vedette.models.model import Model
from vedette.models.model_files import MAX_CONFIG_BYTES, MAX_TOKENIZER_BYTES, TOKENIZERS
from vedette.models.store.hub_connection import (
    HubConnection,
    NotAHubError,
    UntrustedRedirectError,
    hub_connection,
    hub_is_forbidden,
)
from vedette.models.tensors import (
    INDEX,
    MAX_HEADER_BYTES,
    MAX_INDEX_BYTES,
    Shard,
    Tensor,
    add_tensors,
    check_size,
    parse_header,
    parse_index,
)

SMALL_FILES = (
    *("config.json", "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json"),
    *("chat_template.jinja", "chat_template.json", "tokenizer_config.json", INDEX),
)
MAX_SEARCHED_BYTES = 16_000_000
"""A larger tokenizer is not read; numbers that depend on its tokens are then upper bounds, not exact."""
MAX_LISTING_BYTES = 32_000_000
FIRST_READ_BYTES = 256 * 1024
"""Most headers are not longer."""
DEADLINE_S = 120.0
CONNECTIONS = 8


def read_hub_model(model_id: str, path: Path, suggestion: Message | None = None) -> Model:
    """The facts of the hub's model `model_id`, whose files will lie in `path`.

    suggestion: for the error if the hub does not have the model or does not answer. Raises ModelNotFoundError if no hub
    answers or the hub refuses, ModelCorruptError if the files are not a model's.
    """
    if hub_is_forbidden():
        raise ModelNotFoundError("models.hub_forbidden", name=model_id)
    hub = _Hub(hub_connection(), model_id, suggestion)
    commit, sizes = hub.list_files()
    with tempfile.TemporaryDirectory(prefix="vedette-") as mirror:
        directory = Path(mirror)
        for name in SMALL_FILES:
            if name in sizes:
                write_whole(directory / name, hub.read(commit, name, _most_bytes(name)))
        for name in TOKENIZERS:
            if name in sizes:
                wanted = name == "tokenizer.json" and (sizes[name] or 0) <= MAX_SEARCHED_BYTES
                wanted = wanted and "preprocessor_config.json" in sizes
                write_whole(directory / name, hub.read(commit, name, MAX_SEARCHED_BYTES) if wanted else b"")
        try:
            tensors = _read_tensors(hub, commit, directory, sizes) if "config.json" in sizes else {}
            model = read_model(directory, model_id, tensors)
        except VedetteError as error:
            # A person knows the model's ID, not the temporary directory of its files.
            message = _replaced(error.message, mirror, model_id)
            raise type(error)(message.code, **message.params) from None
    return replace(model, path=path, tokenizer_bytes=sizes.get("tokenizer.json"))


def _most_bytes(name: str) -> int:
    """The limit for one of SMALL_FILES; the tokenizer's settings may list all of its tokens."""
    return {INDEX: MAX_INDEX_BYTES, "tokenizer_config.json": MAX_TOKENIZER_BYTES}.get(name, MAX_CONFIG_BYTES)


def _read_tensors(hub: "_Hub", commit: str, directory: Path, sizes: dict[str, int | None]) -> dict[str, Tensor]:
    """Every tensor of the model by name, from the headers of its weights files."""
    index = directory / INDEX
    if index.exists():
        names = parse_index(read_whole(index, MAX_INDEX_BYTES), index)
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
            add_tensors(tensors, shard, Path(hub.model_id))
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
    if size is not None:
        check_size(shard, size, shown)
    return shard


@dataclass(frozen=True)
class _Hub:
    """One model on one hub."""

    connection: HubConnection
    model_id: str
    suggestion: Message | None = None

    def list_files(self) -> tuple[str, dict[str, int | None]]:
        """The commit of the main branch, and the size of each of its files (None if the hub does not say it)."""
        data = self._get(lambda: self.connection.listing(self.model_id), MAX_LISTING_BYTES, None)
        if len(data) > MAX_LISTING_BYTES:
            raise self._too_large(self.model_id)
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
        end = None if begin is None else begin + most_bytes
        data = self._get(lambda: self.connection.file(self.model_id, commit, name, begin, end), most_bytes, begin)
        if begin is None and len(data) > most_bytes:
            raise self._too_large(f"{self.model_id}/{name}")
        return data

    def _get(self, send: Callable[[], http.client.HTTPResponse], most_bytes: int, begin: int | None) -> bytes:
        """At most `most_bytes` of a response from `begin` on; one byte more of a whole file that is larger."""
        deadline_s = time.monotonic() + DEADLINE_S
        try:
            with send() as response:
                skipped = begin or 0
                if begin is not None and response.status == http.client.PARTIAL_CONTENT:
                    if not (response.headers.get("Content-Range") or "").startswith(f"bytes {begin}-"):
                        raise self._not_a_hub()
                    skipped = 0
                # A server without ranges sends the file from its start: read no more than the wanted range.
                return _read_bounded(response, skipped + most_bytes + (begin is None), deadline_s)[skipped:]
        except urllib.error.HTTPError as error:
            raise self._refused(error) from None
        except UntrustedRedirectError:
            raise ModelNotFoundError("models.untrusted_redirect", hub=self.connection.address) from None
        except NotAHubError:
            raise self._not_a_hub() from None
        except (OSError, http.client.HTTPException) as error:
            raise ModelNotFoundError(
                "models.no_hub",
                hub=self.connection.address,
                name=self.model_id,
                error=type(error).__name__,
                suggestion=self.suggestion,
            ) from None

    def _too_large(self, path: str) -> ModelCorruptError:
        return ModelCorruptError("models.file_too_large", path=path)

    def _refused(self, error: urllib.error.HTTPError) -> ModelNotFoundError:
        """The error for a response with an error status."""
        hub = self.connection.address
        if error.code == 403 or error.headers.get("X-Error-Code") == "GatedRepo":
            return ModelNotFoundError("models.terms_not_accepted", hub=hub, name=self.model_id)
        if error.headers.get("X-Error-Message") == "Invalid credentials in Authorization header":
            return ModelNotFoundError("models.token_refused", hub=hub)
        if error.code in {401, 404}:
            return ModelNotFoundError("models.unknown_to_hub", hub=hub, name=self.model_id, suggestion=self.suggestion)
        return ModelNotFoundError("models.hub_refused", hub=hub, name=self.model_id, status=error.code)

    def _not_a_hub(self) -> ModelNotFoundError:
        return ModelNotFoundError("models.not_a_hub", hub=self.connection.address)


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


def _size(value: object) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None
