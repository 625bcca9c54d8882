"""WriterThread: the thread on which saves are written, one at a time, beside training."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

from quadra.byte_progress import carried
from quadra.errors import BadFileError, FolderError, SaveError, SaveTimeoutError

if TYPE_CHECKING:
    from quadra.storage.save_store import Receipt

log = logging.getLogger("quadra")

TIMEOUT = 10.0  # seconds that a disk may take for one save before it counts as failing


class Writing(Protocol):
    """A save that is being written."""

    def done(self) -> bool:
        """Whether it has ended."""

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait; what went wrong. Raises TimeoutError."""

    def result(self, timeout: float | None = None) -> Receipt:
        """Wait; what it proved. Raises what went wrong."""


class WriterThread:
    """At most one save is under way; used by one thread, which begins saves and takes their outcomes."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "saver")
        self._save: Writing | None = None
        self._began: float | None = None  # when a save that is written elsewhere began
        self.seconds = 0.0  # that the newest save took

    @property
    def is_busy(self) -> bool:
        """Whether a save is being written."""
        return self._save is not None and not self._save.done()

    @property
    def has_ended(self) -> bool:
        """Whether there is an outcome to take."""
        return self._save is not None and self._save.done()

    def require_idle(self) -> None:
        """Raise SaveTimeoutError while a save is being written."""
        if self.is_busy:
            raise SaveTimeoutError("The disk has not finished the last save yet. It is tried again at the next turn.")

    def take(self, writing: Writing) -> None:
        """A save that is being written elsewhere."""
        self.require_idle()
        self._save, self._began = writing, time.perf_counter()

    def begin(self, commit: Callable[[], Receipt]) -> Future[Receipt]:
        """Have a save written. Raises SaveTimeoutError while the last one is still being written."""
        self.require_idle()
        future = self._thread.submit(carried(self._timed), commit)
        self._save, self._began = future, None
        return future

    def _timed(self, commit: Callable[[], Receipt]) -> Receipt:
        started = time.perf_counter()
        receipt = commit()
        self.seconds = time.perf_counter() - started
        return receipt

    def wait(self) -> None:
        """Until no save is being written. Raises SaveTimeoutError when that takes too long; the save stays under way."""
        if self._save is None:
            return
        try:
            self._save.exception(TIMEOUT)
        except TimeoutError:
            raise SaveTimeoutError(
                f"The disk has not answered for {TIMEOUT:g} seconds. The save is still under way; nothing is lost yet."
            ) from None

    def result(self) -> Receipt:
        """Take the outcome of the save that has ended. Raises SaveError where it failed."""
        save, self._save = self._save, None
        assert save is not None, "a save has ended"
        if self._began is not None:
            self.seconds = time.perf_counter() - self._began
        try:
            return save.result()
        except SaveError:
            raise
        except (FolderError, BadFileError) as error:
            raise SaveError(str(error)) from error
        except OSError as error:
            raise SaveError(f"{error.strerror or error} ({error.filename or 'state directory'})") from error
        except Exception as error:
            log.exception("A save failed unexpectedly")
            raise SaveError(f"{type(error).__name__}: {error}") from error

    def close(self, then: Callable[[], None]) -> None:
        """Take no more saves; `then` is called once none is being written, at once where none is."""
        self._thread.shutdown(wait=False)
        if isinstance(self._save, Future) and self.is_busy:
            self._save.add_done_callback(lambda _: then())
        else:  # what the scribe may still be writing ends with the process that holds the folder
            then()
