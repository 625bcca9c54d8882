"""QTable: one value per state and action, epsilon-greedy choice, Q update (Watkins and Dayan, "Q-learning", 1992).

A state of the table is called `q_state` in code: the mean of a vector, rounded and written out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from quadra.config import ACTIONS, TrainingConfig

RESTLESS = "!"  # behind the mean of a vector whose variance is high


def state_key(mean: float, is_restless: bool = False) -> str:
    """Returns the table's state for a vector of this mean: "0.49", "0.5", "0.5!" where restless; minus zero is "0.0"."""
    key = str(round(mean, 2) + 0.0)
    return key + RESTLESS if is_restless else key


def in_order(q_state: str) -> tuple[float, str]:
    """Returns a sort key: states by their numbers; what is no finite number (in a foreign table) last, by its text."""
    try:
        number = float(q_state.removesuffix(RESTLESS))
    except ValueError:
        number = math.nan
    return (number if math.isfinite(number) else math.inf, q_state)


class QTable:
    """Maps a state to one value for each action; an unseen state counts as zeros and is entered by an update only."""

    def __init__(self, config: TrainingConfig, seed: np.random.SeedSequence) -> None:
        self._epsilon = config.exploration
        self._rate = config.q_rate
        self._discount = config.q_discount
        self._is_random = config.policy == "random"
        self._allowed = [ACTIONS.index(action) for action in config.actions]
        self._allows_all = len(self._allowed) == len(
            ACTIONS
        )  # the usual case, which is quicker: choices come many times a step
        self._generator = np.random.Generator(np.random.PCG64(seed))
        self._values: dict[str, list[float]] = {}
        self._visits: dict[str, list[int]] = {}
        self._before: dict[str, tuple[list[float], list[int]] | None] = {}

    def __len__(self) -> int:
        return len(self._values)

    @property
    def rows(self) -> Mapping[str, list[float]]:
        """The table itself, state -> values in the order of ACTIONS; training changes it in place."""
        return self._values

    @property
    def visits(self) -> Mapping[str, list[int]]:
        """State -> how often each action was chosen in it since the table was made or loaded; shown to people only."""
        return self._visits

    @property
    def generator_state(self) -> Mapping[str, Any]:
        """The state of the exploration's generator, builtins only."""
        return self._generator.bit_generator.state

    def greedy(self, q_state: str) -> int:
        """Returns the index of the best action that may be chosen; ties go to the first. A random policy draws any."""
        if self._is_random:
            return self._draw()
        values = self._values.get(q_state)
        if values is None:
            return self._allowed[0]
        return values.index(max(values)) if self._allows_all else max(self._allowed, key=values.__getitem__)

    def choose(self, q_state: str) -> int:
        """Returns, epsilon-greedy, any action with probability epsilon, else the greedy one. A random policy draws any."""
        if not self._is_random and self._generator.random() < self._epsilon:
            return self._draw()
        return self.greedy(q_state)

    def _draw(self) -> int:
        return self._allowed[int(self._generator.integers(len(self._allowed)))]

    def update(self, q_state: str, action: int, reward: float, next_q_state: str) -> None:
        """Q[s][a] += alpha * (reward + gamma * max Q[s'] - Q[s][a])."""
        next_values = self._values.get(next_q_state)
        best_next = 0.0
        if next_values is not None:
            best_next = max(next_values if self._allows_all else (next_values[allowed] for allowed in self._allowed))
        if q_state not in self._before:
            self._save_for_undo(q_state)
        values = self._values[q_state]
        values[action] += self._rate * (reward + self._discount * best_next - values[action])
        self._visits[q_state][action] += 1

    def _save_for_undo(self, q_state: str) -> None:
        """Copies a state before its first change since `begin`; enters it where it is new."""
        known = self._values.get(q_state)
        visits = self._visits.setdefault(q_state, [0] * len(ACTIONS))
        self._before[q_state] = None if known is None else (list(known), list(visits))
        if known is None:
            self._values[q_state] = [0.0] * len(ACTIONS)

    def begin(self) -> None:
        """Makes the changes from here on those that `undo` undoes."""
        self._before = {}

    def undo(self) -> None:
        """Undoes every change since `begin`; the generator stays advanced."""
        for q_state, before in self._before.items():
            if before is None:
                del self._values[q_state], self._visits[q_state]
            else:
                self._values[q_state], self._visits[q_state] = before
        self._before = {}

    def state_dict(self) -> dict[str, Any]:
        """Returns builtins only: the table as state -> {action: value}, and the generator."""
        table = {q_state: dict(zip(ACTIONS, values, strict=True)) for q_state, values in self._values.items()}
        return {"table": table, "generator": self.generator_state}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Restores a table, and a generator where there is one."""
        self._values = {
            str(key): [float(values.get(action, 0.0)) for action in ACTIONS] for key, values in saved["table"].items()
        }
        self._visits, self._before = {}, {}
        if saved.get("generator") is not None:
            self._generator.bit_generator.state = saved["generator"]
