"""What people do with saved states: slots, names, notes, pins, deletion and its undoing, and going back."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quadra import TrainingState
from quadra.errors import BadFileError, ConfigurationError, NameTakenError, RefusedError, UnknownSourceError
from quadra.reports.check import check
from quadra.states.listing import BEST_STATE, CURRENT, RUN, SAVE, SLOT, ListedState, StateListing
from quadra.states.manage import UNDO
from quadra.storage.labels import LONGEST_NAME, Label, read_labels
from quadra.storage.layout import LABELS, LABELS_COPY, RESTORE_POINTS, SET_ASIDE, SLOTS, StateLayout
from quadra.storage.saved_state import read
from tests.helpers.fault_loops import fingerprint
from tests.helpers.state_helpers import new_run, small_config, train

LATER = datetime.now(UTC) + UNDO + timedelta(days=1)  # than any deletion here


def opened(folder: Path) -> TrainingState:
    return TrainingState(folder, small_config(time_steps=2, epochs=1))


def entries(state: TrainingState) -> dict[str, ListedState]:
    return {entry.id: entry for entry in state.saved_states.listing.entries()}


def bits(state: TrainingState) -> str:
    return fingerprint(state.engine.state_dict(), state.history.rows())


def three_saves(state: TrainingState) -> tuple[str, dict[int, str]]:
    """A run saved at 4, 8 and 12 iterations, and its bits at each."""
    run, seen = new_run(state, 0), {}
    for _ in range(3):
        train(state, 4)
        state.save()
        seen[state.iteration_count] = bits(state)
    return run, seen


# --- slots


def test_a_slot_is_three_complete_files_of_the_state_as_it_was(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        run = new_run(state, 5)
        slot = state.save_slot("before the experiment")
        expected = bits(state)
        train(state, 5)
        state.save()
        found = read(tmp_path / SLOTS / slot.removeprefix("slot-"))
        assert found.damaged == ()
        assert (found.record.run, found.record.iteration_count) == (run, 5)
        assert fingerprint(found.engine, found.rows) == expected
        entry = entries(state)[slot]
        assert (entry.kinds, entry.label.name, entry.iteration_count) == ((SLOT,), "before the experiment", 5)
        assert entry.loss == pytest.approx(float(state.loss_history[4]))


@pytest.mark.parametrize("name", ["../../etc/passwd", "CON", "a/b\\c", "🧠 день 1", "x" * LONGEST_NAME, "."])
def test_names_are_free_text_and_never_become_paths(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "state"
    with opened(folder) as state:
        new_run(state, 1)
        slot = state.save_slot(name)
        assert entries(state)[slot].label.name == name
    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]
    assert [entry.name for entry in (folder / SLOTS).iterdir()] == [slot.removeprefix("slot-")]


@pytest.mark.parametrize("name", ["", "   ", "x" * (LONGEST_NAME + 1), "bell\a", "\ud800"])
def test_a_name_that_nobody_could_read_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    with opened(tmp_path) as state:
        new_run(state, 1)
        with pytest.raises(ConfigurationError, match="name"):
            state.save_slot(name)
    assert not (tmp_path / SLOTS).exists()


def test_overwriting_a_slot_has_to_be_asked_for_and_can_be_undone(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        new_run(state, 2)
        first = state.save_slot("same")
        train(state, 2)
        with pytest.raises(NameTakenError, match="named 'Same'"):
            state.save_slot("Same")
        second = state.save_slot("same", overwrite=True)
        listed = entries(state)
        assert listed[first].label.deleted_at is not None
        assert listed[second].label.deleted_at is None
        with pytest.raises(NameTakenError):
            state.saved_states.undelete(first)
        state.saved_states.label(second, name="newer")
        state.saved_states.undelete(first)
        assert entries(state)[first].label == Label(name="same")


# --- going back


def test_going_back_restores_that_iteration_to_the_bit_as_a_run_of_its_own(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        run, seen = three_saves(state)
        report = state.load(f"{run}@8")
        assert bits(state) == seen[8]
        assert state.iteration_count == 8
        assert state.run.id != run
        assert state.run.parent == report.went_on_from == f"{run}@8"
        assert "load it to undo" in " ".join(report.remarks())
        train(state, 4)
        assert bits(state) == seen[12]


def test_going_back_is_undone_by_loading_the_run_that_was_left(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        run, _ = three_saves(state)
        train(state, 1)  # what is not saved yet is saved first
        newest = bits(state)
        state.load(f"{run}@4")
        train(state, 2)
        state.load(run)
        assert bits(state) == newest
        assert state.run.id == run
        assert {entry.iteration_count for entry in entries(state).values() if RUN in entry.kinds} == {6}


def test_what_was_gone_back_to_is_there_after_a_crash(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        run, seen = three_saves(state)
        state.load(f"{run}@8")
        state.release()
    with opened(tmp_path) as state:
        state.load()
        assert bits(state) == seen[8]
        assert state.run.parent == f"{run}@8"
    assert all(finding.is_good for finding in check(tmp_path))


def test_going_back_twice_makes_no_second_branch_as_long_as_nothing_was_trained(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        run, _ = three_saves(state)
        state.load(f"{run}@8")
        branch = state.run.id
        state.load(run)
        state.load(f"{run}@8")
        assert state.run.id == branch
        train(state, 1)
        state.load(f"{run}@8")
        assert state.run.id not in (run, branch)


def test_loading_the_newest_state_of_a_run_by_any_of_its_names_goes_on_with_that_run(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        run = new_run(state, 100, "stopped")
        slot = state.save_slot("here")
        for name in (slot, f"{run}@100", run):
            assert state.load(name).went_on_from is None
            assert state.run.id == run


def test_a_slot_of_a_run_that_is_gone_can_be_loaded(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        run = new_run(state, 3)
        slot, expected = state.save_slot("kept"), bits(state)
        new_run(state, 2, "stopped")
        state.saved_states.delete(run)
        state.saved_states.purge(LATER)
        assert run not in entries(state)
        state.load(slot)
        assert bits(state) == expected


def test_a_state_that_is_not_there_is_named_and_nothing_changes(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        run, _ = three_saves(state)
        before = bits(state)
        for unknown in (f"{run}@5", "slot-0123456789abcdef", "../x", ""):
            with pytest.raises(UnknownSourceError):
                state.load(unknown)
        assert (bits(state), state.run.id) == (before, run)


def test_a_damaged_state_is_refused_by_name_and_the_run_in_memory_stays(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        run, _ = three_saves(state)
        slot = state.save_slot("bad")
        train(state, 1)
        before = bits(state)
        file = tmp_path / SLOTS / slot.removeprefix("slot-") / "oscillator_weights.pth"
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        with pytest.raises(BadFileError, match="oscillator_weights"):
            state.load(slot)
        assert (bits(state), state.run.id) == (before, run)


# --- labels


def test_names_notes_and_pins_are_kept(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        run, _ = three_saves(state)
        state.saved_states.label(run, name="first", note="two\nlines")
        state.saved_states.label(f"{run}@4", pinned=True)
        state.saved_states.label(run, pinned=True, name="")
    with opened(tmp_path) as state:
        listed = entries(state)
        assert listed[run].label == Label(note="two\nlines", pinned=True)
        assert listed[f"{run}@4"].as_dict()["kept"].startswith("Pinned")


def test_where_both_are_damaged_they_are_set_aside_and_told_and_states_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path) as state:
        new_run(state, 1)
        slot = state.save_slot("x")
        for name in (LABELS, LABELS_COPY):
            (tmp_path / name).write_bytes(b"[1, 2]")
        with pytest.raises(BadFileError, match="labels"):
            state.saved_states.listing.entries()
        with caplog.at_level(logging.WARNING):
            state.saved_states.label(slot, name="again")
        assert "names of saved states are lost" in caplog.text
        assert entries(state)[slot].label.name == "again"
    assert len(list((tmp_path / SET_ASIDE).rglob("labels*.json"))) == 2


def test_a_pinned_save_outlives_the_ten_that_follow_it(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        run, seen = three_saves(state)
        state.saved_states.label(f"{run}@4", pinned=True)
        state.saved_states.label(f"{run}@8", note="good")
        for _ in range(12):
            train(state, 1)
            state.save()
        assert {f"{run}@4", f"{run}@8"} <= set(entries(state))
        state.load(f"{run}@4")
        assert bits(state) == seen[4]


# --- deletion


def test_a_deleted_run_is_not_loaded_any_more_and_can_be_taken_back(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        first = new_run(state, 3, "stopped")
        new_run(state, 2, "stopped")
        state.saved_states.delete(first)
        assert first not in [summary.id for summary in state.catalog().states]
        with pytest.raises(UnknownSourceError):
            state.load(first)
        state.saved_states.undelete(first)
        state.load(first)
        assert state.run.id == first


def test_what_was_deleted_goes_after_an_hour_and_not_before(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        run = new_run(state, 100, "stopped")
        slot = state.save_slot("gone")
        new_run(state, 1, "stopped")
        for gone in (run, slot):
            state.saved_states.delete(gone)
        state.saved_states.purge(datetime.now(UTC) + UNDO - timedelta(minutes=1))
        assert {run, slot} <= set(entries(state))
        state.saved_states.purge(LATER)
        assert not {run, slot} & set(entries(state))
        assert not (tmp_path / RESTORE_POINTS / run).exists()
        with pytest.raises(UnknownSourceError):
            state.saved_states.undelete(slot)
        assert read_labels(tmp_path) == {}


def test_a_deleted_restore_point_goes_alone(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        run = new_run(state, 100)
        state.save()
        for _ in range(12):
            train(state, 10)
            state.save()
        before = set(entries(state))
        assert BEST_STATE in {kind for entry in entries(state).values() for kind in entry.kinds}
        state.saved_states.delete(f"{run}@100")
        state.saved_states.purge(LATER)
        assert before - set(entries(state)) == {f"{run}@100"}


def test_what_training_needs_cannot_be_deleted(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        run, _ = three_saves(state)
        with pytest.raises(RefusedError, match="run on the page"):
            state.saved_states.delete(run)
        with pytest.raises(RefusedError, match="last ten saves"):
            state.saved_states.delete(f"{run}@8")
        assert {entry.kinds for entry in entries(state).values()} == {(CURRENT,), (SAVE,)}


def test_a_reset_clears_slots_points_and_labels_and_nothing_else(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        new_run(state, 100, "stopped")
        slot = state.save_slot("x").removeprefix("slot-")
        (tmp_path / SLOTS / slot / "notes.txt").write_text("mine")
        (tmp_path / RESTORE_POINTS / "mine.pth").write_text("mine")
        state.reset()
        assert StateListing(state.folder.layout).entries() == []
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left - {".lock"} == {f"{SLOTS}/{slot}/notes.txt", f"{RESTORE_POINTS}/mine.pth"}


def test_a_listing_beside_the_owner_needs_no_lock_and_opens_every_state(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        three_saves(state)
        state.save_slot("x")
        found: list[Any] = StateListing(StateLayout(tmp_path)).entries()
        for entry in found:
            assert np.isfinite(entry.loss)
            assert entry.as_dict()["kept"]
            assert entry.size > 0
        assert [entry.iteration_count for entry in found] == [12, 12, 8, 4]


def test_scripts_reach_the_saved_states_by_their_former_names_too(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        run = new_run(state, 1, "stopped")
        slot = state.save_slot("one")
        assert {entry.id for entry in state.shelf.library.entries()} == entries(state).keys() == {run, slot}
        state.shelf.delete(slot)
        state.shelf.take_back(slot)
        assert entries(state)[slot].label.deleted_at is None
