"""Retention: which restore points go when all of them together take more than their budget.

A point is worth the more, the larger the gap is that it would leave, measured by its age: so the newest stay dense and
the older ones thin out evenly on a logarithmic scale.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

_YOUNGEST = 100  # iterations of age below which a point counts as that old: the newest are worth alike


@dataclass(frozen=True)
class Point:
    """One restore point."""

    run: str
    iteration: int
    size: int  # bytes


def expired(points: Mapping[str, Sequence[Point]], budget: int, protected: Collection[Point]) -> list[Point]:
    """What must go, the least worth first; `points`: of each run, the oldest iteration first.

    The newest of each run stays, and what is protected. Where these alone are above the budget, everything else goes.
    """
    left = {run: list(of_run) for run, of_run in points.items()}
    total = sum(point.size for of_run in left.values() for point in of_run)
    gone: list[Point] = []
    while total > budget:
        worth = [(_least(of_run, protected), run) for run, of_run in left.items()]
        (value, place), run = min(worth, default=((np.inf, 0), ""))
        if value == np.inf:
            break
        point = left[run].pop(place)
        total -= point.size
        gone.append(point)
    return gone


def _least(points: Sequence[Point], protected: Collection[Point]) -> tuple[float, int]:
    """The smallest worth of a point that may go, and its place; infinity where none may."""
    if len(points) < 2:
        return np.inf, 0
    at = np.array([0, *(point.iteration for point in points)], np.float64)
    gaps = at[2:] - at[:-2]
    worth = gaps / (at[-1] - at[1:-1] + _YOUNGEST)
    if protected:
        worth[[place for place, point in enumerate(points[:-1]) if point in protected]] = np.inf
    place = int(worth.argmin())
    return float(worth[place]), place
