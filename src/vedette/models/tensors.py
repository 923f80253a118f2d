"""Reads the sizes of a model's tensors from the headers of its safetensors files.

Format: 8 bytes of little-endian header length, a JSON header of name -> {dtype, shape, data_offsets}, the data
(https://huggingface.co/docs/safetensors). Headers are hostile input: all values have limits and are cross-checked.
"""

import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from vedette.errors import ModelCorruptError
from vedette.files import NotRegularError, list_directory, open_regular
from vedette.models.model_files import MAX_ENTRIES, parse_json, read_model_file

INDEX = "model.safetensors.index.json"
MAX_HEADER_BYTES = 100_000_000
"""The format's own limit (safetensors, `MAX_HEADER_SIZE`)."""
MAX_INDEX_BYTES = 64_000_000
MAX_SHARDS = 2_000
MAX_TENSORS = 500_000
"""Published models have up to 300,000; each takes half a kilobyte of memory."""
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip
PLAIN_FLOATS = {"F16", "BF16", "F32", "F64"}
Size = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]


class Tensor(msgspec.Struct, frozen=True):
    """One entry of a header."""

    dtype: str
    shape: Annotated[tuple[Size, ...], msgspec.Meta(max_length=8)]
    data_offsets: tuple[Size, Size]

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Shard:
    """One safetensors file: its tensors by name, and the size that the file must have."""

    tensors: dict[str, Tensor]
    file_bytes: int


def read_tensors(directory: Path) -> dict[str, Tensor]:
    """Every tensor of the model in `directory`, by name.

    Raises ModelCorruptError if there are no safetensors files, or if one of them is missing, cut short or damaged.
    """
    tensors: dict[str, Tensor] = {}
    for path in _shards(directory):
        add_tensors(tensors, _read_shard(path), directory)
    if not tensors:
        raise ModelCorruptError("models.no_tensors", path=str(directory))
    return tensors


def add_tensors(tensors: dict[str, Tensor], shard: Shard, model: Path) -> None:
    """Adds a file's tensors to those of the model. Raises ModelCorruptError for more than MAX_TENSORS."""
    tensors.update(shard.tensors)
    if len(tensors) > MAX_TENSORS:
        raise ModelCorruptError("models.too_many_tensors", path=str(model), most=MAX_TENSORS)


def _shards(directory: Path) -> list[Path]:
    index = directory / INDEX
    if not index.exists():
        paths = [path for path in list_directory(directory, MAX_ENTRIES) if path.suffix == ".safetensors"]
        # Some repositories hold the same weights a second time, in their author's own format.
        paths = [path for path in paths if not path.name.startswith("consolidated")] or paths
        if not paths:
            raise ModelCorruptError("models.no_weights", path=str(directory))
        return paths
    names = parse_index(read_model_file(index, MAX_INDEX_BYTES), index)
    missing = [name for name in names if not (directory / name).is_file()]
    if missing:
        if len(missing) > 1:
            raise ModelCorruptError(
                "models.weights_files_missing", path=str(directory), file=missing[0], others=len(missing) - 1
            )
        raise ModelCorruptError("models.weights_file_missing", path=str(directory), file=missing[0])
    return [directory / name for name in names]


def parse_index(data: bytes, path: Path) -> list[str]:
    """The shard files that model.safetensors.index.json names, each once. path: for error messages."""
    try:
        weight_map = parse_json(data, path)["weight_map"]
        names = sorted(set(weight_map.values()))
        plain = all(isinstance(name, str) and name == Path(name).name and name not in {"", ".."} for name in names)
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelCorruptError("models.not_an_index", path=str(path)) from error
    if not names or not plain or len(names) > MAX_SHARDS:
        raise ModelCorruptError("models.index_names_wrong", path=str(path))
    return names


def _read_shard(path: Path) -> Shard:
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            prefix = file.read(8)
            length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
            if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
                raise ModelCorruptError("models.not_safetensors", path=str(path))
            header = file.read(length)
    except NotRegularError as error:
        raise ModelCorruptError("models.not_a_regular_file", path=str(path)) from error
    except OSError as error:
        raise ModelCorruptError("models.file_unreadable", path=str(path), reason=error.strerror) from error
    shard = parse_header(header, path)
    check_size(shard, size, path)
    return shard


def check_size(shard: Shard, size_bytes: int, path: Path) -> None:
    """Raises ModelCorruptError unless the file is exactly as large as its header says, as vLLM's reader wants it."""
    if size_bytes < shard.file_bytes:
        raise ModelCorruptError(
            "models.weights_cut_short", path=str(path), here_bytes=size_bytes, whole_bytes=shard.file_bytes
        )
    if size_bytes > shard.file_bytes:
        raise ModelCorruptError(
            "models.weights_too_long", path=str(path), here_bytes=size_bytes, whole_bytes=shard.file_bytes
        )


def parse_header(header: bytes, path: Path) -> Shard:
    """The tensors that a safetensors header describes. path: for error messages.

    As vLLM's reader wants it, the tensors fill the data: none overlaps another, and nothing lies between them
    (safetensors 0.8, `Metadata::validate`). So a name that stands twice is found too: one of its places is empty.
    """
    if header.count(b'"data_offsets"') > MAX_TENSORS:
        raise ModelCorruptError("models.too_many_tensors", path=str(path), most=MAX_TENSORS)
    try:
        entries = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        entries.pop("__metadata__", None)
        tensors = {name: msgspec.json.decode(entry, type=Tensor) for name, entry in entries.items()}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelCorruptError("models.header_damaged", path=str(path)) from error
    for name, tensor in tensors.items():
        begin, end = tensor.data_offsets
        bits = BITS.get(tensor.dtype)
        if begin > end or (bits is not None and (end - begin) * 8 != tensor.elements * bits):
            raise ModelCorruptError("models.tensor_size_wrong", path=str(path), tensor=name[:80])
    data_bytes = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].data_offsets):
        if tensor.data_offsets[0] != data_bytes:
            raise ModelCorruptError("models.tensor_misplaced", path=str(path), tensor=name[:80])
        data_bytes = tensor.data_offsets[1]
    return Shard(tensors=tensors, file_bytes=8 + len(header) + data_bytes)


def resident_bytes(tensor: Tensor, dtype_bytes: int) -> int:
    """Bytes of a loaded tensor: plain floats are converted to the model's type, all others stay as stored."""
    if tensor.dtype in PLAIN_FLOATS:
        return tensor.elements * dtype_bytes
    begin, end = tensor.data_offsets
    return end - begin
