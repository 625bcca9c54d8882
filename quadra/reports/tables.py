"""The tables of a report as plain text, cell by cell: statistics, Q-table, configuration."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quadra.config import ACTIONS, TrainingConfig
from quadra.model.qlearning import in_order
from quadra.reports.reproduction import changed_settings
from quadra.reports.series_statistics import RECENT, SeriesFigures, SeriesPoint, SeriesSummary, summaries

NOTHING = "none"  # in the place of a figure
SHADES = 9  # that a value in the Q-table may have
_ROWS_OF_ONE_TABLE = 12  # of the Q-table; a longer one stands in several columns
_COLUMNS = 3

Cells = list[tuple[str, int | None]]  # of each series a figure, and the iteration that it belongs to


@dataclass(frozen=True)
class StatisticsTable:
    """A line for each figure, with a cell for each of SERIES."""

    lines: list[tuple[str, Cells]]
    lost: int  # rows


def statistics_table(rows: NDArray[np.float32]) -> StatisticsTable:
    """Returns the statistics of a history, shape (iterations, 4)."""
    found = summaries(rows)
    recent = min(RECENT, len(rows))
    lost = max(summary.lost for summary in found)
    lines = [
        ("first", _points(found, lambda figures: figures.first, expected=1)),
        ("last", _points(found, lambda figures: figures.last, expected=len(rows))),
        ("minimum", _points(found, lambda figures: figures.least)),
        ("maximum", _points(found, lambda figures: figures.most)),
        (f"mean of the last {recent}", _means(found, lambda figures: figures.recent_mean)),
        (f"median of the last {recent}", _means(found, lambda figures: figures.recent_median)),
        ("count", _counts(summary.known for summary in found)),
        ("lost", _counts(summary.lost for summary in found)),
    ]
    return StatisticsTable(lines if lost else lines[:-1], lost)


def figure(value: float | None) -> str:
    """Returns a number to six significant digits."""
    return NOTHING if value is None else f"{value:.6g}"


def whole(number: int) -> str:
    """Returns a number with a comma at every thousand."""
    return f"{number:,}"


def counted(number: int, what: str) -> str:
    """Returns a number of things: "1 row", "1,000 rows"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class Cell:
    """One value of the Q-table."""

    text: str
    shade: int  # below SHADES; 0 for the table's smallest value
    is_greedy: bool  # whether training takes this action in this state


@dataclass(frozen=True)
class QTableView:
    """The Q-table, its states in ascending order, cut into columns of equal length."""

    actions: list[str]
    columns: list[list[tuple[str, list[Cell]]]]
    size: int
    greedy: list[tuple[str, int]]  # how many states prefer an action
    least: str
    most: str


def q_table_view(values: Mapping[str, Sequence[float]]) -> QTableView:
    """Returns the view of a table with a value for each of ACTIONS in each state."""
    every = [value for row in values.values() for value in row]
    least, most = min(every, default=0.0), max(every, default=0.0)
    rows = [(state, _cells(values[state], least, most)) for state in sorted(values, key=in_order)]
    length = math.ceil(len(rows) / _COLUMNS) if len(rows) > _ROWS_OF_ONE_TABLE else _ROWS_OF_ONE_TABLE
    preferred = Counter(_greedy(row) for row in values.values())
    actions = [action.replace("_", " ") for action in ACTIONS]
    return QTableView(
        actions=actions,
        columns=[rows[start : start + length] for start in range(0, len(rows), length)],
        size=len(rows),
        greedy=[(action, preferred[number]) for number, action in enumerate(actions)],
        least=f"{least:.3f}",
        most=f"{most:.3f}",
    )


def settings_table(config: TrainingConfig) -> list[list[tuple[str, str, bool]]]:
    """Returns name, value and whether it is not the default, in two columns of equal length."""
    different = changed_settings(config)
    rows = [(name, _setting(value), name in different) for name, value in config.as_dict().items()]
    half = math.ceil(len(rows) / 2)
    return [rows[:half], rows[half:]]


def _points(
    found: Sequence[SeriesSummary], choose: Callable[[SeriesFigures], SeriesPoint], expected: int | None = None
) -> Cells:
    """Returns the cells; the iteration is left out where it is the one that everybody expects."""
    points = [choose(summary.figures) if summary.figures else None for summary in found]
    return [
        (figure(point.value), None if point.iteration == expected else point.iteration) if point else (NOTHING, None)
        for point in points
    ]


def _means(found: Sequence[SeriesSummary], choose: Callable[[SeriesFigures], float | None]) -> Cells:
    return [(figure(choose(summary.figures) if summary.figures else None), None) for summary in found]


def _counts(numbers: Iterable[int]) -> Cells:
    return [(whole(number), None) for number in numbers]


def _cells(row: Sequence[float], least: float, most: float) -> list[Cell]:
    span = most - least
    shades = [min(SHADES - 1, int((value - least) / span * SHADES)) if 0 < span < math.inf else 0 for value in row]
    return [
        Cell(f"{value:.3f}", shade, number == _greedy(row))
        for number, (value, shade) in enumerate(zip(row, shades, strict=True))
    ]


def _greedy(row: Sequence[float]) -> int:
    """Returns the action of the highest value; ties go to the first one, as in training."""
    return row.index(max(row))


def _setting(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return NOTHING if value is None else str(value)
