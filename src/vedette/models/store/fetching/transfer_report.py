"""What the process of a download prints, one JSON object a line, and how vedette reads it back."""

import sys
import threading
import time
from collections import deque

import msgspec

from vedette.language.foreign_text import reason_in
from vedette.models.store.fetching.model_source import SourceError, Trouble

INTERVAL_S = 0.2
"""Between two lines about progress."""
RATE_OVER_S = 10.0
RATE_AFTER_S = 1.0


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line: progress, or the trouble that ended the download."""

    file: str = ""
    done_bytes: int | None = None
    total_bytes: int | None = None
    rate_bytes: int | None = None
    """Bytes a second of late; None while that is not known."""
    waiting: bool = False
    """Another process is downloading the model."""
    trouble: Trouble | None = None
    detail: str = ""
    page: str = ""
    wait_s: float | None = None


def report_of(error: SourceError) -> Report:
    return Report(trouble=error.trouble, detail=error.detail, page=error.page, wait_s=error.wait_s)


def parse_report(line: str) -> Report:
    """A line of the download's process; a line that cannot be read is a trouble of its own."""
    try:
        return msgspec.json.decode(line, type=Report)
    except (ValueError, RecursionError):
        return Report(trouble=Trouble.UNEXPECTED, detail=reason_in(line))


def print_report(report: Report) -> None:
    sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    sys.stdout.flush()


class TransferProgress:
    """Prints the progress of the whole download, whichever thread receives bytes."""

    def __init__(self, total_bytes: int) -> None:
        self._total_bytes = total_bytes
        self._done_bytes = 0
        self._received_bytes = 0
        self._printed_s = 0.0
        self._marks: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        """When how many bytes had been received, over the last RATE_OVER_S."""
        self._lock = threading.Lock()

    def here(self, size_bytes: int) -> None:
        """Counts bytes that are here already; fewer than none where a damaged file is removed."""
        with self._lock:
            self._done_bytes += size_bytes

    def received(self, size_bytes: int, file: str) -> None:
        with self._lock:
            self._done_bytes += size_bytes
            self._received_bytes += size_bytes
            if time.monotonic() - self._printed_s >= INTERVAL_S:
                self._print(file)

    def show(self, file: str) -> None:
        """Prints a line now."""
        with self._lock:
            self._print(file)

    def _print(self, file: str) -> None:
        self._printed_s = time.monotonic()
        rate_bytes = self._rate(self._printed_s)
        print_report(Report(file, self._done_bytes, self._total_bytes, rate_bytes))

    def _rate(self, now_s: float) -> int | None:
        self._marks.append((now_s, self._received_bytes))
        while len(self._marks) > 2 and self._marks[1][0] < now_s - RATE_OVER_S:
            self._marks.popleft()
        began_s, before_bytes = self._marks[0]
        passed_s = now_s - began_s
        return round((self._received_bytes - before_bytes) / passed_s) if passed_s >= RATE_AFTER_S else None
