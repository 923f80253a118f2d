"""Where vedette keeps its files."""

import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vedette.errors import ConfigError
from vedette.files import FOR_OTHERS_TO_WRITE


@dataclass(frozen=True)
class Home:
    """Where vedette keeps its files."""

    data: Path
    """Engines and models: large, and slow to fetch again."""
    state: Path
    """Logs, measured starts, and what is running now."""
    cache: Path
    """What can be deleted at any time."""

    @property
    def engines(self) -> Path:
        return self.data / "engines"

    @property
    def keys(self) -> Path:
        """Keys for sources of models, as files for this account only."""
        return self.data / "keys"

    @property
    def models(self) -> Path:
        return self.data / "models"

    @property
    def access(self) -> Path:
        """The directory of the owner's key and the clients' keys, for this account only."""
        return self.data / "access"

    @property
    def workplace(self) -> Path:
        """The directory that this home's engines, and the programs that prepare them, run in or below."""
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
    """The home, its directories made: below `VEDETTE_HOME` if that is set, else in the XDG base directories.

    Raises ConfigError if a directory cannot be made or written to, or belongs to another user. Other users' rights are
    taken from them (`_close`).
    """
    try:
        home = home_paths(environment)
    except RuntimeError as error:
        raise ConfigError("settings.no_home", error=str(error)) from error
    for directory in (home.data, home.state, home.cache):
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError("settings.home_not_made", path=str(directory), error=error.strerror) from error
        if not os.access(directory, os.W_OK | os.X_OK):
            raise ConfigError("settings.home_not_writable", path=str(directory))
        _close(directory, private=directory == home.state)
    if home.engines.exists():
        _close(home.engines)
    for directory in (home.access, home.keys):
        if directory.exists():
            _close(directory, private=True)
    return home


def _close(directory: Path, private: bool = False) -> None:
    """Takes from other users the right to write to a directory; where it is `private`, every right.

    What they may have put into a private directory before is removed: vedette acts on what it finds there. A directory
    with the sticky bit, such as /tmp, stays as it is. Raises ConfigError if the directory is another user's.
    """
    found = directory.stat()
    if found.st_uid not in (os.geteuid(), 0):
        raise ConfigError("settings.home_of_another", path=str(directory), uid=str(found.st_uid))
    mode = stat.S_IMODE(found.st_mode)
    open_to_others = bool(mode & FOR_OTHERS_TO_WRITE)
    wanted = mode & 0o700 if private else mode & ~FOR_OTHERS_TO_WRITE
    if wanted == mode or (mode & stat.S_ISVTX and not private):
        return
    try:
        directory.chmod(wanted)
    except OSError as error:
        raise ConfigError("settings.home_open", path=str(directory), error=error.strerror) from error
    if private and open_to_others:
        _remove_foreign(directory)


def _remove_foreign(directory: Path) -> None:
    """Removes links, and what belongs to another user."""
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.stat(follow_symlinks=False).st_uid == os.geteuid() and not entry.is_symlink():
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                Path(entry.path).unlink()


def home_paths(environment: Mapping[str, str]) -> Home:
    """The home, nothing made. Raises RuntimeError if the account has no home directory."""
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
