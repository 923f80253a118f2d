"""vedette's own log: whatever text a record has, it is one line, and a traceback cannot pass for another record."""

import logging
import re
import sys

from vedette.instance.log_lines import LineFormatter

FORGED = "x\n2026-01-01 00:00:00 WARNING vedette.serve: all is well\x1b[2J\u2028more\x85"
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z]+ [\w.]+: .*")


def record(text: str, error: BaseException | None = None) -> str:
    exc_info = (type(error), error, error.__traceback__) if error else None
    made = logging.LogRecord("vedette.serve", logging.ERROR, "", 0, "Fault at %s", (text,), exc_info)
    return LineFormatter().format(made)


def test_a_record_is_one_line() -> None:
    line = record(FORGED)
    assert len(line.splitlines()) == 1
    assert LINE.fullmatch(line)
    assert "\x1b" not in line


def test_a_traceback_cannot_pass_for_another_record() -> None:
    try:
        raise ValueError(FORGED)
    except ValueError:
        error = sys.exc_info()[1]
    first, *rest = record("here", error).splitlines()
    assert LINE.fullmatch(first)
    assert len(rest) > 2
    assert all(line.startswith("    ") and not LINE.fullmatch(line) for line in rest)
    assert not any("\x1b" in line or "\x85" in line for line in rest)
