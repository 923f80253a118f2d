"""What an engine says of its own vLLM: asked once, kept as a file, for starting it costs its imports."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vedette.engine.vllm.versions import parse_help

QUESTIONS = (("--version",), ("serve", "--help=all"))
"""What `vllm` is asked; the answers, in this order, are for `parse_software`."""


@dataclass(frozen=True)
class Software:
    """An engine's vLLM."""

    version: str
    options: frozenset[str] | None = None
    """Those of `vllm serve --help=all`; None before it was asked."""


def parse_software(version_output: str, help_output: str) -> Software | None:
    """The answers to `QUESTIONS`; None where they name no version."""
    version = parse_version(version_output)
    return None if version is None else Software(version, parse_help(help_output))


def parse_version(output: str) -> str | None:
    """vLLM's version in what `vllm --version` prints, among the lines that other libraries print."""
    found = re.findall(r"^(?:vllm )?v?(\d+\.\d+\S*)$", output, re.MULTILINE | re.IGNORECASE)
    return found[-1] if found else None


def read_software(path: Path) -> Software | None:
    """What was kept there; None where that is nothing, or nothing that can be used."""
    try:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Software(kept["version"], frozenset(kept["options"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_software(path: Path, software: Software) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    kept = {"version": software.version, "options": sorted(software.options or ())}
    unfinished.write_text(json.dumps(kept), encoding="utf-8")
    unfinished.replace(path)
