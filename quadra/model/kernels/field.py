"""The field compiled for the CPU: what the actions need of a vector, and the field's step after training.

The twin of `model.field` and of a part of `model.actions`, which name their sources; both pass the same tests.
"""

from __future__ import annotations

import numpy as np

from quadra.model.kernels.jit import Doubles, Floats, Integers, compiled


@compiled("UniTuple(f8,2)(f4[::1])")
def variance_and_mean(vector: Floats) -> tuple[float, float]:
    """Returns the unbiased variance and the mean of a vector (n,)."""
    n, total, squares = vector.size, 0.0, 0.0
    for c in range(n):
        total += np.float64(vector[c])
    mean = total / n
    for c in range(n):
        squares += (vector[c] - mean) * (vector[c] - mean)
    return np.float64(np.float32(squares / (n - 1))), np.float64(np.float32(mean))


@compiled("(f4[:,:,::1],f4[::1],f8[:,::1],f8,f8,f8)")
def describe(
    shown: Floats, scale: Floats, moments: Doubles, set_point: float, high_variance: float, update_strength: float
) -> None:
    """Fills in, from the vectors in shown[0] (B, n): the other two inputs, the scale of `update_field`, mean and variance."""
    n = shown.shape[2]
    for b in range(shown.shape[1]):
        vector, away, standard = shown[0, b], shown[1, b], shown[2, b]
        variance, mean = variance_and_mean(vector)
        middle, spread = np.float32(mean), np.float32(np.sqrt(variance + 1e-8))
        point = np.float32(set_point)
        for c in range(n):
            away[c] = point - vector[c]
            standard[c] = (vector[c] - middle) / spread
        scale[b] = np.float32(update_strength * (0.5 if variance > high_variance else 1.0))
        moments[0, b], moments[1, b] = middle, variance


@compiled("(f4[::1],f4[::1],f4[::1],f8,f8)")
def stimulate(target: Floats, field: Floats, x: Floats, decay: float, share: float) -> None:
    """g = decay * field + share * x, each of shape (n,)."""
    old, new = np.float32(decay), np.float32(share)
    for c in range(target.size):
        target[c] = old * field[c] + new * x[c]


@compiled("(f4[:,::1],f4[::1],f8[::1],f8,f8,f8)")
def remember_and_regulate(
    memories: Floats, field: Floats, decays: Doubles, set_point: float, tolerance: float, correction: float
) -> None:
    """s_j = rate_j * s_j + (1 - rate_j) * field; where |mean(s_j) - 1/2| > 0.1, s_j += 0.1 * (1/2 - mean(s_j)), clipped."""
    n = field.size
    for j in range(memories.shape[0]):
        memory, old, new, total = memories[j], np.float32(decays[j]), np.float32(1.0 - decays[j]), 0.0
        for c in range(n):
            memory[c] = old * memory[c] + new * field[c]
            total += np.float64(memory[c])
        distance = set_point - total / n
        if not abs(distance) > tolerance:
            continue
        shift, one = np.float32(correction * distance), np.float32(1.0)
        for c in range(n):
            value = memory[c] + shift
            memory[c] = -one if value < -one else one if value > one else value


@compiled("i8(f4[::1],f4[:,::1],i8[::1],f8)")
def recognize(field: Floats, centroids: Floats, wins: Integers, rate: float) -> int:
    """Frequency-sensitive competitive learning: returns the winner, whose centroid moves and whose wins grow by one."""
    winner, least = 0, np.inf
    for j in range(centroids.shape[0]):
        distance, centroid = 0.0, centroids[j]
        for c in range(field.size):
            distance += (centroid[c] - field[c]) * (centroid[c] - field[c])
        distance *= wins[j] + 1
        if distance < least:
            winner, least = j, distance
    centroid, share = centroids[winner], np.float32(rate)
    for c in range(field.size):
        centroid[c] += share * (field[c] - centroid[c])
    wins[winner] += 1
    return winner


@compiled("f8(f4[::1])")
def sum_if_finite(values: Floats) -> float:
    """Returns zero, or a number that is not finite where a value is not."""
    broken = np.float32(0.0)
    for k in range(values.size):
        broken += values[k] - values[k]
    return np.float64(broken)
