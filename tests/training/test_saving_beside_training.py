"""A save that is written beside training holds the state of its own iteration, and no second one is begun."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from quadra.errors import SaveTimeoutError
from quadra.storage import commit
from quadra.storage.saved_state import read
from tests.helpers.fault_loops import FIRST, assert_true_to_its_run, expected, fingerprint, opened
from tests.helpers.state_helpers import train
from tests.helpers.waiting import PATIENCE


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
    with opened(tmp_path / "state", FIRST) as state:
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
    with opened(tmp_path / "state", FIRST) as state:
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
    with opened(tmp_path / "state", FIRST) as state:
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
