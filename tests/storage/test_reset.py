"""Reset: what is ours goes, also after one that was cut off; nothing else is touched, and no link is followed."""

from __future__ import annotations

import contextlib
import errno
import itertools
from pathlib import Path

import pytest

from quadra.storage.folder import StateFolder
from quadra.storage.layout import FILES, METRICS_COPY, RESET_MARKER, RING, RUNS, SAVES, SET_ASIDE
from quadra.storage.reset import deletable, describe_deletable
from tests.helpers.state_helpers import RUN_A, RUN_B, Crash, fault, files_of, three_files, three_of

KEPT = (*RING, METRICS_COPY)
STAMP = "20260101T000000Z"


def test_temporary_files_of_a_save_that_was_cut_off_are_cleared_and_others_stay(tmp_path: Path) -> None:
    three_files(tmp_path, "good")
    three_files(tmp_path / RUNS / f".{RUN_A}.tmp", "half")
    (tmp_path / f".{FILES[1]}.tmp").write_text("half")
    (tmp_path / SAVES).mkdir()
    for name in KEPT:
        (tmp_path / SAVES / f".{name}.tmp").write_text("half")
    for name in (".mine.tmp", f"{SAVES}/.mine.tmp"):
        (tmp_path / name).write_text("mine")
    StateFolder(tmp_path).close()
    assert set(files_of(tmp_path)) == {*FILES, ".mine.tmp", f"{SAVES}/.mine.tmp"}


def test_temporary_files_are_not_cleared_through_a_link(tmp_path: Path) -> None:
    outside, path = tmp_path / "outside", tmp_path / "state"
    outside.mkdir()
    path.mkdir()
    (outside / f".{METRICS_COPY}.tmp").write_text("mine")
    (path / SAVES).symlink_to(outside)
    StateFolder(path).close()
    assert files_of(outside) == {f".{METRICS_COPY}.tmp": b"mine"}


def test_a_reset_that_fails_does_not_delete_what_comes_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with StateFolder(three_files(tmp_path / "state", "old")) as folder:
        with monkeypatch.context() as patch:
            patch.setattr("quadra.storage.reset.remove_state_folder", _raise_busy)
            patch.setattr("quadra.storage.reset.own_folders", lambda *_: [tmp_path])
            with pytest.raises(OSError, match="busy"):
                folder.reset()
        three_files(tmp_path / "state", "new")
    with StateFolder(tmp_path / "state"):
        assert three_of(tmp_path / "state") == [f"new {name}" for name in FILES]


def test_a_reset_that_fails_anywhere_does_not_delete_what_comes_after_it(tmp_path: Path) -> None:
    for number in itertools.count(1):
        path = tmp_path / str(number)
        full_folder(path)
        with StateFolder(path) as folder:
            with contextlib.suppress(OSError), fault(number, OSError(errno.EIO, "Input/output error")) as failing:
                folder.reset()
            three_files(path, "new")
        with StateFolder(path):
            assert three_of(path) == [f"new {name}" for name in FILES], f"failed at operation {number}"
        if not failing.happened:
            break
    assert number > 15


def _raise_busy(*_: object) -> None:
    raise OSError(16, "busy")


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
    for folder, names in ((path / SAVES, KEPT), (path / SET_ASIDE / STAMP, (METRICS_COPY, RING[3]))):
        folder.mkdir(exist_ok=True)
        for name in names:
            (folder / name).write_text("ours")
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
        f"{SAVES}/notes.txt",
        f"{SAVES}/12.pth",
        f"{SAVES}/{FILES[0]}",
    }
    for name in mine:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("mine")
    return mine


def test_a_reset_deletes_what_it_says_and_leaves_everything_else(tmp_path: Path) -> None:
    mine = full_folder(tmp_path)
    with StateFolder(tmp_path) as folder:
        announced = {file.as_posix() for file in deletable(folder.layout)}
        assert announced == set(files_of(tmp_path)) - mine
        folder.reset()
        assert set(files_of(tmp_path)) == mine
        assert deletable(folder.layout) == []
        assert folder.is_held
    assert all(content == b"mine" for content in files_of(tmp_path).values())
    assert not (tmp_path / RUNS / RUN_B).exists()
    assert not (tmp_path / RESET_MARKER).exists()


def test_what_a_reset_deletes_is_said_with_folders_counted(tmp_path: Path) -> None:
    full_folder(tmp_path)
    with StateFolder(tmp_path) as folder:
        said = describe_deletable(folder.layout)
        assert set(said) == {
            *FILES, f"{RUNS}/{RUN_A}/ (3 files)", f"{RUNS}/{RUN_B}/ (3 files)", f"{SAVES}/ (13 files)",
            f"{SET_ASIDE}/{STAMP}/ (5 files)", f"{SET_ASIDE}/{STAMP}-1/ (3 files)",
        }  # fmt: skip
        folder.reset()
        assert describe_deletable(folder.layout) == ()


def test_a_reset_of_our_own_files_only_leaves_an_empty_folder(tmp_path: Path) -> None:
    three_files(tmp_path, "ours")
    three_files(tmp_path / RUNS / RUN_A, "ours")
    three_files(tmp_path / SET_ASIDE / STAMP, "ours")
    (tmp_path / SAVES).mkdir()
    (tmp_path / SAVES / METRICS_COPY).write_text("ours")
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


def test_a_reset_does_not_follow_a_linked_folder_of_saves(tmp_path: Path) -> None:
    outside, path = tmp_path / "outside", tmp_path / "state"
    outside.mkdir()
    path.mkdir()
    for name in KEPT:
        (outside / name).write_text("mine")
    before = files_of(outside)
    (path / SAVES).symlink_to(outside)
    with StateFolder(path) as folder:
        assert deletable(folder.layout) == []
        folder.reset()
    assert files_of(outside) == before


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
