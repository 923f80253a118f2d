"""Stands for a process that multiprocessing has spawned and that is in truth a fork (preloader.py).

Started as the interpreter would be: `… -c CODE --multiprocessing-fork`. Hands what it was given to the fork: code,
environment and open files; then passes signals on, and ends as the fork ends. Where no fork waits, and for anything
else that it is started for, it becomes the interpreter.
"""

import contextlib
import json
import os
import signal
import socket
import sys
from typing import NoReturn

_SOCKET = "core.sock"
_MARK = "--multiprocessing-fork"


def main() -> NoReturn:
    arguments = sys.argv[1:]
    talk = socket.socket(socket.AF_UNIX)
    try:
        if _MARK not in arguments:
            raise OSError("multiprocessing's tracker of resources")
        talk.connect(_SOCKET)
    except OSError:
        os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606
    sys.exit(_stand_for(_hand_over(talk, arguments), talk))


def _hand_over(talk: socket.socket, arguments: "list[str]") -> int:
    """Returns the fork's process id."""
    descriptors = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - starts sooner
        if int(name) > 2 and int(name) != talk.fileno() and os.path.exists(f"/proc/self/fd/{name}"):  # noqa: PTH110
            descriptors.append(int(name))
    at = arguments.index("-c")
    told = {
        "code": arguments[at + 1],
        "arguments": arguments[at + 2 :],
        "environment": dict(os.environ),
        "descriptors": descriptors,
    }
    message = json.dumps(told).encode()
    socket.send_fds(talk, [len(message).to_bytes(4, "little")], descriptors)
    talk.sendall(message)
    for number in descriptors:  # the end of the fork is to be the end of its pipes
        os.close(number)
    return int.from_bytes(talk.recv(4), "little")


def _stand_for(process: int, talk: socket.socket) -> int:
    """Waits for the fork's end; returns its exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to both
    if process:
        signal.signal(signal.SIGTERM, lambda *_: _terminate(process))
    status = None
    while said := talk.recv(1):
        status = said[0]
    if status is None:  # it had no time to say: killed, and whoever waits for this process is to see just that
        os.kill(os.getpid(), signal.SIGKILL)
    return status or 0


def _terminate(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGTERM)


if __name__ == "__main__":
    main()
