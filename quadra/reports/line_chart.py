"""Line charts as SVG that stands on its own: no script, no style sheet, nothing to fetch, sharp on paper."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 420, 236  # units of the drawing; a chart scales with the space that it is given
BUCKETS = 360  # of a long series, each drawn by its first, last, smallest and largest value: about one a unit of width
SMOOTH_FROM = 20  # iterations; a shorter line needs no smoothing
_SMOOTH_POINTS = 240
_TOP, _BOTTOM = 24, 40  # units above and below the plot
_CHARACTER = 6.2  # units that a character of a label takes at most
_TITLE, _TEXT, _GRID, _AXIS = "#17212b", "#536170", "#e3e8ed", "#8492a0"
_MOST_X_TICKS, _MOST_Y_TICKS = 5, 5
_LONGEST_PLAIN = 1e6  # from here on a label is in powers of ten
_MOST_DECIMALS = 6
_SLACK = 1e-6  # of a step: 0.2 in single precision is a little more than 0.2, and needs no further tick


@dataclass(frozen=True)
class LineStyle:
    """How a series is drawn."""

    label: str
    colour: str  # as in CSS
    from_zero: bool  # whether the axis begins at zero: for what cannot be negative


@dataclass(frozen=True)
class Axis:
    """From the least to the most that is shown, with round ticks in between."""

    low: float
    high: float
    ticks: tuple[float, ...]
    labels: tuple[str, ...]

    def share(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns where values lie between low (0) and high (1)."""
        return (values - self.low) / (self.high - self.low)


def line_chart(values: NDArray[np.float32], style: LineStyle) -> str:
    """Returns a series over its iterations, the first of which is 1, as SVG; `values`: shape (iterations,), not finite: a gap.

    The faint line has every extreme of the series; the strong one is its mean over a moving window.
    """
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return _empty(style, "No iteration yet" if len(values) == 0 else "Every value of this series is lost")
    x, y = _iterations(len(values)), value_axis(values, style.from_zero)
    plot = _Plot(x, y)
    kept = thinned(values, BUCKETS)
    centres, means = smoothed(values)
    opacity = 0.4 if len(centres) else 1.0
    parts = [
        *plot.frame(style.label),
        *plot.line(kept, values[kept].astype(np.float64), style.colour, 1.0, opacity),
        *plot.line(centres, means, style.colour, 1.8, 1.0),
    ]
    description = f"{style.label} over iterations 1 to {len(values):,}, from {known.min():.4g} to {known.max():.4g}"
    return _svg(description, parts)


def thinned(values: NDArray[np.float32], buckets: int) -> NDArray[np.intp]:
    """Returns the indices to draw: of each of equal buckets the first, last, smallest and largest finite value.

    A bucket without any keeps one index, so that the gap is seen. A series of at most four times as many stays whole.
    """
    if len(values) <= 4 * buckets:
        return np.arange(len(values))
    edges = np.linspace(0, len(values), buckets + 1).astype(np.intp)
    kept: list[int] = []
    for first, end in pairwise(edges.tolist()):
        known = first + np.flatnonzero(np.isfinite(values[first:end]))
        if len(known) == 0:
            kept.append(first)
            continue
        least, most = known[values[known].argmin()], known[values[known].argmax()]
        kept.extend(sorted({int(known[0]), int(least), int(most), int(known[-1])}))
    return np.array(kept, np.intp)


def window_of(count: int) -> int:
    """Returns the width of the moving window in iterations: a twentieth of the series, an odd number."""
    return max(5, count // 20) | 1


def smoothed(values: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Returns evenly spread indices and the mean of the window around each, cut at both ends; NaN where the index itself is.

    Empty for a series that is too short. Each mean is computed by itself, so that a huge value spoils those alone that have
    it in their window.
    """
    if len(values) < SMOOTH_FROM:
        return np.empty(0, np.intp), np.empty(0)
    centres = np.unique(np.linspace(0, len(values) - 1, min(len(values), _SMOOTH_POINTS)).round().astype(np.intp))
    half = window_of(len(values)) // 2
    means = np.full(len(centres), np.nan)
    for number, centre in enumerate(centres.tolist()):
        if math.isfinite(values[centre]):
            around = values[max(0, centre - half) : centre + half + 1]
            means[number] = around[np.isfinite(around)].mean(dtype=np.float64)
    return centres, means


def round_step(span: float, most: int) -> tuple[float, int]:
    """Returns the smallest of 1, 2 and 5 times a power of ten that divides a span in at most so many parts, and that power."""
    raw = span / most
    power = math.floor(math.log10(raw))
    for factor in (1, 2, 5):
        if factor * 10.0**power >= raw * (1 - 1e-9):
            return factor * 10.0**power, power
    return 10.0 ** (power + 1), power + 1


def value_axis(values: NDArray[np.float32], from_zero: bool) -> Axis:
    """Returns an axis from tick to tick that holds all finite values."""
    known = values[np.isfinite(values)].astype(np.float64)
    low, high = float(known.min()), float(known.max())
    if from_zero and low >= 0:
        low = 0.0
    if high == low:  # a level line lies in the middle
        margin = abs(high) / 10 or 1.0
        low, high = low - margin, high + margin
    step, power = round_step(high - low, _MOST_Y_TICKS)
    first, last = math.floor(low / step + _SLACK), math.ceil(high / step - _SLACK)
    ticks = tuple(number * step for number in range(first, last + 1))
    return Axis(min(low, ticks[0]), max(high, ticks[-1]), ticks, tuple(_labels(ticks, power)))


def _iterations(count: int) -> Axis:
    """Returns the axis from the first iteration to the last."""
    if count == 1:
        return Axis(0.5, 1.5, (1.0,), ("1",))
    step = max(1, round(round_step(count - 1, _MOST_X_TICKS)[0]))
    ticks = [float(number) for number in range(step, count + 1, step)]
    ticks = ticks if step == 1 else [1.0, *ticks]
    return Axis(1.0, float(count), tuple(ticks), tuple(f"{tick:,.0f}" for tick in ticks))


def _labels(ticks: tuple[float, ...], power: int) -> list[str]:
    """Returns labels with as many digits as distinguish one tick from the next."""
    largest = max(map(abs, ticks))
    if largest >= _LONGEST_PLAIN or power < -_MOST_DECIMALS:
        digits = max(0, math.floor(math.log10(largest)) - power)
        return [f"{tick:.{digits}e}" if tick else "0" for tick in ticks]
    return [f"{tick:.{max(0, -power)}f}" for tick in ticks]


class _Plot:
    """The rectangle between the axes."""

    def __init__(self, x: Axis, y: Axis) -> None:
        self._x, self._y = x, y
        self._left = 10 + _CHARACTER * max(map(len, y.labels))
        self._right = WIDTH - max(8, _CHARACTER * len(x.labels[-1]) / 2)
        self._floor = HEIGHT - _BOTTOM

    def frame(self, label: str) -> list[str]:
        """Returns grid, ticks and labels of both axes."""
        heights, columns = self._down(np.array(self._y.ticks)), self._across(np.array(self._x.ticks))
        grid = "".join(f"M{self._left:.1f} {height:.1f}H{self._right:.1f}" for height in heights)
        marks = "".join(f"M{column:.1f} {self._floor}v4" for column in columns)
        base = f"M{self._left:.1f} {_TOP}V{self._floor}H{self._right:.1f}"
        middle = (self._left + self._right) / 2
        return [
            f'<path d="{grid}" fill="none" stroke="{_GRID}"/>',
            f'<path d="{base}{marks}" fill="none" stroke="{_AXIS}"/>',
            f'<g font-size="11" fill="{_TEXT}">',
            *(
                _text(self._left - 6, height + 4, "end", text)
                for height, text in zip(heights, self._y.labels, strict=True)
            ),
            *(
                _text(column, self._floor + 17, "middle", text)
                for column, text in zip(columns, self._x.labels, strict=True)
            ),
            _text(middle, HEIGHT - 5, "middle", "iteration"),
            "</g>",
            f'<g font-size="13" font-weight="600" fill="{_TITLE}">{_text(2, 12, "start", label)}</g>',
        ]

    def line(
        self, indices: NDArray[np.intp], values: NDArray[np.float64], colour: str, width: float, opacity: float
    ) -> list[str]:
        """Returns a line through values at indices; it breaks where one is not finite, and a value alone is a dot."""
        if len(indices) == 0:
            return []
        columns, heights = self._across(indices.astype(np.float64) + 1.0), self._down(values)
        path, dots = [], []
        for first, end in _finite_ranges(np.isfinite(values)):
            points = [f"{columns[n]:.1f} {heights[n]:.1f}" for n in range(first, end)]
            if len(points) > 1:
                path.append("M" + " ".join(points))
            else:
                dots.append(f'<circle cx="{columns[first]:.1f}" cy="{heights[first]:.1f}" r="2.5" fill="{colour}"/>')
        stroke = f'stroke="{colour}" stroke-width="{width}" stroke-opacity="{opacity}" stroke-linejoin="round"'
        return [f'<path d="{"".join(path)}" fill="none" {stroke}/>'] * bool(path) + dots

    def _across(self, iterations: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._left + self._x.share(iterations) * (self._right - self._left)

    def _down(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._floor - self._y.share(values) * (self._floor - _TOP)


def _finite_ranges(known: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Returns the ranges in which a mask is true: first index and the one behind the last."""
    turns = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(np.int8)))
    return [(int(first), int(end)) for first, end in turns.reshape(-1, 2)]


def _text(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _empty(style: LineStyle, reason: str) -> str:
    middle = _text(WIDTH / 2, HEIGHT / 2, "middle", reason)
    return _svg(f"{style.label}: {reason}", [f'<g font-size="12" fill="{_TEXT}">{middle}</g>'])


def _svg(description: str, parts: list[str]) -> str:
    inside = "\n".join(parts)
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
    return f'{opening} aria-label="{escape(description)}">\n{inside}\n</svg>'
