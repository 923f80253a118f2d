"""Lines about callers' mistakes: one each, few of them, and a count of the rest."""

import asyncio
import logging

import aiohttp
import pytest

from vedette.serve.http_errors import mistakes
from vedette.serve.request_log import MOST_LINES, PERIOD_S, LineLimit, limit_lines


def test_lines_beyond_the_limit_are_counted_and_told_with_the_next_period(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    logger = logging.getLogger("test.limited")
    limit = LineLimit(lambda: now)
    logger.addFilter(limit)
    for number in range(MOST_LINES + 7):
        logger.warning("mistake %s", number)
    assert len(caplog.records) == MOST_LINES
    now = PERIOD_S
    logger.warning("another mistake of 100%")
    logger.removeFilter(limit)
    assert caplog.messages[-1] == "another mistake of 100% (7 similar lines were left out)"


async def test_a_mistake_is_one_line_and_a_thousand_are_ten(
    http: aiohttp.ClientSession, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    mistakes.filters.clear()
    limit_lines(mistakes.name)
    for _ in range(30):
        async with http.post(f"{url}/v1/a%1b[2Jb", data=b"{") as answer:
            assert answer.status == 400
    lines = [record.getMessage() for record in caplog.records if record.name.endswith("mistakes")]
    assert len(lines) == MOST_LINES
    assert lines[0].startswith(r"POST /v1/a\x1b[2Jb: The request is not valid JSON")


async def test_what_is_no_http_is_400_and_one_line(url: str, caplog: pytest.LogCaptureFixture) -> None:
    header = b"GET / HTTP/1.1\r\nHost: a\r\nBad Header\x01: x\r\n\r\n"
    for sent in (header, b"GET / HTTP/9\r\n\r\n", b"\x16\x03\x01\x02\r\n\r\n"):
        reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
        writer.write(sent)
        assert b" 400 " in (await reader.read()).partition(b"\r\n")[0]
        writer.close()
    assert "Traceback" not in caplog.text
    assert "400" in caplog.text
    assert all(record.getMessage().count("\n") == 0 for record in caplog.records)
