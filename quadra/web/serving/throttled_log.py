"""ThrottledLog: what strangers can cause is logged seldom, lest the log be what they fill."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

_EVERY = 10.0  # seconds


class ThrottledLog:
    """Logs errors of each kind at most once in ten seconds; callable from any thread."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log, self._clock = log, clock
        self._kinds: dict[str, tuple[float, int]] = {}  # when one was logged, and how many were not since
        self._lock = threading.Lock()

    def error(self, kind: str, error: BaseException) -> None:
        """Logs an error; `kind` is a sentence of what happened and what comes of it."""
        now = self._clock()
        with self._lock:
            then, more = self._kinds.get(kind, (-_EVERY, 0))
            is_due = now - then >= _EVERY
            self._kinds[kind] = (now, 0) if is_due else (then, more + 1)
        if is_due:
            self._log.error("%s (%s)%s", kind, error, f"; {more} times more since this was last said" if more else "")
