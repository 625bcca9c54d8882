"""TerminalLines: keeps the newest lines of the terminal, so that a browser that is opened later can show them too.

Lines that repeat share one entry, which shows the newest and counts; a week of saves pushes nothing else out.
"""

from __future__ import annotations

import secrets
import threading
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from quadra.training.events import Event, Level, Publish

MOST_LINES = 1000
_LONGEST_LINE = 2000  # characters that are kept of one


@dataclass(frozen=True)
class TerminalLine(Event):
    """A line of the terminal, or several that repeat."""

    name: ClassVar = "log_line"
    start: str  # of which start of the server it is
    number: int  # in the order of the lines
    at: str  # when the newest one was printed, ISO 8601, UTC
    type: Level
    text: str
    count: int
    since: str  # when the first one was printed


class TerminalLines:
    """`add` is called from one thread, `lines` from any."""

    def __init__(self) -> None:
        self.start = secrets.token_hex(4)  # tells the lines of this server's start from those of others
        self._lines: deque[TerminalLine] = deque(maxlen=MOST_LINES)
        self._number = 0
        self._key: str | None = None  # of the newest line
        self._lock = threading.Lock()
        self._listeners: list[Publish] = []

    def listen(self, on_event: Publish) -> None:
        """Hands every new or repeated line to `on_event`, which must only note it and return."""
        self._listeners.append(on_event)

    def add(self, line: str, kind: Level, key: str | None = None) -> None:
        """Notes a line of the terminal; `kind`: info, success, warning or error. Lines in a row with the same key, by
        default the same text, share an entry."""
        at, key = datetime.now(UTC).isoformat(timespec="milliseconds"), key or f"{kind} {line}"
        with self._lock:
            repeated = self._lines.pop() if self._lines and key == self._key else None
            if repeated is None:
                self._number += 1
            entry = TerminalLine(
                start=self.start,
                number=self._number,
                at=at,
                type=kind,
                text=line[:_LONGEST_LINE],
                count=repeated.count + 1 if repeated else 1,
                since=repeated.since if repeated else at,
            )
            self._key = key
            self._lines.append(entry)
        for on_event in self._listeners:
            on_event(entry)

    def lines(self) -> list[dict[str, Any]]:
        """The newest entries, oldest first: start, number, at (ISO 8601, UTC), type, text, count and since."""
        with self._lock:
            return [dict(vars(line)) for line in self._lines]
