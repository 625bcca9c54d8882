"""PendingSave: it is durable when its receipt is there and not before, and whatever fails is a failed save with its reason."""

from __future__ import annotations

import logging

import pytest

from quadra.errors import (
    DamagedFileError,
    FolderChangedError,
    FolderUnusableError,
    QuadraError,
    SaveError,
    SaveTimeoutError,
)
from quadra.storage import pending_save
from quadra.storage.pending_save import Outcome, PendingSave, Receipt
from tests.helpers.state_helpers import Crash, record

RECEIPT = Receipt(record(iteration_count=3), size=400, written=500, full=True)


class Writer:
    """Has an outcome after so many looks, and tells how long it was waited for; its clock goes on by that time, and by pauses."""

    def __init__(self, outcome: Outcome, looks: int = 1) -> None:
        self._outcome, self._looks = outcome, looks
        self.timeouts: list[float | None] = []
        self.now = 1000.0
        self.pauses: list[float] = []  # seconds for which the process is stopped at the next looks

    def poll(self, timeout: float | None) -> Outcome | None:
        self.timeouts.append(timeout)
        self.now += (timeout or 0.0) + (self.pauses.pop() if self.pauses else 0.0)
        return self._outcome if len(self.timeouts) >= self._looks else None

    def save(self) -> PendingSave:
        return PendingSave(self.poll, "process", lambda: self.now)

    def waited(self) -> float:
        """The seconds that were waited since this was last asked."""
        timeouts, self.timeouts = self.timeouts, []
        return sum(timeout or 0.0 for timeout in timeouts)


def pending(outcome: Outcome) -> PendingSave:
    return PendingSave(lambda _: outcome, "thread")


def test_a_save_has_not_ended_before_its_writer_says_so_and_is_then_not_asked_about_again() -> None:
    writer = Writer(RECEIPT, looks=3)
    save = PendingSave(writer.poll, "process")
    assert [save.has_ended for _ in range(5)] == [False, False, True, True, True]
    assert save.receipt() == save.receipt() == RECEIPT
    assert writer.timeouts == [0.0, 0.0, 0.0]  # a look never waits


def test_waiting_has_a_limit_and_the_save_stays_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(RECEIPT, looks=100)
    save = writer.save()
    with pytest.raises(SaveTimeoutError, match="has not answered for 10 seconds"):
        save.wait()
    assert writer.waited() == 10.0
    monkeypatch.setattr(pending_save, "TIMEOUT", 2.7)
    with pytest.raises(SaveTimeoutError, match=r"has not answered for 2\.7 seconds"):
        save.wait()
    assert writer.waited() == pytest.approx(2.7)
    assert save.seconds == pytest.approx(12.7)
    writer.timeouts = [0.0] * 99
    save.wait()
    assert save.seconds == pytest.approx(13.2)


def test_time_in_which_this_process_was_stopped_does_not_count() -> None:
    writer = Writer(RECEIPT, looks=100)
    writer.pauses = [3600.0, 30.0]
    save = writer.save()
    with pytest.raises(SaveTimeoutError):
        save.wait()
    assert writer.waited() == pytest.approx(9.0)  # of each pause, half a second may have been the disk's
    assert save.seconds == 10.0


def test_a_pause_between_two_looks_does_not_count_either() -> None:
    writer = Writer(RECEIPT, looks=100)
    save = writer.save()
    for _ in range(3):
        writer.now += 3600.0
        assert not save.has_ended
    assert save.seconds == 3.0
    writer.timeouts.clear()
    with pytest.raises(SaveTimeoutError):
        save.wait(1.0)
    assert writer.waited() == 1.0


@pytest.mark.parametrize("outcome", [RECEIPT, OSError(28, "No space left on device")], ids=["durable", "failed"])
def test_waiting_ends_with_the_save_whatever_came_of_it(outcome: Outcome) -> None:
    save = pending(outcome)
    save.wait()
    save.require_ended()
    assert save.has_ended


def test_the_reason_of_a_failed_save_is_the_systems_and_names_the_file() -> None:
    failed = pending(OSError(28, "No space left on device", "/state/metrics_history.pkl"))
    with pytest.raises(SaveError, match=r"No space left on device \(/state/metrics_history\.pkl\)"):
        failed.receipt()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (SaveError("the reason"), SaveError),
        (FolderChangedError("the reason"), FolderChangedError),
        (FolderUnusableError("the reason"), SaveError),
        (DamagedFileError("file", "the reason"), SaveError),
        (OSError("the reason"), SaveError),
        (TimeoutError("the reason"), SaveError),  # of the disk, as some network disks say
        (MemoryError("the reason"), SaveError),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_whatever_fails_is_a_failed_save_with_its_reason(
    error: Exception, kind: type[QuadraError], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SaveError, match="the reason") as failed:
        pending(error).receipt()
    assert type(failed.value) is kind
    unforeseen = [line for line in caplog.records if line.levelno >= logging.ERROR]
    assert bool(unforeseen) == isinstance(error, MemoryError)


def test_a_writer_that_cannot_be_asked_is_a_failed_save() -> None:
    def poll(_: float | None) -> None:
        raise OSError(9, "Bad file descriptor")

    save = PendingSave(poll, "process")
    assert save.has_ended
    with pytest.raises(SaveError, match="Bad file descriptor"):
        save.receipt()


def test_the_end_of_the_process_is_no_failed_save() -> None:
    with pytest.raises(Crash):
        pending(Crash()).receipt()
