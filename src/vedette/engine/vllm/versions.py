"""What each version of vLLM knows: its options, their values, its environment variables.

versions.toml has every release since 0.11; bench/lab/flags/read_flags.py writes it from vLLM's own sources.
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
    """Each option, value or variable, and the ranges of versions that know it: `>=0.11.0,<0.15.0`."""
    architectures: dict[str, tuple[str, ...]]
    """The same for architectures of models that generate text."""


@dataclass(frozen=True)
class Dialect:
    """What one engine understands.

    A version after the newest in the table is assumed to know what the newest knows.
    """

    version: Version
    options: frozenset[str] | None = None
    """The options in this engine's own help, which may lack some of its version's; None if not read."""

    def knows(self, name: str) -> bool:
        """Whether the engine understands `--option`, `--option value`, `--option.key` or `VARIABLE`."""
        option = re.split(r"[ .]", name)[0]
        if self.options is not None and option.startswith("--") and option not in self.options:
            return False
        return any(_within(self.version, span) for span in _table().known.get(name, ()))

    def values_of(self, option: str) -> frozenset[str]:
        """The values of an option that the engine understands, as far as the table has any."""
        named = (name for name in _table().known if name.startswith(f"{option} "))
        return frozenset(name.removeprefix(f"{option} ") for name in named if self.knows(name))

    def later_architectures(self) -> dict[str, str]:
        """The architectures that only newer versions have a class for, with the first version of each."""
        first = {name: spans[0].partition(",")[0].lstrip("<>=") for name, spans in _table().architectures.items()}
        return {name: version for name, version in first.items() if _parse(version) > self.version}

    def __str__(self) -> str:
        return "vLLM " + ".".join(map(str, self.version))


def dialect_of(version: str, options: frozenset[str] | None = None) -> Dialect:
    """The dialect of a version in vLLM's own spelling: `0.32.0`, `0.11.2.dev3+g1234`, `0.15.1+nv26.02`.

    Raises EngineVersionError for a text that is no version, and for a version older than the table.
    """
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version.strip())
    table = _table()
    if not found:
        raise EngineVersionError("engine.invalid_version", version=version, oldest=table.oldest, newest=table.newest)
    parsed = (int(found[1]), int(found[2]), int(found[3] or 0))
    if parsed < _parse(table.oldest):
        raise EngineVersionError("engine.old_version", version=version, oldest=table.oldest, newest=table.newest)
    return Dialect(parsed, options)


def parse_help(text: str) -> frozenset[str]:
    """The options in the output of `vllm serve --help=all`."""
    return frozenset(re.findall(r"(?<![\w-])--[a-z][\w-]*", text))


def _within(version: Version, span: str) -> bool:
    first, _, end = span.partition(",")
    return version >= _parse(first) and (not end or version < _parse(end))


def _parse(text: str) -> Version:
    major, minor, patch = (int(part) for part in text.lstrip("<>=").split("."))
    return major, minor, patch


@cache
def _table() -> _Table:
    text = resources.files("vedette.engine.vllm").joinpath("versions.toml").read_bytes()
    return msgspec.toml.decode(text, type=_Table)
