"""A save beside training holds the state of its own iteration, no second one is begun, and one that fails loses nothing."""

from __future__ import annotations

import errno
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from quadra import TrainingState
from quadra.errors import SaveTimeoutError
from quadra.storage import commit
from quadra.storage.saved_state import read
from tests.helpers.fault_loops import FIRST, assert_true_to_its_run, expected, fingerprint
from tests.helpers.fault_loops import opened as opened_run
from tests.helpers.state_helpers import SYNCS_AND_RENAMES, assert_same, content, fault, files_of, new_run, opened, train
from tests.helpers.waiting import PATIENCE

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def writing_held_back() -> Iterator[threading.Event]:
    """Every write to the disk waits for the event."""
    go_on, write_file = threading.Event(), commit.write_file

    def held(*arguments: Any) -> None:
        assert go_on.wait(PATIENCE)
        write_file(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commit, "write_file", held)
        try:
            yield go_on
        finally:
            go_on.set()


def test_the_copy_is_taken_before_the_next_step_touches_the_tensors(tmp_path: Path) -> None:
    with opened_run(tmp_path / "state", FIRST) as state:
        state.initialize()
        train(state, 2)
        state.save()
        train(state, 3)
        with writing_held_back() as go_on:
            state.saving.begin()
            train(state, 4)
            state.engine._buffers.tensors.flat.fill_(0.5)  # the state in memory is now nothing like the save's
            for values in state.engine.q_table._values.values():
                values[:] = [9.0, 9.0, 9.0]
            go_on.set()
            state.saving.wait()
            state.saving.collect()
        saved = read(tmp_path / "state")
        assert saved.record.iteration_count == 5
        assert fingerprint(saved.engine, saved.rows) == expected(FIRST, 5)
        state.release()


def test_training_beside_a_save_gives_the_bits_of_training_without_one(tmp_path: Path) -> None:
    with opened_run(tmp_path / "state", FIRST) as state:
        state.initialize()
        for _ in range(6):
            train(state, 2)
            with writing_held_back() as go_on:
                state.saving.begin()
                train(state, 3)
                go_on.set()
                state.saving.wait()
                state.saving.collect()
            assert_true_to_its_run(state)
            saved = read(tmp_path / "state")
            assert fingerprint(saved.engine, saved.rows) == expected(FIRST, saved.record.iteration_count)


def test_at_most_one_save_is_in_flight(tmp_path: Path) -> None:
    with opened_run(tmp_path / "state", FIRST) as state:
        state.initialize()
        train(state, 2)
        with writing_held_back() as go_on:
            first = state.saving.begin()
            assert state.saving.is_under_way
            train(state, 1)
            with pytest.raises(SaveTimeoutError):
                state.saving.begin()
            assert not first.has_ended
            go_on.set()
            state.saving.wait()
            receipt = state.saving.collect()
        assert receipt is not None
        assert receipt.record.iteration_count == 2
        assert state.saving.collect() is None
        assert state.save_state()
        assert read(tmp_path / "state").record.iteration_count == 3


# --- saves that fail


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


@pytest.mark.usefixtures("stopped")
def test_a_save_to_a_full_disk_is_logged_training_continues_and_a_later_save_works(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(folder) as state:
        assert state.load_state()
        train(state, 1)
        before = files_of(folder)
        with fault(1, FULL, ("write",)):
            assert state.save_state() is False
        assert "Failed to save state: No space left on device" in caplog.text
        assert files_of(folder) == before
        assert state.saving.unsaved_iterations == 1
        train(state, 1)
        assert state.save_state() is True
        expected = content(state)
    with opened(folder) as state:
        assert state.load_state()
        assert_same(content(state), expected)


def test_a_save_that_fails_at_any_sync_or_rename_is_followed_by_one_that_works(folder: Path) -> None:
    with opened(folder) as state:
        new_run(state, 2, "stopped")
        new_run(state, 1, seed=2)
        for number in itertools.count(1):
            with fault(number, FULL, SYNCS_AND_RENAMES) as full:
                done = state.save_state()
            assert done is not full.happened
            train(state, 1)
            if not full.happened:
                break
        assert number >= 10
        assert state.save_state()
        expected = content(state)
        assert state.load_state(state.run.id)
        assert_same(content(state), expected)
        assert len(state.catalog().states) == 2


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: state.engine.field.fill_(float("nan")),
        lambda state: load_changed(state, ("syntropy", "fc1.bias"), 0),
        lambda state: load_changed(state, ("optimizer", "exp_avg_sq", "feedback", "fc1.bias"), 0),
        lambda state: load_changed(state, ("centroids",), (0, 0)),
        lambda state: load_changed(state, ("neuroplasticity",), "mean_reward"),
        lambda state: load_changed(state, ("neuroplasticity",), "plasticity"),
        lambda state: load_changed(state, ("q_table", "0.5"), "update_field"),
        lambda state: state.history.append(float("nan"), 1.0, 1.0, 1.0),
    ],
    ids=["field", "weight", "optimizer", "centroid", "mean reward", "plasticity", "Q-table", "history"],
)
def test_a_state_that_is_not_finite_is_never_saved(
    folder: Path, stopped: dict[str, Any], spoil: Callable[[TrainingState], object], caplog: pytest.LogCaptureFixture
) -> None:
    with opened(folder) as state:
        assert state.load_state()
        before = files_of(folder)
        spoil(state)
        assert state.save_state() is False
        assert "not finite" in caplog.text
        assert files_of(folder) == before
        state.release()
    with opened(folder) as state:
        assert state.load_state()
        assert_same(content(state), stopped)


def load_changed(state: TrainingState, path: tuple[str, ...], last: Any) -> None:
    """Put a NaN into the engine."""
    whole = state.engine.state_dict()
    values: Any = whole
    for key in path:
        values = values.setdefault(key, {}) if isinstance(values, dict) and path[0] == "q_table" else values[key]
    values[last] = float("nan")
    state.engine.load_state_dict(whole)
