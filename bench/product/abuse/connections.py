"""Attacks by connections that wait, on a vedette that is attached to a stand-in for an engine."""

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import aiohttp

from bench.product.abuse import payloads
from bench.product.abuse.attacks import CHAT, counted
from bench.product.abuse.target import ATTACK_S, Target, ask
from tests.rig.processes import free_port

HELD_S = 20.0
"""How long an attacker keeps connections open."""


@contextlib.contextmanager
def stand_in() -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """A server to attach to: its address and its process."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.product.abuse.server_stand_in", str(port)])
    try:
        while process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.kill()
        process.wait()


def half_sent(count: int) -> Callable[[Target], str]:
    """Open connections that send half a header, and open them again when they are closed."""

    def run(target: Target) -> str:
        address = ("127.0.0.1", target.vedette.port)
        opened: list[socket.socket] = []
        try:
            for _ in range(count):
                with contextlib.suppress(OSError):
                    opened.append(socket.create_connection(address, 1))
                    opened[-1].sendall(b"GET / HTTP/1.1\r\nHost: local")
            health, status = _timed(lambda: target.get("/healthz", 15)), _timed(lambda: _status(target))
            time.sleep(HELD_S - 5)
            return f"healthz {health}; vedette status {status}; {_closed(opened)} of {count} dropped"
        finally:
            for each in opened:
                each.close()

    return run


def slow_header(target: Target) -> str:
    """One byte of a header a second: when is it dropped?"""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", target.vedette.port), 5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: ")
        while time.monotonic() - began < 90:
            if _closed([connection]):
                return f"dropped after {time.monotonic() - began:.0f} s"
            with contextlib.suppress(OSError):
                connection.sendall(b"x")
            time.sleep(1)
    return "never dropped (90 s)"


def idle(target: Target) -> str:
    """A connection that asks once and then says nothing more."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", target.vedette.port), 5) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.recv(65_536)
        while time.monotonic() - began < 110:
            if _closed([connection]):
                return f"dropped after {time.monotonic() - began:.0f} s"
            time.sleep(1)
    return "never dropped (110 s)"


def held_bodies(target: Target) -> str:
    """Three bodies of 31 MiB whose last byte does not come."""
    opened = []
    length = 31 * 2**20
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()
    for _ in range(3):
        connection = socket.create_connection(("127.0.0.1", target.vedette.port), 5)
        opened.append(connection)
        with contextlib.suppress(OSError):
            connection.settimeout(5)
            connection.sendall(head + b" " * (length - 1))
    time.sleep(HELD_S)
    dropped = _closed(opened)
    for each in opened:
        each.close()
    return f"{dropped} of 3 dropped"


def ask_with_a_large_body(target: Target) -> float | None:
    """As `ask`, with a body of 4 MiB, once: a 503 is no answer."""
    time.sleep(4)
    began = time.monotonic()
    answer = target.post(CHAT, payloads.chat() + b" " * (4 * 2**20), 60)
    return time.monotonic() - began if answer == "200" else None


def silent_sockets(target: Target) -> str:
    """Live sockets that say nothing."""

    async def hold() -> str:
        async with aiohttp.ClientSession() as session:
            opened = []
            results = []
            for _ in range(40):
                try:
                    opened.append(await session.ws_connect(f"{target.url}/api/live", autoping=False))
                    results.append("opened")
                except aiohttp.ClientError as error:
                    results.append(str(getattr(error, "status", type(error).__name__)))
            await asyncio.sleep(HELD_S)
            return counted(results)

    return asyncio.run(hold())


def open_a_page(target: Target) -> float | None:
    """Until another person's page has its live socket."""

    async def wait() -> float | None:
        began = time.monotonic()
        async with aiohttp.ClientSession() as session:
            while time.monotonic() - began < 40:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.ws_connect(f"{target.url}/api/live"):
                        return time.monotonic() - began
                await asyncio.sleep(0.5)
        return None

    time.sleep(3)
    return asyncio.run(wait())


def many_connections(target: Target) -> str:
    """Two thousand idle connections from one address."""
    opened = []
    for _ in range(2000):
        try:
            opened.append(socket.create_connection(("127.0.0.1", target.vedette.port), 1))
        except OSError:
            break
    time.sleep(HELD_S)
    dropped = _closed(opened)
    for each in opened:
        each.close()
    return f"{len(opened)} opened, {dropped} of them dropped"


def silence(server: "subprocess.Popen[bytes]") -> Callable[[Target], str]:
    """Stop an attached server: the kernel accepts connections for it, and nobody answers them."""

    def run(target: Target) -> str:
        server.send_signal(signal.SIGSTOP)
        return _unanswered(target)

    return run


def _unanswered(target: Target) -> str:
    """Two questions to a silent server: when does each end, and when does health show it?"""
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(_timed, lambda: target.post(CHAT, payloads.chat(), ATTACK_S)) for _ in range(2)]
        noticed = None
        while noticed is None and time.monotonic() - began < 100:
            if target.get("/healthz") != "200":
                noticed = time.monotonic() - began
            time.sleep(0.2)
        answers = [each.result() for each in asked]
    shown = "never" if noticed is None else f"after {noticed:.0f} s"
    return f"health shows it {shown}; the requests in flight got {answers[0]} and {answers[1]}"


def _timed(do: Callable[[], str]) -> str:
    began = time.monotonic()
    result = do()
    return f"{result} in {time.monotonic() - began:.1f} s"


def _status(target: Target) -> str:
    try:
        return f"exit {target.tree.run('status', within_s=20).returncode}"
    except subprocess.TimeoutExpired:
        return "no end"


def _closed(connections: list[socket.socket]) -> int:
    """How many of them the other end has closed."""
    closed = 0
    for each in connections:
        each.setblocking(False)
        try:
            while each.recv(65_536):
                pass
            closed += 1
        except BlockingIOError:
            pass
        except OSError:
            closed += 1
        finally:
            with contextlib.suppress(OSError):
                each.settimeout(5)
    return closed


def ask_health(target: Target) -> float | None:
    """Seconds until `/healthz` answers: with so few descriptors that is what has to go on."""
    began = time.monotonic()
    while time.monotonic() - began < 15:
        if target.get("/healthz", 15) == "200":
            return time.monotonic() - began
        time.sleep(0.2)
    return None


@dataclass(frozen=True)
class ConnectionAttack:
    """An attack by connections, and who is measured meanwhile."""

    name: str
    run: Callable[[Target], str]
    bystander: Callable[[Target], float | None] | None = ask
    descriptors: int | None = None
    """Limit of vedette's file descriptors; None for the usual one."""


ATTACKS = (
    ConnectionAttack("100 half-sent headers, 64 descriptors", half_sent(100), ask_health, 64),
    ConnectionAttack("600 half-sent headers", half_sent(600)),
    ConnectionAttack("a header of a byte a second", slow_header),
    ConnectionAttack("an idle connection", idle, None),
    ConnectionAttack("2,000 idle connections", many_connections),
    ConnectionAttack("three held bodies of 31 MiB", held_bodies, ask_with_a_large_body),
    ConnectionAttack("40 silent live sockets", silent_sockets, open_a_page),
)
