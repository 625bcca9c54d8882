"""StateFolder: one owner at a time, files replaced whole, and nothing touched that is not ours."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from quadra.errors import (
    DamagedFileError,
    FolderLockedError,
    FolderUnusableError,
    InaccessibleFileError,
    MissingFileError,
)
from quadra.folder import FILES, RESET_MARKER, RUNS, SET_ASIDE, StateFolder, read_file, replace_file
from tests.state_helpers import REPOSITORY, RUN_A, RUN_B, Crash, fault, files_of

STAMP = "20260101T000000Z"
HOLD = """
import sys
from quadra.folder import StateFolder
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


def three_files(folder: Path, mark: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (folder / name).write_text(f"{mark} {name}")
    return folder


def three_of(folder: Path) -> list[str]:
    return [(folder / name).read_text() for name in FILES]


def test_a_folder_that_is_not_there_is_made_with_its_parents(tmp_path: Path) -> None:
    with StateFolder(tmp_path / "a" / "b") as folder:
        assert folder.path.is_dir()
        assert folder.is_held


def test_a_second_owner_in_this_process_is_refused(tmp_path: Path) -> None:
    with StateFolder(tmp_path), pytest.raises(FolderLockedError, match=f"in use by process {os.getpid()}"):
        StateFolder(tmp_path)


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


def test_a_refused_owner_clears_nothing(tmp_path: Path) -> None:
    with StateFolder(tmp_path):
        (tmp_path / f".{FILES[0]}.tmp").write_text("being written")
        with pytest.raises(FolderLockedError):
            StateFolder(tmp_path)
        assert (tmp_path / f".{FILES[0]}.tmp").exists()


def test_a_closed_folder_is_free(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.close()
    folder.close()
    assert not folder.is_held
    StateFolder(tmp_path).close()


def test_a_folder_whose_owner_was_killed_is_free_at_once(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path) as other:
        other.kill()
        other.wait()
        StateFolder(tmp_path).close()


def test_a_folder_whose_owner_ended_is_free_at_once(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path) as other:
        other.communicate()
        assert other.returncode == 0
        StateFolder(tmp_path).close()


def test_a_file_in_the_place_of_the_folder_is_told_and_left(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("mine")
    with pytest.raises(FolderUnusableError, match="--state-dir"):
        StateFolder(tmp_path / "state")
    assert (tmp_path / "state").read_text() == "mine"


def test_a_folder_under_a_file_is_told_and_the_file_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FolderUnusableError):
        StateFolder(tmp_path / "file" / "state")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / ".lock").symlink_to(tmp_path / "mine")
    with pytest.raises(FolderUnusableError):
        StateFolder(tmp_path / "state")
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / RESET_MARKER).touch()
    three_files(tmp_path, "old")
    with fault(1, PermissionError(errno.EACCES, "Permission denied"), ("unlink",)), pytest.raises(FolderUnusableError):
        StateFolder(tmp_path)
    StateFolder(tmp_path).close()


def test_a_replaced_file_holds_the_new_content(tmp_path: Path) -> None:
    path = tmp_path / FILES[0]
    for content in (b"first", b"", b"second" * 100_000):
        replace_file(path, content)
        assert files_of(tmp_path) == {FILES[0]: content}


@pytest.mark.parametrize(
    ("operation", "code"), [("fsync", errno.EIO), ("replace", errno.EACCES), ("fsync", errno.ENOSPC)]
)
def test_a_replacement_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, operation: str, code: int
) -> None:
    path = tmp_path / FILES[0]
    path.write_bytes(b"old")
    with fault(1, OSError(code, os.strerror(code)), (operation,)), pytest.raises(OSError, match=os.strerror(code)):
        replace_file(path, b"new")
    assert files_of(tmp_path) == {FILES[0]: b"old"}


def test_a_replacement_that_does_not_fit_on_the_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="only POSIX systems limit the size of files")
    path = tmp_path / FILES[0]
    path.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            replace_file(path, b"new" * 1_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert files_of(tmp_path) == {FILES[0]: b"old"}


def test_a_replacement_that_is_cut_off_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path, seen = tmp_path / FILES[0], []
    for number in itertools.count(1):
        path.write_bytes(b"old")
        with contextlib.suppress(Crash), fault(number, Crash()) as cut:
            replace_file(path, b"new")
        StateFolder(tmp_path).close()
        assert files_of(tmp_path) in ({FILES[0]: b"old"}, {FILES[0]: b"new"})
        seen.append(path.read_bytes())
        if not cut.happened:
            break
    assert seen == sorted(seen, reverse=True)
    assert set(seen) == {b"old", b"new"}


def test_a_replacement_takes_the_place_of_a_link_and_leaves_its_target(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / FILES[0]).symlink_to(tmp_path / "mine")
    replace_file(tmp_path / FILES[0], b"new")
    assert (tmp_path / "mine").read_text() == "mine"
    assert not (tmp_path / FILES[0]).is_symlink()


def test_temporary_files_of_a_save_that_was_cut_off_are_cleared_and_others_stay(tmp_path: Path) -> None:
    three_files(tmp_path, "good")
    three_files(tmp_path / RUNS / f".{RUN_A}.tmp", "half")
    (tmp_path / f".{FILES[1]}.tmp").write_text("half")
    (tmp_path / ".mine.tmp").write_text("mine")
    StateFolder(tmp_path).close()
    assert set(files_of(tmp_path)) == {*FILES, ".mine.tmp"}


def test_a_link_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / FILES[0]).symlink_to(tmp_path / "mine")
    (tmp_path / FILES[1]).mkdir()
    for name in FILES[:2]:
        with pytest.raises(DamagedFileError) as refused:
            read_file(tmp_path / name)
        assert refused.value.file == name


def test_a_file_that_is_not_there_is_told_from_one_that_is_withheld(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingFileError):
        read_file(tmp_path / FILES[0])

    def withheld(_: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", withheld)
    with pytest.raises(InaccessibleFileError, match="Permission denied"):
        read_file(tmp_path / FILES[0])


def test_a_run_is_copied_and_an_older_copy_of_it_replaced(tmp_path: Path) -> None:
    with StateFolder(tmp_path) as folder:
        for mark in ("first", "second"):
            three_files(tmp_path, mark)
            folder.set_aside_run(RUN_A)
            assert folder.run_folders() == [tmp_path / RUNS / RUN_A]
            assert three_of(tmp_path / RUNS / RUN_A) == three_of(tmp_path) == [f"{mark} {name}" for name in FILES]
        folder.remove_run(RUN_A)
        assert folder.run_folders() == []


@pytest.mark.parametrize("error", [Crash(), OSError(errno.ENOSPC, "No space left on device")], ids=["crash", "full"])
def test_a_run_is_copied_complete_or_not_at_all(tmp_path: Path, error: BaseException) -> None:
    copied = 0
    for number in itertools.count(1):
        path = three_files(tmp_path / str(number), "new")
        with StateFolder(path) as folder:
            with contextlib.suppress(Crash, OSError), fault(number, error) as cut:
                folder.set_aside_run(RUN_A)
            for run in folder.run_folders():
                copied += 1
                assert three_of(run) == three_of(path)
            assert three_of(path) == [f"new {name}" for name in FILES]
        with StateFolder(path) as folder:
            leftovers = {name for name in files_of(path) if ".tmp" in name}
            assert leftovers == set()
            folder.set_aside_run(RUN_A)
            assert three_of(path / RUNS / RUN_A) == three_of(path)
        if not cut.happened:
            break
    assert copied >= 1
    assert number > 5


def test_a_run_is_not_copied_through_a_link(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path = three_files(tmp_path / "state", "new")
    (path / RUNS).symlink_to(elsewhere)
    with StateFolder(path) as folder:
        with contextlib.suppress(OSError, FolderUnusableError):
            folder.set_aside_run(RUN_A)
            assert [three_of(run) for run in folder.run_folders()] == [three_of(path)]
        assert files_of(elsewhere) == {}


def test_a_reset_that_fails_does_not_delete_what_comes_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with StateFolder(three_files(tmp_path / "state", "old")) as folder:
        with monkeypatch.context() as patch:
            patch.setattr("quadra.folder._remove_folder", _raise_busy)
            patch.setattr("quadra.folder._own_folders", lambda *_: [tmp_path])
            with pytest.raises(OSError, match="busy"):
                folder.reset()
        three_files(tmp_path / "state", "new")
    with StateFolder(tmp_path / "state"):
        assert three_of(tmp_path / "state") == [f"new {name}" for name in FILES]


def _raise_busy(*_: object) -> None:
    raise OSError(16, "busy")


def test_a_users_file_in_a_runs_folder_stays_and_holds_up_nothing(tmp_path: Path) -> None:
    with StateFolder(three_files(tmp_path / "state", "first")) as folder:
        folder.set_aside_run(RUN_A)
        note = folder.path / RUNS / RUN_A / "notes.txt"
        note.write_text("mine")
        folder.remove_run(RUN_A)
        assert [file.name for file in (folder.path / RUNS / RUN_A).iterdir()] == ["notes.txt"]
        three_files(tmp_path / "state", "second")
        folder.set_aside_run(RUN_A)
        assert three_of(folder.path / RUNS / RUN_A) == [f"second {name}" for name in FILES]
        assert note.read_text() == "mine"


def test_damaged_files_are_moved_and_never_replace_others(tmp_path: Path) -> None:
    with StateFolder(tmp_path) as folder:
        targets = []
        for mark in ("first", "second", "third"):
            three_files(tmp_path, mark)
            target = folder.set_aside_damaged(tmp_path)
            assert target is not None
            targets.append(target)
            assert not any((tmp_path / name).exists() for name in FILES)
        assert len(set(targets)) == 3
        kept = [three_of(target) for target in targets]
        assert kept == [[f"{mark} {name}" for name in FILES] for mark in ("first", "second", "third")]
        assert all(target.parent == tmp_path / SET_ASIDE for target in targets)


def test_a_damaged_run_is_moved_but_what_the_user_put_there_stays(tmp_path: Path) -> None:
    run = three_files(tmp_path / RUNS / RUN_A, "bad")
    (run / "notes.txt").write_text("mine")
    with StateFolder(tmp_path) as folder:
        target = folder.set_aside_damaged(run)
        assert target is not None
        assert three_of(target) == [f"bad {name}" for name in FILES]
        assert files_of(run) == {"notes.txt": b"mine"}


def test_nothing_is_set_aside_where_nothing_is(tmp_path: Path) -> None:
    with StateFolder(tmp_path) as folder:
        assert folder.set_aside_damaged(tmp_path) is None
        assert not (tmp_path / SET_ASIDE).exists()


def full_folder(path: Path) -> set[str]:
    """A folder with states in every place, and with the user's own things beside them; returns the names of those."""
    for place in (
        path,
        path / RUNS / RUN_A,
        path / RUNS / RUN_B,
        path / SET_ASIDE / STAMP,
        path / SET_ASIDE / f"{STAMP}-1",
    ):
        three_files(place, "ours")
    mine = {
        "notes.txt",
        f"{FILES[0]}.bak",
        f"{RUNS}/notes.txt",
        f"{RUNS}/{RUN_A}/notes.txt",
        f"{RUNS}/my best run/{FILES[0]}",
        f"{RUNS}/{RUN_A[1:]}/{FILES[1]}",
        f"{SET_ASIDE}/notes.txt",
        f"{SET_ASIDE}/yesterday/{FILES[2]}",
        f"{SET_ASIDE}/{STAMP}-1/notes.txt",
        f"backup/{FILES[0]}",
    }
    for name in mine:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("mine")
    return mine


def test_a_reset_deletes_what_it_says_and_leaves_everything_else(tmp_path: Path) -> None:
    mine = full_folder(tmp_path)
    with StateFolder(tmp_path) as folder:
        announced = {file.as_posix() for file in folder.deletable()}
        assert announced == set(files_of(tmp_path)) - mine
        folder.reset()
        assert set(files_of(tmp_path)) == mine
        assert folder.deletable() == []
        assert folder.is_held
    assert all(content == b"mine" for content in files_of(tmp_path).values())
    assert not (tmp_path / RUNS / RUN_B).exists()
    assert not (tmp_path / RESET_MARKER).exists()


def test_a_reset_of_our_own_files_only_leaves_an_empty_folder(tmp_path: Path) -> None:
    three_files(tmp_path, "ours")
    three_files(tmp_path / RUNS / RUN_A, "ours")
    three_files(tmp_path / SET_ASIDE / STAMP, "ours")
    with StateFolder(tmp_path) as folder:
        folder.reset()
    assert [entry.name for entry in tmp_path.iterdir()] == [".lock"]


def test_a_reset_follows_no_link(tmp_path: Path) -> None:
    outside, path = tmp_path / "outside", tmp_path / "state"
    three_files(outside / RUN_A, "mine")
    three_files(outside / STAMP, "mine")
    three_files(outside, "mine")
    before = files_of(outside)
    (path / RUNS).mkdir(parents=True)
    (path / RUNS / RUN_B).symlink_to(outside / RUN_A)
    (path / SET_ASIDE).symlink_to(outside)
    (path / FILES[0]).symlink_to(outside / FILES[0])
    (path / "link").symlink_to(outside)
    with StateFolder(path) as folder:
        folder.reset()
    assert files_of(outside) == before
    assert (path / RUNS / RUN_B).is_symlink()
    assert (path / SET_ASIDE).is_symlink()
    assert (path / "link").is_symlink()


def test_a_reset_does_not_follow_a_linked_folder_of_runs(tmp_path: Path) -> None:
    outside, path = tmp_path / "outside", tmp_path / "state"
    three_files(outside / RUN_A, "mine")
    path.mkdir()
    (path / RUNS).symlink_to(outside)
    with StateFolder(path) as folder:
        folder.reset()
    assert three_of(outside / RUN_A) == [f"mine {name}" for name in FILES]
    assert (path / RUNS).is_symlink()


def test_a_reset_that_was_cut_off_is_finished_by_the_next_open(tmp_path: Path) -> None:
    for number in itertools.count(1):
        path = tmp_path / str(number)
        mine = full_folder(path)
        with StateFolder(path) as folder, contextlib.suppress(Crash), fault(number, Crash()) as cut:
            folder.reset()
        StateFolder(path).close()
        assert set(files_of(path)) == mine, f"cut off at operation {number}"
        if not cut.happened:
            break
    assert number > 15
