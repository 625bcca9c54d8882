"""Restore points come with the saves and thin out by age; a budget holds, and the best state is kept beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadra import TrainingState
from quadra.states.listing import BEST_STATE, POINT, SAVE, StateListing
from quadra.storage.layout import BEST_FILE, LABELS, LABELS_COPY, RESTORE_POINTS, WEIGHTS, StateLayout
from quadra.storage.restore_points import (
    NO_CHANGE,
    Plan,
    RestorePoint,
    RestorePoints,
    Retention,
    expired,
    smoothed_reward,
)
from quadra.storage.save_record import SaveRecord, peek
from quadra.storage.saved_state import read_save
from tests.helpers.state_helpers import new_run, small_config, train

RUN, OTHER = "a" * 16, "b" * 16


def record(iteration: int, run: str = RUN) -> SaveRecord:
    return SaveRecord(run, iteration, iteration, "2026-01-01T00:00:00.000Z", "cut off", 0, 8, 1, "0" * 64, 0)


def rows(rewards: list[float]) -> np.ndarray:
    table = np.zeros((len(rewards), 4), np.float32)
    table[:, 1] = rewards
    return table


def opened(folder: Path, **retention: int) -> TrainingState:
    return TrainingState(folder, small_config(time_steps=2, epochs=1), retention=Retention(**retention))


def train_and_save(state: TrainingState, until: int, every: int = 10) -> None:
    while state.iteration_count < until:
        train(state, every)
        state.saving.begin()
        state.saving.wait()
        state.saving.collect()


def names(folder: Path, run: str) -> list[str]:
    return [file.name for file in StateLayout(folder).restore_points_of(run)]


def test_one_save_in_a_hundred_iterations_becomes_a_restore_point(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        run = new_run(state, 0)
        train_and_save(state, 320)
        assert names(tmp_path, run) == ["100.pth", "200.pth", "300.pth"]


def test_a_restore_point_is_a_second_name_of_the_save_and_writes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        run = new_run(state, 100, "stopped")
        point = StateLayout(tmp_path).restore_point(run, 100)
        assert point.samefile(tmp_path / WEIGHTS)


def test_every_restore_point_is_a_whole_state_of_its_iteration(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        run = new_run(state, 0)
        train_and_save(state, 350)
        for iteration in (100, 200, 300):
            found = read_save(StateLayout(tmp_path).restore_point(run, iteration), tmp_path)
            assert found.record.iteration_count == iteration
            assert np.array_equal(found.rows, state.history.rows()[:iteration])


def test_where_saves_come_seldom_each_one_past_a_hundred_is_a_point(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        run = new_run(state, 0)
        for _ in range(3):
            train(state, 70)
            state.save()
        assert names(tmp_path, run) == ["140.pth", "210.pth"]


def test_the_budget_holds_and_older_points_thin_out(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        new_run(state, 1, "stopped")
        budget = 8 * (tmp_path / WEIGHTS).stat().st_size
    with opened(tmp_path, budget=budget) as state:
        run = new_run(state, 0)
        for until in range(100, 1001, 100):
            train_and_save(state, until)
            kept = StateLayout(tmp_path).restore_points_of(run)
            sizes = [file.stat().st_size for file in kept]
            assert sum(sizes) <= budget + max(sizes)
        assert 2 <= len(kept) <= 7
        assert kept[-1].name == "1000.pth"


def test_a_pinned_point_outlives_every_budget(tmp_path: Path) -> None:
    with opened(tmp_path, budget=0) as state:
        run = new_run(state, 0)
        train_and_save(state, 100)
        state.saved_states.label(f"{run}@100", pinned=True)
        train_and_save(state, 400)
        assert names(tmp_path, run) == ["100.pth", "400.pth"]


def test_points_that_are_there_already_are_counted(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        run = new_run(state, 0)
        train_and_save(state, 300)
    with opened(tmp_path, budget=0) as state:
        state.load()
        train_and_save(state, 400)
        assert names(tmp_path, run) == ["400.pth"]


def test_a_point_that_cannot_be_kept_is_told_and_the_save_stands(tmp_path: Path) -> None:
    (tmp_path / RESTORE_POINTS).write_text("mine")
    with opened(tmp_path) as state:
        new_run(state, 100)
        receipt = state.save()
        assert "restore point could not be kept" in receipt.remark
        assert state.saving.unsaved_iterations == 0
    assert (tmp_path / RESTORE_POINTS).read_text() == "mine"


def test_no_link_is_followed_out_of_the_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / RESTORE_POINTS).symlink_to(outside)
    with opened(folder) as state:
        new_run(state, 100)
        assert state.save().remark
        assert StateLayout(folder).restore_point_folders() == []
    assert list(outside.iterdir()) == []


# --- the best state


def test_the_smoothed_reward_is_the_mean_of_the_window() -> None:
    assert smoothed_reward(rows([1, 2, 3, 4]), 4, 2) == 3.5
    assert smoothed_reward(rows([1, 2, 3, 4]), 3, 2) == 2.5
    assert smoothed_reward(rows([1, 2, 3, 4]), 1, 2) is None
    assert smoothed_reward(rows([1, float("nan"), 3, 4]), 3, 2) is None


@pytest.fixture
def plan(tmp_path: Path) -> Callable[[list[float]], Plan]:
    points = RestorePoints(StateLayout(tmp_path), Retention(best_window=2))

    def planned(rewards: list[float]) -> Plan:
        found = points.plan(record(len(rewards)), rows(rewards), 10)
        points.apply(RUN, found, 10)
        return found

    return planned


def test_a_save_is_the_best_where_its_smoothed_reward_is_above_all_before(plan: Callable[[list[float]], Plan]) -> None:
    assert plan([5]) == NO_CHANGE
    assert plan([5, 6]).best == (2, 5.5)
    assert plan([5, 6, 5]) == NO_CHANGE  # as good is not better
    assert plan([5, 6, 5, 7]).best == (4, 6)


def test_a_best_that_did_not_become_durable_is_planned_again(tmp_path: Path) -> None:
    points = RestorePoints(StateLayout(tmp_path), Retention(best_window=2))
    first = points.plan(record(2), rows([5, 6]), 10)
    assert points.plan(record(2), rows([5, 6]), 10) == first


def test_the_best_state_of_a_run_is_kept_whatever_comes_after(tmp_path: Path) -> None:
    with opened(tmp_path, best_window=10) as state:
        run = new_run(state, 0)
        train_and_save(state, 200)
        best = peek(tmp_path / RESTORE_POINTS / run / BEST_FILE)
        assert best is not None
        means = {count: smoothed_reward(state.history.rows(), count, 10) or 0.0 for count in range(10, 201, 10)}
        assert means[best.iteration_count] == max(means.values())
        found = read_save(tmp_path / RESTORE_POINTS / run / BEST_FILE, tmp_path)
        assert np.array_equal(found.rows, state.history.rows()[: best.iteration_count])


def test_the_best_is_known_again_after_a_load(tmp_path: Path) -> None:
    with opened(tmp_path, best_window=10) as state:
        run = new_run(state, 100, "stopped")
        before = (tmp_path / RESTORE_POINTS / run / BEST_FILE).stat()
    with opened(tmp_path, best_window=10) as state:
        state.load()
        low = replace(state.saving.restore_points.plan(record(100, run), state.history.rows(), 1), added=None)
        assert low.best is None
    assert (tmp_path / RESTORE_POINTS / run / BEST_FILE).stat().st_ino == before.st_ino


# --- where a run gives way to another


def test_the_last_saves_of_a_run_that_gives_way_become_restore_points(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        run = new_run(state, 0)
        train_and_save(state, 50)
        saves = {
            entry.iteration_count for entry in StateListing(state.folder.layout).entries() if entry.kinds == (SAVE,)
        }
        assert saves == {10, 20, 30, 40}
        new_run(state, 5, "stopped")
        kept = {
            e.iteration_count for e in StateListing(state.folder.layout).entries() if e.run == run and POINT in e.kinds
        }
        assert kept == saves | {50}
        for file in StateLayout(tmp_path).restore_points_of(run):
            read_save(file, tmp_path / "runs" / run)


def test_a_point_that_is_the_best_as_well_is_listed_once(tmp_path: Path) -> None:
    with opened(tmp_path, best_window=10) as state:
        run = new_run(state, 100)
        state.save()
        train(state, 1)
        state.save()
        kinds = [entry.kinds for entry in StateListing(state.folder.layout).entries() if entry.id == f"{run}@100"]
        assert len(kinds) == 1
        assert {POINT, BEST_STATE, SAVE} >= set(kinds[0]) >= {POINT}


def test_where_nobody_can_say_what_is_pinned_nothing_is_thinned(tmp_path: Path) -> None:
    with opened(tmp_path, budget=0) as state:
        run = new_run(state, 0)
        train_and_save(state, 100)
        for name in (LABELS, LABELS_COPY):
            (tmp_path / name).write_text("?")
        state.saving.restore_points.forget()
        train_and_save(state, 300)
        assert names(tmp_path, run) == ["100.pth", "200.pth", "300.pth"]


@pytest.mark.rotates(1)
@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_done_nothing_that_is_kept_goes_and_the_budget_holds(tmp_path: Path, seed: int) -> None:
    chance = Random(seed)
    with opened(tmp_path, best_window=20) as state:
        new_run(state, 1, "stopped")
        budget = 5 * (tmp_path / WEIGHTS).stat().st_size
    with opened(tmp_path, budget=budget, best_window=20) as state:
        state.initialize()
        pinned: set[str] = set()
        slots: set[str] = set()
        for _ in range(25):
            match chance.choice(("train", "train", "train", "train", "pin", "unpin", "slot", "go back", "new run")):
                case "train":
                    train_and_save(state, state.iteration_count + 50, 25)
                case "pin":
                    points = [e.id for e in state.saved_states.listing.entries() if POINT in e.kinds and "@" in e.id]
                    if points:
                        pinned.add(chance.choice(points))
                        state.saved_states.label(max(pinned), pinned=True)
                        pinned = {e.id for e in state.saved_states.listing.entries() if e.label.pinned}
                case "unpin" if pinned:
                    state.saved_states.label(min(pinned), pinned=False)
                    pinned.remove(min(pinned))
                case "slot":
                    slots.add(state.save_slot(f"slot {len(slots)}"))
                case "go back" if pinned:
                    state.load(chance.choice(sorted(pinned)))
                case "new run":
                    state.initialize()
            listed = {e.id: e for e in state.saved_states.listing.entries()}
            best = state.saving.best
            assert pinned | slots <= set(listed)
            assert (
                best is None or best.iteration == state.iteration_count or f"{state.run.id}@{best.iteration}" in listed
            )
            sizes = [e.size for e in listed.values() if POINT in e.kinds and e.id not in pinned and "@" in e.id]
            assert sum(sizes) <= budget + max(sizes, default=0)
        for entry in listed.values():
            read_save(entry.file, entry.folder)


def points_at(iterations: list[int], run: str = RUN, size: int = 10) -> list[RestorePoint]:
    return [RestorePoint(run, iteration, size) for iteration in iterations]


def after(count: int, budget: int, every: int = 100) -> list[int]:
    """The iterations left when one point after the other has come."""
    kept: list[RestorePoint] = []
    for number in range(1, count + 1):
        kept.append(RestorePoint(RUN, number * every, 1))
        gone = expired({RUN: kept}, budget, (), RUN)
        kept = [point for point in kept if point not in gone]
    return [point.iteration for point in kept]


def test_nothing_goes_within_the_budget() -> None:
    assert expired({RUN: points_at([100, 200, 300])}, 30, (), RUN) == []


def test_the_least_worth_goes_first() -> None:
    assert expired({RUN: points_at([100, 200, 210, 1000])}, 39, (), RUN) == points_at([200])


def test_the_newest_stay_dense_and_the_oldest_stays() -> None:
    kept = after(5000, 100)
    assert len(kept) == 100
    assert kept[-10:] == [500_000 - 100 * back for back in range(9, -1, -1)]
    assert kept[0] <= kept[-1] / 10
    gaps = [later - earlier for earlier, later in pairwise(kept)]
    ages = [kept[-1] - iteration + 100 for iteration in kept[:-1]]
    assert max(gap / age for gap, age in zip(gaps, ages, strict=True)) < 1


def test_the_present_run_keeps_its_newest_whatever_the_budget() -> None:
    points = {RUN: points_at([100, 200]), OTHER: points_at([300, 400], OTHER)}
    gone = expired(points, 0, (), OTHER)
    assert {(point.run, point.iteration) for point in gone} == {(RUN, 100), (RUN, 200), (OTHER, 300)}


STATES = st.lists(st.integers(1, 10_000), unique=True, max_size=30).map(sorted)


@given(STATES, STATES, st.lists(st.integers(1, 50), min_size=60, max_size=60), st.integers(0, 800), st.data())
def test_what_is_protected_never_goes_and_the_budget_holds_but_for_that(
    first: list[int], second: list[int], sizes: list[int], budget: int, data: st.DataObject
) -> None:
    points = {
        run: [RestorePoint(run, iteration, size) for iteration, size in zip(iterations, given_sizes, strict=False)]
        for run, iterations, given_sizes in ((RUN, first, sizes[:30]), (OTHER, second, sizes[30:]))
    }
    everything = [point for of_run in points.values() for point in of_run]
    protected = set(data.draw(st.lists(st.sampled_from(everything)))) if everything else set()
    gone = expired(points, budget, protected, RUN)
    newest = set(points[RUN][-1:])
    assert len(set(gone)) == len(gone)
    assert not set(gone) & (protected | newest)
    left = set(everything) - set(gone)
    assert sum(point.size for point in left) <= budget or left <= protected | newest
    if gone:  # no more than needed
        assert sum(point.size for point in left) + gone[-1].size > budget
