"""AdamRule: the constants of one Adam step on all parameters.

Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, Algorithm 1:

    m = b1 * m + (1 - b1) * g,  v = b2 * v + (1 - b2) * g^2
    p = p - lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
"""

from __future__ import annotations

import math
from typing import NamedTuple

from quadra.config import TrainingConfig


class AdamRule(NamedTuple):
    """m += take * (g - m); v = keep2 * v + take2 * g^2; p -= size * m / (sqrt(v) * unbias + epsilon)."""

    take: float
    keep2: float
    take2: float
    unbias: float
    epsilon: float
    size: float

    @classmethod
    def at(cls, step: int, config: TrainingConfig, plasticity: float) -> AdamRule:
        """The rule of the step of this number, counted from 1; plasticity scales the learning rate."""
        return cls(
            take=1.0 - config.adam_beta1,
            keep2=config.adam_beta2,
            take2=1.0 - config.adam_beta2,
            unbias=1.0 / math.sqrt(1.0 - config.adam_beta2**step),
            epsilon=config.adam_epsilon,
            size=config.learning_rate * plasticity / (1.0 - config.adam_beta1**step),
        )
