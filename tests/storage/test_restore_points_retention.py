"""Retention thins restore points by age, keeps to its budget, and never touches what is protected."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from quadra.storage.retention import RestorePoint, expired

RUN, OTHER = "a" * 16, "b" * 16


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
