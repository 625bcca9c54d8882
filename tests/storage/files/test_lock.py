"""FolderLock: one owner at a time, in this process or another, and a dead owner blocks nobody."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from quadra.errors import FolderLockedError, FolderUnusableError
from quadra.storage.files import lock as lock_module
from quadra.storage.files.lock import LOCK, FolderLock, _place
from quadra.storage.folder import StateFolder
from tests.helpers.state_helpers import REPOSITORY
from tests.helpers.waiting import PATIENCE

HOLD = """
import sys
from quadra.storage.folder import StateFolder
with StateFolder(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def held_elsewhere(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder until its input ends."""
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        yield other
    finally:
        other.kill()
        other.communicate()


def test_a_second_owner_in_this_process_is_refused(tmp_path: Path) -> None:
    with StateFolder(tmp_path), pytest.raises(FolderLockedError, match=f"in use by process {os.getpid()}"):
        StateFolder(tmp_path)


@pytest.mark.process
def test_a_folder_held_by_another_process_is_refused_and_the_message_names_it(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path) as other:
        with pytest.raises(FolderLockedError, match=f"in use by process {other.pid}") as refused:
            StateFolder(tmp_path)
        assert str(tmp_path) in refused.value.message


def test_a_refused_owner_leaves_the_folder_to_the_first(tmp_path: Path) -> None:
    with StateFolder(tmp_path) as first:
        for _ in range(2):
            with pytest.raises(FolderLockedError):
                StateFolder(tmp_path)
        assert first.is_held


@pytest.mark.process
def test_a_folder_whose_owner_was_killed_is_free_at_once(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path) as other:
        other.kill()
        other.wait()
        StateFolder(tmp_path).close()


@pytest.mark.process
def test_a_folder_whose_owner_ended_is_free_at_once(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path) as other:
        other.communicate()
        assert other.returncode == 0
        StateFolder(tmp_path).close()


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / ".lock").symlink_to(tmp_path / "mine")
    with pytest.raises(FolderUnusableError):
        StateFolder(tmp_path / "state")
    assert (tmp_path / "mine").read_text() == "mine"


def test_the_lock_file_names_the_process_that_holds_it_where_its_number_holds_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text("12345678901234567890\nand more\nand more\n" * 10)
    lock = FolderLock(tmp_path)
    assert (tmp_path / LOCK).read_text() == f"{os.getpid()}\n{_place()}\n"
    lock.release()


def test_an_owner_without_a_readable_number_is_another_process(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    (tmp_path / LOCK).write_bytes(b"\xff\x00 nonsense")
    with pytest.raises(FolderLockedError, match="in use by another process"):
        FolderLock(tmp_path)
    lock.release()


@pytest.mark.process
def test_a_refused_owner_leaves_the_number_of_the_first(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path) as other:
        with pytest.raises(FolderLockedError):
            FolderLock(tmp_path)
        assert (tmp_path / LOCK).read_text() == f"{other.pid}\n{_place()}\n"


def test_a_released_lock_is_free_and_can_be_released_again(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    assert lock.is_held
    lock.release()
    lock.release()
    assert not lock.is_held
    assert not lock.still_stands()
    FolderLock(tmp_path).release()


def test_a_folder_that_is_not_there_cannot_be_locked(tmp_path: Path) -> None:
    with pytest.raises(FolderUnusableError, match="--state-dir"):
        FolderLock(tmp_path / "gone")


def test_a_lock_stands_while_its_file_is_the_one_in_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.mkdir()
    lock = FolderLock(path)
    assert lock.still_stands()
    path.rename(tmp_path / "moved")
    assert not lock.still_stands()
    shutil.copytree(tmp_path / "moved", path)
    assert not lock.still_stands()
    shutil.rmtree(path)
    (tmp_path / "moved").rename(path)
    assert lock.still_stands()
    lock.release()


@pytest.fixture
def ended() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("place", "named"),
    [("another boot 4026531836\n", " of another container or machine"), ("", "")],
    ids=["another place", "an earlier version"],
)
@pytest.mark.process
def test_an_owner_of_which_nothing_is_known_here_is_not_waited_for(
    tmp_path: Path, ended: int, place: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_module, "LAST_WRITE", PATIENCE)
    lock = FolderLock(tmp_path)
    (tmp_path / LOCK).write_text(f"{ended}\n{place}")
    with pytest.raises(FolderLockedError, match=f"in use by process {ended}{named}. Stop it first"):
        FolderLock(tmp_path)
    lock.release()


@pytest.mark.process
def test_the_last_write_of_a_dead_owner_is_waited_for_and_not_for_ever(
    tmp_path: Path, ended: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = FolderLock(tmp_path)
    (tmp_path / LOCK).write_text(f"{ended}\n{_place()}\n")
    monkeypatch.setattr(lock_module, "LAST_WRITE", 0.1)
    with pytest.raises(FolderLockedError, match=f"process {ended}, which has ended, but whose last write"):
        FolderLock(tmp_path)
    monkeypatch.setattr(lock_module, "LAST_WRITE", PATIENCE)
    monkeypatch.setattr(lock_module.time, "sleep", lambda _: writer.release())
    FolderLock(tmp_path).release()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_disk_without_locks_is_told_as_such(tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(FolderUnusableError, match=f"cannot be locked: {os.strerror(number)}") as refused:
        StateFolder(tmp_path)
    assert "in use" not in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
