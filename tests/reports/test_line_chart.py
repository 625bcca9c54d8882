"""Charts as SVG: round ticks, no extreme lost, gaps where rows are lost, and well-formed whatever the numbers are."""

from __future__ import annotations

import re
import warnings
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from quadra.reports.line_chart import (
    BUCKETS,
    HEIGHT,
    SMOOTH_FROM,
    WIDTH,
    LineStyle,
    line_chart,
    round_step,
    smoothed,
    thinned,
    value_axis,
)

PLAIN = LineStyle("Loss", "#0072b2", from_zero=False)
FROM_ZERO = LineStyle("Loss", "#0072b2", from_zero=True)
SPACE = "{http://www.w3.org/2000/svg}"
SERIES = st.integers(0, 60).flatmap(
    lambda count: arrays(np.float32, count, elements=st.floats(width=32, allow_infinity=False))
)


def drawn(values: NDArray[np.float32], look: LineStyle = PLAIN) -> ElementTree.Element:
    return ElementTree.fromstring(line_chart(values, look))


def lines(chart: ElementTree.Element, colour: str = PLAIN.colour) -> list[list[list[tuple[float, float]]]]:
    """The points of every line of the series' colour, stretch by stretch."""
    paths = [path.get("d") or "" for path in chart.iter(f"{SPACE}path") if path.get("stroke") == colour]
    return [
        [[(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", part)] for part in path.split("M")[1:]]
        for path in paths
    ]


def texts(chart: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in chart.iter(f"{SPACE}text")]


@pytest.mark.parametrize(
    ("span", "step"),
    [(5.0, 1.0), (5.1, 2.0), (10.0, 2.0), (10.1, 5.0), (25.0, 5.0), (26.0, 10.0), (0.4, 0.1), (0.6, 0.2), (1e-7, 2e-8)],
)
def test_steps_are_one_two_or_five_times_a_power_of_ten(span: float, step: float) -> None:
    assert round_step(span, 5)[0] == pytest.approx(step, rel=1e-12)


@pytest.mark.parametrize(
    ("values", "from_zero", "labels"),
    [
        ([0.05, 0.51], True, ["0.0", "0.2", "0.4", "0.6"]),
        ([7.9, 12.0], False, ["7", "8", "9", "10", "11", "12"]),
        ([-0.007, 0.784], False, ["-0.2", "0.0", "0.2", "0.4", "0.6", "0.8"]),
        ([2.0, 2.0], False, ["1.8", "1.9", "2.0", "2.1", "2.2"]),
        ([0.0, 0.0], True, ["-1.0", "-0.5", "0.0", "0.5", "1.0"]),
        ([0.0, 3e9], True, ["0", "1e+09", "2e+09", "3e+09"]),
        ([1e-9, 3e-9], False, ["1.0e-09", "1.5e-09", "2.0e-09", "2.5e-09", "3.0e-09"]),
    ],
)
def test_an_axis_goes_from_tick_to_tick_and_its_labels_tell_them_apart(
    values: list[float], from_zero: bool, labels: list[str]
) -> None:
    axis = value_axis(np.array(values, np.float32), from_zero)
    assert list(axis.labels) == labels
    assert axis.low <= min(values)
    assert axis.high >= max(np.float32(values))


def test_iterations_have_round_ticks_and_begin_at_the_first() -> None:
    shown = texts(drawn(np.linspace(0, 1, 1_000_000, dtype=np.float32)))
    assert [text for text in shown if "," in text] == ["200,000", "400,000", "600,000", "800,000", "1,000,000"]
    assert {"1", "iteration", "Loss"} <= set(shown)


@given(SERIES, st.booleans())
@example(np.array([3.4e38, -3.4e38], np.float32), False)
@example(np.array([1e-45, 0, 3e-45], np.float32), True)
@example(np.array([1e30, np.nextafter(np.float32(1e30), np.float32(2e30))], np.float32), False)
def test_a_chart_of_any_numbers_is_well_formed_and_stays_within_its_frame(
    values: NDArray[np.float32], from_zero: bool
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chart = drawn(values, LineStyle("A", PLAIN.colour, from_zero))
    assert chart.tag == f"{SPACE}svg"
    everything = ElementTree.tostring(chart, encoding="unicode")
    assert "nan" not in everything.replace(chart.get("aria-label") or "", "")
    for line in lines(chart):
        for x, y in (point for stretch in line for point in stretch):
            assert 0 <= x <= WIDTH
            assert 0 <= y <= HEIGHT
    count = int(np.isfinite(values).sum())
    points = sum(len(stretch) for stretch in lines(chart)[0]) if count > 1 and lines(chart) else 0
    dots = sum(1 for _ in chart.iter(f"{SPACE}circle"))
    assert count == 0 or points + dots >= count


def test_a_spike_of_one_iteration_in_a_million_stays_at_its_full_height() -> None:
    values = np.full(1_000_000, 0.5, np.float32)
    values[123_456], values[765_432] = 9.0, -4.0
    kept = thinned(values, BUCKETS)
    assert {0, 123_456, 765_432, 999_999} <= set(kept.tolist())
    assert len(kept) <= 4 * BUCKETS
    assert (np.diff(kept) > 0).all()
    raw = lines(drawn(values))[0][0]
    heights = [y for _, y in raw]
    level = sorted(heights)[len(heights) // 2]
    assert min(heights) < level < max(heights)
    assert (level - min(heights)) / (max(heights) - level) == pytest.approx(8.5 / 4.5, rel=0.01)


@given(st.integers(0, 3_000), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_thinning_keeps_both_ends_and_both_extremes_of_what_is_known(count: int, buckets: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    values = generator.normal(size=count).astype(np.float32)
    values[generator.random(count) < 0.3] = np.nan
    kept = thinned(values, buckets)
    known = np.flatnonzero(np.isfinite(values))
    if len(known):
        expected = {known[0], known[-1], known[values[known].argmin()], known[values[known].argmax()]}
        assert expected <= set(kept.tolist())


def test_lost_rows_are_a_gap_and_a_value_alone_between_them_is_a_dot() -> None:
    values = np.arange(12, dtype=np.float32)
    values[3:6] = np.nan
    values[7:9] = np.nan
    chart = drawn(values)
    assert [len(stretch) for stretch in lines(chart)[0]] == [3, 3]
    assert len(list(chart.iter(f"{SPACE}circle"))) == 1


def test_lost_rows_are_a_gap_in_a_thinned_line_too() -> None:
    values = np.ones(100_000, np.float32)
    values[20_000:60_000] = np.nan
    for line in lines(drawn(values)):
        assert len(line) == 2
        assert line[1][0][0] - line[0][-1][0] == pytest.approx(0.4 * (WIDTH - 60), rel=0.1)


def test_the_smoothed_line_is_the_mean_of_the_window_around_each_point() -> None:
    values = np.random.default_rng(4).normal(size=1000).astype(np.float32)
    values[300:340] = np.nan
    centres, means = smoothed(values)
    assert (centres[0], centres[-1]) == (0, 999)
    for centre, mean in zip(centres, means, strict=True):
        window = values[max(0, centre - 25) : centre + 26].astype(np.float64)
        assert np.isnan(mean) if np.isnan(values[centre]) else mean == pytest.approx(np.nanmean(window), rel=1e-6)


def test_a_huge_value_spoils_no_mean_but_those_around_it() -> None:
    values = np.full(1000, 0.25, np.float32)
    values[100] = 1e38
    centres, means = smoothed(values)
    assert (means[centres > 130] == 0.25).all()


def test_a_short_series_has_no_smoothed_line_and_is_drawn_in_full_strength() -> None:
    chart = drawn(np.arange(SMOOTH_FROM - 1, dtype=np.float32))
    assert len(lines(chart)) == 1
    assert 'stroke-opacity="1.0"' in ElementTree.tostring(chart, encoding="unicode")
    assert len(lines(drawn(np.arange(SMOOTH_FROM, dtype=np.float32)))) == 2


def test_one_iteration_is_a_dot_over_its_number() -> None:
    chart = drawn(np.array([0.5], np.float32))
    (dot,) = chart.iter(f"{SPACE}circle")
    assert lines(chart) == []
    (mark,) = (text for text in chart.iter(f"{SPACE}text") if text.text == "1")
    assert dot.get("cx") == mark.get("x")


def test_what_cannot_be_drawn_is_said() -> None:
    assert texts(drawn(np.empty(0, np.float32))) == ["No iteration yet"]
    assert texts(drawn(np.full(3, np.nan, np.float32))) == ["Every value of this series is lost"]


def test_labels_do_not_stand_on_each_other() -> None:
    for count in range(1, 1200, 23):
        chart = drawn(np.ones(count, np.float32))
        floor = max(float(text.get("y") or 0) for text in chart.iter(f"{SPACE}text")) - 20
        marks = [text for text in chart.iter(f"{SPACE}text") if floor < float(text.get("y") or 0) < HEIGHT - 10]
        for left, right in pairwise(marks):
            room = float(right.get("x") or 0) - float(left.get("x") or 0)
            assert room > 6.2 * (len(left.text or "") + len(right.text or "")) / 2, count


def test_a_label_is_escaped() -> None:
    chart = drawn(np.ones(3, np.float32), LineStyle('<b> & "quotes"', "#000000", from_zero=False))
    assert '<b> & "quotes"' in texts(chart)
    assert (chart.get("aria-label") or "").startswith('<b> & "quotes" over iterations 1 to 3')
