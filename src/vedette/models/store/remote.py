"""Facts of a model that lies on a Hugging Face hub, without its weights: small files whole, tensor headers by range.

A hub is an untrusted server: every answer is bounded in bytes and in time, and a redirect leads from HTTPS to HTTPS
or stays on its host. A token goes to the hub's own origin only.
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
from vedette.models.checkpoint import MOST_JSON_BYTES, TOKENIZERS, read_model
from vedette.models.model import Model
from vedette.models.tensors import INDEX, MOST_HEADER_BYTES, Shard, Tensor, parse_header, parse_index

SMALL_FILES = (
    *("config.json", "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json"),
    *("chat_template.jinja", "chat_template.json", "tokenizer_config.json", INDEX),
)
MOST_TOKENIZER_BYTES = 16_000_000
"""A larger tokenizer is only known to be there; what is counted by its tokens is then bounded, not exact."""
FIRST_READ_BYTES = 256 * 1024
"""Holds most headers whole."""
TIMEOUT_S = 15.0
DEADLINE_S = 120.0
CONNECTIONS = 8
REDIRECTS = 5
HINT = "Try again, or fetch the whole model with `vedette up`."


def endpoint() -> str:
    """The hub's address, as its own client finds it, without anything secret that it may carry."""
    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    scheme, separator, rest = address.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def read_remote(model_id: str, path: Path) -> Model:
    """The facts of the hub's model `model_id`, whose files will lie in `path`; its weights stay on the hub.

    Raises ModelNotFoundError if no hub answers or it does not give the model, ModelCorruptError if its files cannot
    be a model's.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise ModelNotFoundError(
            f"HF_HUB_OFFLINE forbids asking a hub, so nothing is known of {model_id} before its files are here.",
            "Unset it, or name a model that is here.",
        )
    hub = _Hub(endpoint(), os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN"), model_id)
    commit, sizes = hub.list_files()
    with tempfile.TemporaryDirectory(prefix="vedette-") as mirror:
        directory = Path(mirror)
        for name in SMALL_FILES:
            if name in sizes:
                (directory / name).write_bytes(hub.read(commit, name, MOST_JSON_BYTES))
        for name in TOKENIZERS:
            if name in sizes:
                wanted = name == "tokenizer.json" and (sizes[name] or 0) <= MOST_TOKENIZER_BYTES
                wanted = wanted and "preprocessor_config.json" in sizes
                (directory / name).write_bytes(hub.read(commit, name, MOST_TOKENIZER_BYTES) if wanted else b"")
        try:
            tensors = _read_tensors(hub, commit, directory, sizes) if "config.json" in sizes else {}
            model = read_model(directory, model_id, tensors)
        except VedetteError as error:
            # A person knows the model's id, not where its files were read.
            raise type(error)(error.sentence.replace(mirror, model_id), error.hint) from None
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
            f"{hub.model_id} has no weights named {missing[0] if missing else '*.safetensors'}.", "Name another model."
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
    if not 2 <= length <= MOST_HEADER_BYTES or (size is not None and size < 8 + length):
        raise ModelCorruptError(f"{shown} is no safetensors file, or it is cut short.", HINT)
    header = start[8 : 8 + length]
    if len(header) < length:
        header += hub.read(commit, name, length - len(header), begin=len(start))
    if len(header) < length:
        raise ModelCorruptError(f"{shown} is cut short: its header ends after {len(header):,} bytes.", HINT)
    shard = parse_header(header, shown)
    if size is not None and size < shard.file_bytes:
        raise ModelCorruptError(f"{shown} is cut short: the hub has {size:,} of {shard.file_bytes:,} bytes.", HINT)
    return shard


@dataclass(frozen=True)
class _Hub:
    """One model on one hub."""

    address: str
    token: str | None
    model_id: str

    def list_files(self) -> tuple[str, dict[str, int | None]]:
        """The commit of the main branch, and the size of each of its files where the hub says it."""
        data = self._get(f"{self.address}/api/models/{quote(self.model_id)}?blobs=true", MOST_JSON_BYTES, None)
        try:
            info = json.loads(data)
            commit, siblings = info["sha"], info["siblings"]
            files = {entry["rfilename"]: entry.get("size") for entry in siblings}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise self._nonsense() from error
        if not isinstance(commit, str) or not commit.isalnum() or not all(isinstance(name, str) for name in files):
            raise self._nonsense()
        plain = {name: _size(size) for name, size in files.items() if PurePosixPath(name).name == name}
        return commit, plain

    def read(self, commit: str, name: str, most_bytes: int, begin: int | None = None) -> bytes:
        """One file whole, or, with `begin`, at most `most_bytes` of it from there.

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
                        raise self._nonsense()
                    skipped = 0
                # A server that knows no ranges sends the file from its start, of which no more is taken than this.
                data = _read_bounded(response, skipped + most_bytes + (begin is None), deadline_s)
        except urllib.error.HTTPError as error:
            raise self._refused(error) from None
        except (OSError, http.client.HTTPException) as error:
            raise ModelNotFoundError(
                f"No model hub can be reached at {self.address} ({type(error).__name__}), "
                f"so nothing is known of {self.model_id} before its files are here.",
                "Check the network, or set HF_ENDPOINT to a hub that answers.",
            ) from None
        if begin is None and len(data) > most_bytes:
            name = urlsplit(url).path.rpartition("/")[2]
            raise ModelCorruptError(f"{name} of {self.model_id} is too large to be what its name says.", HINT)
        return data[skipped:]

    def _open(self, url: str, span: tuple[int, int] | None) -> "http.client.HTTPResponse":
        """The answer at the end of a chain of redirects."""
        opener = urllib.request.build_opener(_NoRedirects)
        for _ in range(REDIRECTS):
            request = urllib.request.Request(url, headers={"User-Agent": "vedette"})  # noqa: S310 - checked below
            if span is not None:
                request.add_header("Range", f"bytes={span[0]}-{span[1]}")
            if self.token and _origin(urlsplit(url)) == _origin(urlsplit(self.address)):
                request.add_unredirected_header("Authorization", f"Bearer {self.token}")
            if urlsplit(url).scheme not in {"http", "https"}:
                raise self._nonsense()
            response: http.client.HTTPResponse = opener.open(request, timeout=TIMEOUT_S)
            if response.status not in {301, 302, 303, 307, 308}:
                return response
            response.close()
            target = urljoin(url, response.headers.get("Location") or "")
            here, there = urlsplit(url), urlsplit(target)
            secure = here.scheme == there.scheme == "https"
            if not secure and (here.scheme, here.hostname) != (there.scheme, there.hostname):
                raise ModelNotFoundError(
                    f"The hub at {self.address} sends to an address that is not trusted.", "Check HF_ENDPOINT."
                )
            url = target
        raise self._nonsense()

    def _refused(self, error: urllib.error.HTTPError) -> ModelNotFoundError:
        """The error for an answer that is no success."""
        if error.code == 403 or error.headers.get("X-Error-Code") == "GatedRepo":
            return ModelNotFoundError(
                f"{self.model_id} is only given to those who accepted its terms.",
                f"Accept them at {self.address}/{self.model_id} and set HF_TOKEN to a token of that account.",
            )
        if error.headers.get("X-Error-Message") == "Invalid credentials in Authorization header":
            return ModelNotFoundError(
                f"The hub at {self.address} does not accept your token.", "Set HF_TOKEN to a valid one, or unset it."
            )
        if error.code in {401, 404}:
            return ModelNotFoundError(
                f"The hub at {self.address} has no model {self.model_id}, or it is private.",
                "Check the name; for a private model set HF_TOKEN.",
            )
        return ModelNotFoundError(
            f"The hub at {self.address} does not give {self.model_id}: it answered with status {error.code}.",
            "Try again later.",
        )

    def _nonsense(self) -> ModelNotFoundError:
        return ModelNotFoundError(f"What answers at {self.address} is no model hub.", "Check HF_ENDPOINT, or unset it.")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Hands redirects to the caller, who checks where they lead."""

    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage
    ) -> Any:
        return fp

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _read_bounded(response: http.client.HTTPResponse, most_bytes: int, deadline_s: float) -> bytes:
    """At most `most_bytes` of an answer, however slowly or long it comes."""
    data = bytearray()
    while len(data) < most_bytes:
        chunk = response.read1(min(1 << 16, most_bytes - len(data)))
        if not chunk:
            break
        if time.monotonic() > deadline_s:
            raise TimeoutError
        data += chunk
    return bytes(data)


def _origin(address: SplitResult) -> tuple[str, str | None, int | None]:
    return address.scheme, address.hostname, address.port


def _size(value: object) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None
