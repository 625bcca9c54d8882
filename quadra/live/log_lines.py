"""TerminalLines: the newest lines of the terminal, so that a browser that is opened later can show them too.

Lines that repeat share one entry, which shows the newest and counts; a week of saves pushes nothing else out.
"""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

MOST_LINES = 1000
_LONGEST_LINE = 2000  # characters that are kept of one


class TerminalLines:
    """`add` is called from one thread, `lines` from any."""

    def __init__(self) -> None:
        self.start = secrets.token_hex(4)  # tells the lines of this server's start from those of others
        self._lines: deque[dict[str, Any]] = deque(maxlen=MOST_LINES)
        self._number = 0
        self._key: str | None = None  # of the newest line
        self._lock = threading.Lock()
        self._listeners: list[Callable[[dict[str, Any]], None]] = []

    def listen(self, listener: Callable[[dict[str, Any]], None]) -> None:
        """Have every new or repeated line handed to `listener`, which must only take it and return."""
        self._listeners.append(listener)

    def add(self, line: str, kind: str, key: str | None = None) -> None:
        """Note a line of the terminal; `kind`: info, success, warning or error. Lines in a row with the same key, by
        default the same text, share an entry."""
        at, key = datetime.now(UTC).isoformat(timespec="milliseconds"), key or f"{kind} {line}"
        with self._lock:
            repeated = self._lines.pop() if self._lines and key == self._key else None
            if repeated is None:
                self._number += 1
            entry = {
                "start": self.start,
                "number": self._number,
                "at": at,
                "type": kind,
                "text": line[:_LONGEST_LINE],
                "count": repeated["count"] + 1 if repeated else 1,
                "since": repeated["since"] if repeated else at,
            }
            self._key = key
            self._lines.append(entry)
        for listener in self._listeners:
            listener(entry)

    def lines(self) -> list[dict[str, Any]]:
        """The newest entries, oldest first: start, number, at (ISO 8601, UTC), type, text, count and since."""
        with self._lock:
            return list(self._lines)
