"""What a series of the history comes down to in a few figures; lost rows are left out of them and counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quadra.model.history import SERIES

RECENT = 100  # iterations at the end of a run that its mean and median are taken of


@dataclass(frozen=True)
class Point:
    """One value of a series."""

    iteration: int
    value: float


@dataclass(frozen=True)
class Figures:
    """A series with at least one known value."""

    first: Point
    last: Point
    least: Point  # the first of several
    most: Point  # the first of several
    recent_mean: float | None  # of what is known of the last iterations; None: nothing
    recent_median: float | None


@dataclass(frozen=True)
class Summary:
    """A series, its counts and its figures."""

    name: str
    known: int  # iterations with a value
    lost: int
    figures: Figures | None  # None: no value is known


def summaries(rows: NDArray[np.float32]) -> tuple[Summary, ...]:
    """One for each of SERIES; `rows`: shape (iterations, 4), the first is iteration 1. Means are taken in double precision."""
    return tuple(_summary(name, rows[:, column]) for column, name in enumerate(SERIES))


def _summary(name: str, values: NDArray[np.float32]) -> Summary:
    places = np.flatnonzero(np.isfinite(values))
    lost = len(values) - len(places)
    return Summary(name, len(places), lost, _figures(values, places) if len(places) else None)


def _figures(values: NDArray[np.float32], places: NDArray[np.intp]) -> Figures:
    known = values[places]
    recent = known[places >= len(values) - RECENT].astype(np.float64)

    def point(number: int | np.intp) -> Point:
        return Point(int(places[number]) + 1, float(known[number]))

    return Figures(
        first=point(0), last=point(-1), least=point(known.argmin()), most=point(known.argmax()),
        recent_mean=float(recent.mean()) if len(recent) else None,
        recent_median=float(np.median(recent)) if len(recent) else None,
    )  # fmt: skip
