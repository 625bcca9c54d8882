"""Alerts: the rules that a person sets for a run, and which of them what happens sets off; no clock, no disk.

A rule fires when its condition begins, and again only after it has ended.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadra.errors import ConfigurationError
from quadra.model.history import SERIES

MOST_RULES = 20
LOSS_ABOVE = "loss_above"
REWARD_BELOW = "reward_below"
VARIANCE_ABOVE = "variance_above"
STRIKES = "strikes_at_least"
SAVES_FAILING = "saves_failing"
RUN_FINISHED = "run_finished"
KINDS = (LOSS_ABOVE, REWARD_BELOW, VARIANCE_ABOVE, STRIKES, SAVES_FAILING, RUN_FINISHED)
OF_SERIES = {LOSS_ABOVE: "loss", REWARD_BELOW: "reward", VARIANCE_ABOVE: "variance"}
_WITH_THRESHOLD = (*OF_SERIES, STRIKES)
_LARGEST = 1e30  # of a threshold: the histories are float32
_MOST_STRIKES = 1_000_000_000
_LONGEST_SHOWN = 60  # characters of a bad value in a message


@dataclass(frozen=True)
class Rule:
    """One condition; `threshold` is None for those that have none."""

    kind: str  # one of KINDS
    threshold: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """As browsers, scripts and the file have it."""
        return {"kind": self.kind, "threshold": self.threshold}

    def message(self, iteration: int, value: float | None, times: int = 1) -> str:
        """What a person is told when it fires at an iteration, with the value there."""
        limit = "" if self.threshold is None else f"{self.threshold:.6g}"
        found = "" if value is None else f" ({value:.6g})"
        what = {
            LOSS_ABOVE: f"loss is above {limit}{found}",
            REWARD_BELOW: f"reward is below {limit}{found}",
            VARIANCE_ABOVE: f"field variance is above {limit}{found}",
            STRIKES: f"integrity strikes have reached {limit}{found}",
            SAVES_FAILING: "saves are failing",
            RUN_FINISHED: "training has ended by itself",
        }[self.kind]
        again = f", {times:,} times since the last alert" if times > 1 else ""
        return f"Alert: {what} at iteration {iteration:,}{again}."


@dataclass(frozen=True)
class Fired:
    """A rule's condition has begun: at each of these iterations, in order; `value` is that of the last one."""

    rule: Rule
    iterations: tuple[int, ...]
    value: float | None = None


def rules_from(value: object, field: str = "rules") -> tuple[Rule, ...]:
    """The rules in a list of objects. Raises ConfigurationError, which names the field."""
    if not isinstance(value, list):
        raise ConfigurationError(field, f"must be a list of rules, not {_shown(value)}")
    if len(value) > MOST_RULES:
        raise ConfigurationError(field, f"must be at most {MOST_RULES} rules, not {len(value):,}")
    rules = tuple(_rule(given, f"{field}[{number}]") for number, given in enumerate(value))
    for number, rule in enumerate(rules):
        if rule in rules[:number]:
            raise ConfigurationError(f"{field}[{number}]", "says the same as an earlier rule")
    return rules


class AlertEvaluator:
    """The conditions of some rules, as far as they have been followed."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._holds = dict.fromkeys(rules, False)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that are followed."""
        return tuple(self._holds)

    def change(self, rules: Iterable[Rule]) -> None:
        """Follow these rules from now on; one that was followed before is not begun anew."""
        self._holds = {rule: self._holds.get(rule, False) for rule in rules}

    def rows(self, first: int, rows: NDArray[np.float32]) -> list[Fired]:
        """What the next rows of a history set off: shape (iterations, 4), columns of SERIES, from iteration `first` on.

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
        """What the number of void iterations of a run so far sets off."""
        return [
            fired
            for rule in self.rules
            if rule.kind == STRIKES
            for fired in self._now(rule, rule.threshold is not None and count >= rule.threshold, iteration, count)
        ]

    def saves(self, iteration: int, failing: bool) -> list[Fired]:
        """What the outcome of a save sets off."""
        return [
            fired for rule in self.rules if rule.kind == SAVES_FAILING for fired in self._now(rule, failing, iteration)
        ]

    def finished(self, iteration: int) -> list[Fired]:
        """What it sets off that training has ended by itself."""
        return [Fired(rule, (iteration,)) for rule in self.rules if rule.kind == RUN_FINISHED]

    def _now(self, rule: Rule, holds: bool, iteration: int, value: float | None = None) -> list[Fired]:
        begins = holds and not self._holds[rule]
        self._holds[rule] = holds
        return [Fired(rule, (iteration,), value)] if begins else []


def _holds(rule: Rule, values: NDArray[np.float32]) -> NDArray[np.bool_]:
    threshold = np.float32(rule.threshold)
    return values < threshold if rule.kind == REWARD_BELOW else values > threshold


def _rule(given: object, field: str) -> Rule:
    if not isinstance(given, Mapping):
        raise ConfigurationError(field, f"must be an object with kind and threshold, not {_shown(given)}")
    kind = given.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigurationError(f"{field}.kind", f"must be one of {', '.join(KINDS)}, not {_shown(kind)}")
    return Rule(kind, _threshold(kind, given.get("threshold"), f"{field}.threshold"))


def _threshold(kind: str, value: object, field: str) -> float | None:
    if kind not in _WITH_THRESHOLD:
        return None
    number = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST:
        number = float(value)
    if kind == STRIKES:
        if not (1 <= number <= _MOST_STRIKES and number.is_integer()):
            raise ConfigurationError(field, f"must be a whole number from 1 to {_MOST_STRIKES:,}, not {_shown(value)}")
    elif math.isnan(number):
        raise ConfigurationError(field, f"must be a number between -1e30 and 1e30, not {_shown(value)}")
    return number


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"


def as_list(rules: Sequence[Rule]) -> list[dict[str, Any]]:
    """Rules as browsers, scripts and the file have them."""
    return [rule.as_dict() for rule in rules]
