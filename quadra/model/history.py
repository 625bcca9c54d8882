"""History: the four metric series of a run, one row an iteration, and their thinning for charts (extremes stay).

The browser's twin is `static/js/core/thinning.js`; a report has a rule of its own in `reports.line_chart`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from quadra.byte_progress import add_to_digest, digest_of

SERIES = ("loss", "reward", "variance", "mean")
_FIRST_ROWS = 1024
_GROWTH = 1.25  # a row of 16 bytes then costs less than 20, with what is allocated ahead


@dataclass(frozen=True)
class Slice:
    """Some iterations of a history, all of them or a thinned set; `rows` has the columns of SERIES."""

    iterations: NDArray[np.int64]
    rows: NDArray[np.float32]
    total: int  # iterations in the range that was asked for

    @property
    def thinned(self) -> bool:
        """Whether iterations of the range are left out."""
        return len(self.iterations) < self.total

    def as_lists(self) -> dict[str, list[float | None]]:
        """Returns equal-length lists for JSON; what is not finite becomes None."""
        columns: dict[str, list[float | None]] = {"iteration": self.iterations.tolist()}
        for number, name in enumerate(SERIES):
            values = self.rows[:, number]
            columns[name] = [value if math.isfinite(value) else None for value in values.tolist()]
        return columns


class History:
    """Grows by one row an iteration on one thread; other threads read any range at any time without a lock.

    A row never changes once it is in, so a reader that reads (rows, count) at once sees a complete series.
    """

    def __init__(self, rows: NDArray[np.float32] | None = None) -> None:
        start = np.empty((0, len(SERIES)), np.float32) if rows is None else rows
        self._published = (start, len(start))
        self._digest = hashlib.sha256()
        self._digested = 0

    def __len__(self) -> int:
        return self._published[1]

    def append(self, loss: float, reward: float, variance: float, mean: float) -> None:
        """Adds the next iteration's row."""
        rows, count = self._published
        if count == len(rows):
            grown = np.empty((max(_FIRST_ROWS, int(count * _GROWTH)), len(SERIES)), np.float32)
            grown[:count] = rows
            rows = grown
        rows[count] = (loss, reward, variance, mean)
        self._published = (rows, count + 1)

    def rows(self) -> NDArray[np.float32]:
        """Returns all rows, shape (iterations, 4), as a view that must not be written to."""
        rows, count = self._published
        return rows[:count]

    def series(self, name: str) -> NDArray[np.float32]:
        """Returns a copy of one series, shape (iterations,)."""
        return self.rows()[:, SERIES.index(name)].copy()

    def checksum(self) -> str:
        """Returns SHA-256 of all rows, at the cost of the rows since the last call."""
        rows = self.rows()
        add_to_digest(self._digest, np.ascontiguousarray(rows[self._digested :]).reshape(-1))
        self._digested = len(rows)
        return self._digest.hexdigest()

    def slice(self, start: int, end: int, points: int) -> Slice:
        """Returns iterations start..end (from 1, inclusive, cut to those that exist), thinned to at most `points` of them.

        A thinned slice has, of each column, the last iteration and those with the smallest and largest value of every
        series, so that every extreme is visible; of the range, the first and the last iteration. A column is a stretch of
        2^k iterations that begins at a multiple of its width, wherever the range begins: so thinning a thinned range gives
        what thinning the range itself gives.
        """
        rows = self.rows()
        start, end = max(start, 1), min(end, len(rows))
        in_range = rows[start - 1 : end] if end >= start else rows[:0]
        chosen = np.arange(len(in_range)) if len(in_range) <= points else _extremes(in_range, start - 1, points)
        return Slice(chosen + start, in_range[chosen], len(in_range))


def checksum_of(rows: NDArray[np.float32]) -> str:
    """Returns SHA-256 of rows, as `History.checksum` does."""
    return str(digest_of(np.ascontiguousarray(rows).reshape(-1)).hexdigest())


def rows_of(columns: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Returns rows from equal-length series by name."""
    return np.stack([columns[name] for name in SERIES], axis=1).astype(np.float32, copy=False)


def _extremes(rows: NDArray[np.float32], before: int, points: int) -> NDArray[np.intp]:
    """Returns the indices of a thinned slice's rows, at most `points`, ascending. `before`: rows of the history before them."""
    edges = _edges(len(rows), before, max(1, (points - 1) // (2 * len(SERIES) + 1)))
    chosen = [edges[:1], edges[1:] - 1]
    for first, last in pairwise(edges):
        column = rows[first:last]
        lost = ~np.isfinite(column)  # it would count as the extreme, and hide it
        chosen.append(first + np.where(lost, np.inf, column).argmin(0))
        chosen.append(first + np.where(lost, -np.inf, column).argmax(0))
    return np.unique(np.concatenate(chosen))[-points:]


def _edges(count: int, before: int, columns: int) -> NDArray[np.intp]:
    """Returns where columns of the smallest width of which `columns` suffice begin, and where the last one ends."""
    width = 1
    while (before + count - 1) // width - before // width >= columns:
        width *= 2
    return np.array([0, *range(width - before % width, count, width), count], np.intp)
