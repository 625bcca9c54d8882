"""Figures of a series, compared with numpy's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from quadra.model.history import SERIES
from quadra.reports.series_statistics import SeriesPoint, summaries

ROWS = st.integers(1, 250).flatmap(
    lambda count: arrays(np.float32, (count, 4), elements=st.floats(-1e6, 1e6, width=32))
)


@given(ROWS)
def test_figures_are_those_of_numpy(rows: NDArray[np.float32]) -> None:
    for column, (name, summary) in enumerate(zip(SERIES, summaries(rows), strict=True)):
        values = rows[:, column].astype(np.float64)
        figures = summary.figures
        assert (summary.name, summary.known, summary.lost) == (name, len(rows), 0)
        assert figures is not None
        assert figures.first == SeriesPoint(1, values[0])
        assert figures.last == SeriesPoint(len(rows), values[-1])
        assert figures.least == SeriesPoint(int(np.argmin(values)) + 1, values.min())
        assert figures.most == SeriesPoint(int(np.argmax(values)) + 1, values.max())
        assert figures.recent_mean == pytest.approx(np.mean(values[-100:]), rel=1e-12, abs=1e-9)
        assert figures.recent_median == np.median(values[-100:])


def test_lost_rows_are_counted_and_left_out() -> None:
    rows = np.arange(800, dtype=np.float32).reshape(200, 4)
    rows[[0, 1, 150, 199]] = np.nan
    summary = summaries(rows)[0]
    figures = summary.figures
    assert (summary.known, summary.lost) == (196, 4)
    assert figures is not None
    assert (figures.first, figures.last) == (SeriesPoint(3, 8.0), SeriesPoint(199, 792.0))
    assert (figures.least, figures.most) == (SeriesPoint(3, 8.0), SeriesPoint(199, 792.0))
    assert figures.recent_mean == pytest.approx(np.nanmean(rows[-100:, 0]))
    assert figures.recent_median == np.nanmedian(rows[-100:, 0])


def test_where_the_last_hundred_are_lost_there_is_no_mean_of_them() -> None:
    rows = np.ones((150, 4), np.float32)
    rows[50:] = np.nan
    figures = summaries(rows)[0].figures
    assert figures is not None
    assert (figures.last, figures.recent_mean, figures.recent_median) == (SeriesPoint(50, 1.0), None, None)


@pytest.mark.parametrize("count", [0, 7])
def test_a_history_without_a_known_value_has_no_figures(count: int) -> None:
    for summary in summaries(np.full((count, 4), np.nan, np.float32)):
        assert (summary.known, summary.lost, summary.figures) == (0, count, None)
