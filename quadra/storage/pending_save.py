"""PendingSave: a save that is being written, from its beginning until its receipt is taken.

`training/saving.py` owns the one that is under way; nothing else remembers it. Whether the writer thread or the writer
process writes the save, it is asked the same way, and it is durable once `receipt` returns, never before.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from quadra.errors import BadFileError, FolderError, SaveError, SaveTimeoutError
from quadra.storage.save_record import SaveRecord

log = logging.getLogger("quadra")

TIMEOUT = 10.0  # seconds that a disk may take for one save before it counts as failing
LONGEST_LOOK = 0.5  # seconds of waiting in one piece; what passes beyond twice that, this process did not run


@dataclass(frozen=True)
class Receipt:
    """What a save that is durable has cost and proved."""

    record: SaveRecord
    size: int  # bytes of the weights file
    written: int  # bytes in all
    full: bool  # whether all three files agree
    verified: bool = False  # whether the weights file was read back, and its checksum fitted
    remark: str = ""  # what went wrong beside the save
    seconds: float = 0.0  # that it took


Outcome = Receipt | BaseException


class PendingSave:
    """A save that is being written beside training; it is used by the thread that began it.

    `poll` blocks for so many seconds (None: without a limit), or until the save has ended; it returns the receipt, what
    went wrong, or None while the save is still being written. Time in which this process was stopped (SIGSTOP, a machine
    that slept) is no time that the disk took, and does not count.
    """

    def __init__(
        self,
        poll: Callable[[float | None], Outcome | None],
        writer: Literal["thread", "process"],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.writer = writer
        self.seconds = 0.0  # that it has taken so far, as far as this process has run and looked
        self._clock = clock
        self._looked_at = clock()
        self._poll = poll
        self._outcome: Outcome | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the save is durable or has failed; does not wait."""
        return self._ended_within(0.0)

    def require_ended(self) -> None:
        """Raises SaveTimeoutError while the save is being written."""
        if not self.has_ended:
            raise SaveTimeoutError("The disk has not finished the last save yet. It is tried again at the next turn.")

    def wait(self, timeout: float | None = None) -> None:
        """Blocks until the save has ended, well or not; for at most `timeout` seconds, by default TIMEOUT.

        Raises SaveTimeoutError when that takes too long; the save stays under way.
        """
        limit = TIMEOUT if timeout is None else timeout
        if not self._ended_within(limit):
            raise SaveTimeoutError(
                f"The disk has not answered for {limit:g} seconds. The save is still under way; nothing is lost yet."
            )

    def receipt(self) -> Receipt:
        """Blocks until the save is durable. Returns what it proved; raises SaveError where it failed."""
        self._ended_within(None)
        assert self._outcome is not None, "waited for without a limit"
        if isinstance(self._outcome, Receipt):
            return self._outcome
        if isinstance(self._outcome, SaveError) or not isinstance(self._outcome, Exception):
            raise self._outcome
        raise _save_error(self._outcome) from self._outcome

    def _ended_within(self, limit: float | None) -> bool:
        self._count_time()
        ends_at = None if limit is None else self.seconds + limit
        while self._outcome is None:
            self._look(None if ends_at is None else min(max(0.0, ends_at - self.seconds), LONGEST_LOOK))
            self._count_time()
            if ends_at is not None and self.seconds >= ends_at:
                break
        return self._outcome is not None

    def _look(self, seconds: float | None) -> None:
        try:
            self._outcome = self._poll(seconds)
        except Exception as error:  # noqa: BLE001  # a failure to learn the outcome is one: `receipt` raises it
            self._outcome = error

    def _count_time(self) -> None:
        now = self._clock()
        self.seconds += min(now - self._looked_at, 2.0 * LONGEST_LOOK)
        self._looked_at = now


def _save_error(error: Exception) -> SaveError:
    """Returns what a person reads of a save that failed."""
    if isinstance(error, (FolderError, BadFileError)):
        return SaveError(str(error))
    if isinstance(error, OSError):
        return SaveError(f"{error.strerror or error} ({error.filename or 'state directory'})")
    log.error("A save failed unexpectedly", exc_info=error)
    return SaveError(f"{type(error).__name__}: {error}")
