"""The history as CSV and JSON: complete, exact, and readable by stock tools."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from quadra.model.history import SERIES
from quadra.reports.history_export import csv_pieces, json_pieces

ROWS = st.integers(0, 30).flatmap(lambda count: arrays(np.float32, (count, 4), elements=st.floats(width=32)))


def told(rows: np.ndarray) -> list[list[float | None]]:
    return [[value if np.isfinite(value) else None for value in row] for row in rows.tolist()]


@given(ROWS)
def test_csv_gives_every_number_back_exactly_and_what_is_not_finite_as_an_empty_cell(rows: np.ndarray) -> None:
    header, *lines = csv.reader(io.StringIO("".join(csv_pieces(rows)), newline=""))
    assert header == ["iteration", *SERIES]
    assert [int(line[0]) for line in lines] == list(range(1, len(rows) + 1))
    found = [[float(np.float32(cell)) if cell else None for cell in line[1:]] for line in lines]
    assert found == told(rows)


@given(ROWS)
def test_json_gives_every_number_back_exactly_and_what_is_not_finite_as_null(rows: np.ndarray) -> None:
    found = json.loads("".join(json_pieces(rows, {"run": "a", "iterations": len(rows)})))
    assert list(found) == ["run", "iterations", "program", *SERIES]
    columns = [[value if value is None else float(np.float32(value)) for value in found[name]] for name in SERIES]
    assert [list(row) for row in zip(*columns, strict=True)] == told(rows)


@pytest.mark.parametrize("count", [9_999, 10_000, 10_001, 25_000])
def test_pieces_meet_without_a_gap(count: int) -> None:
    rows = np.arange(count * 4, dtype=np.float32).reshape(count, 4)
    assert "".join(csv_pieces(rows)).count("\r\n") == count + 1
    assert json.loads("".join(json_pieces(rows, {})))["mean"] == rows[:, 3].tolist()
