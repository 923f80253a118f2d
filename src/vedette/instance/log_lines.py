"""How vedette writes its own log: a record is one line, whatever text it has, and a traceback is indented."""

import logging
import time

from vedette.language.foreign_text import plain

_INDENT = "    "


class LineFormatter(logging.Formatter):
    """Writes `2026-11-28 09:30:00 WARNING vedette.room: text`, and lines of a traceback behind an indent."""

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        lines = [plain(f"{when} {record.levelname} {record.name}: {record.getMessage()}")]
        if record.exc_info:
            lines += [_INDENT + plain(line) for line in self.formatException(record.exc_info).split("\n")]
        return "\n".join(lines)


def show_log_lines() -> None:
    """Write warnings and errors to standard error in this form."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
