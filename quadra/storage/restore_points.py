"""RestorePoints: the restore points of a state directory, and which of them a save adds and makes superfluous.

A restore point is a second name of a save's weights file, `points/<run>/<iteration>.pth`; its older history stands with
the run. One save in a hundred iterations becomes one. The state with the best smoothed reward has the name `best.pth`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quadra.errors import BadFileError
from quadra.model.history import SERIES
from quadra.storage.labels import read_labels
from quadra.storage.layout import BEST_FILE, RESTORE_POINTS, StateLayout, iteration_of
from quadra.storage.retention import RestorePoint, expired
from quadra.storage.save_record import SaveRecord, peek

EVERY = 100  # iterations between two restore points
BUDGET = 500_000_000  # bytes that they may take together
BEST_WINDOW = 100  # iterations over which the reward is smoothed
_REWARD = SERIES.index("reward")


@dataclass(frozen=True)
class Retention:
    """What a person may choose about restore points."""

    budget: int = BUDGET  # bytes; 0: none are kept but the newest of each run
    best_window: int = BEST_WINDOW  # iterations


class Best(NamedTuple):
    """The state of a run with the best smoothed reward."""

    iteration: int
    reward: float


@dataclass(frozen=True)
class Plan:
    """What one save does to the restore points."""

    points: tuple[Path, ...]
    expired: tuple[Path, ...]
    best: Best | None  # the state that is then the best one; None: it stays as it was
    added: RestorePoint | None
    gone: frozenset[RestorePoint]


NOTHING = Plan((), (), None, None, frozenset())


class RestorePoints:
    """What is known of the restore points in a folder that nobody else changes."""

    def __init__(self, layout: StateLayout, retention: Retention) -> None:
        self._layout, self._retention = layout, retention
        self.forget()

    def forget(self) -> None:
        """Look anew before the next plan: somebody has changed what stands there."""
        self._points: dict[str, list[RestorePoint]] | None = None
        self._kept: frozenset[str] | None = None  # states that a person wants kept; None: not known, so nothing goes
        self._best: dict[str, Best | None] = {}

    def plan(self, record: SaveRecord, rows: NDArray[np.float32], size: int) -> Plan:
        """What the save of `record`, about `size` bytes long, shall do; `rows`: the history, shape (iterations, 4)."""
        run, iteration = record.run, record.iteration_count
        points = self._known()
        of_run = points.get(run, [])
        value, before = smoothed_reward(rows, iteration, self._retention.best_window), self.best_of(run, rows)
        is_best = value is not None and (before is None or value > before.reward)
        best = Best(iteration, value) if value is not None and is_best else None
        newest = of_run[-1].iteration if of_run else 0
        added = RestorePoint(run, iteration, size) if newest // EVERY < iteration // EVERY else None
        if added is None and best is None:
            return NOTHING
        gone = self._expired({**points, run: [*of_run, added]}, run) if added else []
        names = [self._layout.restore_point(run, iteration)] if added else []
        if best is not None:
            names.append(self._layout.path / RESTORE_POINTS / run / BEST_FILE)
        files = tuple(self._layout.restore_point(point.run, point.iteration) for point in gone)
        return Plan(tuple(names), files, best, added, frozenset(gone))

    def done(self, run: str, plan: Plan, size: int) -> None:
        """The save has become durable; its file has so many bytes."""
        if plan.best is not None:
            self._best[run] = plan.best
        points = self._known()
        if plan.added is not None:
            points.setdefault(run, []).append(replace(plan.added, size=size))
        for point in plan.gone:
            points[point.run] = [other for other in points[point.run] if other.iteration != point.iteration]

    def surplus(self, run: str) -> list[Path]:
        """What is over the budget though no save has added it; `run`: the present one."""
        self.forget()
        gone = self._expired(self._known(), run)
        self.forget()
        return [self._layout.restore_point(point.run, point.iteration) for point in gone]

    def _expired(self, points: Mapping[str, list[RestorePoint]], run: str) -> list[RestorePoint]:
        kept = self._kept
        if kept is None:
            return []
        protected = {
            point for of_run in points.values() for point in of_run if f"{point.run}@{point.iteration}" in kept
        }
        return expired(points, self._retention.budget, protected, run)

    def _known(self) -> dict[str, list[RestorePoint]]:
        if self._points is None:
            self._kept = _wanted(self._layout)
            runs = [folder.name for folder in self._layout.restore_point_folders()]
            self._points = {
                run: [
                    RestorePoint(run, iteration_of(file), file.stat().st_size)
                    for file in self._layout.restore_points_of(run)
                ]
                for run in runs
            }
        return self._points

    def best_of(self, run: str, rows: NDArray[np.float32]) -> Best | None:
        """The best state of a run so far; its smoothed reward is what the history says."""
        if run not in self._best:
            try:
                record = peek(self._layout.path / RESTORE_POINTS / run / BEST_FILE)
            except BadFileError:  # a damaged one is replaced by the next best
                record = None
            at = record.iteration_count if record is not None and record.run == run else 0
            value = smoothed_reward(rows, at, self._retention.best_window)
            self._best[run] = None if value is None else Best(at, value)
        return self._best[run]


def _wanted(layout: StateLayout) -> frozenset[str] | None:
    """What somebody has named, noted or pinned."""
    try:
        labels = read_labels(layout.path)
    except BadFileError:  # told where the names are needed
        return None
    return frozenset(state for state, label in labels.items() if label.name or label.note or label.pinned)


def smoothed_reward(rows: NDArray[np.float32], iteration: int, window: int) -> float | None:
    """Mean reward of the `window` iterations up to one; None where there are not so many, or some are lost."""
    if not window <= iteration <= len(rows):
        return None
    value = float(np.add.reduce(rows[iteration - window : iteration, _REWARD], dtype=np.float64)) / window
    return value if math.isfinite(value) else None
