"""Reading what other programs print and send, within bounds: neither a line nor the whole may fill vedette's memory."""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterable

from vedette.language.foreign_text import reason_in
from vedette.units import MIB

LONGEST_LINE_BYTES = 65_536
"""Of a line that is read; of a longer one, its end."""
_LINE_END = re.compile(rb"[\r\n]+")  # a progress bar ends its lines with a carriage return
_CHUNK_BYTES = 65_536
_END_S = 2.0
LONGEST_STEP_BYTES = 2000
"""Of a line of pip, Docker or Podman that tells a step: a search in a longer one would take long."""


async def lines_of(
    stream: asyncio.StreamReader | None, longest_bytes: int = LONGEST_LINE_BYTES
) -> AsyncGenerator[str, None]:
    """The lines that a child process prints, without blank ones; of one that is too long, its end. stream: its pipe."""
    if stream is None:
        return
    rest = b""
    while chunk := await stream.read(_CHUNK_BYTES):
        *whole, rest = _LINE_END.split(rest + chunk)
        rest = rest[-longest_bytes:]
        for line in whole:
            if line.strip():
                yield line[-longest_bytes:].decode(errors="replace")
    if rest.strip():
        yield rest.decode(errors="replace")


def last_line(text: str) -> str | None:
    """The last line that is not blank, as a reason: most programs end with it. None if there is none."""
    line = next((line for line in reversed(text.splitlines()) if line.strip()), None)
    return None if line is None else reason_in(line)


async def read_at_most(chunks: AsyncIterable[bytes], most_bytes: int) -> bytes | None:
    """All chunks together; None if they are more than `most_bytes`, of which the rest is not read."""
    read = bytearray()
    async for chunk in chunks:
        read += chunk
        if len(read) > most_bytes:
            return None
    return bytes(read)


async def output_of(
    process: asyncio.subprocess.Process, within_s: float, most_bytes: int = 4 * MIB
) -> tuple[int | None, bytes]:
    """The exit status of a child process and what it printed, at most `most_bytes`.

    A process that takes longer or prints more is killed; its status is None.
    """
    read = bytearray()
    try:
        is_whole = await asyncio.wait_for(_read_into(read, process, most_bytes), within_s)
        return process.returncode if is_whole else None, bytes(read)
    except asyncio.TimeoutError:
        return None, bytes(read)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            with contextlib.suppress(asyncio.TimeoutError):  # a child of the process may keep the pipe open
                await asyncio.wait_for(_end(process), _END_S)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Read a killed process's pipe to its end: asyncio waits for the process and for its pipe."""
    while process.stdout is not None and await process.stdout.read(_CHUNK_BYTES):
        pass
    await process.wait()


async def _read_into(read: bytearray, process: asyncio.subprocess.Process, most_bytes: int) -> bool:
    """Whether the process has ended before it printed more than `most_bytes`."""
    assert process.stdout is not None  # noqa: S101 - launched with a pipe
    while chunk := await process.stdout.read(_CHUNK_BYTES):
        read += chunk[: most_bytes - len(read)]
        if len(read) == most_bytes:
            return False
    await process.wait()
    return True
