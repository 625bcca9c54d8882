"""StateFolder: its places are ours alone, runs are kept whole, and nothing is touched that is not ours."""

from __future__ import annotations

import contextlib
import errno
import itertools
import shutil
from pathlib import Path

import pytest

from quadra.errors import FolderChangedError, FolderLockedError, FolderUnusableError
from quadra.storage.folder import StateFolder
from quadra.storage.layout import FILES, HISTORY, RESET_MARKER, RING, RUNS, SAVES, SET_ASIDE
from tests.helpers.state_helpers import RUN_A, RUN_B, Crash, fault, files_of

KEPT = (*RING, HISTORY)
STAMP = "20260101T000000Z"


def three_files(folder: Path, mark: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (folder / name).write_text(f"{mark} {name}")
    return folder


def pieces(mark: str) -> dict[str, list[bytes]]:
    """Three files in two pieces each, as `add_run` takes them."""
    return {name: [f"{mark} ".encode(), name.encode()] for name in FILES}


def three_of(folder: Path) -> list[str]:
    return [(folder / name).read_text() for name in FILES]


def test_a_folder_that_is_not_there_is_made_with_its_parents(tmp_path: Path) -> None:
    with StateFolder(tmp_path / "a" / "b") as folder:
        assert folder.path.is_dir()
        assert folder.is_held


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


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / RESET_MARKER).touch()
    three_files(tmp_path, "old")
    with fault(1, PermissionError(errno.EACCES, "Permission denied"), ("unlink",)), pytest.raises(FolderUnusableError):
        StateFolder(tmp_path)
    StateFolder(tmp_path).close()


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
    (outside / f".{HISTORY}.tmp").write_text("mine")
    (path / SAVES).symlink_to(outside)
    StateFolder(path).close()
    assert files_of(outside) == {f".{HISTORY}.tmp": b"mine"}


def test_the_folder_of_earlier_saves_is_made_and_is_never_a_link(tmp_path: Path) -> None:
    with StateFolder(tmp_path / "state") as folder:
        assert folder.saves_folder() == folder.saves_folder() == tmp_path / "state" / SAVES
        folder.saves_folder().rmdir()
        (tmp_path / "state" / SAVES).symlink_to(tmp_path)
        with pytest.raises(FolderUnusableError, match="links are not followed"):
            folder.saves_folder()


def test_only_plain_files_under_the_rings_names_are_earlier_saves(tmp_path: Path) -> None:
    (tmp_path / SAVES / RING[2]).mkdir(parents=True)
    for name in (RING[0], RING[11], HISTORY, "12.pth", "mine.pth"):
        (tmp_path / SAVES / name).write_text("")
    (tmp_path / SAVES / RING[1]).symlink_to(tmp_path / SAVES / RING[0])
    with StateFolder(tmp_path) as folder:
        assert sorted(folder.kept_saves()) == [tmp_path / SAVES / RING[0], tmp_path / SAVES / RING[11]]


def test_a_folder_that_is_still_there_is_our_own(tmp_path: Path) -> None:
    with StateFolder(tmp_path / "state") as folder:
        folder.require_own()
        three_files(tmp_path / "state", "new")
        folder.require_own()
        folder.take_anew()
        assert folder.is_held


@pytest.mark.parametrize("how", ["removed", "exchanged", "exchanged with its lock"])
def test_a_folder_that_was_exchanged_is_told_and_can_be_taken_anew(tmp_path: Path, how: str) -> None:
    path = tmp_path / "state"
    with StateFolder(path) as folder:
        three_files(path, "old")
        shutil.copytree(path, tmp_path / "backup")
        shutil.rmtree(path)
        if how != "removed":
            shutil.copytree(tmp_path / "backup", path)
        if how == "exchanged":
            (path / ".lock").unlink()
        said = "is not there any more" if how == "removed" else "was exchanged"
        with pytest.raises(FolderChangedError, match=said) as refused:
            folder.require_own()
        assert str(path) in refused.value.message
        folder.take_anew()
        folder.require_own()
        with pytest.raises(FolderLockedError):
            StateFolder(path)
    StateFolder(path).close()


def test_an_exchanged_folder_that_another_owner_holds_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with StateFolder(path) as folder:
        path.rename(tmp_path / "moved")
        with StateFolder(path) as other:
            with pytest.raises(FolderLockedError):
                folder.take_anew()
            other.require_own()
        folder.take_anew()
        folder.require_own()


def test_the_free_room_is_that_of_the_disk(tmp_path: Path) -> None:
    with StateFolder(tmp_path) as folder:
        assert 0 < folder.free_bytes() <= shutil.disk_usage(tmp_path).total


def test_a_run_is_written_and_an_older_copy_of_it_replaced(tmp_path: Path) -> None:
    with StateFolder(tmp_path) as folder:
        for mark in ("first", "second"):
            folder.add_run(RUN_A, pieces(mark))
            assert folder.run_folders() == [tmp_path / RUNS / RUN_A]
            assert three_of(tmp_path / RUNS / RUN_A) == [f"{mark} {name}" for name in FILES]
        folder.remove_run(RUN_A)
        assert folder.run_folders() == []


@pytest.mark.parametrize("error", [Crash(), OSError(errno.ENOSPC, "No space left on device")], ids=["crash", "full"])
def test_a_run_is_written_complete_or_not_at_all(tmp_path: Path, error: BaseException) -> None:
    written = 0
    for number in itertools.count(1):
        path = tmp_path / str(number)
        with StateFolder(path) as folder:
            with contextlib.suppress(Crash, OSError), fault(number, error) as cut:
                folder.add_run(RUN_A, pieces("new"))
            for run in folder.run_folders():
                written += 1
                assert three_of(run) == [f"new {name}" for name in FILES]
        with StateFolder(path) as folder:
            leftovers = {name for name in files_of(path) if ".tmp" in name}
            assert leftovers == set()
            folder.add_run(RUN_A, pieces("again"))
            assert three_of(path / RUNS / RUN_A) == [f"again {name}" for name in FILES]
        if not cut.happened:
            break
    assert written >= 1
    assert number > 5


def test_a_run_is_not_written_through_a_link(tmp_path: Path) -> None:
    elsewhere, path = tmp_path / "elsewhere", tmp_path / "state"
    elsewhere.mkdir()
    path.mkdir()
    (path / RUNS).symlink_to(elsewhere)
    with StateFolder(path) as folder:
        with pytest.raises(FolderUnusableError, match="links are not followed"):
            folder.add_run(RUN_A, pieces("new"))
        assert files_of(elsewhere) == {}


def test_a_reset_that_fails_does_not_delete_what_comes_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with StateFolder(three_files(tmp_path / "state", "old")) as folder:
        with monkeypatch.context() as patch:
            patch.setattr("quadra.storage.folder._remove_folder", _raise_busy)
            patch.setattr("quadra.storage.folder.own_folders", lambda *_: [tmp_path])
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


def test_a_users_file_in_a_runs_folder_stays_and_holds_up_nothing(tmp_path: Path) -> None:
    with StateFolder(tmp_path / "state") as folder:
        folder.add_run(RUN_A, pieces("first"))
        note = folder.path / RUNS / RUN_A / "notes.txt"
        note.write_text("mine")
        folder.remove_run(RUN_A)
        assert [file.name for file in (folder.path / RUNS / RUN_A).iterdir()] == ["notes.txt"]
        folder.add_run(RUN_A, pieces("second"))
        assert three_of(folder.path / RUNS / RUN_A) == [f"second {name}" for name in FILES]
        assert note.read_text() == "mine"


def test_damaged_files_are_moved_and_never_replace_others(tmp_path: Path) -> None:
    with StateFolder(tmp_path) as folder:
        targets = []
        for mark in ("first", "second", "third"):
            three_files(tmp_path, mark)
            target = folder.set_aside(tmp_path / name for name in FILES)
            assert target is not None
            targets.append(target)
            assert not any((tmp_path / name).exists() for name in FILES)
        assert len(set(targets)) == 3
        kept = [three_of(target) for target in targets]
        assert kept == [[f"{mark} {name}" for name in FILES] for mark in ("first", "second", "third")]
        assert all(target.parent == tmp_path / SET_ASIDE for target in targets)


def test_of_some_files_only_those_that_are_there_are_moved(tmp_path: Path) -> None:
    three_files(tmp_path, "bad")
    (tmp_path / SAVES).mkdir()
    (tmp_path / SAVES / RING[3]).write_text("bad")
    with StateFolder(tmp_path) as folder:
        target = folder.set_aside([tmp_path / FILES[1], tmp_path / SAVES / HISTORY, tmp_path / SAVES / RING[3]])
        assert target is not None
        assert set(files_of(target)) == {FILES[1], RING[3]}
        assert set(files_of(tmp_path)) == {
            FILES[0],
            FILES[2],
            *(f"{SET_ASIDE}/{target.name}/{n}" for n in (FILES[1], RING[3])),
        }


def test_a_file_outside_the_folder_is_never_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    three_files(tmp_path, "mine")
    monkeypatch.chdir(tmp_path)
    with StateFolder(tmp_path / "state") as folder:
        assert folder.set_aside([Path(FILES[0]), tmp_path / FILES[1]]) is None
    assert three_of(tmp_path) == [f"mine {name}" for name in FILES]


def test_a_damaged_file_that_is_a_link_is_moved_as_a_link(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    path = tmp_path / "state"
    path.mkdir()
    (path / FILES[0]).symlink_to(tmp_path / "mine")
    with StateFolder(path) as folder:
        target = folder.set_aside([path / FILES[0]])
        assert target is not None
        assert (target / FILES[0]).is_symlink()
    assert (tmp_path / "mine").read_text() == "mine"


def test_nothing_is_set_aside_through_a_link(tmp_path: Path) -> None:
    outside, path = tmp_path / "outside", three_files(tmp_path / "state", "bad")
    outside.mkdir()
    (path / SET_ASIDE).symlink_to(outside)
    with StateFolder(path) as folder, pytest.raises(FolderUnusableError, match="links are not followed"):
        folder.set_aside([path / FILES[0]])
    assert files_of(outside) == {}
    assert three_of(path) == [f"bad {name}" for name in FILES]


def test_the_present_state_is_set_aside_with_the_copy_of_its_metrics(tmp_path: Path) -> None:
    three_files(tmp_path, "bad")
    (tmp_path / SAVES).mkdir()
    for name in (HISTORY, RING[0]):
        (tmp_path / SAVES / name).write_text(name)
    with StateFolder(tmp_path) as folder:
        target = folder.set_aside_run(tmp_path)
        assert target is not None
        assert set(files_of(target)) == {*FILES, HISTORY}
        assert (tmp_path / SAVES / RING[0]).exists()


def test_a_damaged_run_is_moved_but_what_the_user_put_there_stays(tmp_path: Path) -> None:
    run = three_files(tmp_path / RUNS / RUN_A, "bad")
    (run / "notes.txt").write_text("mine")
    with StateFolder(tmp_path) as folder:
        target = folder.set_aside_run(run)
        assert target is not None
        assert three_of(target) == [f"bad {name}" for name in FILES]
        assert files_of(run) == {"notes.txt": b"mine"}


def test_nothing_is_set_aside_where_nothing_is(tmp_path: Path) -> None:
    with StateFolder(tmp_path) as folder:
        assert folder.set_aside([tmp_path / name for name in FILES]) is None
        assert folder.set_aside_run(tmp_path) is None
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
    for folder, names in ((path / SAVES, KEPT), (path / SET_ASIDE / STAMP, (HISTORY, RING[3]))):
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
        announced = {file.as_posix() for file in folder.deletable()}
        assert announced == set(files_of(tmp_path)) - mine
        folder.reset()
        assert set(files_of(tmp_path)) == mine
        assert folder.deletable() == []
        assert folder.is_held
    assert all(content == b"mine" for content in files_of(tmp_path).values())
    assert not (tmp_path / RUNS / RUN_B).exists()
    assert not (tmp_path / RESET_MARKER).exists()


def test_what_a_reset_deletes_is_said_with_folders_counted(tmp_path: Path) -> None:
    full_folder(tmp_path)
    with StateFolder(tmp_path) as folder:
        said = folder.describe_deletable()
        assert set(said) == {
            *FILES, f"{RUNS}/{RUN_A}/ (3 files)", f"{RUNS}/{RUN_B}/ (3 files)", f"{SAVES}/ (13 files)",
            f"{SET_ASIDE}/{STAMP}/ (5 files)", f"{SET_ASIDE}/{STAMP}-1/ (3 files)",
        }  # fmt: skip
        folder.reset()
        assert folder.describe_deletable() == ()


def test_a_reset_of_our_own_files_only_leaves_an_empty_folder(tmp_path: Path) -> None:
    three_files(tmp_path, "ours")
    three_files(tmp_path / RUNS / RUN_A, "ours")
    three_files(tmp_path / SET_ASIDE / STAMP, "ours")
    (tmp_path / SAVES).mkdir()
    (tmp_path / SAVES / HISTORY).write_text("ours")
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
        assert folder.deletable() == []
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
