"""Where vedette keeps its files."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vedette.errors import ConfigError


@dataclass(frozen=True)
class Home:
    """Where vedette keeps its things: `data` is large and worth keeping, `state` is of this run, `cache` can go."""

    data: Path
    state: Path
    cache: Path

    @property
    def engines(self) -> Path:
        return self.data / "engines"

    @property
    def models(self) -> Path:
        return self.data / "models"

    @property
    def workplace(self) -> Path:
        """Directory that this home's engines, and the programs that prepare them, run in or below."""
        return self.state / "engine"

    @property
    def engine_log(self) -> Path:
        return self.state / "engine.log"

    @property
    def server_log(self) -> Path:
        return self.state / "server.log"

    def slot(self, number: int = 1) -> "Slot":
        """The place of the home's first, second, … engine."""
        log = self.engine_log
        return Slot(self.workplace / str(number), log if number == 1 else log.with_stem(f"{log.stem}-{number}"))


@dataclass(frozen=True)
class Slot:
    """Where one of a home's engines runs, and where its log is written."""

    workplace: Path
    log: Path


def read_home(environment: Mapping[str, str] = os.environ) -> Home:
    """`VEDETTE_HOME` holds everything when set; else the XDG base directories do.

    Raises ConfigError when it cannot be made or written.
    """
    try:
        home = home_paths(environment)
    except RuntimeError as error:
        raise ConfigError(
            f"There is no home directory to keep vedette's files in ({error}).",
            "Set VEDETTE_HOME to a directory that you may write to.",
        ) from error
    for directory in (home.data, home.state, home.cache):
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"The directory {directory} cannot be made ({error.strerror}).",
                "Set VEDETTE_HOME to a directory that you may write to.",
            ) from error
        if not os.access(directory, os.W_OK | os.X_OK):
            raise ConfigError(
                f"The directory {directory} cannot be written to.",
                "Set VEDETTE_HOME to a directory that you may write to.",
            )
    return home


def home_paths(environment: Mapping[str, str]) -> Home:
    """Where `read_home` keeps things, looked up only: nothing is made. Raises RuntimeError without a home directory."""
    root = environment.get("VEDETTE_HOME")
    if root:
        base = Path(root).expanduser().absolute()
        return Home(base, base / "run", base / "cache")

    def directory(variable: str, otherwise: str) -> Path:
        base = environment.get(variable) or Path(environment.get("HOME") or Path.home(), otherwise)
        return Path(base).absolute() / "vedette"

    return Home(
        directory("XDG_DATA_HOME", ".local/share"),
        directory("XDG_STATE_HOME", ".local/state"),
        directory("XDG_CACHE_HOME", ".cache"),
    )
