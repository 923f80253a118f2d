"""The log of a vedette in the background: the file that its standard output and error go to, from its first line on.

A crash of the interpreter, and what a library prints, are in it too, because the process's own descriptors point at the
file. So the file is rotated by moving the descriptors to a new one.
"""

import os
from contextlib import suppress
from pathlib import Path

from vedette.files import open_log

_OUTPUTS = (1, 2)


class ServerLog:
    """Rotates the log while the process runs."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        """most_bytes: of the log and its older half."""
        self._path = path
        self._half_bytes = most_bytes // 2
        self._rotated = [number for number in _OUTPUTS if _is_at(number, path)]
        """None where a person or systemd has the output."""

    def rotate_if_full(self) -> None:
        """Begin a new file if the present one is full. A disk that is full as well leaves everything as it is."""
        if not self._rotated:
            return
        with suppress(OSError):
            if os.fstat(self._rotated[0]).st_size < self._half_bytes:
                return
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            with open_log(self._path) as fresh:
                for number in self._rotated:
                    os.dup2(fresh.fileno(), number)


def remove_unused_logs(engine_log: Path, engines: int) -> None:
    """Remove the logs of engines beyond the number that this vedette runs: none of its own writes there."""
    for path in engine_log.parent.glob(f"{engine_log.stem}-*{engine_log.suffix}*"):
        number = path.name.removeprefix(f"{engine_log.stem}-").partition(".")[0]
        if number.isdecimal() and int(number) > engines:
            path.unlink(missing_ok=True)


def _is_at(number: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(number), path.stat())
    except OSError:
        return False
