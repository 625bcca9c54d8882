"""Saved values: what a saved state holds besides its tensors, checked and as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from quadra.config import ACTIONS
from quadra.errors import LoadError
from quadra.storage.saved_state import SavedState


@dataclass(frozen=True)
class SavedValues:
    """The small parts of an engine's state."""

    plasticity: float
    success_streak: int
    mean_reward: float | None  # None: no iteration yet
    integrity_strikes: int
    adam_steps: int
    corpus: str | None  # path; None: the built-in corpus
    fingerprint: str  # of the corpus
    q_table: Mapping[str, tuple[float, ...]]  # state -> a value for each of ACTIONS


def saved_values_of(state: SavedState) -> SavedValues:
    """Returns the values. Raises LoadError where one is missing or of the wrong type: a seal can be forged."""
    try:
        return _values(state)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise LoadError(f"The saved state does not hold what belongs in it: {error}") from error


def _values(state: SavedState) -> SavedValues:
    manager, corpus = state.engine["neuroplasticity"], state.engine["corpus"]
    mean_reward = manager["mean_reward"]
    return SavedValues(
        plasticity=float(manager["plasticity"]),
        success_streak=int(manager["success_streak"]),
        mean_reward=None if mean_reward is None else float(mean_reward),
        integrity_strikes=int(manager["integrity_strikes"]),
        adam_steps=int(state.engine["optimizer"]["step"]),
        corpus=None if corpus["path"] is None else str(corpus["path"]),
        fingerprint=str(corpus["fingerprint"]),
        q_table={
            str(table_state): tuple(float(row.get(action, 0.0)) for action in ACTIONS)
            for table_state, row in state.engine["q_table"].items()
        },
    )
