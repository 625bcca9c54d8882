"""TrainingState.load: what is damaged is found, told and survived, and a loaded run goes on as what it was."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quadra.errors import FolderChangedError, LoadError, UnknownSourceError
from quadra.storage.layout import FILES, METRICS, METRICS_COPY, RUNS, SAVES, SET_ASIDE, SYSTEM, WEIGHTS
from quadra.storage.save_record import dump, peek, seal, verify
from quadra.storage.saved_state import read
from tests.helpers.state_helpers import assert_same, content, fault, files_of, new_run, opened, train

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A state directory that is not there yet."""
    return tmp_path / "state"


@pytest.fixture
def stopped(folder: Path) -> dict[str, Any]:
    """A run of 6 iterations, stopped, in the folder; its content."""
    with opened(folder) as state:
        new_run(state, 6, "stopped")
        return content(state)


def set_aside(folder: Path) -> list[dict[str, bytes]]:
    """The files of each set-aside folder."""
    return [files_of(place) for place in sorted((folder / SET_ASIDE).glob("*"))]


def damage(path: Path) -> bytes:
    """Overwrite some bytes in the middle of a file; returns its new content."""
    changed = bytearray(path.read_bytes())
    middle = len(changed) // 2
    changed[middle - 20 : middle + 20] = bytes(byte ^ 0xFF for byte in changed[middle - 20 : middle + 20])
    path.write_bytes(changed)
    return bytes(changed)


# --- loads that fail


HOW = ["damaged", "empty", "gone"]


def spoil(path: Path, how: str) -> list[bytes]:
    """Make a file bad in one of these ways; returns its content where it is still there."""
    if how == "gone":
        path.unlink()
        return []
    if how == "empty":
        path.write_bytes(b"")
        return [b""]
    return [damage(path)]


@pytest.mark.parametrize("how", HOW)
def test_a_load_falls_back_to_the_newest_intact_run_and_sets_the_damaged_files_aside(folder: Path, how: str) -> None:
    with opened(folder) as state:
        new_run(state, 2, "stopped")
        good = new_run(state, 3, "stopped", seed=2)
        expected = content(state)
        new_run(state, 4, "stopped", seed=3)
    spoil(folder / WEIGHTS, how)
    names = {name: name for name in FILES} | {f"{SAVES}/{METRICS_COPY}": METRICS_COPY}
    damaged = {names[file]: data for file, data in files_of(folder).items() if file in names}
    with opened(folder) as state:
        report = state.load()
        assert report.record.run == good
        assert_same(content(state), expected)
        assert len(report.gave_up) == 1
        assert WEIGHTS in report.gave_up[0]
        assert str(folder) in report.gave_up[0]
    found = {name: data for files in set_aside(folder) for name, data in files.items()}
    assert found == damaged  # the weights, and what was left without them


@pytest.mark.parametrize("how", HOW)
def test_a_damaged_weights_file_costs_one_save_and_what_that_gave_up_is_said(folder: Path, how: str) -> None:
    with opened(folder) as state:
        run = new_run(state, 4, "stopped")
        expected = content(state)
        train(state, 3)
        state.save("stopped")
    bad = spoil(folder / WEIGHTS, how)
    with opened(folder) as state:
        report = state.load()
        assert (report.record.run, report.record.iteration_count) == (run, 4)
        assert_same(content(state), expected)
        told = " ".join(report.remarks())
        assert WEIGHTS in told
        assert "Went back to the newest intact saved state: 4 iterations. That gave up 3 iterations." in told
        assert ("set aside" in told) == bool(bad)
        train(state, 3)
        assert state.save_state()
        longer = content(state)
    assert set_aside(folder) == [{WEIGHTS: data} for data in bad]
    with opened(folder) as state:
        report = state.load()
        assert (report.warnings, report.gave_up) == ((), ())
        assert_same(content(state), longer)


def test_of_many_saves_the_newest_intact_one_is_loaded_and_every_damaged_one_set_aside(
    folder: Path, tmp_path: Path
) -> None:
    kept: dict[int, dict[str, Any]] = {}
    with opened(folder) as state:
        new_run(state, 0)
        for count in range(1, 13):
            train(state, 1)
            state.saving.begin()
            state.saving.wait()
            assert state.saving.collect() is not None
            kept[count] = content(state)
        state.release()
    saves = {record.sequence: path for path in weights_files(folder) if (record := peek(path)) is not None}
    newest_first = sorted(saves, reverse=True)
    assert newest_first == list(range(12, 1, -1))
    for damaged, sequence in enumerate(newest_first):
        place = tmp_path / str(damaged)
        shutil.copytree(folder, place)
        bad = [damage(place / saves[other].relative_to(folder)) for other in newest_first[:damaged]]
        with opened(place) as state:
            report = state.load()
            assert report.record.iteration_count == sequence
            assert_same(content(state), kept[sequence])
            assert len(report.gave_up) == damaged
            assert (f"That gave up {12 - sequence} iterations." in report.remarks()) == (damaged > 0)
        assert sorted(data for files in set_aside(place) for data in files.values()) == sorted(bad)


def weights_files(folder: Path) -> list[Path]:
    return [folder / WEIGHTS, *(folder / SAVES).glob("*.pth")]


COSTLESS = [METRICS, f"{SAVES}/{METRICS_COPY}", SYSTEM]


@pytest.mark.parametrize("name", COSTLESS)
@pytest.mark.parametrize("how", HOW)
def test_damage_to_one_other_file_costs_nothing_is_told_and_the_file_set_aside(
    folder: Path, stopped: dict[str, Any], name: str, how: str
) -> None:
    bad = spoil(folder / name, how)
    with opened(folder) as state:
        report = state.load()
        assert_same(content(state), stopped)
        assert not report.fell_back
        told = " ".join(report.warnings)
        assert ("Nothing was lost" in told and Path(name).name in told) or (how == "gone" and name == COSTLESS[1])
    assert set_aside(folder) == [{Path(name).name: data} for data in bad]
    assert read(folder).damaged == ()
    assert (folder / METRICS).read_bytes() == (folder / SAVES / METRICS_COPY).read_bytes()


def test_a_run_whose_history_is_damaged_in_both_copies_is_given_up_for_an_intact_one(folder: Path) -> None:
    with opened(folder) as state:
        first = new_run(state, 2, "stopped")
        expected = content(state)
        new_run(state, 3, "stopped", seed=2)
    for name in COSTLESS[:2]:
        damage(folder / name)
    with opened(folder) as state:
        report = state.load()
        assert report.record.run == first
        assert_same(content(state), expected)
        assert METRICS in report.gave_up[0]


def test_where_nothing_else_is_intact_a_state_is_restored_with_its_lost_metrics_marked_and_named(
    folder: Path, stopped: dict[str, Any]
) -> None:
    bad = [damage(folder / name) for name in COSTLESS[:2]]
    with opened(folder) as state:
        report = state.load()
        assert "The metrics of 6 iterations are lost" in " ".join(report.warnings)
        assert np.isnan(state.history.rows()).all()
        found = content(state)
        assert_same({**found, "rows": None}, {**stopped, "rows": None})
        assert state.history.slice(1, 6, 100).as_lists()["loss"] == [None] * 6
        train(state, 2)
        assert state.save_state()
        expected = content(state)
    assert [sorted(place.values()) for place in set_aside(folder)] == [sorted(bad)]
    with opened(folder) as state:
        assert state.load().warnings == ()
        assert_same(content(state), expected)
        assert np.isfinite(state.loss_history[6:]).all()
        assert np.isnan(state.loss_history[:6]).all()


def test_a_whole_earlier_generation_of_metrics_is_no_help_to_weights_of_another_run(folder: Path) -> None:
    with opened(folder) as state:
        first = new_run(state, 2, "stopped")
        new_run(state, 3, "stopped", seed=2)
    stranger = (folder / RUNS / first / METRICS).read_bytes()
    for name in COSTLESS[:2]:
        (folder / name).write_bytes(stranger)
    with opened(folder) as state:
        report = state.load()
        assert report.record.run == first
        assert "another run" in report.gave_up[0]


def test_what_was_given_up_is_logged(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with opened(folder) as state:
        new_run(state, 2, "stopped")
        new_run(state, 3, "stopped", seed=2)
    damage(folder / WEIGHTS)
    with opened(folder) as state:
        assert state.load_state()
    assert WEIGHTS in caplog.text
    assert "set aside" in caplog.text


def test_a_damaged_run_that_was_asked_for_is_given_up_for_an_intact_one(folder: Path) -> None:
    with opened(folder) as state:
        first = new_run(state, 2, "stopped")
        second = new_run(state, 3, "stopped", seed=2)
        damaged = damage(folder / RUNS / first / METRICS)
        report = state.load(first)
        assert report.record.run == second
        assert [METRICS in reason for reason in report.gave_up] == [True]
    assert [place[METRICS] for place in set_aside(folder)] == [damaged]


def newer_program(path: Path) -> bytes:
    """Make a weights file one of a newer program; returns its content."""
    content = path.read_bytes()
    record = verify(content, path)
    assert record is not None
    text = dump(record)
    archive = content[: -len(text) - 64 - 2] + b"\0\0"
    path.write_bytes(b"".join(seal([archive], replace(record, format_version=99))))
    return path.read_bytes()


def test_a_run_of_a_newer_program_is_not_loaded_and_stays_where_it_is(folder: Path) -> None:
    with opened(folder) as state:
        first = new_run(state, 2, "stopped")
        second = new_run(state, 3, "stopped", seed=2)
        newer_program(folder / RUNS / first / WEIGHTS)
        before = files_of(folder / RUNS / first)
        with pytest.raises(UnknownSourceError):
            state.load(first)
        report = state.load()
        assert report.record.run == second
        assert ["Update" in reason for reason in report.gave_up] == [True]
        assert files_of(folder / RUNS / first) == before
        state.save("stopped")
        assert files_of(folder / RUNS / first) == before
    assert not (folder / SET_ASIDE).exists()


def test_where_the_present_state_is_a_newer_programs_nothing_is_touched(folder: Path) -> None:
    with opened(folder) as state:
        new_run(state, 2, "stopped")
    newer_program(folder / WEIGHTS)
    before = files_of(folder)
    with opened(folder) as state:
        with pytest.raises(LoadError, match="Update the program"):
            state.load()
    assert files_of(folder) == before


def test_a_newer_programs_present_state_is_moved_and_not_lost_when_an_earlier_save_takes_its_place(
    folder: Path,
) -> None:
    with opened(folder) as state:
        new_run(state, 2, "stopped")
        expected = content(state)
        train(state, 1)
        state.save("stopped")
    newer = newer_program(folder / WEIGHTS)
    with opened(folder) as state:
        report = state.load()
        assert "Update" in report.gave_up[0]
        assert_same(content(state), expected)
    assert set_aside(folder) == [{WEIGHTS: newer}]


def test_a_system_state_of_a_newer_program_costs_nothing_and_is_told(folder: Path, stopped: dict[str, Any]) -> None:
    values = pickle.loads((folder / SYSTEM).read_bytes())
    newer = pickle.dumps({**values, "format_version": 99}, protocol=4)
    (folder / SYSTEM).write_bytes(newer)
    with opened(folder) as state:
        report = state.load()
        assert "Update" in " ".join(report.warnings)
        assert_same(content(state), stopped)
    assert set_aside(folder) == [{SYSTEM: newer}]


@pytest.mark.usefixtures("stopped")
def test_where_nothing_is_intact_a_load_says_why_and_touches_nothing(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damage(folder / WEIGHTS)
    before = files_of(folder)
    with opened(folder) as state:
        with pytest.raises(LoadError, match=WEIGHTS):
            state.load()
        assert state.load_state() is False
        assert not state.is_initialized
    assert f"Failed to load state: The saved state in {folder} cannot be loaded: {WEIGHTS}" in caplog.text
    assert files_of(folder) == before


def test_a_failed_load_keeps_the_run_in_memory(folder: Path) -> None:
    with opened(folder) as state:
        run = new_run(state, 3, "stopped")
        before = content(state)
        for name in FILES:
            damage(folder / name)
        assert state.load_state() is False
        assert state.run.id == run
        assert_same(content(state), before)
        train(state, 1)
        assert state.save_state()
        assert state.load_state()


def test_files_that_could_not_be_loaded_are_set_aside_before_the_same_run_overwrites_them(folder: Path) -> None:
    with opened(folder) as state:
        new_run(state, 3, "stopped")
        damaged = damage(folder / WEIGHTS)
        assert not state.load_state()
        train(state, 1)
        assert state.save_state()
    assert [place[WEIGHTS] for place in set_aside(folder)] == [damaged]


@pytest.mark.usefixtures("stopped")
def test_files_that_cannot_be_read_are_set_aside_before_a_new_run_overwrites_them(folder: Path) -> None:
    damage(folder / WEIGHTS)
    before = {Path(name).name: data for name, data in files_of(folder).items()}
    with opened(folder) as state:
        new_run(state, 1, "stopped", seed=2)
        assert state.load_state()
    assert set_aside(folder) == [before]


def test_a_run_with_damaged_metrics_is_kept_whole_and_the_bad_file_set_aside_when_a_new_run_takes_its_place(
    folder: Path, stopped: dict[str, Any]
) -> None:
    damaged = damage(folder / METRICS)
    with opened(folder) as state:
        earlier = state.catalog().states[0].id
        new_run(state, 1, "stopped", seed=2)
        assert set_aside(folder) == [{METRICS: damaged}]
        assert state.load(earlier).warnings == ()
        assert_same(content(state), stopped)


def test_an_unsaved_run_is_not_set_aside_in_place_of_the_damaged_files_that_it_replaced(folder: Path) -> None:
    with opened(folder) as state:
        first = new_run(state, 2, "stopped")
        new_run(state, 3, "stopped", seed=2)
        damaged = damage(folder / WEIGHTS)
        unsaved = new_run(state, 4, seed=3)
        expected = content(state)
        assert state.load().record.run == first
        assert [place[WEIGHTS] for place in set_aside(folder)] == [damaged]
        assert state.load_state(unsaved)
        assert_same(content(state), expected)


def test_a_lost_system_state_costs_nothing_and_is_said(folder: Path, stopped: dict[str, Any]) -> None:
    (folder / SYSTEM).write_bytes(b"")
    with opened(folder) as state:
        report = state.load()
        assert_same(content(state), stopped)
        assert any(SYSTEM in warning for warning in report.warnings)
    assert read(folder).warnings == ()


def test_a_loaded_state_that_cannot_be_saved_as_the_present_one_is_loaded_all_the_same(
    folder: Path, stopped: dict[str, Any]
) -> None:
    with opened(folder) as state, fault(1, FULL, ("fdatasync",)):
        report = state.load()
        assert_same(content(state), stopped)
        assert any("No space left" in warning for warning in report.warnings)
        assert state.saving.unsaved_iterations == 0


# --- a folder that was exchanged under an open state


def exchange(folder: Path, backup: Path) -> None:
    """What people do: `rm -rf dashboard_state; cp -r backup dashboard_state`."""
    shutil.rmtree(folder)
    shutil.copytree(backup, folder)


@pytest.fixture
def backup(folder: Path, stopped: dict[str, Any], tmp_path: Path) -> Path:
    """A copy of a stopped run of 6 iterations."""
    assert len(stopped["rows"]) == 6
    return Path(shutil.copytree(folder, tmp_path / "backup"))


def test_nothing_in_an_exchanged_folder_is_overwritten_and_training_goes_on(folder: Path, backup: Path) -> None:
    with opened(folder) as state:
        assert state.load_state()
        train(state, 2)
        exchange(folder, backup)
        before = files_of(folder)
        for _ in range(2):
            with pytest.raises(FolderChangedError):
                state.save()
            train(state, 1)
        assert state.iteration_count == 10
        assert files_of(folder) == before
        state.release()


def test_what_is_in_an_exchanged_folder_can_be_loaded_where_the_unsaved_is_given_up(
    folder: Path, backup: Path, stopped: dict[str, Any]
) -> None:
    with opened(folder) as state:
        assert state.load_state()
        train(state, 2)
        exchange(folder, backup)
        with pytest.raises(FolderChangedError):
            state.load()
        assert state.iteration_count == 8
        assert state.load(discard_unsaved=True).record.iteration_count == 6
        assert_same(content(state), stopped)
        train(state, 1)
        assert state.save_state()


def test_the_run_in_memory_can_go_on_as_a_new_run_beside_what_is_in_an_exchanged_folder(
    folder: Path, backup: Path, stopped: dict[str, Any]
) -> None:
    with opened(folder) as state:
        assert state.load_state()
        original = state.run.id
        train(state, 2)
        expected = content(state)
        exchange(folder, backup)
        receipt = state.go_on_as_new_run()
        assert receipt.record.run == state.run.id != original
        assert state.saving.unsaved_iterations == 0
        assert state.load_state(original)
        assert_same(content(state), stopped)
        assert state.load_state(receipt.record.run)
        assert_same(content(state), expected)


# --- what a loaded run brings along


def test_a_loaded_run_keeps_its_own_configuration_and_the_difference_is_said(folder: Path, tmp_path: Path) -> None:
    text, other = tmp_path / "text.txt", tmp_path / "other.txt"
    text.write_text("one line\nanother line\n")
    other.write_text("something else\n")
    with opened(folder, corpus=str(text), seed=5, learning_rate=2e-3) as state:
        new_run(state, 3, "stopped")
    with opened(folder, field_size=20, seed=6, corpus=str(other)) as state:
        report = state.load()
        config = state.config
        assert (config.field_size, config.seed, config.corpus) == (8, 5, str(text))
        assert config.learning_rate == 2e-3
        assert state.step()["text"] in ("one line", "another line")
        told = " ".join(report.warnings)
        for difference in ("field size 8", "20", "seed 5", "6", str(text), str(other)):
            assert difference in told
        state.initialize()
        assert (state.config.field_size, state.config.seed, state.config.corpus) == (20, 6, str(other))


@pytest.mark.usefixtures("stopped")
def test_a_loaded_run_that_differs_in_nothing_is_loaded_without_a_word(folder: Path) -> None:
    with opened(folder) as state:
        report = state.load()
        assert (report.warnings, report.gave_up, report.newer) == ((), (), None)


@pytest.mark.parametrize("how", ["changed", "gone", "emptied"])
def test_another_text_than_the_runs_own_is_said_and_training_continues(folder: Path, tmp_path: Path, how: str) -> None:
    text = tmp_path / "text.txt"
    text.write_text("one line\nanother line\n")
    with opened(folder, corpus=str(text)) as state:
        new_run(state, 3, "stopped")
    if how == "gone":
        text.unlink()
    else:
        text.write_text("a third line\n" if how == "changed" else "\n")
    with opened(folder) as state:
        report = state.load()
        assert [str(text) in warning and "changed" in warning for warning in report.warnings] == [True]
        line = state.step()["text"]
        assert (line == "a third line") == (how == "changed")
        assert state.iteration_count == 4
        assert state.save_state()


def test_a_text_that_was_moved_is_found_where_new_runs_get_theirs(folder: Path, tmp_path: Path) -> None:
    text, moved = tmp_path / "text.txt", tmp_path / "moved.txt"
    text.write_text("one line\nanother line\nand a third one\n")
    with opened(folder, corpus=str(text)) as state:
        new_run(state, 1, "stopped")
    text.rename(moved)
    with opened(folder, corpus=str(moved)) as state:
        report = state.load()
        assert not any("changed" in warning for warning in report.warnings)
        assert state.step()["text"] == "another line"
