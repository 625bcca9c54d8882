"""RequestThreads: a few threads that carry out requests of one kind, so that no kind takes the threads of another."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

log = logging.getLogger("quadra.serving")

_IDLE_SECONDS = 60.0  # after which a thread ends

Task = Callable[[], None]


class RequestThreads:
    """Threads that are started when they are needed, and end when they have long not been; the first ones stay.

    A thread that cannot be started is no reason to drop a request: it waits for one that runs already, or until `start_missing`
    succeeds. `on_shortage` is told.
    """

    def __init__(
        self, name: str, most: int, longest_queue: int, on_shortage: Callable[[BaseException], None], at_start: int = 1
    ) -> None:
        self._name, self._most, self._longest_queue = name, most, longest_queue
        self._on_shortage = on_shortage
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._count, self._at_start = 0, at_start
        self._free = -at_start  # threads without a task, less the tasks without a thread
        self.start_missing()
        self._free += at_start

    def submit(self, task: Task) -> bool:
        """Has a task carried out as soon as a thread is free. Returns False where too many wait already."""
        with self._lock:
            if -self._free >= self._longest_queue:
                return False
            self._free -= 1
        self._tasks.put(task)
        self.start_missing()
        return True

    def start_missing(self) -> None:
        """Starts threads for the tasks that wait, as far as there may be more; to be called now and then."""
        with self._lock:
            while self._free < 0 and self._count < self._most:
                try:
                    threading.Thread(target=self._work, name=f"{self._name} {self._count}", daemon=True).start()
                except (RuntimeError, MemoryError) as error:  # "can't start new thread"
                    self._on_shortage(error)
                    return
                self._count += 1
                self._free += 1

    def close(self) -> None:
        """Ends each thread when it has no task."""
        for _ in range(self._count):
            self._tasks.put(None)

    def _work(self) -> None:
        while True:
            try:
                task = self._tasks.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                if self._may_leave():
                    return
                continue
            if task is None:
                return
            try:
                task()
            except Exception:
                log.exception("A request ended unexpectedly")
            del task  # what it refers to shall not live until the next one
            with self._lock:
                self._free += 1

    def _may_leave(self) -> bool:
        with self._lock:
            if self._free <= 0 or self._count <= self._at_start:  # a task is on its way
                return False
            self._free -= 1
            self._count -= 1
            return True
