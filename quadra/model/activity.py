"""ActivityRecorder: a run's field, plasticity, choices and patterns over time, in at most 512 columns.

A column covers a stretch of iterations. When all columns are used, each pair becomes one and stretches are twice as long:
the recording covers all the time since it began, at a resolution that falls as it grows, and costs ever less.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST_COLUMNS = 512
MOST_ROWS = 128  # of the field; where it has more cells, a row is the mean of neighbours

Floats = NDArray[np.float32]
Counts = NDArray[np.int64]


class ActivitySample(NamedTuple):
    """What people are shown of a run between two iterations."""

    iteration: int
    field: Floats  # (n,)
    plasticity: float
    chosen: Sequence[int]  # how often each action was chosen until now
    patterns: Sequence[int]  # how often each pattern won until now


class Columns(NamedTuple):
    """Each row of these arrays describes one stretch of iterations."""

    last: Counts  # (columns,): the stretch's last iteration
    fields: Floats  # (columns, rows): the field after that iteration
    plasticity: Floats  # (columns,): after that iteration
    chosen: Counts  # (columns, actions): how often each was chosen until then
    patterns: Counts  # (columns, patterns): how often each won until then
    rates: Floats  # (columns, networks): the newest sample in the stretch; NaN where there is none

    def part(self, start: int, stop: int) -> Columns:
        """Returns a copy of some of the columns."""
        return Columns._make(array[start:stop].copy() for array in self)


def field_rows(field: Floats) -> Floats:
    """Returns the field in at most MOST_ROWS rows, each the mean of equally many neighbouring cells, up to one."""
    if field.size <= MOST_ROWS:
        return field
    begins = np.arange(MOST_ROWS) * field.size // MOST_ROWS
    widths = np.diff(begins, append=field.size).astype(np.float32)
    sums: Floats = np.add.reduceat(field, begins)
    return sums / widths


class ActivityRecorder:
    """Records from the next iteration on. The trainer calls `add` when iteration `due` is done; other iterations cost nothing."""

    def __init__(self, beginning: ActivitySample, networks: int = 3) -> None:
        self._networks = networks
        self._begin(beginning)

    def _begin(self, beginning: ActivitySample) -> None:
        field = field_rows(beginning.field).copy()
        self.beginning = beginning._replace(field=field)
        self.stride = 1  # iterations of a stretch
        self.due = beginning.iteration + 1  # the iteration that ends the present stretch
        self._count = 0
        self._columns = Columns(
            np.zeros(MOST_COLUMNS, np.int64),
            np.zeros((MOST_COLUMNS, field.size), np.float32),
            np.zeros(MOST_COLUMNS, np.float32),
            np.zeros((MOST_COLUMNS, len(beginning.chosen)), np.int64),
            np.zeros((MOST_COLUMNS, len(beginning.patterns)), np.int64),
            np.full((MOST_COLUMNS, self._networks), np.nan, np.float32),
        )

    def __len__(self) -> int:
        return self._count

    def add(self, sample: ActivitySample) -> None:
        """Adds the sample of iteration `due`. Where it is of another one, iterations were skipped: the recording begins anew."""
        if sample.iteration != self.due:
            self._begin(sample)
            return
        self._write(sample)
        self._count += 1
        if self._count == MOST_COLUMNS:
            self._halve()
        else:
            self._columns.rates[self._count] = np.nan
        self.due += self.stride

    def add_rates(self, iteration: int, rates: Sequence[float]) -> None:
        """Adds mean firing rates of the networks after this iteration, which is the newest."""
        ended = self._count > 0 and self._columns.last[self._count - 1] >= iteration
        self._columns.rates[self._count - 1 if ended else self._count] = rates

    def columns(self, now: ActivitySample) -> Columns:
        """Returns a copy of all columns; the last is that of the stretch under way, where one has begun."""
        if now.iteration == self.due - self.stride:
            return self._columns.part(0, self._count)
        self._write(now)
        return self._columns.part(0, self._count + 1)

    def _write(self, sample: ActivitySample) -> None:
        column, columns = self._count, self._columns
        columns.last[column] = sample.iteration
        columns.fields[column] = field_rows(sample.field)
        columns.plasticity[column] = sample.plasticity
        columns.chosen[column], columns.patterns[column] = sample.chosen, sample.patterns

    def _halve(self) -> None:
        """Merges each pair of stretches. A column describes the end of its stretch, so the later one of a pair stays."""
        half = MOST_COLUMNS // 2
        rates = self._columns.rates
        rates[1::2] = np.where(np.isnan(rates[1::2]), rates[0::2], rates[1::2])
        for array in self._columns:
            array[:half] = array[1::2].copy()
        rates[half] = np.nan
        self._count, self.stride = half, self.stride * 2
