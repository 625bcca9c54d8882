"""History: rows are appended, read in ranges, and a chart's thinned slice has every extreme."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quadra.model.history import SERIES, History, checksum_of, rows_of

EVERYTHING = 10**9


def filled(rows: NDArray[np.float32]) -> History:
    history = History()
    for row in rows.tolist():
        history.append(*row)
    return history


def random_rows(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, len(SERIES))).astype(np.float32)


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Threads take turns after every few instructions."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_an_empty_history_has_no_rows() -> None:
    history = History()
    assert len(history) == 0
    assert history.rows().shape == (0, 4)
    part = history.slice(1, EVERYTHING, 10)
    assert (len(part.iterations), part.total, part.thinned) == (0, 0, False)
    assert part.as_lists() == {"iteration": [], "loss": [], "reward": [], "variance": [], "mean": []}


def test_an_appended_row_is_the_next_iteration() -> None:
    history = filled(np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32))
    assert len(history) == 2
    assert history.series("loss").tolist() == [1, 5]
    assert history.series("reward").tolist() == [2, 6]
    assert history.series("variance").tolist() == [3, 7]
    assert history.series("mean").tolist() == [4, 8]


@pytest.mark.parametrize("start", [0, 1, 1023, 1024, 1025])
def test_growing_keeps_every_value(start: int) -> None:
    rows = random_rows(start + 3000)
    history = History(rows[:start].copy())
    for row in rows[start:].tolist():
        history.append(*row)
    assert history.rows().tobytes() == rows.tobytes()


def test_going_on_from_loaded_rows_leaves_them_as_they_are() -> None:
    loaded = random_rows(10)
    before = loaded.copy()
    History(loaded).append(1, 2, 3, 4)
    assert loaded.tobytes() == before.tobytes()


def test_a_series_is_a_copy() -> None:
    history = filled(random_rows(5))
    history.series("loss")[:] = 0
    assert history.rows()[:, 0].all()


def test_a_row_takes_at_most_20_bytes_in_a_long_history() -> None:
    history, worst = History(), 0.0
    tracemalloc.start()
    try:
        start, _ = tracemalloc.get_traced_memory()
        for count in range(1, 150_001):
            history.append(0.5, 0.5, 0.5, 0.5)
            if count > 50_000 and count % 100 == 0:
                worst = max(worst, (tracemalloc.get_traced_memory()[0] - start) / count)
    finally:
        tracemalloc.stop()
    assert 16 <= worst <= 20.1


def test_the_checksum_is_that_of_all_rows_however_often_it_is_asked() -> None:
    rows = random_rows(2500)
    history = History()
    for number, row in enumerate(rows.tolist(), start=1):
        history.append(*row)
        if number in {1, 2, 1024, 1025, 2500}:
            expected = hashlib.sha256(rows[:number].tobytes()).hexdigest()
            assert history.checksum() == history.checksum() == checksum_of(rows[:number]) == expected


def test_the_checksum_of_loaded_rows_goes_on_as_if_they_had_been_appended() -> None:
    rows = random_rows(20)
    history = History(rows[:15].copy())
    for row in rows[15:].tolist():
        history.append(*row)
    assert history.checksum() == filled(rows).checksum()


def test_the_checksum_does_not_depend_on_how_rows_lie_in_memory() -> None:
    rows = random_rows(9)
    assert checksum_of(np.asfortranarray(rows)) == checksum_of(rows)


def test_one_changed_bit_changes_the_checksum() -> None:
    rows = random_rows(9)
    other = rows.copy()
    other.view(np.uint32)[4, 2] ^= 1
    assert checksum_of(other) != checksum_of(rows)


def test_rows_of_joins_series_by_name() -> None:
    rows = random_rows(6)
    columns = {name: rows[:, number].copy() for number, name in enumerate(SERIES)}
    assert rows_of(dict(reversed(columns.items()))).tobytes() == rows.tobytes()


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (1, 10, range(1, 11)),
        (3, 5, range(3, 6)),
        (10, 10, range(10, 11)),
        (-5, 2, range(1, 3)),
        (9, 99, range(9, 11)),
        (11, 99, range(0)),
        (5, 4, range(0)),
    ],
)
def test_a_slice_counts_from_1_and_is_cut_to_what_there_is(start: int, end: int, expected: range) -> None:
    rows = random_rows(10)
    part = filled(rows).slice(start, end, 100)
    assert part.iterations.tolist() == list(expected)
    assert part.rows.tobytes() == rows[[number - 1 for number in expected]].tobytes()
    assert part.total == len(expected)
    assert not part.thinned


@st.composite
def series_rows(draw: st.DrawFn) -> NDArray[np.float32]:
    """Rows with many ties, or with none."""
    count = draw(st.integers(1, 400))
    levels = draw(st.sampled_from([1, 2, 5, 1_000_000]))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return generator.integers(-levels, levels, size=(count, len(SERIES))).astype(np.float32)


@settings(max_examples=100, deadline=None)
@given(rows=series_rows(), points=st.integers(10, 150), start=st.integers(1, 50))
def test_a_thinned_slice_keeps_every_extreme(rows: NDArray[np.float32], points: int, start: int) -> None:
    history = History(rows)
    part = history.slice(start, EVERYTHING, points)
    asked = rows[start - 1 :]
    assert len(part.iterations) <= points
    assert part.total == len(asked)
    assert part.thinned == (len(part.iterations) < len(asked))
    assert (np.diff(part.iterations) > 0).all()
    assert part.rows.tobytes() == rows[part.iterations - 1].tobytes()
    if len(asked):
        assert (part.rows.min(0) == asked.min(0)).all()
        assert (part.rows.max(0) == asked.max(0)).all()
    if len(asked) <= points:
        assert not part.thinned
    again = history.slice(start, EVERYTHING, points)
    assert again.iterations.tobytes() == part.iterations.tobytes()


@pytest.mark.parametrize("points", [20, 100, 999])
def test_a_thinned_slice_keeps_both_ends(points: int) -> None:
    part = filled(random_rows(1000)).slice(101, 900, points)
    assert part.thinned or points == 999
    assert (part.iterations[0], part.iterations[-1]) == (101, 900)


@pytest.mark.parametrize("points", range(1, 12))
def test_a_thinned_slice_has_no_more_points_than_asked_for(points: int) -> None:
    assert 1 <= len(filled(random_rows(200)).slice(1, 200, points).iterations) <= points


def test_a_thinned_slice_is_spread_over_the_whole_range() -> None:
    part = filled(random_rows(10_000)).slice(1, 10_000, 900)
    assert len(part.iterations) > 450
    assert np.diff(part.iterations).max() <= 2 * 10_000 / 100


def test_a_single_spike_stays_visible_in_a_long_history() -> None:
    rows = np.full((50_000, 4), 0.5, np.float32)
    rows[31_415, 2] = 7.0
    rows[27_182, 0] = -7.0
    part = History(rows).slice(1, 50_000, 2000)
    assert {31_416, 27_183} <= set(part.iterations.tolist())


@pytest.mark.parametrize("distance", [2, 3])
def test_lost_iterations_hide_no_extreme_of_the_others(distance: int) -> None:
    rows = np.full((10_000, 4), 0.5, np.float32)
    rows[::distance] = np.nan
    rows[3_001], rows[7_003] = 9.0, -9.0
    part = History(rows).slice(1, 10_000, 200)
    assert part.thinned
    assert {3_002, 7_004} <= set(part.iterations.tolist())


def test_of_a_stretch_that_is_wholly_lost_something_stays_so_that_the_gap_shows() -> None:
    rows = random_rows(10_000)
    rows[2_000:6_000] = np.nan
    part = History(rows).slice(1, 10_000, 200)
    assert np.isnan(part.rows[(part.iterations > 2_000) & (part.iterations <= 6_000)]).any()
    assert np.isfinite(part.rows[(part.iterations <= 2_000) | (part.iterations > 6_000)]).all()


def test_what_is_not_finite_becomes_none_in_lists() -> None:
    history = filled(np.array([[1, 2, 3, 4], [math.nan, 6, math.inf, -math.inf], [9, 10, 11, 12]], np.float32))
    lists = history.slice(1, 3, 10).as_lists()
    assert lists == {
        "iteration": [1, 2, 3],
        "loss": [1, None, 9],
        "reward": [2, 6, 10],
        "variance": [3, None, 11],
        "mean": [4, None, 12],
    }
    json.dumps(lists, allow_nan=False)


@pytest.mark.usefixtures("eager_threads")
def test_a_reader_sees_only_complete_rows_while_rows_are_appended() -> None:
    history, done, faults, looks = History(), threading.Event(), [], itertools.count(1)

    def read() -> None:
        while True:
            last_look = done.is_set()
            rows = history.rows()
            expected = np.arange(max(1, len(rows) - 50), len(rows) + 1, dtype=np.float32)
            if (
                not (rows[-50:] == expected[-50:, None]).all()
                or not (rows[:50, 0] == np.arange(1, 51)[: len(rows)]).all()
            ):
                faults.append(len(rows))
            next(looks)
            if last_look:
                return

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 40_001):
        history.append(number, number, number, number)
    done.set()
    reader.join()
    assert faults == []
    assert next(looks) > 10


def test_a_reader_at_any_point_of_an_append_sees_only_complete_rows() -> None:
    """The same, looked at between every two lines of `append`, so that no luck with threads is needed."""
    history, counts = History(), []

    def look(frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        if frame.f_code is not History.append.__code__:
            return None
        if event == "line":
            rows = history.rows()
            counts.append(len(rows))
            assert (rows == np.arange(1, len(rows) + 1, dtype=np.float32)[:, None]).all()
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        for number in range(1, 1100):
            history.append(number, number, number, number)
    finally:
        sys.settrace(before)
    assert set(counts) == set(range(1099))


@settings(max_examples=100, deadline=None)
@given(rows=series_rows(), points=st.integers(10, 150), start=st.integers(1, 50), parts=st.integers(1, 5))
def test_thinning_what_was_thinned_gives_what_thinning_all_gives(
    rows: NDArray[np.float32], points: int, start: int, parts: int
) -> None:
    """So a page that thins what it is sent bit by bit shows the same picture as one that asks for all at once."""
    rows[::7, 1] = np.nan
    history, so_far = History(rows), np.empty(0, np.int64)
    for end in np.linspace(start, len(rows), parts + 1).astype(int)[1:]:
        begun = int(so_far[-1]) + 1 if len(so_far) else start
        held = np.concatenate([so_far, np.arange(begun, end + 1)])
        so_far = held if end - start < points else thinned_again(rows, held, points)
    assert so_far.tolist() == history.slice(start, EVERYTHING, points).iterations.tolist()


def thinned_again(rows: NDArray[np.float32], held: NDArray[np.int64], points: int) -> NDArray[np.int64]:
    """What stays of a range of which only some iterations are held: those between count as lost."""
    full = np.full((len(rows), len(SERIES)), np.nan, np.float32)
    full[held - 1] = rows[held - 1]
    kept = History(full).slice(int(held[0]), int(held[-1]), points).iterations
    return np.intersect1d(kept, held)
