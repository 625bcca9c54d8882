"""SessionThreads: what python-engineio starts a thread for (an event, a ping, a WebSocket's writer) is done by threads that stay.

So an open page goes on where no thread can be started, and an event costs none.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from quadra.web.serving.request_threads import RequestThreads
from quadra.web.serving.throttled_log import ThrottledLog

_MOST = 2000  # of 200 sessions, each with a writer, a ping that sleeps until it is due, and commands under way
_AT_START = 2


class SessionThreads:
    """Makes what engineio takes for threads."""

    def __init__(self) -> None:
        troubles = ThrottledLog(logging.getLogger("quadra.serving"))
        what = "A thread for Socket.IO could not be started; those that run take its work"
        self._threads = RequestThreads("session", _MOST, _MOST, lambda error: troubles.error(what, error), _AT_START)

    def __call__(
        self, target: Callable[..., object], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> SessionTask:
        """Returns a task that can be started and waited for as a thread can."""
        return SessionTask(self._threads, lambda: target(*args, **(kwargs or {})))


class SessionTask:
    """Something to be done beside everything else, as if it were a thread of its own."""

    def __init__(self, threads: RequestThreads, target: Callable[[], object]) -> None:
        self._threads, self._target = threads, target
        self._done = threading.Event()

    def start(self) -> None:
        """Begins. Raises RuntimeError, as a thread does, where too many wait already."""
        if not self._threads.submit(self._carry_out):
            raise RuntimeError("can't start new thread: too many tasks of sessions wait for one")

    def join(self, timeout: float | None = None) -> None:
        """Blocks until it is done."""
        self._done.wait(timeout)

    def _carry_out(self) -> None:
        try:
            self._target()
        finally:
            self._done.set()
