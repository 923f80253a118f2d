"""What clients do wrong, as one line each in the log, and few of them: a client must not be able to fill a disk."""

import logging
import time
from collections.abc import Callable

from aiohttp.http_exceptions import HttpProcessingError

MOST_LINES = 10
PERIOD_S = 60.0


class LineLimit(logging.Filter):
    """Lets `MOST_LINES` lines of a logger pass in each period; the first one after it says how many were left out.

    A request that is no HTTP is a line without a traceback.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._began_at = clock()
        self._lines = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line passes."""
        if self._clock() - self._began_at >= PERIOD_S:
            left_out = self._lines - MOST_LINES
            self._began_at, self._lines = self._clock(), 0
            if left_out > 0:
                record.msg = f"{record.msg} ({left_out} similar lines were left out)"
        self._lines += 1
        if record.exc_info and isinstance(record.exc_info[1], HttpProcessingError):
            record.msg, record.exc_info = f"{record.msg}: {_first_line(record.exc_info[1])!r}", None
        return self._lines <= MOST_LINES


def limit_lines(*names: str) -> None:
    """Limit these loggers, once."""
    for name in names:
        logger = logging.getLogger(name)
        if not any(isinstance(each, LineLimit) for each in logger.filters):
            logger.addFilter(LineLimit())


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].replace("%", "%%") or type(error).__name__
