"""Statistics of the series of a history; lost rows are left out and counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quadra.model.history import SERIES

RECENT = 100  # iterations at the end of a run that its mean and median are taken of


@dataclass(frozen=True)
class SeriesPoint:
    """One value of a series."""

    iteration: int
    value: float


@dataclass(frozen=True)
class SeriesFigures:
    """A series with at least one known value."""

    first: SeriesPoint
    last: SeriesPoint
    least: SeriesPoint  # the first of several
    most: SeriesPoint  # the first of several
    recent_mean: float | None  # of what is known of the last iterations; None: nothing
    recent_median: float | None


@dataclass(frozen=True)
class SeriesSummary:
    """A series, its counts and its figures."""

    name: str
    known: int  # iterations with a value
    lost: int
    figures: SeriesFigures | None  # None: no value is known


def summaries(rows: NDArray[np.float32]) -> tuple[SeriesSummary, ...]:
    """Returns a summary for each of SERIES; `rows`: shape (iterations, 4), the first is iteration 1. Means are in float64."""
    return tuple(_summary(name, rows[:, column]) for column, name in enumerate(SERIES))


def _summary(name: str, values: NDArray[np.float32]) -> SeriesSummary:
    indices = np.flatnonzero(np.isfinite(values))
    lost = len(values) - len(indices)
    return SeriesSummary(name, len(indices), lost, _figures(values, indices) if len(indices) else None)


def _figures(values: NDArray[np.float32], indices: NDArray[np.intp]) -> SeriesFigures:
    known = values[indices]
    recent = known[indices >= len(values) - RECENT].astype(np.float64)

    def point(number: int | np.intp) -> SeriesPoint:
        return SeriesPoint(int(indices[number]) + 1, float(known[number]))

    return SeriesFigures(
        first=point(0), last=point(-1), least=point(known.argmin()), most=point(known.argmax()),
        recent_mean=float(recent.mean()) if len(recent) else None,
        recent_median=float(np.median(recent)) if len(recent) else None,
    )  # fmt: skip
