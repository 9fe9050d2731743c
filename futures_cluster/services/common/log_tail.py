"""The last lines that this package has logged in this process, for the status page.

Covers: keeping them. Does not cover: where logs go otherwise, which this handler leaves as it is. The standard
library's last resort (warnings to stderr when the program has configured no logging) falls silent with any handler, so
this one calls it where there is no other.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Any

MAX_LINES = 200
#: Characters of a line.
MAX_TEXT = 2000
LOGGER = "futures_cluster"


class LogTail(logging.Handler):
    """Keeps the last lines."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[list[Any]] = deque(maxlen=MAX_LINES)  # [number, time, level, logger, text]
        self.number = 0

    def emit(self, record: logging.LogRecord) -> None:
        """See ``logging.Handler``."""
        try:
            text = record.getMessage()
            if record.exc_info and record.exc_info[1] is not None:
                text += f" ({record.exc_info[1]!r})"
        except Exception as error:
            text = f"{record.msg!r} (its arguments do not fit: {error})"
        self.number += 1
        self.lines.append([self.number, record.created, record.levelname, record.name, text[:MAX_TEXT]])
        last = logging.lastResort
        if last is not None and record.levelno >= last.level and not self._is_heard(record.name):
            last.handle(record)

    def _is_heard(self, name: str) -> bool:
        """Return whether another handler gets the record."""
        logger: logging.Logger | None = logging.getLogger(name)
        while logger is not None:
            if any(handler is not self for handler in logger.handlers):
                return True
            logger = logger.parent if logger.propagate else None
        return False

    def since(self, number: int) -> list[list[Any]]:
        """Return the lines after the one with this number, without their numbers."""
        return [line[1:] for line in list(self.lines) if line[0] > number]


_tail = LogTail()


def tail() -> LogTail:
    """Return the lines of this process, from the first call on."""
    logging.getLogger(LOGGER).addHandler(_tail)  # which adds it once
    return _tail
