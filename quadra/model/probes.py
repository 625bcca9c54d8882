"""Firing rates of a saved state's networks for fixed probes, so that saved states can be set beside each other.

The probes are the first lines of the built-in corpus and a field of 0.5 everywhere; each network
is shown what its action would show it of them. The equations are those of `spiking` and `actions`, in numpy and
forward only: a page that compares needs neither gradients nor a tensor library that shares its threads with training.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from quadra.config import TrainingConfig
from quadra.model.corpus import Corpus, features

PROBE_LINES = 8  # of the built-in corpus, from its beginning
PROBE_LEVEL = 0.5  # of every cell of the last probe
_STANDARDIZE_EPSILON = np.float32(1e-8)

Array = NDArray[np.float32]
Layer = tuple[Array, Array]  # weight (outputs, inputs), bias (outputs,)


def probe_texts() -> list[str]:
    """The lines whose feature vectors are the first probes."""
    corpus = Corpus()
    try:
        return [corpus.next_line() for _ in range(PROBE_LINES)]
    finally:
        corpus.close()


def probe_vectors(field_size: int) -> Array:
    """All probes for a field of this size, shape (PROBE_LINES + 1, field_size); the last is constant."""
    constant = np.full(field_size, PROBE_LEVEL, np.float32)
    return np.stack([*(features(line, field_size) for line in probe_texts()), constant])


def network_inputs(vectors: Array, config: TrainingConfig) -> dict[str, Array]:
    """What the three actions show their networks of some vectors: f, 1/2 - f, (f - m) / sqrt(v + 1e-8), each (B, n)."""
    centered = vectors - vectors.mean(1, keepdims=True)
    deviation = np.sqrt(vectors.var(1, ddof=1, keepdims=True) + _STANDARDIZE_EPSILON)
    return {
        "field_update": vectors,
        "syntropy": np.float32(config.set_point) - vectors,
        "feedback": centered / deviation,
    }


def layer_rates(layers: Mapping[str, Layer], shown: Array, config: TrainingConfig) -> dict[str, Array]:
    """Firing rates of every neuron, by layer in the order given: (B, inputs of the first) -> (B, neurons) each.

    The input is the same at every time step; a layer's spikes reach the next one within the step.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # weights may be as large as float32 allows; no spike is NaN
        weight, bias = next(iter(layers.values()))
        driven = shown @ weight.T + bias
        neurons = [Neurons(driven.shape[:1] + bias.shape, config) for _, bias in layers.values()]
        for _ in range(config.time_steps):
            neurons[0].integrate(driven)
            for (below, above), (weight, bias) in zip(pairwise(neurons), list(layers.values())[1:], strict=True):
                above.integrate(below.spikes @ weight.T + bias)
    return {name: layer.counts / np.float32(config.time_steps) for name, layer in zip(layers, neurons, strict=True)}


class Neurons:
    """Leaky integrate-and-fire neurons: membranes, newest spikes, and how often each has fired; shape (B, neurons)."""

    def __init__(self, shape: tuple[int, ...], config: TrainingConfig) -> None:
        self._decay, self._threshold = np.float32(config.membrane_decay), np.float32(config.firing_threshold)
        self._membranes, self.spikes, self.counts = (np.zeros(shape, np.float32) for _ in range(3))

    def integrate(self, currents: Array) -> None:
        """u[t] = decay * u[t-1] + i[t] - threshold * s[t-1],  s[t] = 1 if u[t] > threshold else 0."""
        self._membranes = self._decay * self._membranes + currents - self._threshold * self.spikes
        self.spikes = (self._membranes > self._threshold).astype(np.float32)
        self.counts += self.spikes
