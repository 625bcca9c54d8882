"""WriterThread: one save at a time beside training, each outcome taken once, and a disk that hangs holds up nobody for ever."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from quadra.errors import (
    DamagedFileError,
    FolderChangedError,
    FolderUnusableError,
    QuadraError,
    SaveError,
    SaveTimeoutError,
)
from quadra.storage import writer_thread
from quadra.storage.save_store import Receipt
from quadra.storage.writer_thread import WriterThread
from tests.helpers.state_helpers import Crash, record

PATIENCE = 30.0


def receipt(count: int = 3) -> Receipt:
    return Receipt(record(iteration_count=count), size=400, written=500, full=True)


class Disk:
    """A disk that holds every save back until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()

    def commit(self) -> Receipt:
        self.begun.set()
        assert self.go.wait(PATIENCE)
        return receipt()


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def saver(disk: Disk) -> Iterator[WriterThread]:
    saver = WriterThread()
    yield saver
    disk.go.set()
    saver.close(lambda: None)


def test_a_save_is_written_on_another_thread_and_its_outcome_taken_once(saver: WriterThread) -> None:
    threads: list[threading.Thread] = []

    def commit() -> Receipt:
        threads.append(threading.current_thread())
        return receipt(7)

    assert (saver.is_busy, saver.has_ended) == (False, False)
    saver.begin(commit).result(PATIENCE)
    assert threads != [threading.current_thread()]
    assert (saver.is_busy, saver.has_ended) == (False, True)
    assert saver.result().record.iteration_count == 7
    assert (saver.is_busy, saver.has_ended) == (False, False)


def test_while_a_save_is_written_the_caller_goes_on_and_no_other_begins(saver: WriterThread, disk: Disk) -> None:
    writing = saver.begin(disk.commit)
    assert disk.begun.wait(PATIENCE)
    assert (saver.is_busy, saver.has_ended) == (True, False)
    ran: list[int] = []
    with pytest.raises(SaveTimeoutError, match="has not finished"):
        saver.begin(lambda: ran.append(1) or receipt())  # type: ignore[func-returns-value]  # notes that it ran
    with pytest.raises(SaveTimeoutError):
        saver.require_idle()
    disk.go.set()
    assert writing.result(PATIENCE) == saver.result()
    saver.require_idle()
    assert ran == []


def test_waiting_ends_with_the_save_whatever_came_of_it(saver: WriterThread) -> None:
    saver.wait()
    saver.begin(receipt)
    saver.wait()
    assert saver.result() == receipt()
    saver.begin(failing_with(OSError(28, "No space left on device")))
    saver.wait()
    assert saver.has_ended


def test_a_disk_that_hangs_is_told_and_its_save_still_counts_when_it_ends(
    saver: WriterThread, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_thread, "TIMEOUT", 0.05)
    writing = saver.begin(disk.commit)
    with pytest.raises(SaveTimeoutError, match=r"not answered for 0\.05 seconds"):
        saver.wait()
    assert saver.is_busy
    disk.go.set()
    writing.result(PATIENCE)
    saver.wait()
    assert saver.result() == receipt()


def failing_with(error: BaseException) -> Callable[[], Receipt]:
    def commit() -> Receipt:
        raise error

    return commit


def test_the_reason_of_a_failed_save_is_the_systems_and_names_the_file(saver: WriterThread) -> None:
    saver.begin(failing_with(OSError(28, "No space left on device", "/state/metrics_history.pkl")))
    saver.wait()
    with pytest.raises(SaveError, match=r"No space left on device \(/state/metrics_history\.pkl\)"):
        saver.result()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (SaveError("the reason"), SaveError),
        (FolderChangedError("the reason"), FolderChangedError),
        (FolderUnusableError("the reason"), SaveError),
        (DamagedFileError("file", "the reason"), SaveError),
        (OSError("the reason"), SaveError),
        (MemoryError("the reason"), SaveError),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_whatever_fails_is_a_failed_save_with_its_reason(
    saver: WriterThread, error: Exception, kind: type[QuadraError], caplog: pytest.LogCaptureFixture
) -> None:
    saver.begin(failing_with(error))
    saver.wait()
    with pytest.raises(SaveError, match="the reason") as failed:
        saver.result()
    assert type(failed.value) is kind
    unforeseen = [line for line in caplog.records if line.levelno >= logging.ERROR]
    assert bool(unforeseen) == isinstance(error, MemoryError)


def test_the_end_of_the_process_is_no_failed_save(saver: WriterThread) -> None:
    saver.begin(failing_with(Crash()))
    saver.wait()
    with pytest.raises(Crash):
        saver.result()


def test_after_a_failed_save_the_next_one_works(saver: WriterThread) -> None:
    for _ in range(3):
        saver.begin(failing_with(OSError(5, "Input/output error")))
        saver.wait()
        with pytest.raises(SaveError):
            saver.result()
        saver.begin(receipt)
        saver.wait()
        assert saver.result() == receipt()


def test_closing_an_idle_saver_is_done_at_once() -> None:
    saver, done = WriterThread(), threading.Event()
    saver.begin(receipt).result(PATIENCE)
    saver.close(done.set)
    assert done.is_set()


def test_closing_while_a_save_is_written_is_done_when_it_ends(disk: Disk) -> None:
    saver, done = WriterThread(), threading.Event()
    writing = saver.begin(disk.commit)
    assert disk.begun.wait(PATIENCE)
    saver.close(done.set)
    assert not done.is_set()
    disk.go.set()
    assert writing.result(PATIENCE) == receipt()
    assert done.wait(PATIENCE)
