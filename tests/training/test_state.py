"""TrainingState: runs resume exactly, and no failure on the way loses what was saved."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import quadra
from quadra import TrainingConfig, TrainingState
from quadra.errors import (
    ConfigurationError,
    CorpusError,
    FolderLockedError,
    FolderUnusableError,
    LoadError,
    NoSavedStateError,
    RefusedError,
    SaveError,
    UnknownSourceError,
)
from quadra.storage.layout import FILES, METRICS, RUNS, SYSTEM, WEIGHTS
from quadra.storage.saved_state import read
from tests.helpers.state_helpers import (
    SYNCS_AND_RENAMES,
    Crash,
    assert_same,
    assert_same_state,
    content,
    fault,
    files_of,
    new_run,
    opened,
    run_python,
    train,
)

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
CONTINUE = """
import sys
from quadra import TrainingState
with TrainingState(sys.argv[1]) as state:
    assert state.load_state()
    for _ in range(int(sys.argv[2])):
        state.step()
    assert state.save_state()
"""


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


# --- what the Python interface promises


def test_the_public_names_do_what_the_readme_says(folder: Path) -> None:
    state = TrainingState(str(folder), TrainingConfig(field_size=12, seed=0))
    state.initialize()
    metrics = state.step()
    expected = {
        "iteration", "loss", "reward", "variance", "mean", "integrity_strikes", "qtable_size", "plasticity", "pattern",
        "text",
    }  # fmt: skip
    assert expected <= set(metrics)
    assert metrics["iteration"] == state.iteration_count == 1
    assert state.save_state() is True
    assert state.load_state() is True
    for name in ("loss", "reward", "variance"):
        assert getattr(state, f"{name}_history").tolist() == [np.float32(metrics[name])]
    assert state.field_mean_history.tolist() == [np.float32(metrics["mean"])]
    assert state.config.field_size == 12
    state.close()
    state.close()


def test_an_open_state_holds_its_folder_until_it_is_closed(folder: Path) -> None:
    with opened(folder), pytest.raises(FolderLockedError, match=str(os.getpid())):
        opened(folder)
    opened(folder).close()


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FolderUnusableError):
        opened(tmp_path / "file")


def test_without_a_run_there_is_nothing_to_train_or_save(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with opened(folder) as state:
        assert not state.is_initialized
        assert state.iteration_count == 0
        with pytest.raises(RefusedError):
            state.step()
        assert state.save_state() is False
    assert "Failed to save state: There is no run in memory" in caplog.text
    assert files_of(folder) == {}


def test_with_nothing_saved_a_load_says_so(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with opened(folder) as state:
        with pytest.raises(NoSavedStateError, match="No saved state found"):
            state.load()
        assert state.load_state() is False
    assert "No saved state found" in caplog.text


def test_a_source_that_is_not_there_is_told_and_the_run_stays(folder: Path) -> None:
    with opened(folder) as state:
        new_run(state, 2, "stopped")
        before = content(state)
        with pytest.raises(UnknownSourceError, match="nothing like this"):
            state.load("nothing like this")
        assert state.load_state("nothing like this") is False
        assert_same(content(state), before)


def test_close_saves_what_is_unsaved(folder: Path) -> None:
    with opened(folder) as state:
        new_run(state, 3)
        expected = content(state)
    with opened(folder) as state:
        assert state.load_state()
        assert_same(content(state), expected)


def test_close_releases_the_folder_even_where_saving_fails(folder: Path) -> None:
    state = opened(folder)
    new_run(state, 2)
    with fault(1, FULL, ("fdatasync",)):
        state.close()
    opened(folder).close()


def test_a_save_of_a_running_run_does_not_make_it_the_stopped_one(folder: Path) -> None:
    with opened(folder) as state:
        new_run(state, 2)
        assert state.save().record.ended == "cut off"
        assert state.save("stopped").record.ended == "stopped"
        assert state.save().record.ended == "stopped"
        state.step()
        assert state.save().record.ended == "cut off"
        assert [saved.iteration_count for saved in state.catalog().states] == [3]


def test_a_save_repeated_without_a_step_is_fine(folder: Path) -> None:
    with opened(folder) as state:
        new_run(state, 2)
        assert all(state.save_state() for _ in range(3))
        assert state.saving.unsaved_iterations == 0


def test_initialize_draws_a_fresh_seed_where_none_is_given(folder: Path) -> None:
    with opened(folder, seed=None) as state:
        seeds = set()
        for _ in range(3):
            state.initialize()
            seeds.add(state.config.seed)
        assert len(seeds) == 3
        assert None not in seeds
        state.initialize(field_size=9, seed=7)
        assert (state.config.field_size, state.config.seed) == (9, 7)


def test_an_initialize_that_is_not_possible_leaves_the_run_as_it_is(folder: Path, tmp_path: Path) -> None:
    with opened(folder) as state:
        run = new_run(state, 2)
        before = content(state)
        with pytest.raises(ConfigurationError):
            state.initialize(field_size=1)
        assert state.run.id == run
        assert_same(content(state), before)
    with opened(tmp_path / "other", corpus=str(tmp_path / "gone.txt")) as state:
        with pytest.raises(CorpusError):
            state.initialize()
        assert not state.is_initialized


@pytest.mark.process
@pytest.mark.parametrize("module", ["flask", "flask_socketio", "socketio", "engineio", "werkzeug", "gunicorn", "torch"])
def test_importing_quadra_does_not_import(module: str, modules_of_quadra: set[str]) -> None:
    assert module not in modules_of_quadra


@pytest.mark.process
@pytest.mark.parametrize("module", ["flask", "flask_socketio", "socketio", "engineio", "werkzeug", "gunicorn"])
def test_training_imports_no_web_code(module: str, modules_of_training: set[str]) -> None:
    assert "torch" in modules_of_training
    assert module not in modules_of_training


@pytest.fixture(scope="module")
def modules_of_quadra() -> set[str]:
    """What a new process has loaded after `import quadra`."""
    return set(run_python("import quadra, sys; print(*sys.modules)").split())


@pytest.fixture(scope="module")
def modules_of_training() -> set[str]:
    """What a new process has loaded when it can train."""
    return set(run_python("from quadra import TrainingState; import sys; print(*sys.modules)").split())


# --- exact resume


@pytest.mark.long
@pytest.mark.process
def test_100_iterations_saved_and_100_more_in_a_new_process_are_200_in_one_go_to_the_bit(
    folder: Path, tmp_path: Path
) -> None:
    config = TrainingConfig(seed=3)
    with TrainingState(folder, config) as state:
        state.initialize()
        train(state, 100)
        assert state.save_state()
    run_python(CONTINUE, folder, 100)
    with TrainingState(tmp_path / "whole", config) as whole, TrainingState(folder) as resumed:
        whole.initialize()
        train(whole, 200)
        assert resumed.load_state()
        assert resumed.iteration_count == 200
        assert_same(content(resumed), content(whole))


@pytest.mark.parametrize("field_size", [2, 33])
def test_stopping_and_continuing_any_number_of_times_changes_no_bit(
    folder: Path, tmp_path: Path, field_size: int
) -> None:
    with opened(tmp_path / "whole", field_size=field_size) as whole:
        new_run(whole, 60)
        expected = content(whole)
    with opened(folder, field_size=field_size) as state:
        new_run(state, 0, "stopped")
    counts = [1, 2, 10, 17, 30]
    for count in counts:
        with opened(folder) as state:
            assert state.load_state()
            train(state, count)
            state.save("stopped")
    with opened(folder) as state:
        assert state.load_state()
        assert_same(content(state), expected)


def test_saving_changes_no_bit(folder: Path, tmp_path: Path) -> None:
    with opened(folder) as saved, opened(tmp_path / "other") as other:
        new_run(saved, 0)
        new_run(other, 0)
        for _ in range(10):
            train(saved, 1)
            train(other, 1)
            assert saved.save_state()
        assert_same(content(saved), content(other))


def test_a_run_that_was_killed_goes_on_from_its_last_save_to_the_same_bits(folder: Path, tmp_path: Path) -> None:
    with opened(tmp_path / "whole") as whole:
        new_run(whole, 20)
        expected = content(whole)
    state = opened(folder)
    new_run(state, 10)
    assert state.save_state()
    train(state, 7)
    state.release()
    with opened(folder) as state:
        assert state.load_state()
        assert state.iteration_count == 10
        train(state, 10)
        assert_same(content(state), expected)


def test_the_global_generators_have_no_part_in_a_run(folder: Path, tmp_path: Path) -> None:
    runs = []
    for seed, path in ((1, folder), (2, tmp_path / "other")):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        with opened(path) as state:
            new_run(state, 5, "stopped")
            assert state.load_state()
            train(state, 5)
            runs.append(content(state))
    assert_same(*runs)


def test_every_part_of_the_state_comes_back_after_training_on(folder: Path, stopped: dict[str, Any]) -> None:
    with opened(folder) as state:
        assert state.load_state()
        assert_same(content(state), stopped)
        run = state.run.id
        new_run(state, 3, seed=9)
        assert state.load_state(run)
        assert_same(content(state), stopped)


# --- days 1, 2 and 3 of the brief


def test_days_1_2_and_3(folder: Path) -> None:
    with opened(folder) as state:
        new_run(state, 20, "stopped")
        day_1 = content(state)
    with opened(folder) as state:
        assert state.load_state()
        assert state.iteration_count == len(state.loss_history) == 20
        assert_same(content(state), day_1)
        assert state.step()["iteration"] == 21
        train(state, 29)
        state.save("stopped")
        day_2 = content(state)
    with opened(folder) as state:
        for _ in range(10):
            if state.is_initialized:
                train(state, 1)
            else:
                new_run(state, 0)
            assert state.save_state()
    with opened(folder) as state:
        report = state.load()
        assert report.record.iteration_count == state.iteration_count == 50
        assert_same(content(state), day_2)
        assert report.newer is not None
        assert (report.newer.iteration_count, report.newer.ended) == (9, "cut off")
        assert state.load_state(report.newer.id)
        assert state.iteration_count == 9


def test_day_3_in_one_process_without_a_save_of_the_new_run(folder: Path) -> None:
    with opened(folder) as state:
        run = new_run(state, 20, "stopped")
        expected = content(state)
        new_run(state, 5, seed=2)
        assert state.load_state()
        assert state.run.id == run
        assert_same(content(state), expected)


def test_a_loaded_run_becomes_the_default(folder: Path) -> None:
    with opened(folder) as state:
        first = new_run(state, 2, "stopped")
        second = new_run(state, 3, "stopped", seed=2)
        assert state.catalog().default is not None
        assert state.load().record.run == second
        assert state.load(first).record.run == first
        assert state.load().record.run == first


def test_the_newest_save_of_all_is_loaded_where_it_is_asked_for(folder: Path) -> None:
    with opened(folder) as state:
        new_run(state, 2, "stopped")
        newest = new_run(state, 3, seed=2)
        assert state.save_state()
        assert state.load(newest=True).record.run == newest


def test_every_run_stays_loadable_to_the_bit_whatever_is_loaded_in_between(folder: Path) -> None:
    kept: dict[str, dict[str, Any]] = {}
    with opened(folder) as state:
        for seed in (1, 2, 3):
            run = new_run(state, 2 + seed, "stopped", seed=seed)
            kept[run] = content(state)
        for run in (*kept, *reversed(kept), *kept):
            assert state.load_state(run)
            assert_same(content(state), kept[run])
            assert {saved.id for saved in state.catalog().states} == set(kept)


# --- a new run beside an earlier one


@pytest.mark.usefixtures("stopped")
def test_a_new_runs_first_save_finds_the_earlier_run_complete_in_its_own_folder(folder: Path) -> None:
    earlier, replace = read(folder), os.replace
    kept: list[str] = []

    def watched(source: Any, target: Any, **options: Any) -> None:
        if Path(target).parent == folder:
            (run,) = (folder / RUNS).iterdir()
            assert set(files_of(run)) == set(FILES)
            assert_same_state(read(run), earlier)
            assert read(run).damaged == ()
            kept.append(Path(target).name)
        replace(source, target, **options)

    with opened(folder) as state, pytest.MonkeyPatch.context() as patch:
        new_run(state, 1, seed=2)
        patch.setattr(os, "replace", watched)
        assert state.save_state()
    assert kept == [METRICS, WEIGHTS, SYSTEM]


def test_initialize_saves_what_is_unsaved_first(folder: Path) -> None:
    with opened(folder) as state:
        first = new_run(state, 4)
        expected = content(state)
        new_run(state, 2, "stopped", seed=2)
        assert state.load_state(first)
        assert_same(content(state), expected)


def test_load_saves_what_is_unsaved_first(folder: Path) -> None:
    with opened(folder) as state:
        first = new_run(state, 2, "stopped")
        second = new_run(state, 4, seed=2)
        expected = content(state)
        assert state.load_state(first)
        assert state.run.id == first
        assert state.load_state(second)
        assert_same(content(state), expected)


@pytest.mark.parametrize("command", ["initialize", "load"])
def test_where_the_unsaved_cannot_be_saved_the_run_stays(folder: Path, command: str) -> None:
    with opened(folder) as state:
        new_run(state, 2, "stopped")
        train(state, 2)
        before = content(state)
        with fault(1, FULL, ("fdatasync",)), pytest.raises(SaveError):
            getattr(state, command)()
        assert_same(content(state), before)
        assert state.saving.unsaved_iterations == 2


def outcomes(
    folder: Path, baseline: Path, error: BaseException, act: Callable[[TrainingState], object]
) -> Iterator[tuple[int, TrainingState]]:
    """Let an action fail at its 1st, 2nd, 3rd ... operation until it succeeds; gives the state as it is opened anew."""
    for number in itertools.count(1):
        path = folder / str(number)
        shutil.copytree(baseline, path)
        state = opened(path)
        with contextlib.suppress(Crash, SaveError, LoadError, OSError), fault(number, error) as failing:
            act(state)
        state.release()
        with opened(path) as state:
            yield number, state
        if not failing.happened:
            assert number > 5
            return


@pytest.mark.rotates(1)
@pytest.mark.parametrize("error", [Crash(), FULL], ids=["crash", "full disk"])
def test_a_fault_anywhere_in_a_new_runs_first_save_leaves_the_stopped_run_to_the_bit(
    tmp_path: Path, folder: Path, stopped: dict[str, Any], error: BaseException
) -> None:
    def act(state: TrainingState) -> None:
        new_run(state, 1, seed=2)
        state.save()

    for number, state in outcomes(tmp_path / "faults", folder, error, act):
        assert state.load_state(), f"fault at operation {number}"
        assert_same(content(state), stopped)


@pytest.mark.rotates(1)
@pytest.mark.parametrize("error", [Crash(), FULL], ids=["crash", "full disk"])
def test_a_fault_anywhere_in_a_save_leaves_the_previous_or_the_new_state_to_the_bit(
    tmp_path: Path, folder: Path, stopped: dict[str, Any], error: BaseException
) -> None:
    with opened(tmp_path / "longer") as state:
        new_run(state, 8)
        longer = content(state)

    def act(state: TrainingState) -> None:
        assert state.load_state()
        train(state, 2)
        state.save()

    for _, state in outcomes(tmp_path / "faults", folder, error, act):
        assert state.load_state()
        assert_same(content(state), stopped if state.iteration_count == 6 else longer)


@pytest.mark.rotates(1)
@pytest.mark.parametrize("error", [Crash(), FULL], ids=["crash", "full disk"])
def test_a_fault_anywhere_in_going_from_one_run_to_another_loses_neither(
    tmp_path: Path, folder: Path, error: BaseException
) -> None:
    kept: dict[str, dict[str, Any]] = {}
    with opened(folder) as state:
        for seed in (1, 2):
            run = new_run(state, 2 + seed, "stopped", seed=seed)
            kept[run] = content(state)
    first = next(iter(kept))
    for number, state in outcomes(tmp_path / "faults", folder, error, lambda state: state.load(first)):
        for run, expected in kept.items():
            assert state.load_state(run), f"fault at operation {number}"
            assert_same(content(state), expected)


# --- reset


def test_a_reset_clears_memory_and_disk_and_leaves_what_is_not_ours(folder: Path) -> None:
    with opened(folder) as state:
        new_run(state, 2, "stopped")
        new_run(state, 3, "stopped", seed=2)
        (folder / "notes.txt").write_text("mine")
        (folder / RUNS / "notes.txt").write_text("mine")
        state.reset()
        assert not state.is_initialized
        assert (state.iteration_count, state.catalog().states) == (0, ())
        assert not state.load_state()
        assert set(files_of(folder)) == {"notes.txt", f"{RUNS}/notes.txt"}
        new_run(state, 1, "stopped")
        assert state.load_state()


def test_a_run_that_was_reset_is_not_saved_again_on_close(folder: Path) -> None:
    with opened(folder) as state:
        new_run(state, 3)
        state.reset()
    assert files_of(folder) == {}


# --- any order of commands


@pytest.mark.parametrize("seed", range(6))
def test_after_any_commands_in_any_order_every_saved_run_loads_to_the_bit(folder: Path, seed: int) -> None:
    choose = random.Random(seed)
    saved: dict[str, dict[str, Any]] = {}
    state = opened(folder)
    for _ in range(25):
        command = choose.choice(["new", "train", "save", "stop", "load", "load one", "reopen", "fail"])
        if command == "new":
            keep(saved, state)
            state.initialize(seed=choose.randrange(100))
        elif command == "train" and state.is_initialized:
            train(state, choose.randrange(1, 4))
        elif command in {"save", "stop"} and state.is_initialized:
            state.save("stopped" if command == "stop" else None)
            saved[state.run.id] = content(state)
        elif command == "load" and (expected := state.catalog().default) is not None:
            keep(saved, state)
            assert state.load_state()
            assert state.run.id == expected.id or expected.load_rank == 0
        elif command == "load one" and saved:
            keep(saved, state)
            run = choose.choice(sorted(saved))
            if any(listed.id == run for listed in state.catalog().states):
                assert state.load_state(run)
                assert state.run.id == run
        elif command == "reopen":
            keep(saved, state)
            state.close()
            state = opened(folder)
        elif command == "fail" and state.is_initialized:
            with fault(choose.randrange(1, 20), FULL, SYNCS_AND_RENAMES):
                state.save_state()
        present = {state.run.id} if state.is_initialized else set()
        assert {listed.id for listed in state.catalog().states} >= set(saved) - present
    state.close()
    with opened(folder) as state:
        for run, kept in saved.items():
            assert state.load_state(run)
            if state.iteration_count == len(kept["rows"]):
                assert_same(content(state), kept)
            else:
                assert state.iteration_count > len(kept["rows"])


def keep(saved: dict[str, dict[str, Any]], state: TrainingState) -> None:
    """What is unsaved is about to be saved."""
    if state.saving.unsaved_iterations:
        saved[state.run.id] = content(state)


def test_a_folder_can_be_read_beside_its_owner_and_is_left_as_it_is(folder: Path) -> None:
    with opened(folder) as state:
        new_run(state, 3, "stopped")
        before = files_of(folder)
        saved = quadra.read_saved(folder)
        assert saved.record.iteration_count == 3
        assert saved.rows.tobytes() == state.history.rows().tobytes()
        assert files_of(folder) == before
        train(state, 1)
        assert state.save_state()
