"""QTable: one value per state and action, epsilon-greedy choice, Q update (Watkins and Dayan, "Q-learning", 1992)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from quadra.config import ACTIONS, TrainingConfig


def state_key(mean: float) -> str:
    """The table's state for a vector of this mean: "0.49", "0.5"; minus zero is "0.0"."""
    return str(round(mean, 2) + 0.0)


def in_order(state: str) -> tuple[float, str]:
    """Sorts states by their numbers; what is no finite number (in a table of another program) comes last, by its text."""
    try:
        number = float(state)
    except ValueError:
        number = math.nan
    return (number if math.isfinite(number) else math.inf, state)


class QTable:
    """Maps a state to one value for each action; unseen states count as zero and are not entered by looking."""

    def __init__(self, config: TrainingConfig, seed: np.random.SeedSequence) -> None:
        self._epsilon = config.exploration
        self._rate = config.q_rate
        self._discount = config.q_discount
        self._generator = np.random.Generator(np.random.PCG64(seed))
        self._values: dict[str, list[float]] = {}
        self._visits: dict[str, list[int]] = {}
        self._before: dict[str, tuple[list[float], list[int]] | None] = {}

    def __len__(self) -> int:
        return len(self._values)

    @property
    def rows(self) -> Mapping[str, list[float]]:
        """The table itself, state -> values in the order of ACTIONS: it changes with training, whoever keeps it copies."""
        return self._values

    @property
    def visits(self) -> Mapping[str, list[int]]:
        """State -> how often each action was taken in it since the table was made or loaded; only for people to look at."""
        return self._visits

    @property
    def generator_state(self) -> Mapping[str, Any]:
        """Builtins only."""
        return self._generator.bit_generator.state

    def greedy(self, state: str) -> int:
        """Index of the best action; ties go to the first."""
        values = self._values.get(state)
        return 0 if values is None else values.index(max(values))

    def choose(self, state: str) -> int:
        """Epsilon-greedy: any action with probability epsilon, else the greedy one."""
        if self._generator.random() < self._epsilon:
            return int(self._generator.integers(len(ACTIONS)))
        return self.greedy(state)

    def update(self, state: str, action: int, reward: float, next_state: str) -> None:
        """Q[s][a] += alpha * (reward + gamma * max Q[s'] - Q[s][a])."""
        best_next = max(self._values.get(next_state, (0.0,)))
        if state not in self._before:
            self._keep(state)
        values = self._values[state]
        values[action] += self._rate * (reward + self._discount * best_next - values[action])
        self._visits[state][action] += 1

    def _keep(self, state: str) -> None:
        """A state as it is before its first change since `begin`; one that is new is entered."""
        known = self._values.get(state)
        visits = self._visits.setdefault(state, [0] * len(ACTIONS))
        self._before[state] = None if known is None else (list(known), list(visits))
        if known is None:
            self._values[state] = [0.0] * len(ACTIONS)

    def begin(self) -> None:
        """From here on changes can be undone."""
        self._before = {}

    def undo(self) -> None:
        """Take back every change since `begin`; the generator stays advanced."""
        for state, before in self._before.items():
            if before is None:
                del self._values[state], self._visits[state]
            else:
                self._values[state], self._visits[state] = before
        self._before = {}

    def state_dict(self) -> dict[str, Any]:
        """Builtins only: the table as state -> {action: value}, and the generator."""
        table = {state: dict(zip(ACTIONS, values, strict=True)) for state, values in self._values.items()}
        return {"table": table, "generator": self.generator_state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a table, and a generator where there is one."""
        self._values = {
            str(key): [float(values.get(action, 0.0)) for action in ACTIONS] for key, values in state["table"].items()
        }
        self._visits, self._before = {}, {}
        if state.get("generator") is not None:
            self._generator.bit_generator.state = state["generator"]
