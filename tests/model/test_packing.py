"""Packed values: a copy comes back, equal values give equal bytes."""

from __future__ import annotations

import pytest

from quadra.config import ACTIONS
from quadra.model.packing import packed, unpacked

EVERYTHING = {
    "wins": [3, 4], "generators": {"samples": b"bits", "samples_device": "cpu"}, "mean_reward": None,
    "q_table": {"0.5": [0.25, -0.0, 1e-300]}, "iteration_count": 2**60,
}  # fmt: skip


def test_what_is_packed_comes_back_with_the_q_table_by_action() -> None:
    values = unpacked(packed(EVERYTHING))
    assert repr(values) == repr(
        {**EVERYTHING, "q_table": {"0.5": dict(zip(ACTIONS, (0.25, -0.0, 1e-300), strict=True))}}
    )


def test_what_is_packed_is_a_copy() -> None:
    row = [1.0, 2.0, 3.0]
    plain = packed({"q_table": {"0.5": row}})
    row[0] = 9.0
    assert unpacked(plain)["q_table"]["0.5"][ACTIONS[0]] == 1.0


def test_equal_values_are_packed_to_equal_bytes_whoever_else_refers_to_them() -> None:
    text = "".join(["a", " line"])
    others = [text] * 3
    assert packed({"text": text}) == packed({"text": "".join(["a l", "ine"])})
    assert len(others) == 3


def test_a_table_with_another_number_of_actions_is_refused() -> None:
    with pytest.raises(ValueError, match="unpack"):
        unpacked(packed({"q_table": {"0.5": [1.0, 2.0]}}))
