"""The recording covers all the time since it began, in a bounded number of columns, and merging changes no value in them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quadra.model.activity import MOST_COLUMNS, MOST_ROWS, ActivityRecorder, ActivitySample, Columns, field_rows


def sample(iteration: int, size: int = 3) -> ActivitySample:
    """What a run whose numbers all follow from the iteration shows after it."""
    field = np.full(size, iteration / 10_000, np.float32)
    chosen, patterns = [iteration * 36, iteration // 2, iteration // 3], [iteration // 5, iteration - iteration // 5]
    return ActivitySample(iteration, field, 1.0 + iteration / 1000, chosen, patterns)


def recorded(beginning: int, count: int, rates_at: frozenset[int] = frozenset()) -> ActivityRecorder:
    """A record of so many iterations, with firing rates sampled after some of them."""
    recorder = ActivityRecorder(sample(beginning))
    for iteration in range(beginning + 1, beginning + count + 1):
        if iteration >= recorder.due:
            recorder.add(sample(iteration))
        if iteration in rates_at:
            recorder.add_rates(iteration, [iteration, iteration + 0.25, iteration + 0.5])
    return recorder


def assert_tells(columns: Columns, ends: list[int]) -> None:
    expected = [sample(end) for end in ends]
    assert columns.last.tolist() == ends
    assert columns.fields.tolist() == [each.field.tolist() for each in expected]
    assert columns.plasticity.tolist() == [float(np.float32(each.plasticity)) for each in expected]
    assert columns.chosen.tolist() == [list(each.chosen) for each in expected]
    assert columns.patterns.tolist() == [list(each.patterns) for each in expected]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 5000), st.integers(0, 5 * MOST_COLUMNS))
def test_all_the_time_since_it_began_is_covered_at_one_stride_and_by_a_bounded_number_of_columns(
    beginning: int, count: int
) -> None:
    recorder = recorded(beginning, count)
    columns = recorder.columns(sample(beginning + count))
    whole, rest = divmod(count, recorder.stride)
    ends = [beginning + recorder.stride * number for number in range(1, whole + 1)]
    assert len(recorder) == whole < MOST_COLUMNS
    assert count < MOST_COLUMNS or whole >= MOST_COLUMNS // 2
    assert_tells(columns, ends + ([beginning + count] if rest else []))


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 4 * MOST_COLUMNS), st.data())
def test_a_column_has_the_newest_rates_that_were_sampled_in_its_stretch(count: int, data: st.DataObject) -> None:
    at = frozenset(data.draw(st.lists(st.integers(1, count), max_size=60)))
    recorder = recorded(0, count, at)
    columns = recorder.columns(sample(count))
    starts = [0, *columns.last.tolist()]
    for start, end, rates in zip(starts, columns.last.tolist(), columns.rates, strict=False):
        sampled = [iteration for iteration in at if start < iteration <= end]
        if sampled:
            assert rates.tolist() == [max(sampled), max(sampled) + 0.25, max(sampled) + 0.5]
        else:
            assert np.isnan(rates).all()


def test_columns_that_were_handed_out_do_not_change_any_more() -> None:
    recorder = recorded(0, MOST_COLUMNS - 2)
    columns = recorder.columns(sample(MOST_COLUMNS - 2))
    for iteration in range(MOST_COLUMNS - 1, MOST_COLUMNS + 20):
        if iteration >= recorder.due:
            recorder.add(sample(iteration))
    assert recorder.stride == 2
    assert_tells(columns, list(range(1, MOST_COLUMNS - 1)))


def test_where_iterations_were_skipped_the_record_begins_anew() -> None:
    recorder = recorded(0, 10)
    recorder.add(sample(500))
    assert (recorder.beginning.iteration, recorder.due, len(recorder)) == (500, 501, 0)


@pytest.mark.parametrize("size", [MOST_ROWS + 1, 200, 1000, 12_345])
def test_a_row_of_a_large_field_is_the_mean_of_its_neighbours(size: int) -> None:
    field = np.random.default_rng(size).random(size).astype(np.float32)
    begins = [row * size // MOST_ROWS for row in range(MOST_ROWS + 1)]
    expected = [field[start:end].mean() for start, end in pairwise(begins)]
    np.testing.assert_allclose(field_rows(field), expected, rtol=1e-5)


def test_a_small_field_is_recorded_cell_by_cell() -> None:
    field = np.random.default_rng(0).random(MOST_ROWS).astype(np.float32)
    assert field_rows(field).tolist() == field.tolist()
