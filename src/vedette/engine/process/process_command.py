"""What is run: a command with its environment, its directory and what its interpreter can import early. Values only."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from vedette.engine.process.oom_kills import read_out_of_memory_kills

SOCKET = "engine.sock"
"""The Unix socket in a working directory on which the engine listens: only this user's programs can enter there."""
TEMPORARY = "tmp"
"""Directory in a working directory for files that a killed engine leaves behind (flags.temporary_environment)."""


@dataclass(frozen=True)
class Preload:
    """What a Python process can do before it knows the program to run (preloader.py)."""

    modules: tuple[str, ...]
    forks: bool
    """Whether the first process that the program spawns shall be a fork instead."""


@dataclass(frozen=True)
class Command:
    """A command to run; `arguments[0]` is the absolute path of the program."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    workplace: Path
    """Working directory of the command and all that it starts, by which they are found (workplace.py)."""
    count_kills: Callable[[], int | None] = read_out_of_memory_kills
    """Returns the kernel's out-of-memory kills where the processes run."""
    preload: Preload | None = None
    """None if the program is not a Python script or module on this machine, or its imports are unknown."""
