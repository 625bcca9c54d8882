"""RestorePoints: the restore points of a state directory, and which of them a save adds and makes superfluous.

A restore point is a second name of a save's weights file, `points/<run>/<iteration>.pth`; its older history stands with
the run. One save in a hundred iterations becomes one. The state with the best smoothed reward has the name `best.pth`.

Together they keep to a budget. A point is worth the more, the larger the gap is that it would leave, measured by its age:
so the newest stay dense, and the older ones thin out evenly on a logarithmic scale.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quadra.errors import BadFileError
from quadra.model.history import SERIES
from quadra.storage.labels import read_labels
from quadra.storage.layout import BEST_FILE, RESTORE_POINTS, StateLayout, iteration_of
from quadra.storage.save_record import SaveRecord, peek

EVERY = 100  # iterations between two restore points
BUDGET = 500_000_000  # bytes that they may take together
BEST_WINDOW = 100  # iterations over which the reward is smoothed
_REWARD = SERIES.index("reward")
_YOUNGEST = 100  # iterations of age below which a point counts as that old: the newest are worth alike


@dataclass(frozen=True)
class Retention:
    """What a person may choose about restore points."""

    budget: int = BUDGET  # bytes; 0: none are kept but the newest of each run
    best_window: int = BEST_WINDOW  # iterations


@dataclass(frozen=True)
class RestorePoint:
    """One restore point."""

    run: str
    iteration: int
    size: int  # bytes


class Best(NamedTuple):
    """The state of a run with the best smoothed reward."""

    iteration: int
    reward: float


@dataclass(frozen=True)
class Plan:
    """What one save does to the restore points."""

    names: tuple[Path, ...]  # that the save's weights file gets besides its own
    expired: tuple[Path, ...]  # files that go
    best: Best | None  # the state that is then the best one; None: it stays as it was
    added: RestorePoint | None
    removed: frozenset[RestorePoint]


NO_CHANGE = Plan((), (), None, None, frozenset())


class RestorePoints:
    """What is known of the restore points in a state directory that nobody else changes."""

    def __init__(self, layout: StateLayout, retention: Retention) -> None:
        self._layout, self._retention = layout, retention
        self.forget()

    def forget(self) -> None:
        """Has the next plan read the directory again: somebody has changed what stands there."""
        self._points: dict[str, list[RestorePoint]] | None = None
        self._labelled: frozenset[str] | None = (
            None  # states that a person wants kept; None: not known, so nothing goes
        )
        self._best: dict[str, Best | None] = {}

    def plan(self, record: SaveRecord, rows: NDArray[np.float32], size: int) -> Plan:
        """Returns what the save of `record`, about `size` bytes long, does; `rows`: the history, shape (iterations, 4)."""
        run, iteration = record.run, record.iteration_count
        points = self._known()
        of_run = points.get(run, [])
        value, before = smoothed_reward(rows, iteration, self._retention.best_window), self.best_of(run, rows)
        is_best = value is not None and (before is None or value > before.reward)
        best = Best(iteration, value) if value is not None and is_best else None
        newest = of_run[-1].iteration if of_run else 0
        added = RestorePoint(run, iteration, size) if newest // EVERY < iteration // EVERY else None
        if added is None and best is None:
            return NO_CHANGE
        removed = self._expired({**points, run: [*of_run, added]}, run) if added else []
        names = [self._layout.restore_point(run, iteration)] if added else []
        if best is not None:
            names.append(self._layout.path / RESTORE_POINTS / run / BEST_FILE)
        files = tuple(self._layout.restore_point(point.run, point.iteration) for point in removed)
        return Plan(tuple(names), files, best, added, frozenset(removed))

    def apply(self, run: str, plan: Plan, size: int) -> None:
        """Notes that the save of a plan has become durable; its file has `size` bytes."""
        if plan.best is not None:
            self._best[run] = plan.best
        points = self._known()
        if plan.added is not None:
            points.setdefault(run, []).append(replace(plan.added, size=size))
        for point in plan.removed:
            points[point.run] = [other for other in points[point.run] if other.iteration != point.iteration]

    def surplus(self, run: str) -> list[Path]:
        """Returns the files that are over the budget though no save has added one; `run`: the present one."""
        self.forget()
        removed = self._expired(self._known(), run)
        self.forget()
        return [self._layout.restore_point(point.run, point.iteration) for point in removed]

    def best_of(self, run: str, rows: NDArray[np.float32]) -> Best | None:
        """Returns the best state of a run so far; its smoothed reward is what the history says."""
        if run not in self._best:
            try:
                record = peek(self._layout.path / RESTORE_POINTS / run / BEST_FILE)
            except BadFileError:  # a damaged one is replaced by the next best
                record = None
            at = record.iteration_count if record is not None and record.run == run else 0
            value = smoothed_reward(rows, at, self._retention.best_window)
            self._best[run] = None if value is None else Best(at, value)
        return self._best[run]

    def _expired(self, points: Mapping[str, list[RestorePoint]], run: str) -> list[RestorePoint]:
        labelled = self._labelled
        if labelled is None:
            return []
        protected = {
            point for of_run in points.values() for point in of_run if f"{point.run}@{point.iteration}" in labelled
        }
        return expired(points, self._retention.budget, protected, run)

    def _known(self) -> dict[str, list[RestorePoint]]:
        if self._points is None:
            self._labelled = _labelled_states(self._layout)
            runs = [folder.name for folder in self._layout.restore_point_folders()]
            self._points = {
                run: [
                    RestorePoint(run, iteration_of(file), file.stat().st_size)
                    for file in self._layout.restore_points_of(run)
                ]
                for run in runs
            }
        return self._points


def smoothed_reward(rows: NDArray[np.float32], iteration: int, window: int) -> float | None:
    """Returns the mean reward of the `window` iterations up to one; None where there are not so many, or some are lost."""
    if not window <= iteration <= len(rows):
        return None
    value = float(np.add.reduce(rows[iteration - window : iteration, _REWARD], dtype=np.float64)) / window
    return value if math.isfinite(value) else None


def expired(
    points: Mapping[str, Sequence[RestorePoint]], budget: int, protected: Collection[RestorePoint], present: str | None
) -> list[RestorePoint]:
    """Returns what must go, the least worth first; `points`: of each run, the oldest iteration first.

    The newest of the `present` run stays, and what is protected. Where these alone are above the budget, everything else
    goes.
    """
    left = {run: list(of_run) for run, of_run in points.items() if of_run}
    total = sum(point.size for of_run in left.values() for point in of_run)
    gone: list[RestorePoint] = []
    while total > budget:
        newest = left.get(present, [])[-1:] if present is not None else []
        kept = {*protected, *newest}
        worth = [(*_least_worth(of_run, kept), run) for run, of_run in left.items() if of_run]
        value, index, run = min(worth, default=(np.inf, 0, ""))
        if value == np.inf:
            break
        point = left[run].pop(index)
        total -= point.size
        gone.append(point)
    return gone


def _least_worth(points: Sequence[RestorePoint], protected: Collection[RestorePoint]) -> tuple[float, int]:
    """Returns the smallest worth of a point that may go, and its index; infinity where none may."""
    at = np.array([0, *(point.iteration for point in points)], np.float64)
    at = np.append(at, 2 * at[-1] - at[-2])  # behind the newest the next one would come
    gaps = at[2:] - at[:-2]
    worth = gaps / (at[-2] - at[1:-1] + _YOUNGEST)
    worth[[index for index, point in enumerate(points) if point in protected]] = np.inf
    index = int(worth.argmin())
    return float(worth[index]), index


def _labelled_states(layout: StateLayout) -> frozenset[str] | None:
    """Returns the states that somebody has named, noted or pinned; None where that cannot be read."""
    try:
        labels = read_labels(layout.path)
    except BadFileError:  # reported where the names are needed
        return None
    return frozenset(state for state, label in labels.items() if label.name or label.note or label.pinned)
