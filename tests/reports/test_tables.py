"""Tables of a report, cell by cell."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from quadra.config import TrainingConfig
from quadra.model.qlearning import QTable
from quadra.reports.tables import SHADES, counted, figure, q_table_view, settings_table, statistics_table, whole


def test_the_table_of_statistics_says_where_the_extremes_are() -> None:
    rows = np.zeros((3, 4), np.float32)
    rows[:, 0] = (0.5, 0.123456789, 0.25)
    table = statistics_table(rows)
    assert [(label, cells[0]) for label, cells in table.lines] == [
        ("first", ("0.5", None)),
        ("last", ("0.25", None)),
        ("minimum", ("0.123457", 2)),
        ("maximum", ("0.5", 1)),
        ("mean of the last 3", ("0.291152", None)),
        ("median of the last 3", ("0.25", None)),
        ("count", ("3", None)),
    ]
    assert table.lost == 0


def test_where_the_ends_are_lost_the_table_says_which_iterations_are_first_and_last() -> None:
    rows = np.ones((5, 4), np.float32)
    rows[[0, 3, 4]] = np.nan
    table = statistics_table(rows)
    cells = {label: row[3] for label, row in table.lines}
    assert (cells["first"], cells["last"]) == (("1", 2), ("1", 3))
    assert (cells["count"], cells["lost"], table.lost) == (("2", None), ("3", None), 3)


def test_without_iterations_there_are_no_figures() -> None:
    cells = {label: row[0][0] for label, row in statistics_table(np.empty((0, 4), np.float32)).lines}
    assert cells["first"] == cells["maximum"] == cells["mean of the last 0"] == "none"
    assert cells["count"] == "0"


def test_states_are_in_the_order_of_their_numbers_and_in_equal_columns() -> None:
    values = {str(number / 100): (0.0, 1.0, 2.0) for number in range(40, -61, -1)}
    view = q_table_view(values)
    order = [state for column in view.columns for state, _ in column]
    assert order == sorted(values, key=float)
    assert [len(column) for column in view.columns] == [34, 34, 33]
    assert (view.size, view.greedy[2]) == (101, ("penalize variance", 101))


def test_a_short_table_stays_in_one_column_and_an_empty_one_has_none() -> None:
    assert [len(column) for column in q_table_view({str(n): (0.0, 0.0, 0.0) for n in range(12)}).columns] == [12]
    assert q_table_view({}).columns == []


def test_the_greedy_action_is_the_one_that_training_takes() -> None:
    values = {"0.1": [0.0, 3.0, 3.0], "0.2": [-1.0, -2.0, -0.5], "0.3": [0.0, 0.0, 0.0]}
    table = QTable(TrainingConfig(), np.random.SeedSequence(1))
    actions = ("update_field", "adjust_syntropy", "penalize_variance")
    table.load_state_dict({"table": {key: dict(zip(actions, row, strict=True)) for key, row in values.items()}})
    for state, cells in q_table_view(values).columns[0]:
        assert [cell.is_greedy for cell in cells].index(True) == table.greedy(state)
        assert sum(cell.is_greedy for cell in cells) == 1


def test_shades_go_from_the_smallest_value_to_the_largest() -> None:
    view = q_table_view({"0.0": (-1.0, 3.5, 8.0), "0.1": (-0.001, 8.0, 7.999)})
    shades = [[cell.shade for cell in cells] for _, cells in view.columns[0]]
    assert shades == [[0, SHADES // 2, SHADES - 1], [0, SHADES - 1, SHADES - 1]]
    assert (view.least, view.most) == ("-1.000", "8.000")
    assert [cell.text for cell in view.columns[0][1][1]] == ["-0.001", "8.000", "7.999"]


@pytest.mark.parametrize("row", [(2.0, 2.0, 2.0), (-1.7e308, 1.7e308, 0.0)])
def test_a_table_without_a_usable_range_is_white(row: tuple[float, ...]) -> None:
    assert {cell.shade for cell in q_table_view({"0.5": row}).columns[0][0][1]} == {0}


def test_keys_that_are_no_numbers_stand_at_the_end() -> None:
    view = q_table_view(dict.fromkeys(("nan", "0.5", "<b>", "inf", "-0.5"), (0.0, 0.0, 0.0)))
    assert [state for state, _ in view.columns[0]] == ["-0.5", "0.5", "<b>", "inf", "nan"]


def test_every_setting_is_listed_and_what_is_not_the_default_is_marked() -> None:
    listed = [row for column in settings_table(TrainingConfig(seed=3, learning_rate=2e-3, threads=1)) for row in column]
    assert [name for name, _, _ in listed] == [field.name for field in fields(TrainingConfig)]
    assert {name: value for name, value, is_changed in listed if is_changed} == {"seed": "3", "learning_rate": "0.002"}
    assert {"0.9, 0.99, 0.999", "none", "cpu"} <= {value for _, value, _ in listed}


def test_numbers_are_written_as_people_read_them() -> None:
    assert (figure(None), figure(1234567.0), figure(0.1), figure(-5e-17)) == ("none", "1.23457e+06", "0.1", "-5e-17")
    assert (whole(1234567), counted(1, "row"), counted(2000, "row")) == ("1,234,567", "1 row", "2,000 rows")
