"""Version and options of an engine's vLLM, recorded in a file: asking vLLM takes as long as its imports."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vedette.engine.vllm.versions import parse_help
from vedette.files import read_whole, write_whole

_MOST_RECORD_BYTES = 1_000_000
QUESTIONS = (("--version",), ("serve", "--help=all"))
"""Arguments for `vllm`; `parse_software` takes the outputs in this order."""


@dataclass(frozen=True)
class Software:
    """Version and options of an engine's vLLM."""

    version: str
    options: frozenset[str] | None = None
    """The options in `vllm serve --help=all`; None if not read yet."""


def parse_software(version_output: str, help_output: str) -> Software | None:
    """The software, from the outputs for `QUESTIONS`; None if they name no version."""
    version = parse_version(version_output)
    return None if version is None else Software(version, parse_help(help_output))


def parse_version(output: str) -> str | None:
    """The version in the output of `vllm --version`, which has lines of other libraries too."""
    found = re.findall(r"^(?:vllm )?v?(\d+\.\d+\S*)$", output, re.MULTILINE | re.IGNORECASE)
    return found[-1] if found else None


def read_software(path: Path) -> Software | None:
    """The recorded software; None if there is no usable record."""
    try:
        record: dict[str, Any] = json.loads(read_whole(path, _MOST_RECORD_BYTES, own=True))
        return Software(record["version"], frozenset(record["options"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def write_software(path: Path, software: Software) -> None:
    """Record the software."""
    write_whole(path, json.dumps({"version": software.version, "options": sorted(software.options or ())}))
