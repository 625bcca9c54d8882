"""The alert monitor misses no iteration and no event, floods nobody, and counts what it does not tell at once; a rule fires
when its condition begins, once, and again only after it has ended."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quadra.live.alert_monitor import MOST_KEPT, AlertEvaluator, AlertMonitor, Fired
from quadra.model.engine import StepResult
from quadra.model.history import SERIES, History
from quadra.states.alert_rules import OF_SERIES, Rule
from quadra.training.events import (
    AlertFired,
    AlertRulesChanged,
    Event,
    SaveFailed,
    StateLoaded,
    StateSaved,
    TrainingStopped,
)
from quadra.training.lifecycle import Phase
from quadra.training.view import SaveTrouble, View
from tests.helpers.training_status import RUN, STATUS

HIGH, STRIKES, SAVES, FINISHED = (
    Rule("loss_above", 1.0),
    Rule("strikes_at_least", 2.0),
    Rule("saves_failing"),
    Rule("run_finished"),
)


class Desk:
    """An alert monitor, the view that a test moves on, and the clock."""

    def __init__(self, *rules: Rule) -> None:
        self.history, self.now, self.strikes = History(), 0.0, 0
        self.status = STATUS
        self.told: list[dict[str, Any]] = []
        self.monitor = AlertMonitor(self.view, self._publish, lambda: self.now)
        self.set(*rules)

    def view(self) -> View:
        count = len(self.history)
        result = StepResult(count, 0.5, 8.0, 0.1, 0.0, self.strikes, 3, 1.0, 2, "x", "update_field") if count else None
        return View(self.status, self.history, count, result, 0, 1.0)

    def _publish(self, event: Event) -> None:
        assert isinstance(event, AlertFired)
        self.told.append(event.as_dict())

    def train(self, *losses: float) -> None:
        for loss in losses:
            self.history.append(loss, 8.0, 0.1, 0.0)

    def set(self, *rules: Rule) -> None:
        self.status = replace(self.status, alert_rules=rules)
        self.monitor.on_event(AlertRulesChanged(rules, RUN))

    def load(self, run: str, history: History, *rules: Rule) -> None:
        self.history, self.status = history, replace(self.status, run=run, alert_rules=rules)
        self.monitor.on_event(StateLoaded(len(history)))

    def rest(self) -> None:
        self.status = replace(self.status, phase=Phase.READY)

    def round(self) -> list[tuple[int, int]]:
        """Iteration and times of each alert of this round."""
        before = len(self.told)
        self.monitor.check()
        return [(alert["iteration"], alert["times"]) for alert in self.told[before:]]


def grown(*losses: float) -> History:
    history = History()
    for loss in losses:
        history.append(loss, 8.0, 0.1, 0.0)
    return history


def test_an_alert_says_what_where_when_and_in_which_run() -> None:
    desk = Desk(HIGH)
    desk.train(0.0, 3.0)
    assert desk.round() == [(2, 1)]
    alert = desk.told[0]
    assert (alert["rule"], alert["run"], alert["value"]) == ({"kind": "loss_above", "threshold": 1.0}, RUN, 3.0)
    assert "loss is above 1 (3) at iteration 2" in alert["message"]
    assert alert["at"].endswith("+00:00")
    assert desk.monitor.alerts() == [alert]


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from([0.0, 2.0]), max_size=9), max_size=12), st.data())
def test_every_crossing_is_counted_once_whenever_rounds_come(pieces: list[list[float]], data: st.DataObject) -> None:
    desk = Desk(HIGH)
    losses = [loss for piece in pieces for loss in piece]
    for piece in pieces:
        desk.train(*piece)
        desk.now += data.draw(st.sampled_from([0.0, 0.3, 5.0]))
        if data.draw(st.booleans()):
            desk.round()
    desk.rest()
    desk.round()
    expected = sum(loss > 1 and (not at or losses[at - 1] < 1) for at, loss in enumerate(losses))
    assert sum(alert["times"] for alert in desk.told) == expected


def test_a_rule_that_flickers_is_told_after_longer_and_longer_pauses_with_how_often() -> None:
    desk = Desk(HIGH)
    desk.train(2.0)
    assert desk.round() == [(1, 1)]
    for _ in range(7):
        desk.train(0.0, 2.0)
        desk.now += 0.125
        assert desk.round() == []
    desk.now += 0.25
    assert desk.round() == [(15, 7)]
    assert "7 times" in desk.told[-1]["message"]
    told_at = []
    for _ in range(1600):
        desk.train(0.0, 2.0)
        desk.now += 0.125
        if desk.round():
            told_at.append(desk.now)
    assert told_at[:3] == [3.125, 7.125, 15.125]
    assert {after - before for before, after in pairwise(told_at[5:])} == {60.0}
    desk.now += 1000.0
    desk.train(0.0, 2.0)
    assert len(desk.round()) == 1
    desk.train(0.0, 2.0)
    desk.now += 1.0
    assert desk.round() == [(len(desk.history), 1)]


def test_a_new_rule_looks_at_the_newest_iteration_and_not_at_those_before() -> None:
    desk = Desk()
    desk.train(5.0, 0.0)
    desk.round()
    desk.set(HIGH)
    assert desk.round() == []
    desk.train(5.0)
    desk.set(HIGH, Rule("loss_above", 4.0))
    assert desk.round() == [(3, 1), (3, 1)]


def test_rules_change_at_their_instant_even_where_the_round_comes_late() -> None:
    desk = Desk(HIGH)
    desk.train(0.0, 5.0)
    desk.set()
    desk.train(0.0, 5.0)
    desk.set(HIGH)
    desk.train(0.0, 5.0)
    desk.rest()
    assert sum(times for _, times in desk.round()) == 3  # at 2; at 4, where the rule is new; and at 6


def test_what_the_last_iteration_of_a_loaded_run_had_set_off_is_not_told_again() -> None:
    desk = Desk()
    desk.load("b" * 16, grown(0.0, 5.0), HIGH)
    desk.train(5.0)
    assert desk.round() == []
    desk.train(0.0, 5.0)
    assert desk.round() == [(5, 1)]


def test_the_rest_of_a_run_is_looked_at_when_another_one_has_taken_its_place() -> None:
    desk = Desk(HIGH)
    desk.train(0.0, 5.0)
    desk.load("b" * 16, grown(0.0), HIGH)
    desk.train(5.0)
    desk.load("c" * 16, grown(), HIGH)
    desk.round()
    assert [(alert["run"][0], alert["iteration"]) for alert in desk.told] == [("0", 2), ("b", 2)]


def test_iterations_after_a_load_are_looked_at_where_the_round_comes_late() -> None:
    desk = Desk()
    desk.load("b" * 16, grown(0.0), HIGH)
    desk.train(5.0, 0.0)
    assert desk.round() == [(2, 1)]


def test_each_failure_of_saves_that_follows_a_success_is_told() -> None:
    desk = Desk(SAVES)
    desk.rest()
    failed, saved = SaveFailed(3, "full"), StateSaved(3, "", 1.0)
    for events, alerts in [([failed, failed], 1), ([saved], 0), ([failed, saved], 1)]:
        for event in events:
            desk.monitor.on_event(event)
        assert len(desk.round()) == alerts
    desk.status = replace(desk.status, trouble=SaveTrouble(3, "full", 0))
    desk.set(HIGH)
    desk.set(SAVES)
    assert len(desk.round()) == 1  # saves fail when the rule is set


def test_the_end_is_told_where_nobody_asked_for_it_and_strikes_with_it() -> None:
    desk = Desk(FINISHED, STRIKES)
    desk.train(0.0)
    desk.rest()
    desk.monitor.on_event(TrainingStopped(by_itself=False, integrity_strikes=0))
    assert desk.round() == []
    desk.monitor.on_event(TrainingStopped(by_itself=True, integrity_strikes=3))
    assert [alert["rule"]["kind"] for alert in desk.told] == []
    desk.round()
    assert [alert["rule"]["kind"] for alert in desk.told] == ["strikes_at_least", "run_finished"]
    desk.strikes = 3
    desk.train(0.0)
    assert desk.round() == []


def test_strikes_are_told_when_a_result_shows_them() -> None:
    desk = Desk(STRIKES)
    desk.train(0.0)
    assert desk.round() == []
    desk.strikes = 2
    desk.train(0.0)
    assert desk.round() == [(2, 1)]
    assert desk.told[0]["value"] == 2


def test_only_the_newest_alerts_are_kept_and_each_has_its_own_id() -> None:
    desk = Desk(HIGH)
    for _ in range(MOST_KEPT + 5):
        desk.train(0.0, 5.0)
        desk.now += 2.0
        desk.round()
    kept = desk.monitor.alerts()
    assert kept == desk.told[-MOST_KEPT:]
    assert len({alert["id"] for alert in desk.told}) == MOST_KEPT + 5


def test_a_failure_of_the_monitor_is_logged_and_the_next_round_goes_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(HIGH)
    desk.round()
    desk.train(5.0)
    with monkeypatch.context() as patch:
        patch.setattr(History, "rows", lambda self: 1 / 0)
        desk.monitor.check()
    assert "alert rules could not be looked at" in caplog.text
    desk.train(0.0, 5.0)
    assert desk.round() == [(3, 2)]


# --- the evaluator alone

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
    evaluator, fired, done = AlertEvaluator([Rule(kind, threshold)]), [], 0
    while done < len(values):
        size = data.draw(st.integers(1, len(values) - done))
        fired += evaluator.rows(done + 1, rows(kind, values)[done : done + size])
        done += size
    assert [iteration for one in fired for iteration in one.iterations] == crossings(kind, threshold, values)
    assert all(one.value == values[one.iterations[-1] - 1] for one in fired)


def test_a_million_rows_are_looked_at_each() -> None:
    values = np.zeros((1_000_000, len(SERIES)), np.float32)
    values[777_777, SERIES.index("loss")] = 9.0
    fired = AlertEvaluator([Rule("loss_above", 5.0)]).rows(1, values)
    assert fired == [Fired(Rule("loss_above", 5.0), (777_778,), 9.0)]


def test_a_threshold_that_the_history_cannot_hold_exactly_is_not_crossed_by_itself() -> None:
    evaluator = AlertEvaluator([Rule("loss_above", 0.1), Rule("loss_above", 0.0)])
    assert [one.rule.threshold for one in evaluator.rows(1, rows("loss_above", [0.1]))] == [0.0]


def test_a_rule_that_stays_is_not_begun_anew_and_a_new_one_is() -> None:
    old, new = Rule("loss_above", 1.0), Rule("loss_above", 2.0)
    evaluator = AlertEvaluator([old])
    assert len(evaluator.rows(1, rows("loss_above", [3.0]))) == 1
    evaluator.change([new, old])
    assert [one.rule for one in evaluator.rows(1, rows("loss_above", [3.0]))] == [new]
    evaluator.change([])
    evaluator.change([old])
    assert [one.rule for one in evaluator.rows(2, rows("loss_above", [3.0]))] == [old]


def test_strikes_saves_and_the_end_fire_once_each_time_they_begin() -> None:
    evaluator = AlertEvaluator([STRIKES, SAVES, FINISHED])
    assert [evaluator.strikes(number, count) for number, count in enumerate([0, 1, 2, 2, 5])] == [
        [], [], [Fired(STRIKES, (2,), 2)], [], [],
    ]  # fmt: skip
    outcomes = [True, True, False, True]
    assert [len(evaluator.saves(7, failing)) for failing in outcomes] == [1, 0, 0, 1]
    assert [evaluator.finished(9), evaluator.finished(12)] == [[Fired(FINISHED, (9,))], [Fired(FINISHED, (12,))]]
