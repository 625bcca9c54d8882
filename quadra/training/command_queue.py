"""CommandQueue: what other threads ask of the worker, one request at a time, each with a reply."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple

from quadra.errors import QuadraError, WorkerClosedError

log = logging.getLogger("quadra.worker")

Action = Callable[[], dict[str, Any]]
Reply = Future[dict[str, Any]]


class Request(NamedTuple):
    """Something to do, and where its outcome goes."""

    action: Action
    reply: Reply

    def answer(self) -> None:
        """Carry it out; whatever it raises reaches the caller, and the worker lives on."""
        try:
            self.reply.set_result(self.action())
        except QuadraError as error:
            self.reply.set_exception(error)
        except Exception as error:  # told to the caller; the next command must still be served
            log.exception("A command failed unexpectedly")
            self.reply.set_exception(error)


class CommandQueue:
    """Requests in the order in which they came; callable from any thread."""

    def __init__(self) -> None:
        self._requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._submitting = threading.Lock()

    @property
    def is_closed(self) -> bool:
        """Whether no more requests are taken."""
        return self._closed.is_set()

    def submit(self, action: Action) -> Reply:
        """Have something done; the future gives its outcome, or raises WorkerClosedError."""
        reply: Reply = Future()
        with self._submitting:  # so that no request slips in behind the last one that is answered
            if self.is_closed:
                reply.set_exception(WorkerClosedError("The server is shutting down."))
            else:
                self._requests.put(Request(action, reply))
        return reply

    def put(self, action: Action) -> None:
        """Have something done that nobody waits for."""
        self._requests.put(Request(action, Future()))

    def next(self, wait: float | None) -> Request | None:
        """The next request; None when there is none within so many seconds. None: wait for ever."""
        try:
            if wait is None:
                return self._requests.get()
            return self._requests.get(timeout=wait) if wait > 0 else self._requests.get_nowait()
        except queue.Empty:
            return None

    def close(self) -> None:
        """Take no more requests."""
        self._closed.set()

    def refuse_the_rest(self) -> None:
        """Close, and answer what is still waiting."""
        with self._submitting:
            self.close()
            while not self._requests.empty():
                self._requests.get().reply.set_exception(WorkerClosedError("The server is shutting down."))
