"""What other programs print is read within bounds: real processes that print without end, and never end."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from vedette.outputs import last_line, lines_of, output_of, read_at_most


async def started(script: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", script, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )


async def lines(script: str, longest_bytes: int = 100) -> list[str]:
    process = await started(script)
    found = [line async for line in lines_of(process.stdout, longest_bytes)]
    await process.wait()
    return found


async def test_lines_end_with_a_line_feed_a_carriage_return_or_the_output() -> None:
    assert await lines(r"printf 'one\n\n two 1%%\rtwo 2%%\r\nthree \377'") == [
        "one",
        " two 1%",
        "two 2%",
        "three \ufffd",
    ]


async def test_of_a_line_that_is_too_long_the_end_is_read() -> None:
    found = await lines("head -c 10000000 /dev/zero | tr '\\0' x; echo end; echo next", 100)
    assert found == ["x" * 97 + "end", "next"]


async def test_a_process_that_ends_gives_its_status_and_output() -> None:
    assert await output_of(await started("printf hello; exit 3"), 10) == (3, b"hello")


async def test_a_process_that_prints_without_end_is_killed() -> None:
    process = await started("exec yes")
    status, output = await output_of(process, 30, most_bytes=100_000)
    assert (status, len(output)) == (None, 100_000)
    assert process.returncode == -9


async def test_a_process_that_does_not_end_is_killed() -> None:
    began = time.monotonic()
    process = await started("printf hello; exec sleep 60")
    assert await output_of(process, 0.5) == (None, b"hello")
    assert process.returncode == -9
    assert time.monotonic() - began < 30


async def test_no_more_is_read_than_the_bound() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1000
            yield bytes(1000)

    assert await read_at_most(endless(), 10_000) is None
    assert sent == 11_000


@pytest.mark.parametrize(
    ("text", "line"),
    [("", None), (" \n\n", None), ("a\nb \n\n", "b"), ("a\n\x1b[31mb", "\x1b[31mb"), ("x\n  y  z", "y z")],
)
def test_the_last_line_is_the_reason(text: str, line: str | None) -> None:
    assert last_line(text) == line


def test_a_long_last_line_is_cut_between_words() -> None:
    line = last_line("first\n" + "word " * 10_000)
    assert line is not None
    assert len(line) <= 300
    assert line.endswith("word …")
