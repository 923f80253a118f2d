"""A model at a plain address: a directory on any web server with config.json, weights and tokenizer files.

Such a server lists nothing: the names that models use are asked for. A file SHA256SUMS, as sha256sum writes it, gives
the hashes; without it a file's size and, for the weights, its header are checked.
"""

import contextlib
import http.client
import re
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from vedette.errors import ModelCorruptError
from vedette.models.store.fetching.model_source import Listing, RemoteFile, SourceError, Trouble
from vedette.models.store.fetching.web_access import StatusError, WebAccess, body_of, read_answer, web_troubles
from vedette.models.tensors import INDEX, MAX_INDEX_BYTES, parse_index

SUMS = "SHA256SUMS"
MAX_SUMS_BYTES = 1_000_000
WEIGHTS = "model.safetensors"
NAMES = (
    *("config.json", "generation_config.json", "hf_quant_config.json", "chat_template.jinja", "chat_template.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json"),
    *("merges.txt", "tokenizer.model", "preprocessor_config.json", "processor_config.json"),
    *("video_preprocessor_config.json", INDEX, WEIGHTS),
)
CONNECTIONS = 4


@dataclass(frozen=True)
class WebSource:
    """One model below one address."""

    address: str

    def list_files(self) -> Listing:
        sums = self._sums()
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            found = [each for each in pool.map(self._describe, NAMES) if each is not None]
            if any(file.name == INDEX for file in found):
                parts = list(pool.map(self._describe, self._parts()))
                found = [file for file in found if file.name != WEIGHTS]
                if None in parts:
                    raise SourceError(Trouble.NO_MODEL)
                found += [file for file in parts if file is not None]
        files = tuple(
            RemoteFile(file.name, file.size_bytes, sums.get(file.name), version=file.version) for file in found
        )
        return Listing("", files)

    @contextlib.contextmanager
    def stream(self, file: RemoteFile, begin: int, end: int | None = None) -> Iterator[Iterator[bytes]]:
        whole = begin == 0 and end is None
        with web_troubles():
            response = self._open(file.name, None if whole else begin, end)
        with body_of(response, begin) as chunks:
            if file.version is not None and response.headers.get("ETag") != file.version:
                raise SourceError(Trouble.CORRUPT, file.name)  # another version than the one that was listed
            yield chunks

    def _describe(self, name: str) -> RemoteFile | None:
        """Size and entity tag of a file; None if the server does not have it."""
        with web_troubles():
            try:
                response = self._open(name, 0, 1)
            except StatusError as error:
                if error.status in {404, 410} and name != NAMES[0]:
                    return None
                if error.status == 416:  # an empty file has no first byte
                    return RemoteFile(name, 0)
                raise
        with response:
            total = (response.headers.get("Content-Range") or "").rpartition("/")[2]
            size = total if response.status == 206 else response.headers.get("Content-Length") or ""
            if not re.fullmatch("[0-9]{1,18}", size):
                raise SourceError(Trouble.ODD_ANSWER, name)
            return RemoteFile(name, int(size), version=response.headers.get("ETag"))

    def _sums(self) -> dict[str, str]:
        """The hashes by file name, as the server's SHA256SUMS has them; none without one."""
        try:
            return parse_sums(self._read(SUMS, MAX_SUMS_BYTES).decode(errors="replace"))
        except SourceError as error:
            if error.trouble in {Trouble.NOT_FOUND, Trouble.REFUSED}:
                return {}
            raise

    def _parts(self) -> list[str]:
        try:
            return parse_index(self._read(INDEX, MAX_INDEX_BYTES), Path(INDEX))
        except ModelCorruptError:
            raise SourceError(Trouble.UNUSABLE, INDEX) from None

    def _read(self, name: str, most_bytes: int) -> bytes:
        with web_troubles():
            response = self._open(name)
        return read_answer(response, most_bytes)

    def _open(self, name: str, begin: int | None = None, end: int | None = None) -> http.client.HTTPResponse:
        return WebAccess(self.address).open(f"{self.address}/{urllib.parse.quote(name)}", begin, end)


def parse_sums(text: str) -> dict[str, str]:
    """The lines of sha256sum: a hash, a space, a space or an asterisk, a name."""
    found = re.findall(r"^([0-9a-f]{64}) [ *](?:\./)?(.+)$", text, re.MULTILINE)
    return {name: digest for digest, name in found}
