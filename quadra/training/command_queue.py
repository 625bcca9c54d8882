"""CommandQueue: what other threads ask of the worker, one task at a time, each with a reply; callable from any thread."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple

from quadra.errors import QuadraError, WorkerClosedError

log = logging.getLogger("quadra.worker")

Task = Callable[[], dict[str, Any]]
Reply = Future[dict[str, Any]]


class QueuedTask(NamedTuple):
    """Something to do on the worker thread, and where its outcome goes."""

    task: Task
    reply: Reply

    def carry_out(self) -> None:
        """Carries it out; whatever it raises reaches the caller, and the worker lives on."""
        try:
            self.reply.set_result(self.task())
        except QuadraError as error:
            self.reply.set_exception(error)
        except Exception as error:  # reported to the caller; the next command must still be served
            log.exception("A command failed unexpectedly")
            self.reply.set_exception(error)


class CommandQueue:
    """Holds tasks in the order in which they came."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[QueuedTask] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._submitting = threading.Lock()

    @property
    def is_closed(self) -> bool:
        """Whether no more tasks are accepted."""
        return self._closed.is_set()

    def submit(self, task: Task) -> Reply:
        """Appends a task; returns a future of its outcome, which raises WorkerClosedError once the queue is closed."""
        reply: Reply = Future()
        with self._submitting:  # so that no task slips in behind the last one that is answered
            if self.is_closed:
                reply.set_exception(WorkerClosedError("The server is shutting down."))
            else:
                self._tasks.put(QueuedTask(task, reply))
        return reply

    def put(self, task: Task) -> None:
        """Appends a task that nobody waits for."""
        self._tasks.put(QueuedTask(task, Future()))

    def next(self, wait: float | None) -> QueuedTask | None:
        """Returns the next task; None when there is none within `wait` seconds. Without a limit where `wait` is None."""
        try:
            if wait is None:
                return self._tasks.get()
            return self._tasks.get(timeout=wait) if wait > 0 else self._tasks.get_nowait()
        except queue.Empty:
            return None

    def close(self) -> None:
        """Ends: no more tasks are accepted."""
        self._closed.set()

    def refuse_rest(self) -> None:
        """Closes, and refuses what is still waiting."""
        with self._submitting:
            self.close()
            while not self._tasks.empty():
                self._tasks.get().reply.set_exception(WorkerClosedError("The server is shutting down."))
