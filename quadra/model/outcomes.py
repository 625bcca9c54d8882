"""What a backend tells of vectors: moments before an action, and what each action makes of them."""

from __future__ import annotations

from typing import NamedTuple


class Moments(NamedTuple):
    """What the state of a vector in the Q-table follows from."""

    mean: float
    variance: float  # unbiased


class Outcomes(NamedTuple):
    """What the actions make of the samples, each (actions, samples)."""

    means: list[list[float]]
    losses: list[list[float]]
    variances: list[list[float]]
