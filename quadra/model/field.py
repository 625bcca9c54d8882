"""The oscillating field: its drive by the text, its three slow memories (syntropy fields), and its patterns."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from quadra.config import TrainingConfig


def stimulate(field: Tensor, features: Tensor, decay: float, share: float) -> Tensor:
    """Returns g = decay * field + share * x; shapes (n,)."""
    if np.float32(share) == np.float32(1.0 - decay):  # so runs did that had no gain: other roundings, other bits
        return torch.lerp(features, field, decay)
    return (decay * field).add_(features, alpha=share)


def remember(syntropy_fields: Tensor, field: Tensor, decays: Tensor) -> None:
    """s_j = rate_j * s_j + (1 - rate_j) * field, in place; syntropy_fields (3, n), field (n,), decays (3, 1)."""
    syntropy_fields.mul_(decays).add_((1.0 - decays) * field)


def regulate(syntropy_fields: Tensor, config: TrainingConfig) -> None:
    """Where |mean(s_j) - 1/2| > 0.1: s_j += 0.1 * (1/2 - mean(s_j)), clipped to [-1, 1], in place."""
    distance = config.set_point - syntropy_fields.mean(1, keepdim=True)
    off = distance.abs() > config.syntropy_tolerance
    corrected = (syntropy_fields + config.syntropy_correction * distance).clamp_(-1.0, 1.0)
    syntropy_fields.copy_(torch.where(off, corrected, syntropy_fields))


def recognize(field: Tensor, centroids: Tensor, wins: Tensor, rate: float) -> int:
    """Frequency-sensitive competitive learning: returns the pattern of this field, whose centroid and wins change in place.

    The winner is the smallest (wins_j + 1) * |field - c_j|^2; it moves by `rate` toward the field.
    Ahalt et al., "Competitive learning algorithms for vector quantization", Neural Networks 1990.
    Shapes: field (n,), centroids (patterns, n), wins (patterns,).
    """
    distances = (centroids - field).square_().sum(1)
    winner = int(torch.argmin(distances.mul_(wins + 1.0)))
    centroids[winner].lerp_(field, rate)
    wins[winner] += 1
    return winner
