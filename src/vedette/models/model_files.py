"""Reads the files of a model directory, all of which are hostile input: of any kind, size and content."""

import json
import stat
from pathlib import Path
from typing import Any

import msgspec

from vedette.errors import ModelCorruptError
from vedette.files import NotRegularError, TooLargeFileError, list_directory, read_whole

MAX_CONFIG_BYTES = 8_000_000
"""The largest published ones have 2 MB. In memory JSON can take 20 times its size."""
MAX_ENTRIES = 20_000
"""Entries of a model directory; the largest published models have some hundred."""
MAX_TOKENIZER_BYTES = 128_000_000
"""The largest published tokenizer has 34 MB."""
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json", "tiktoken.model")
"""Files that hold a tokenizer; without any of them the engine crashes half a minute after its start."""
MAX_ADDED_TOKENS = 150_000
"""Each takes vLLM half a millisecond of every start (transformers adds them one by one, several times)."""
_ADDED_TOKEN_BYTES = 80
"""The shortest that tokenizer.json can say of one."""
_READ_BY_THE_ENGINE = {
    *TOKENIZERS,
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt", "generation_config.json"),
}


class _Template(msgspec.Struct):
    """The only value that is wanted of a file that may have millions of others."""

    chat_template: msgspec.Raw = msgspec.Raw(b"null")


def check_directory(directory: Path) -> list[str]:
    """The names in a directory. Refuses one with files that would stop or fill the engine, which opens them by name.

    Raises ModelCorruptError for a FIFO, a device or a socket, for too many files, and for a tokenizer without end.
    """
    try:
        paths = list_directory(directory, MAX_ENTRIES)
    except TooLargeFileError as error:
        raise ModelCorruptError("models.too_many_files", path=str(directory), most=MAX_ENTRIES) from error
    except OSError as error:
        raise ModelCorruptError("models.file_unreadable", path=str(directory), reason=error.strerror) from error
    for path in paths:
        try:
            found = path.stat()
        except FileNotFoundError:
            continue  # a link to nowhere: the reader of the file reports that it is missing
        except OSError as error:
            raise ModelCorruptError("models.file_unreadable", path=str(path), reason=error.strerror) from error
        if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
            raise ModelCorruptError("models.not_a_regular_file", path=str(path))
        if path.name in _READ_BY_THE_ENGINE and found.st_size > MAX_TOKENIZER_BYTES:
            raise ModelCorruptError("models.file_too_large", path=str(path))
    return [path.name for path in paths]


def read_model_file(path: Path, most_bytes: int) -> bytes:
    """The content of one of a model's files. Raises FileNotFoundError, and ModelCorruptError."""
    try:
        return read_whole(path, most_bytes)
    except FileNotFoundError:
        raise
    except NotRegularError as error:
        raise ModelCorruptError("models.not_a_regular_file", path=str(path)) from error
    except TooLargeFileError as error:
        raise ModelCorruptError("models.file_too_large", path=str(path)) from error
    except OSError as error:
        raise ModelCorruptError("models.file_unreadable", path=str(path), reason=error.strerror) from error


def read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None if there is no such file. Raises ModelCorruptError."""
    try:
        value = parse_json(read_model_file(path, MAX_CONFIG_BYTES), path)
    except FileNotFoundError:
        return None
    if not isinstance(value, dict):
        raise ModelCorruptError("models.no_json_object", path=str(path))
    return value


def read_tokenizer(directory: Path, most_bytes: int) -> bytes:
    """The text of tokenizer.json; empty if there is none or it is too large to search."""
    path = directory / "tokenizer.json"
    try:
        return read_model_file(path, most_bytes) if path.stat().st_size <= most_bytes else b""
    except OSError:
        return b""


def check_added_tokens(directory: Path) -> None:
    """Refuses a tokenizer with more added tokens than an engine starts with in time. Raises ModelCorruptError."""
    path = directory / "tokenizer.json"
    try:
        if path.stat().st_size < MAX_ADDED_TOKENS * _ADDED_TOKEN_BYTES:
            return
        added = read_model_file(path, MAX_TOKENIZER_BYTES).count(b'"single_word"')
    except FileNotFoundError:
        return
    if added > MAX_ADDED_TOKENS:
        raise ModelCorruptError("models.too_many_added_tokens", path=str(path), added=added, most=MAX_ADDED_TOKENS)


def read_chat_template(directory: Path) -> str:
    """The chat template's text, from any file that may hold it; empty if there is none. Raises ModelCorruptError."""
    try:
        return read_model_file(directory / "chat_template.jinja", MAX_CONFIG_BYTES).decode(errors="replace")
    except FileNotFoundError:
        pass
    for name in ("chat_template.json", "tokenizer_config.json"):
        path = directory / name
        try:
            found = msgspec.json.decode(read_model_file(path, MAX_TOKENIZER_BYTES), type=_Template)
        except FileNotFoundError:
            continue
        except msgspec.ValidationError as error:
            raise ModelCorruptError("models.no_json_object", path=str(path)) from error
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ModelCorruptError("models.not_json", path=str(path)) from error
        template = parse_json(bytes(found.chat_template), path)
        if template:
            return json.dumps(template)
    return ""


def parse_json(data: bytes, path: Path) -> Any:
    """The value. path: for error messages.

    Raises ModelCorruptError, also for an object with two values of one name: its readers might not choose the same one.
    """
    try:
        return json.loads(data, object_pairs_hook=_without_contradiction)
    except _ContradictionError as error:
        raise ModelCorruptError("models.value_twice", path=str(path), name=error.name[:80]) from error
    except (ValueError, RecursionError) as error:
        raise ModelCorruptError("models.not_json", path=str(path)) from error


class _ContradictionError(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def _without_contradiction(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        for name, value in pairs:
            if values[name] != value:
                raise _ContradictionError(name)
    return values
