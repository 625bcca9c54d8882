"""StateFolder: held by one process, runs are kept whole, and nothing is made or moved that is not ours."""

from __future__ import annotations

import contextlib
import errno
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from quadra.errors import FolderChangedError, FolderLockedError, FolderUnusableError
from quadra.storage.folder import StateFolder
from quadra.storage.layout import FILES, METRICS_COPY, RESET_MARKER, RING, RUNS, SAVES, SET_ASIDE
from tests.helpers.faults import Disk
from tests.helpers.state_helpers import RUN_A, Crash, fault, files_of, new_run, opened, three_files, three_of


def pieces(mark: str) -> dict[str, list[bytes]]:
    """Three files in two pieces each, as `add_run` takes them."""
    return {name: [f"{mark} ".encode(), name.encode()] for name in FILES}


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


def test_the_folder_of_earlier_saves_is_made_and_is_never_a_link(tmp_path: Path) -> None:
    with StateFolder(tmp_path / "state") as folder:
        assert folder.saves_folder() == folder.saves_folder() == tmp_path / "state" / SAVES
        folder.saves_folder().rmdir()
        (tmp_path / "state" / SAVES).symlink_to(tmp_path)
        with pytest.raises(FolderUnusableError, match="links are not followed"):
            folder.saves_folder()


def test_only_plain_files_under_the_rings_names_are_earlier_saves(tmp_path: Path) -> None:
    (tmp_path / SAVES / RING[2]).mkdir(parents=True)
    for name in (RING[0], RING[11], METRICS_COPY, "12.pth", "mine.pth"):
        (tmp_path / SAVES / name).write_text("")
    (tmp_path / SAVES / RING[1]).symlink_to(tmp_path / SAVES / RING[0])
    with StateFolder(tmp_path) as folder:
        assert sorted(folder.layout.earlier_saves()) == [tmp_path / SAVES / RING[0], tmp_path / SAVES / RING[11]]


def test_a_folder_that_is_still_there_is_our_own(tmp_path: Path) -> None:
    with StateFolder(tmp_path / "state") as folder:
        folder.require_own()
        three_files(tmp_path / "state", "new")
        folder.require_own()
        folder.reacquire()
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
        folder.reacquire()
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
                folder.reacquire()
            other.require_own()
        folder.reacquire()
        folder.require_own()


def test_the_free_room_is_that_of_the_disk(tmp_path: Path) -> None:
    with StateFolder(tmp_path) as folder:
        assert 0 < folder.free_bytes() <= shutil.disk_usage(tmp_path).total


def test_a_run_is_written_and_an_older_copy_of_it_replaced(tmp_path: Path) -> None:
    with StateFolder(tmp_path) as folder:
        for mark in ("first", "second"):
            folder.add_run(RUN_A, pieces(mark))
            assert folder.layout.run_folders() == [tmp_path / RUNS / RUN_A]
            assert three_of(tmp_path / RUNS / RUN_A) == [f"{mark} {name}" for name in FILES]
        folder.remove_run(RUN_A)
        assert folder.layout.run_folders() == []


@pytest.mark.parametrize("error", [Crash(), OSError(errno.ENOSPC, "No space left on device")], ids=["crash", "full"])
def test_a_run_is_written_complete_or_not_at_all(tmp_path: Path, error: BaseException) -> None:
    written = 0
    for number in itertools.count(1):
        path = tmp_path / str(number)
        with StateFolder(path) as folder:
            with contextlib.suppress(Crash, OSError), fault(number, error) as cut:
                folder.add_run(RUN_A, pieces("new"))
            for run in folder.layout.run_folders():
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
        target = folder.set_aside([tmp_path / FILES[1], tmp_path / SAVES / METRICS_COPY, tmp_path / SAVES / RING[3]])
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
    for name in (METRICS_COPY, RING[0]):
        (tmp_path / SAVES / name).write_text(name)
    with StateFolder(tmp_path) as folder:
        target = folder.set_aside_run(tmp_path)
        assert target is not None
        assert set(files_of(target)) == {*FILES, METRICS_COPY}
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


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_everything_works_on_a_disk_that_cannot_sync_folders_and_the_folder_knows(tmp_path: Path, number: int) -> None:
    folder = tmp_path / "state"
    with Disk(tmp_path) as disk:
        disk.folder_sync_error = number
        with opened(folder) as state:
            assert not state.folder.keeps_names
            first = new_run(state, 4, "stopped")
            slot = state.save_slot("kept")
            new_run(state, 120, "stopped")
            assert state.load(first).record.iteration_count == 4
            assert state.load(slot).record.iteration_count == 4
        with opened(folder) as state:
            assert state.load(newest=True).record.iteration_count == 4
            state.reset()
            assert state.catalog().states == ()
    with StateFolder(folder) as held:
        assert held.keeps_names


@pytest.mark.parametrize("name", [RUNS, "slots", "points", f"points/{RUN_A}", "corpora", "uploads"])
def test_a_folder_inside_that_cannot_be_read_is_named_where_the_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    withheld, list_folder = tmp_path / name, Path.iterdir
    withheld.mkdir(parents=True)

    def refuse(folder: Path) -> Iterator[Path]:
        if folder == withheld:
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return list_folder(folder)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(FolderUnusableError, match=rf"Permission denied \({withheld}\)"):
        StateFolder(tmp_path)
    monkeypatch.undo()
    StateFolder(tmp_path).close()  # nothing holds it any more
