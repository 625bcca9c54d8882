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
class RestorePoint:
    """One restore point."""

    run: str
    iteration: int
    size: int  # bytes


def expired(
    points: Mapping[str, Sequence[RestorePoint]], budget: int, protected: Collection[RestorePoint], present: str | None
) -> list[RestorePoint]:
    """What must go, the least worth first; `points`: of each run, the oldest iteration first.

    The newest of the `present` run stays, and what is protected. Where these alone are above the budget, everything else
    goes.
    """
    left = {run: list(of_run) for run, of_run in points.items() if of_run}
    total = sum(point.size for of_run in left.values() for point in of_run)
    gone: list[RestorePoint] = []
    while total > budget:
        newest = left.get(present, [])[-1:] if present is not None else []
        kept = {*protected, *newest}
        worth = [(*_least(of_run, kept), run) for run, of_run in left.items() if of_run]
        value, place, run = min(worth, default=(np.inf, 0, ""))
        if value == np.inf:
            break
        point = left[run].pop(place)
        total -= point.size
        gone.append(point)
    return gone


def _least(points: Sequence[RestorePoint], protected: Collection[RestorePoint]) -> tuple[float, int]:
    """The smallest worth of a point that may go, and its place; infinity where none may."""
    at = np.array([0, *(point.iteration for point in points)], np.float64)
    at = np.append(at, 2 * at[-1] - at[-2])  # behind the newest the next one would come
    gaps = at[2:] - at[:-2]
    worth = gaps / (at[-2] - at[1:-1] + _YOUNGEST)
    worth[[place for place, point in enumerate(points) if point in protected]] = np.inf
    place = int(worth.argmin())
    return float(worth[place]), place
