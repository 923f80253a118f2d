"""What one version of vLLM understands: its options, their values, its environment variables.

versions.toml says it of every release since 0.11; bench/lab/flags/read_flags.py writes it from vLLM's own sources.
"""

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

import msgspec

from vedette.errors import EngineVersionError

Version = tuple[int, int, int]
"""Minor releases change vLLM's options; patch releases have done so too (0.11.0 to 0.11.1)."""


class _Table(msgspec.Struct, frozen=True):
    oldest: str
    newest: str
    known: dict[str, tuple[str, ...]]
    """A thing to say, and the runs of versions that know it: `>=0.11.0,<0.15.0`."""


@dataclass(frozen=True)
class Dialect:
    """How to speak to one engine.

    A later version than the newest read is taken to know what that one knew.
    """

    version: Version
    options: frozenset[str] | None = None
    """The options that this very engine's `vllm serve --help=all` shows, which may lack some of its version's."""

    def knows(self, name: str) -> bool:
        """Whether the engine understands `--option`, `--option value`, `--option.key` or `VARIABLE`."""
        option = re.split(r"[ .]", name)[0]
        if self.options is not None and option.startswith("--") and option not in self.options:
            return False
        return any(_within(self.version, span) for span in _table().known.get(name, ()))

    def __str__(self) -> str:
        return "vLLM " + ".".join(map(str, self.version))


def dialect_of(version: str, options: frozenset[str] | None = None) -> Dialect:
    """The dialect of vLLM's `version` as it calls itself: `0.32.0`, `0.11.2.dev3+g1234`, `0.15.1+nv26.02`.

    Raises EngineVersionError for what is no version, and for one older than the table.
    """
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version.strip())
    table = _table()
    if not found:
        raise EngineVersionError(
            f"{version!r} is not a version of vLLM.", f"Name one from {table.oldest} to {table.newest}."
        )
    parsed = (int(found[1]), int(found[2]), int(found[3] or 0))
    if parsed < _parse(table.oldest):
        raise EngineVersionError(
            f"vLLM {version} is older than vedette knows how to speak to.",
            f"Use an engine or image with vLLM {table.oldest} to {table.newest}.",
        )
    return Dialect(parsed, options)


def parse_help(text: str) -> frozenset[str]:
    """The options that the output of `vllm serve --help=all` names."""
    return frozenset(re.findall(r"(?<![\w-])--[a-z][\w-]*", text))


def _within(version: Version, span: str) -> bool:
    first, _, gone = span.partition(",")
    return version >= _parse(first) and (not gone or version < _parse(gone))


def _parse(text: str) -> Version:
    major, minor, patch = (int(part) for part in text.lstrip("<>=").split("."))
    return major, minor, patch


@cache
def _table() -> _Table:
    text = resources.files("vedette.engine.vllm").joinpath("versions.toml").read_bytes()
    return msgspec.toml.decode(text, type=_Table)
