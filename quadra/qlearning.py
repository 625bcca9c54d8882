"""QTable: one value per state and action, epsilon-greedy choice, Q update (Watkins and Dayan, "Q-learning", 1992)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from quadra.config import ACTIONS, TrainingConfig


def state_key(mean: float) -> str:
    """The table's state for a vector of this mean: "0.49", "0.5"; minus zero is "0.0"."""
    return str(round(mean, 2) + 0.0)


class QTable:
    """Maps a state to one value for each action; unseen states count as zero and are not entered by looking."""

    def __init__(self, config: TrainingConfig, seed: np.random.SeedSequence) -> None:
        self._epsilon = config.exploration
        self._rate = config.q_rate
        self._discount = config.q_discount
        self._generator = np.random.Generator(np.random.PCG64(seed))
        self._values: dict[str, list[float]] = {}
        self._before: dict[str, list[float] | None] = {}

    def __len__(self) -> int:
        return len(self._values)

    @property
    def rows(self) -> Mapping[str, list[float]]:
        """The table itself, state -> values in the order of ACTIONS: it changes with training, whoever keeps it copies."""
        return self._values

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
        self._before.setdefault(state, list(self._values[state]) if state in self._values else None)
        best_next = max(self._values.get(next_state, (0.0,)))
        values = self._values.setdefault(state, [0.0] * len(ACTIONS))
        values[action] += self._rate * (reward + self._discount * best_next - values[action])

    def begin(self) -> None:
        """From here on changes can be undone."""
        self._before = {}

    def undo(self) -> None:
        """Take back every change since `begin`; the generator stays advanced."""
        for state, values in self._before.items():
            if values is None:
                del self._values[state]
            else:
                self._values[state] = values
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
        self._before = {}
        if state.get("generator") is not None:
            self._generator.bit_generator.state = state["generator"]
