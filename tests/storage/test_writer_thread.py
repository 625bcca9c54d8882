"""WriterThread: saves are written beside training, one at a time, and the folder is freed behind the last one."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from quadra.errors import SaveTimeoutError
from quadra.storage import pending_save
from quadra.storage.pending_save import Receipt
from quadra.storage.writer_thread import WriterThread
from tests.helpers.state_helpers import record
from tests.helpers.waiting import PATIENCE


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
def writer(disk: Disk) -> Iterator[WriterThread]:
    writer = WriterThread()
    yield writer
    disk.go.set()
    writer.close(None, lambda: None)


def test_a_save_is_written_on_another_thread_and_its_outcome_is_that_of_the_commit(writer: WriterThread) -> None:
    threads: list[threading.Thread] = []

    def commit() -> Receipt:
        threads.append(threading.current_thread())
        return receipt(7)

    pending = writer.begin(commit)
    pending.wait(PATIENCE)
    assert threads != [threading.current_thread()]
    assert (pending.writer, pending.has_ended) == ("thread", True)
    assert pending.receipt().record.iteration_count == 7


def test_while_a_save_is_written_the_caller_goes_on(writer: WriterThread, disk: Disk) -> None:
    pending = writer.begin(disk.commit)
    assert disk.begun.wait(PATIENCE)
    assert not pending.has_ended
    with pytest.raises(SaveTimeoutError, match="has not finished"):
        pending.require_ended()
    disk.go.set()
    pending.wait(PATIENCE)
    pending.require_ended()
    assert pending.receipt() == receipt()


def test_a_disk_that_hangs_is_told_and_its_save_still_counts_when_it_ends(
    writer: WriterThread, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_save, "TIMEOUT", 0.05)
    pending = writer.begin(disk.commit)
    with pytest.raises(SaveTimeoutError, match=r"not answered for 0\.05 seconds"):
        pending.wait()
    assert not pending.has_ended
    disk.go.set()
    pending.wait(PATIENCE)
    assert pending.receipt() == receipt()


def test_who_asked_is_called_on_the_writer_thread_once_the_save_has_ended(writer: WriterThread, disk: Disk) -> None:
    ended: list[tuple[bool, threading.Thread]] = []
    told = threading.Event()

    def on_end() -> None:
        ended.append((pending.has_ended, threading.current_thread()))
        told.set()

    pending = writer.begin(disk.commit, on_end)
    assert disk.begun.wait(PATIENCE)
    assert ended == []
    disk.go.set()
    assert told.wait(PATIENCE)
    ((had_ended, thread),) = ended
    assert had_ended
    assert thread is not threading.current_thread()


def test_after_a_failed_save_the_next_one_works(writer: WriterThread) -> None:
    def failing() -> Receipt:
        raise OSError(5, "Input/output error")

    for _ in range(3):
        failed = writer.begin(failing)
        failed.wait(PATIENCE)
        pending = writer.begin(receipt)
        pending.wait(PATIENCE)
        assert pending.receipt() == receipt()


def test_closing_with_nothing_to_write_is_done_at_once() -> None:
    writer, done = WriterThread(), threading.Event()
    pending = writer.begin(receipt)
    pending.wait(PATIENCE)
    writer.close(pending, done.set)
    assert done.is_set()


def test_closing_while_a_save_is_written_is_done_when_it_ends(disk: Disk) -> None:
    writer, done = WriterThread(), threading.Event()
    pending = writer.begin(disk.commit)
    assert disk.begun.wait(PATIENCE)
    writer.close(pending, done.set)
    assert not done.is_set()
    disk.go.set()
    assert done.wait(PATIENCE)
    assert pending.receipt() == receipt()


def test_closing_does_not_wait_for_a_save_that_another_process_writes() -> None:
    writer, done = WriterThread(), threading.Event()
    writer.close(pending_save.PendingSave(lambda _: None, "process"), done.set)
    assert done.is_set()
