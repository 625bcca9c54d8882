"""OtherRuns: a run's first save in a folder keeps the run that was there whole, and sets aside what cannot be read."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from quadra.errors import BadFileError
from quadra.storage.catalog import read_catalog
from quadra.storage.folder import StateFolder
from quadra.storage.layout import (
    FILES,
    METRICS,
    METRICS_COPY,
    RUNS,
    SAVES,
    SET_ASIDE,
    SYSTEM,
    WEIGHTS,
    StateLayout,
)
from quadra.storage.save_record import FORMAT_VERSION
from quadra.storage.save_store import SaveStore
from quadra.storage.saved_state import SavedState, read, read_save
from tests.helpers.state_helpers import (
    RUN_A,
    RUN_B,
    RUN_C,
    Crash,
    assert_same_state,
    commit,
    fault,
    files_of,
    save_of,
    sealed_weights,
    write_earlier,
    write_state,
)


def test_a_new_runs_first_save_keeps_the_other_run_as_three_complete_files(
    tmp_path: Path, saves: list[SavedState], other: SavedState
) -> None:
    commit(tmp_path, *saves[:3], full=False)
    with StateFolder(tmp_path) as held:
        SaveStore(held).commit(save_of(other))
    assert_same_state(read(tmp_path), other)
    run = tmp_path / RUNS / RUN_A
    assert set(files_of(run)) == set(FILES)
    kept = read(run)
    assert_same_state(kept, saves[2])
    assert kept.damaged == ()
    assert StateLayout(tmp_path).earlier_saves() == []
    assert not (tmp_path / SET_ASIDE).exists()


@pytest.mark.parametrize("spoil", ["altered", "rubbish", "empty", "newer"])
def test_a_run_whose_newest_save_is_bad_is_kept_at_its_newest_intact_one_and_the_bad_file_set_aside(
    tmp_path: Path, saves: list[SavedState], other: SavedState, spoil: str
) -> None:
    commit(tmp_path, *saves[:3])
    content = (tmp_path / WEIGHTS).read_bytes()
    newer = replace(saves[2], record=replace(saves[2].record, format_version=FORMAT_VERSION + 1))
    bad = {
        "altered": content[:2000] + bytes([content[2000] ^ 1]) + content[2001:],
        "rubbish": b"rubbish",
        "empty": b"",
        "newer": sealed_weights(newer),
    }[spoil]
    (tmp_path / WEIGHTS).write_bytes(bad)
    with StateFolder(tmp_path) as held:
        SaveStore(held).commit(save_of(other))
    assert_same_state(read(tmp_path), other)
    assert_same_state(read(tmp_path / RUNS / RUN_A), saves[1])
    (aside,) = (tmp_path / SET_ASIDE).iterdir()
    assert files_of(aside) == {WEIGHTS: bad}


def test_a_run_of_which_several_saves_are_bad_is_kept_at_the_next_and_all_bad_files_set_aside(
    tmp_path: Path, saves: list[SavedState], other: SavedState
) -> None:
    commit(tmp_path, *saves)
    for file in (tmp_path / WEIGHTS, tmp_path / SAVES / "3.pth"):
        content = file.read_bytes()
        file.write_bytes(content[:2000] + bytes([content[2000] ^ 1]) + content[2001:])
    with StateFolder(tmp_path) as held:
        SaveStore(held).commit(save_of(other))
    assert_same_state(read(tmp_path / RUNS / RUN_A), saves[2])
    (aside,) = (tmp_path / SET_ASIDE).iterdir()
    assert set(files_of(aside)) == {WEIGHTS, "3.pth"}


@pytest.mark.parametrize("name", [METRICS, f"{SAVES}/{METRICS_COPY}", SYSTEM])
def test_a_run_with_one_other_bad_file_is_kept_whole_and_the_file_set_aside(
    tmp_path: Path, saves: list[SavedState], other: SavedState, name: str
) -> None:
    commit(tmp_path, *saves[:3])
    (tmp_path / name).write_bytes(b"rubbish")
    with StateFolder(tmp_path) as held:
        SaveStore(held).commit(save_of(other))
    assert_same_state(read(tmp_path / RUNS / RUN_A), saves[2])
    (aside,) = (tmp_path / SET_ASIDE).iterdir()
    assert list(files_of(aside).values()) == [b"rubbish"]


def test_files_of_which_nothing_can_be_read_are_set_aside_and_never_overwritten(
    tmp_path: Path, other: SavedState
) -> None:
    for name in FILES:
        (tmp_path / name).write_bytes(f"rubbish {name}".encode())
    with StateFolder(tmp_path) as held:
        SaveStore(held).commit(save_of(other))
    (aside,) = (tmp_path / SET_ASIDE).iterdir()
    assert files_of(aside) == {name: f"rubbish {name}".encode() for name in FILES}
    assert_same_state(read(tmp_path), other)


@pytest.mark.parametrize("name", [None, METRICS, f"{SAVES}/{METRICS_COPY}", SYSTEM])
def test_a_first_look_at_a_folder_of_the_same_run_sets_bad_files_aside_and_nothing_else(
    tmp_path: Path, saves: list[SavedState], name: str | None
) -> None:
    commit(tmp_path, *saves[:3])
    if name is not None:
        (tmp_path / name).write_bytes(b"rubbish")
    with StateFolder(tmp_path) as held:
        SaveStore(held).commit(save_of(saves[3]))
    assert_same_state(read(tmp_path), saves[3])
    aside = [files_of(place) for place in sorted((tmp_path / SET_ASIDE).glob("*"))]
    assert aside == ([] if name is None else [{Path(name).name: b"rubbish"}])
    assert StateLayout(tmp_path).run_folders() == []


def test_a_folder_of_the_earlier_generation_is_kept_as_it_is(tmp_path: Path, other: SavedState) -> None:
    original = files_of(write_earlier(tmp_path))
    with StateFolder(tmp_path) as held:
        SaveStore(held).commit(save_of(other))
    (run,) = (tmp_path / RUNS).iterdir()
    assert files_of(run) == original


def test_a_run_that_is_kept_already_is_not_kept_again(
    tmp_path: Path, saves: list[SavedState], other: SavedState
) -> None:
    commit(tmp_path, *saves[:2])
    run = write_state(tmp_path / RUNS / RUN_A, saves[1])
    before = files_of(run)
    with StateFolder(tmp_path) as held:
        SaveStore(held).commit(save_of(other))
    assert files_of(run) == before
    assert not (tmp_path / SET_ASIDE).exists()


@pytest.mark.parametrize("is_kept", [False, True])
def test_an_older_save_that_somebody_has_put_in_the_place_of_the_newest_is_set_aside_with_its_files(
    tmp_path: Path, saves: list[SavedState], other: SavedState, is_kept: bool
) -> None:
    commit(tmp_path / "elsewhere", saves[0])
    commit(tmp_path / "state", *saves[:3])
    put = {name: (tmp_path / "elsewhere" / name).read_bytes() for name in FILES}
    for name, content in put.items():
        (tmp_path / "state" / name).write_bytes(content)
    if is_kept:
        write_state(tmp_path / "state" / RUNS / RUN_A, saves[1])
    with StateFolder(tmp_path / "state") as held:
        SaveStore(held).commit(save_of(other))
    (aside,) = (tmp_path / "state" / SET_ASIDE).iterdir()
    assert put.items() <= files_of(aside).items()
    assert_same_state(read(tmp_path / "state" / RUNS / RUN_A), saves[1])


def test_of_two_runs_whose_files_are_mixed_both_are_kept(
    tmp_path: Path, saves: list[SavedState], other: SavedState
) -> None:
    """As where another run's folder was copied over this one."""
    commit(tmp_path / "elsewhere", other)
    commit(tmp_path / "state", *saves[:3])
    for name in FILES:
        (tmp_path / "state" / name).write_bytes((tmp_path / "elsewhere" / name).read_bytes())
    third = replace(saves[0], record=replace(saves[0].record, run=RUN_C))
    with StateFolder(tmp_path / "state") as held:
        SaveStore(held).commit(save_of(third))
    assert_same_state(read(tmp_path / "state" / RUNS / RUN_B), other)
    assert_same_state(read(tmp_path / "state" / RUNS / RUN_A), saves[1])
    assert_same_state(read(tmp_path / "state"), third)


@pytest.mark.all  # some places of it are drawn in tests/faults
def test_a_crash_anywhere_in_a_new_runs_first_save_leaves_the_other_run_whole(
    tmp_path: Path, saves: list[SavedState], other: SavedState
) -> None:
    for number in itertools.count(1):
        folder = tmp_path / str(number)
        commit(folder, saves[1], saves[2], full=False)
        with StateFolder(folder) as held, contextlib.suppress(Crash), fault(number, Crash()) as cut:
            SaveStore(held).commit(save_of(other))
        with StateFolder(folder):
            pass
        found: dict[tuple[str, int], SavedState] = {}
        for saved in read_catalog(StateLayout(folder)).copies:
            with contextlib.suppress(BadFileError):
                state = read_save(saved.file, saved.folder)
                found.setdefault((saved.id, saved.sequence), state)
        assert_same_state(found[RUN_A, 3], saves[2])
        if (RUN_B, 1) in found:
            assert_same_state(found[RUN_B, 1], other)
        if not cut.happened:
            break
    assert number > 15
    assert (RUN_B, 1) in found
