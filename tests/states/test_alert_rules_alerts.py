"""A rule fires when its condition begins, once, and again only after it has ended; what is no rule is named."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadra.errors import ConfigurationError
from quadra.model.history import SERIES
from quadra.states.alerts import (
    KINDS,
    MOST_RULES,
    OF_SERIES,
    RUN_FINISHED,
    SAVES_FAILING,
    STRIKES,
    AlertEvaluator,
    Fired,
    Rule,
    as_list,
    rules_from,
)

VALUES = st.lists(st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 2.0, math.nan]), max_size=60)


def rows(kind: str, values: list[float]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Rows that are like this in the series of a rule, and would set off nothing in the others."""
    found = np.zeros((len(values), len(SERIES)), np.float32)
    found[:, SERIES.index(OF_SERIES[kind])] = values
    return found


def crossings(kind: str, threshold: float, values: list[float]) -> list[int]:
    """The iterations at which a condition begins, told one by one."""
    held, found = False, []
    for iteration, value in enumerate(values, 1):
        if math.isnan(value):
            continue
        holds = value < threshold if kind == "reward_below" else value > threshold
        if holds and not held:
            found.append(iteration)
        held = holds
    return found


@given(st.sampled_from(sorted(OF_SERIES)), st.sampled_from([-1.0, 0.0, 0.75]), VALUES, st.data())
def test_every_crossing_is_fired_exactly_once_however_the_rows_come(
    kind: str, threshold: float, values: list[float], data: st.DataObject
) -> None:
    watch, fired, done = AlertEvaluator([Rule(kind, threshold)]), [], 0
    while done < len(values):
        size = data.draw(st.integers(1, len(values) - done))
        fired += watch.rows(done + 1, rows(kind, values)[done : done + size])
        done += size
    assert [iteration for one in fired for iteration in one.iterations] == crossings(kind, threshold, values)
    assert all(one.value == values[one.iterations[-1] - 1] for one in fired)


def test_a_million_rows_are_looked_at_each() -> None:
    values = np.zeros((1_000_000, len(SERIES)), np.float32)
    values[777_777, SERIES.index("loss")] = 9.0
    fired = AlertEvaluator([Rule("loss_above", 5.0)]).rows(1, values)
    assert fired == [Fired(Rule("loss_above", 5.0), (777_778,), 9.0)]


def test_a_threshold_that_the_history_cannot_hold_exactly_is_not_crossed_by_itself() -> None:
    watch = AlertEvaluator([Rule("loss_above", 0.1), Rule("loss_above", 0.0)])
    assert [one.rule.threshold for one in watch.rows(1, rows("loss_above", [0.1]))] == [0.0]


def test_a_rule_that_stays_is_not_begun_anew_and_a_new_one_is() -> None:
    old, new = Rule("loss_above", 1.0), Rule("loss_above", 2.0)
    watch = AlertEvaluator([old])
    assert len(watch.rows(1, rows("loss_above", [3.0]))) == 1
    watch.change([new, old])
    assert [one.rule for one in watch.rows(1, rows("loss_above", [3.0]))] == [new]
    watch.change([])
    watch.change([old])
    assert [one.rule for one in watch.rows(2, rows("loss_above", [3.0]))] == [old]


def test_strikes_saves_and_the_end_fire_once_each_time_they_begin() -> None:
    strikes, saves, finished = Rule(STRIKES, 2.0), Rule(SAVES_FAILING), Rule(RUN_FINISHED)
    watch = AlertEvaluator([strikes, saves, finished])
    assert [watch.strikes(number, count) for number, count in enumerate([0, 1, 2, 2, 5])] == [
        [], [], [Fired(strikes, (2,), 2)], [], [],
    ]  # fmt: skip
    outcomes = [True, True, False, True]
    assert [len(watch.saves(7, failing)) for failing in outcomes] == [1, 0, 0, 1]
    assert [watch.finished(9), watch.finished(12)] == [[Fired(finished, (9,))], [Fired(finished, (12,))]]


def test_every_message_names_what_and_where() -> None:
    for kind in KINDS:
        threshold = 3.0 if kind in (*OF_SERIES, STRIKES) else None
        message = Rule(kind, threshold).message(12_345, 4.5 if threshold else None)
        assert "iteration 12,345" in message
        assert ("3" in message and "(4.5)" in message) == (threshold is not None)
    assert "7 times" in Rule("loss_above", 1.0).message(9, 2.0, 7)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ("loss_above", "rules"),
        ([1], r"rules\[0\]"),
        ([{}], r"rules\[0\].kind"),
        ([{"kind": ["loss_above"]}], r"rules\[0\].kind"),
        ([{"kind": "run_finished"}, {"kind": "mean_above", "threshold": 1}], r"rules\[1\].kind"),
        ([{"kind": "loss_above"}], r"rules\[0\].threshold"),
        *(
            ([{"kind": "loss_above", "threshold": bad}], r"rules\[0\].threshold")
            for bad in (True, "1", math.nan, math.inf, -math.inf, 1e31, 10**400, [1])
        ),
        *(
            ([{"kind": STRIKES, "threshold": bad}], r"rules\[0\].threshold")
            for bad in (0, -1, 1.5, 10**10, None, math.nan)
        ),
        ([{"kind": "run_finished"}, {"kind": "run_finished", "threshold": 3}], r"rules\[1\]"),
        ([{"kind": "loss_above", "threshold": number} for number in range(MOST_RULES + 1)], "rules"),
    ],
)
def test_what_is_no_rule_is_refused_by_its_fields_name(given: Any, field: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{field} ") as refused:
        rules_from(given)
    assert len(str(refused.value)) < 300


def test_rules_are_read_as_they_are_told() -> None:
    rules = tuple(Rule(kind, 2.0 if kind in (*OF_SERIES, STRIKES) else None) for kind in KINDS)
    assert rules_from(as_list(rules)) == rules
    assert rules_from([{"kind": "saves_failing", "threshold": "x", "other": 1}]) == (Rule(SAVES_FAILING),)
