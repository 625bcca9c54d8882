"""Progress: publishes how far a long command has come, at most a few times a second, and how long it still takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from quadra.byte_progress import measured
from quadra.training.events import CommandProgress, Publish

SOON = 0.5  # seconds before which nothing is published: most commands have ended by then
PAUSE = 0.25  # seconds between two messages


class Progress:
    """Publishes the progress of one command; called as `quadra.byte_progress` measures."""

    def __init__(self, command: str, publish: Publish, clock: Callable[[], float] = time.monotonic) -> None:
        self._command, self._publish, self._clock = command, publish, clock
        self._published_at = clock() + SOON - PAUSE
        self._began = clock()  # what is being done now, at whose speed the rest is reckoned

    def __call__(self, doing: str, done: int, total: int) -> None:
        """Publishes how far the command has come, where PAUSE has passed."""
        now = self._clock()
        if done == 0:
            self._began = now
        if now - self._published_at < PAUSE:
            return
        self._published_at = now
        passed = now - self._began
        left = passed / done * (total - done) if done and passed >= PAUSE else None
        seconds_left = None if left is None else round(left, 1)
        self._publish(CommandProgress(self._command, doing, done, total, seconds_left))


@contextmanager
def progress(command: str, publish: Publish) -> Iterator[None]:
    """Within the context, publishes how far a command has come."""
    with measured(Progress(command, publish)):
        yield
