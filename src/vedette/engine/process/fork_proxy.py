"""Takes the place of a process that multiprocessing spawns, where a fork does the work (preloader.py).

multiprocessing starts it like an interpreter: `… -c CODE --multiprocessing-fork`. It passes code, environment and open
files to the fork, passes signals on, and ends with the fork's exit status. If no fork waits, or it is started for
anything else, it becomes the interpreter.
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
    channel = socket.socket(socket.AF_UNIX)
    try:
        if _MARK not in arguments:
            raise OSError("not a worker: multiprocessing's resource tracker")
        channel.connect(_SOCKET)
    except OSError:
        os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606
    sys.exit(_wait_for_fork(_hand_over(channel, arguments), channel))


def _hand_over(channel: socket.socket, arguments: "list[str]") -> int:
    """Pass the work to the fork; return the fork's process id."""
    descriptors = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - starts sooner
        if int(name) > 2 and int(name) != channel.fileno() and os.path.exists(f"/proc/self/fd/{name}"):  # noqa: PTH110
            descriptors.append(int(name))
    at = arguments.index("-c")
    work = {
        "code": arguments[at + 1],
        "arguments": arguments[at + 2 :],
        "environment": dict(os.environ),
        "descriptors": descriptors,
    }
    message = json.dumps(work).encode()
    socket.send_fds(channel, [len(message).to_bytes(4, "little")], descriptors)
    channel.sendall(message)
    for number in descriptors:  # its pipes must close when the fork ends
        os.close(number)
    return int.from_bytes(channel.recv(4), "little")


def _wait_for_fork(process: int, channel: socket.socket) -> int:
    """Wait until the fork ends; return its exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the fork as well
    if process:
        signal.signal(signal.SIGTERM, lambda *_: _terminate(process))
    status = None
    while received := channel.recv(1):
        status = received[0]
    if status is None:  # the fork was killed: end in the same way, for the process that waits
        os.kill(os.getpid(), signal.SIGKILL)
    return status or 0


def _terminate(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGTERM)


if __name__ == "__main__":
    main()
