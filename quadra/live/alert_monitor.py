"""AlertMonitor: checks the run in memory against its alert rules, beside training, whether or not a browser is there.

Every event comes with the view of its instant, and all rows of the history up to there are checked before it: what a browser
is sent may be thinned, what is checked here never is.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadra.model.history import SERIES, History
from quadra.states.alert_rules import OF_SERIES, REWARD_BELOW, RUN_FINISHED, SAVES_FAILING, STRIKES, Rule
from quadra.training.events import (
    AlertFired,
    CommandProgress,
    Event,
    Publish,
    SaveFailed,
    StateSaved,
    TrainingStopped,
)
from quadra.training.lifecycle import Phase
from quadra.training.view import View

log = logging.getLogger("quadra")

MOST_KEPT = 100  # alerts that a browser which comes later is told
SHORTEST_PAUSE = 1.0  # seconds between two alerts of one rule; what begins in between is counted
LONGEST_PAUSE = 60.0  # to which that is doubled, again and again, while a condition flickers


@dataclass(frozen=True)
class Fired:
    """A rule's condition has begun: at each of these iterations, in order; `value` is that of the last one."""

    rule: Rule
    iterations: tuple[int, ...]
    value: float | None = None


class AlertEvaluator:
    """Evaluates the conditions of some rules, and remembers which of them hold."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._holds = dict.fromkeys(rules, False)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that are evaluated."""
        return tuple(self._holds)

    def change(self, rules: Iterable[Rule]) -> None:
        """Evaluates these rules from now on; the condition of one that stays does not begin anew."""
        self._holds = {rule: self._holds.get(rule, False) for rule in rules}

    def rows(self, first: int, rows: NDArray[np.float32]) -> list[Fired]:
        """Returns what the next rows of a history set off: shape (iterations, 4), columns of SERIES, from iteration `first` on.

        A value that is lost (not a number) neither begins nor ends anything.
        """
        fired = []
        for rule, held in self._holds.items():
            if rule.kind not in OF_SERIES or not len(rows):
                continue
            values = rows[:, SERIES.index(OF_SERIES[rule.kind])]
            known = np.flatnonzero(~np.isnan(values))
            if not len(known):
                continue
            holds = _holds(rule, values[known])
            begins = known[holds & ~np.concatenate(([held], holds[:-1]))]
            self._holds[rule] = bool(holds[-1])
            if len(begins):
                fired.append(Fired(rule, tuple((begins + first).tolist()), float(values[begins[-1]])))
        return fired

    def strikes(self, iteration: int, count: int) -> list[Fired]:
        """Returns what the number of void iterations of a run so far sets off."""
        return [
            fired
            for rule in self.rules
            if rule.kind == STRIKES
            for fired in self._begin(rule, rule.threshold is not None and count >= rule.threshold, iteration, count)
        ]

    def saves(self, iteration: int, failing: bool) -> list[Fired]:
        """Returns what the outcome of a save sets off."""
        return [
            fired
            for rule in self.rules
            if rule.kind == SAVES_FAILING
            for fired in self._begin(rule, failing, iteration)
        ]

    def finished(self, iteration: int) -> list[Fired]:
        """Returns what it sets off that training has ended by itself."""
        return [Fired(rule, (iteration,)) for rule in self.rules if rule.kind == RUN_FINISHED]

    def _begin(self, rule: Rule, holds: bool, iteration: int, value: float | None = None) -> list[Fired]:
        begins = holds and not self._holds[rule]
        self._holds[rule] = holds
        return [Fired(rule, (iteration,), value)] if begins else []


def _holds(rule: Rule, values: NDArray[np.float32]) -> NDArray[np.bool_]:
    threshold = np.float32(rule.threshold)
    return values < threshold if rule.kind == REWARD_BELOW else values > threshold


@dataclass
class _Unpublished:
    """What one rule has set off since its last alert."""

    run: str | None
    fired: Fired
    at: str  # when it was first seen
    times: int


class AlertMonitor:
    """`on_event` may be called from the worker's thread, `check` from one other, `alerts` from any."""

    def __init__(self, view: Callable[[], View], publish: Publish, clock: Callable[[], float] = time.monotonic) -> None:
        self._view, self._publish, self._clock = view, publish, clock
        self._events: deque[tuple[Event, View]] = deque()
        self._evaluator = AlertEvaluator()
        self._history = view().history
        self._checked = 0  # iterations of that history
        self._strikes = 0
        self._run: str | None = None
        self._unpublished: dict[Rule, _Unpublished] = {}
        self._published_at: dict[Rule, tuple[float, float]] = {}  # when, and the pause after that
        self._kept: deque[AlertFired] = deque(maxlen=MOST_KEPT)
        self._start = secrets.token_hex(4)  # tells the alerts of this server's start from those of others
        self._number = 0

    def on_event(self, event: Event) -> None:
        """Notes an event with the view of this instant; returns at once."""
        if not isinstance(event, AlertFired | CommandProgress):
            self._events.append((event, self._view()))

    def alerts(self) -> list[dict[str, Any]]:
        """Returns the newest alerts, oldest first."""
        return [alert.as_dict() for alert in self._kept]

    def check(self) -> None:
        """Checks all that has happened since the last call, and publishes what it set off."""
        try:
            self._check()
        except Exception:
            log.exception("The alert rules could not be looked at; the next round goes on")

    def _check(self) -> None:
        now = self._view()  # before the events: one that comes from here on has its own view
        for _ in range(len(self._events)):
            event, view = self._events.popleft()
            self._check_until(view)
            self._check_event(event, view)
        if now.history is self._history:
            self._check_iterations(now)
        self._publish_due(rests=now.status.phase is not Phase.TRAINING)

    def _check_until(self, view: View) -> None:
        """Checks everything up to a view, which may be of another run or have other rules."""
        if view.history is self._history:
            self._check_iterations(view)
        else:
            self._check_rows(self._history, len(self._history))  # what was trained before the other run took its place
            self._change_run(view)
        self._run = view.status.run
        if view.status.alert_rules != self._evaluator.rules:
            self._change_rules(view)

    def _check_iterations(self, view: View) -> None:
        self._check_rows(view.history, view.iteration_count)
        if view.result is not None:
            self._check_strikes(view.iteration_count, view.result.integrity_strikes)

    def _check_rows(self, history: History, count: int) -> None:
        if count > self._checked:
            self._add(self._evaluator.rows(self._checked + 1, history.rows()[self._checked : count]))
            self._checked = count

    def _check_strikes(self, iteration: int, strikes: int) -> None:
        self._strikes = max(self._strikes, strikes)  # those that ended training are in no iteration's result
        self._add(self._evaluator.strikes(iteration, self._strikes))

    def _change_run(self, view: View) -> None:
        """Follows another run; what its last iteration had set off already is not published again."""
        self._evaluator = AlertEvaluator(view.status.alert_rules)
        self._history, self._checked = view.history, view.iteration_count
        self._strikes = view.result.integrity_strikes if view.result is not None else 0
        self._check_newest(view)

    def _change_rules(self, view: View) -> None:
        """Evaluates other rules, which begin with the newest iteration."""
        self._evaluator.change(view.status.alert_rules)
        self._add(self._check_newest(view))
        trouble = view.status.trouble
        self._add(self._evaluator.saves(view.iteration_count, trouble is not None))

    def _check_newest(self, view: View) -> list[Fired]:
        count = view.iteration_count
        fired = self._evaluator.rows(count, view.history.rows()[:count][-1:])
        return [*fired, *self._evaluator.strikes(count, self._strikes)]

    def _check_event(self, event: Event, view: View) -> None:
        count = view.iteration_count
        if isinstance(event, StateSaved | SaveFailed):
            self._add(self._evaluator.saves(count, isinstance(event, SaveFailed)))
        elif isinstance(event, TrainingStopped) and event.by_itself:
            self._check_strikes(count, event.integrity_strikes)
            self._add(self._evaluator.finished(count))

    def _add(self, found: list[Fired]) -> None:
        for fired in found:
            times = len(fired.iterations)
            known = self._unpublished.get(fired.rule)
            if known is not None and known.run == self._run:
                known.fired, known.times = fired, known.times + times
                continue
            if known is not None:  # of the run before
                self._publish_alert(known)
            at = datetime.now(UTC).isoformat(timespec="milliseconds")
            self._unpublished[fired.rule] = _Unpublished(self._run, fired, at, times)

    def _publish_due(self, rests: bool) -> None:
        now = self._clock()
        for rule, unpublished in list(self._unpublished.items()):
            at, pause = self._published_at.get(rule, (-LONGEST_PAUSE, 0.0))
            if rests or now - at >= pause:
                flickers = now - at < 2.0 * pause
                self._published_at[rule] = now, min(2.0 * pause, LONGEST_PAUSE) if flickers else SHORTEST_PAUSE
                self._publish_alert(unpublished)
        recent = {rule: entry for rule, entry in self._published_at.items() if now - entry[0] < 2.0 * LONGEST_PAUSE}
        self._published_at = recent

    def _publish_alert(self, unpublished: _Unpublished) -> None:
        del self._unpublished[unpublished.fired.rule]
        rule, iteration, value = unpublished.fired.rule, unpublished.fired.iterations[-1], unpublished.fired.value
        self._number += 1
        alert = AlertFired(
            id=f"{self._start}-{self._number}",
            rule=rule,
            run=unpublished.run,
            iteration=iteration,
            value=value,
            times=unpublished.times,
            message=rule.message(iteration, value, unpublished.times),
            at=unpublished.at,
        )
        self._kept.append(alert)
        self._publish(alert)
