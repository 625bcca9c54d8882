"""Progress: tells browsers how far a long command has come, at most a few times a second, and how long it still takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from quadra.byte_progress import measured

SOON = 0.5  # seconds before which nothing is told: most commands have ended by then
PAUSE = 0.25  # seconds between two messages


class Teller(Protocol):
    """How events reach the browsers."""

    def __call__(self, kind: str, **details: object) -> None:
        """Tell of one."""


class Progress:
    """One command; called as `quadra.measure` tells."""

    def __init__(self, command: str, tell: Teller, clock: Callable[[], float] = time.monotonic) -> None:
        self._command, self._tell, self._clock = command, tell, clock
        self._told_at = clock() + SOON - PAUSE
        self._began = clock()  # what is being done now, at whose speed the rest is reckoned

    def __call__(self, doing: str, done: int, total: int) -> None:
        """Tell it, where it is time."""
        now = self._clock()
        if done == 0:
            self._began = now
        if now - self._told_at < PAUSE:
            return
        self._told_at = now
        taken = now - self._began
        left = taken / done * (total - done) if done and taken >= PAUSE else None
        self._tell(
            "progress", command=self._command, doing=doing, done=done, total=total,
            seconds_left=None if left is None else round(left, 1),
        )  # fmt: skip


@contextmanager
def progress(command: str, tell: Teller) -> Iterator[None]:
    """Tell how far what is done within has come."""
    with measured(Progress(command, tell)):
        yield
