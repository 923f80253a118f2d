"""Reads the facts of a model at a source without its weights: small files, and the headers of tensors.

A source is an untrusted server: every response is limited in bytes and in time.
"""

import struct
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from vedette.errors import ModelCorruptError, ModelNotFoundError, VedetteError
from vedette.files import read_whole, write_whole
from vedette.language.message import Message, Parameter
from vedette.models.checkpoint import read_model
from vedette.models.forms.directory_kinds import other_kind
from vedette.models.forms.own_code import MAX_CODE_BYTES, MAX_CODE_FILES, named_code
from vedette.models.model import Model
from vedette.models.model_files import MAX_CONFIG_BYTES, MAX_TOKENIZER_BYTES, TOKENIZERS, read_object
from vedette.models.quantization import SIDE_FILE
from vedette.models.store.fetching.hub_connection import hub_is_forbidden
from vedette.models.store.fetching.model_source import ModelSource, RemoteFile, SourceError, flat
from vedette.models.store.fetching.origin import Kind, Origin
from vedette.models.store.fetching.source_choice import reading_source_of
from vedette.models.store.fetching.web_access import read_bounded
from vedette.models.store.source_errors import error_of
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
    *("chat_template.jinja", "chat_template.json", "tokenizer_config.json", INDEX, SIDE_FILE),
)
MAX_SEARCHED_BYTES = 16_000_000
"""A larger tokenizer is not read; numbers that depend on its tokens are then upper bounds, not exact."""
FIRST_READ_BYTES = 256 * 1024
"""Most headers are not longer."""
CONNECTIONS = 8


def read_remote_model(origin: Origin, path: Path, keys: Path, suggestion: Message | None = None) -> Model:
    """The facts of a source's model, whose files will lie in `path`.

    keys: the directory of vedette's own keys. suggestion: for the error if the source does not have the model or does
    not answer. Raises ModelNotFoundError if no source answers or it refuses, ModelCorruptError if the files are not a
    model's.
    """
    name = origin.name
    if origin.kind is Kind.HUGGING_FACE and hub_is_forbidden():
        raise ModelNotFoundError("models.hub_forbidden", name=name)
    with tempfile.TemporaryDirectory(prefix="vedette-") as mirror:
        try:
            source = reading_source_of(origin, keys)
            remote = _Remote(source, name, {file.name: file for file in flat(source.list_files().files)})
            model = _read(remote, Path(mirror))
        except SourceError as error:
            raise error_of(error, origin, suggestion) from None
        except VedetteError as error:
            # A person knows the model's name, not the temporary directory of its files.
            message = _replaced(error.message, mirror, name)
            raise type(error)(message.code, **message.params) from None
    return replace(model, path=path, tokenizer_bytes=remote.size("tokenizer.json"))


def _read(remote: "_Remote", directory: Path) -> Model:
    for name in SMALL_FILES:
        if name in remote.files:
            write_whole(directory / name, remote.read(name, _most_bytes(name)))
    for name in TOKENIZERS:
        if name in remote.files:
            wanted = name == "tokenizer.json" and (remote.size(name) or 0) <= MAX_SEARCHED_BYTES
            wanted = wanted and "preprocessor_config.json" in remote.files
            write_whole(directory / name, remote.read(name, MAX_SEARCHED_BYTES) if wanted else b"")
    config = read_object(directory / "config.json")
    if (other := other_kind(remote.files, config, remote.name)) is not None:
        raise other
    if config is not None and named_code(config):
        for name in [name for name in remote.files if name.endswith(".py")][:MAX_CODE_FILES]:
            write_whole(directory / name, remote.read(name, MAX_CODE_BYTES))
    tensors = _read_tensors(remote, directory) if "config.json" in remote.files else {}
    return read_model(directory, remote.name, tensors)


def _most_bytes(name: str) -> int:
    """The limit for one of SMALL_FILES; the tokenizer's settings may list all of its tokens."""
    return {INDEX: MAX_INDEX_BYTES, "tokenizer_config.json": MAX_TOKENIZER_BYTES}.get(name, MAX_CONFIG_BYTES)


def _read_tensors(remote: "_Remote", directory: Path) -> dict[str, Tensor]:
    """Every tensor of the model by name, from the headers of its weights files."""
    index = directory / INDEX
    if index.exists():
        names = parse_index(read_whole(index, MAX_INDEX_BYTES), index)
    else:
        names = sorted(name for name in remote.files if name.endswith(".safetensors"))
        names = [name for name in names if not name.startswith("consolidated")] or names
    missing = [name for name in names if name not in remote.files]
    if missing or not names:
        raise ModelCorruptError(
            "models.hub_without_weights", name=remote.name, file=missing[0] if missing else "*.safetensors"
        )
    tensors: dict[str, Tensor] = {}
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for shard in pool.map(lambda name: _read_shard(remote, name), names):
            add_tensors(tensors, shard, Path(remote.name))
    return tensors


def _read_shard(remote: "_Remote", name: str) -> Shard:
    shown, size = Path(remote.name) / name, remote.size(name)
    start = remote.read_part(name, 0, FIRST_READ_BYTES)
    length = struct.unpack("<Q", start[:8])[0] if len(start) >= 8 else 0
    if not 2 <= length <= MAX_HEADER_BYTES or (size is not None and size < 8 + length):
        raise ModelCorruptError("models.not_safetensors", path=str(shown))
    header = start[8 : 8 + length]
    if len(header) < length:
        header += remote.read_part(name, len(start), length - len(header))
    if len(header) < length:
        raise ModelCorruptError("models.header_cut_short", path=str(shown), header_bytes=len(header))
    shard = parse_header(header, shown)
    if size is not None:
        check_size(shard, size, shown)
    return shard


@dataclass(frozen=True)
class _Remote:
    """One model at its source, and its files by name."""

    source: ModelSource
    name: str
    files: dict[str, RemoteFile]

    def size(self, name: str) -> int | None:
        return self.files[name].size_bytes if name in self.files else None

    def read(self, name: str, most_bytes: int) -> bytes:
        """A whole file. Raises ModelCorruptError if it is larger than `most_bytes`."""
        with self.source.stream(self.files[name], 0) as chunks:
            data = read_bounded(chunks, most_bytes + 1)
        if len(data) > most_bytes:
            raise ModelCorruptError("models.file_too_large", path=f"{self.name}/{name}")
        return data

    def read_part(self, name: str, begin: int, most_bytes: int) -> bytes:
        """At most `most_bytes` of a file from `begin` on."""
        with self.source.stream(self.files[name], begin, begin + most_bytes) as chunks:
            return read_bounded(chunks, most_bytes)


def _replaced(message: Message, old: str, new: str) -> Message:
    """The message with `new` for `old` in all of its texts."""

    def value(parameter: Parameter) -> Parameter:
        if isinstance(parameter, str):
            return parameter.replace(old, new)
        return _replaced(parameter, old, new) if isinstance(parameter, Message) else parameter

    return Message(message.code, **{name: value(parameter) for name, parameter in message.params.items()})
