"""Another machine: a network namespace with a cable to this one. And a relay on this machine that speaks for others."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

HERE, THERE = "10.213.77.1", "10.213.77.2"
_NAME = "vedette-lan"


@dataclass(frozen=True)
class Neighbour:
    """Another machine. Its programs reach this one at `HERE`, and nothing else."""

    name: str

    def python(self, code: str, *arguments: str) -> str:
        """What a Python program there prints."""
        command = ["ip", "netns", "exec", self.name, sys.executable, "-c", code, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def can_make_neighbours() -> bool:
    """Whether this account may make network namespaces."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    made = subprocess.run(["ip", "netns", "add", f"{_NAME}-try"], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "del", f"{_NAME}-try"], capture_output=True, check=False)
    return made.returncode == 0


@contextlib.contextmanager
def neighbour() -> Iterator[Neighbour]:
    """A machine beside this one, until the end of the block."""
    name, cable = _NAME, "vdt-lan"
    _ip("netns", "add", name)
    try:
        _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("addr", "add", f"{HERE}/24", "dev", cable)
        _ip("link", "set", cable, "up")
        _ip("-n", name, "addr", "add", f"{THERE}/24", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        yield Neighbour(name)
    finally:
        _ip("netns", "del", name)


@contextlib.contextmanager
def relay(port: int) -> Iterator[int]:
    """The port of a relay to a port of this machine, like nginx or `ssh -R`: its clients look local."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_relay, args=(listener, port), daemon=True).start()
        yield int(listener.getsockname()[1])


def _relay(listener: socket.socket, port: int) -> None:
    with contextlib.suppress(OSError):
        while True:
            near, _ = listener.accept()
            threading.Thread(target=_join, args=(near, port), daemon=True).start()


def _join(near: socket.socket, port: int) -> None:
    with near, socket.create_connection(("127.0.0.1", port)) as far:
        back = threading.Thread(target=_copy, args=(far, near), daemon=True)
        back.start()
        _copy(near, far)
        back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def _ip(*words: str) -> None:
    command: Sequence[str] = ("ip", *words)
    subprocess.run(command, check=True, capture_output=True)
