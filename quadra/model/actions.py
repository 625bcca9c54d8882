"""The three actions on a vector, their loss and reward, and the gradient of the loss for each network's rate.

f' of a vector f with mean m and unbiased variance v:

    update_field        f + update_strength * c * F(f), c = 1/2 if v > 0.1 else 1
    adjust_syntropy     f + syntropy_strength * S(1/2 - f) * (1/2 - f)
    penalize_variance   f - feedback_strength * V((f - m) / sqrt(v + 1e-8)) * (f - m)

loss = var(f') + |mean(f') - 1/2|, reward = 1 / (1 + loss).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from quadra.config import ACTIONS, NETWORKS, TrainingConfig

NETWORK_OF = dict(zip(ACTIONS, NETWORKS, strict=True))
_STANDARDIZE_EPSILON = 1e-8


class Transformation:
    """A batch of vectors, shape (B, n), and the values that the three actions need of it."""

    def __init__(self, vectors: Tensor, config: TrainingConfig) -> None:
        self.vectors = vectors
        variance, mean = torch.var_mean(vectors, 1, keepdim=True)
        self.moments = torch.cat([mean, variance], 1)  # (B, 2)
        self._centered = vectors - mean
        self._away = config.set_point - vectors
        self._scale = torch.where(variance > config.high_variance, 0.5, 1.0).mul_(config.update_strength)
        self._syntropy, self._feedback = config.syntropy_strength, config.feedback_strength
        self._standardized = self._centered / (variance + _STANDARDIZE_EPSILON).sqrt_()
        self._set_point = config.set_point

    def network_inputs(self) -> dict[str, Tensor]:
        """Returns each network's input, by its name."""
        return {"field_update": self.vectors, "syntropy": self._away, "feedback": self._standardized}

    def outcomes(self, rates: Mapping[str, Tensor]) -> Tensor:
        """Returns f' for every action, shape (3, B, n), in the order of ACTIONS."""
        return torch.stack(
            [
                self.vectors + self._scale * rates["field_update"],
                self.vectors + self._syntropy * rates["syntropy"] * self._away,
                self.vectors - self._feedback * rates["feedback"] * self._centered,
            ]
        )

    def rate_gradient(self, action: str, rows: Tensor, outcome_gradient: Tensor) -> Tensor:
        """Returns dL/d(rate) of the action's network from dL/df' of the rows that chose it: (k, n) -> (k, outputs)."""
        if action == "update_field":
            return outcome_gradient * self._scale.index_select(0, rows)
        if action == "adjust_syntropy":
            return self._syntropy * outcome_gradient * self._away.index_select(0, rows)
        return -self._feedback * (outcome_gradient * self._centered.index_select(0, rows)).sum(1, keepdim=True)


def describe_outcomes(outcomes: Tensor, set_point: float) -> Tensor:
    """Returns mean, loss and variance of every f': (3, B, n) -> (3, 3, B)."""
    variance, mean = torch.var_mean(outcomes, -1)
    return torch.stack([mean, variance + (mean - set_point).abs_(), variance])


def loss_gradient(outcomes: Tensor, set_point: float) -> Tensor:
    """Returns dL/df' of loss(f'), row by row: (k, n) -> (k, n).

    2 (f' - mean) / (n - 1) + sign(mean - 1/2) / n
    """
    size = outcomes.shape[1]
    mean = outcomes.mean(1, keepdim=True)
    return (outcomes - mean).mul_(2.0 / (size - 1)).add_((mean - set_point).sign_(), alpha=1.0 / size)


def reward_of(loss: float) -> float:
    """Returns the reward, in (0, 1]."""
    return 1.0 / (1.0 + loss)
