"""AdamRule: the constants of one Adam step on all parameters.

Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, Algorithm 1:

    m = b1 * m + (1 - b1) * g,  v = b2 * v + (1 - b2) * g^2
    p = p - lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

The step itself is computed by the backends: `torch_backend.TorchBackend._adam_step` and `kernels.backward.adam`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from quadra.config import TrainingConfig


class AdamRule(NamedTuple):
    """m += (1 - b1) * (g - m);  v = b2 * v + (1 - b2) * g^2;  p -= step_size * m / (sqrt(v) * correction + epsilon)."""

    one_minus_beta1: float
    beta2: float
    one_minus_beta2: float
    correction: float  # 1 / sqrt(1 - b2^t)
    epsilon: float
    step_size: float  # lr / (1 - b1^t)

    @classmethod
    def at(cls, step: int, config: TrainingConfig, plasticity: float) -> AdamRule:
        """Returns the rule of the step of this number, counted from 1; plasticity scales the learning rate."""
        return cls(
            one_minus_beta1=1.0 - config.adam_beta1,
            beta2=config.adam_beta2,
            one_minus_beta2=1.0 - config.adam_beta2,
            correction=1.0 / math.sqrt(1.0 - config.adam_beta2**step),
            epsilon=config.adam_epsilon,
            step_size=config.learning_rate * plasticity / (1.0 - config.adam_beta1**step),
        )
