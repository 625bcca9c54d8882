"""What the neurons of the three networks do for a vector that people ask about: firing rates, and who fires when.

A page compares saved states by the firing rates for fixed probes: the first lines of the built-in corpus, and a field of 0.5
everywhere. A page that draws a run shows the spikes for its field. The forward pass is in numpy, on the compiled neuron
(`model.kernels.neuron`): no gradient is needed, no memory of a run is touched, and torch, which shares its threads with
training, is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quadra.config import LAYERS, NETWORKS, TrainingConfig
from quadra.model.corpus import Corpus
from quadra.model.words import TOKENIZERS, features

PROBE_LINES = 8  # of the built-in corpus, from its beginning
PROBE_LEVEL = 0.5  # of every cell of the last probe
MOST_OUTPUTS = 1024  # neurons of a last layer whose spikes are computed; evenly spread where there are more
_STANDARDIZE_EPSILON = np.float32(1e-8)

Array = NDArray[np.float32]
Layer = tuple[Array, Array]  # weight (outputs, inputs), bias (outputs,)
Spikes = NDArray[np.bool_]


class LayerSpikes(NamedTuple):
    """A layer's spikes; where only some of its neurons were computed, `neurons` has their numbers."""

    spikes: Spikes  # (time steps, neurons computed)
    neurons: NDArray[np.int64]  # (neurons computed,)
    size: int  # neurons of the layer

    @property
    def rate(self) -> float:
        """The share of time steps at which a neuron fires, on average over those computed."""
        return float(self.spikes.mean())


def probe_texts() -> list[str]:
    """Returns the lines whose feature vectors are the first probes."""
    corpus = Corpus()
    try:
        return [corpus.next_line() for _ in range(PROBE_LINES)]
    finally:
        corpus.close()


def probe_vectors(field_size: int) -> Array:
    """Returns all probes for a field of this size, shape (PROBE_LINES + 1, field_size); the last is constant."""
    constant = np.full(field_size, PROBE_LEVEL, np.float32)
    return np.stack([*(features(TOKENIZERS["unicode"](line), field_size) for line in probe_texts()), constant])


def network_inputs(vectors: Array, config: TrainingConfig) -> dict[str, Array]:
    """Returns the three actions' inputs to their networks: f, 1/2 - f, (f - m) / sqrt(v + 1e-8), each (B, n)."""
    centered = vectors - vectors.mean(1, keepdims=True)
    deviation = np.sqrt(vectors.var(1, ddof=1, keepdims=True) + _STANDARDIZE_EPSILON)
    return {
        "field_update": vectors,
        "syntropy": np.float32(config.set_point) - vectors,
        "feedback": centered / deviation,
    }


def layer_rates(layers: Mapping[str, Layer], inputs: Array, config: TrainingConfig) -> dict[str, Array]:
    """Returns the firing rate of every neuron, by layer in the order given: (B, inputs of the first) -> (B, neurons) each."""
    counts = [np.zeros((len(inputs), bias.size), np.float32) for _, bias in layers.values()]
    with _weights_beyond_measure():
        for spikes in _steps(list(layers.values()), inputs, config):
            for count, fired in zip(counts, spikes, strict=True):
                count += fired
    return {name: count / np.float32(config.time_steps) for name, count in zip(layers, counts, strict=True)}


def spikes_for(
    vector: Array, parameters: Mapping[str, Array], config: TrainingConfig
) -> dict[str, tuple[LayerSpikes, ...]]:
    """Returns the spikes of every layer of each network for one vector (n,); `parameters`: `<network>.<layer>.<part>`."""
    inputs = network_inputs(vector[None, :], config)
    with _weights_beyond_measure():
        return {network: _network_spikes(network, inputs[network], parameters, config) for network in NETWORKS}


def _weights_beyond_measure() -> np.errstate:
    """Lets weights be as large as float32 allows, without a warning; no spike is NaN."""
    return np.errstate(over="ignore", invalid="ignore")


def _network_spikes(
    network: str, inputs: Array, parameters: Mapping[str, Array], config: TrainingConfig
) -> tuple[LayerSpikes, ...]:
    layers = [(parameters[f"{network}.{layer}.weight"], parameters[f"{network}.{layer}.bias"]) for layer in LAYERS]
    neurons = [np.arange(bias.size, dtype=np.int64) for _, bias in layers]
    sizes = [bias.size for _, bias in layers]
    weight, bias = layers[-1]
    if bias.size > MOST_OUTPUTS:
        neurons[-1] = evenly(bias.size, MOST_OUTPUTS)
        layers[-1] = weight[neurons[-1]], bias[neurons[-1]]
    steps = [[fired[0] for fired in spikes] for spikes in _steps(layers, inputs, config)]
    return tuple(map(LayerSpikes, map(np.stack, zip(*steps, strict=True)), neurons, sizes))


def _steps(layers: list[Layer], inputs: Array, config: TrainingConfig) -> Iterator[list[Spikes]]:
    """Yields, for each time step, the spikes (B, neurons) of every layer.

    The input is the same at every time step; a layer's spikes reach the next one within the step.
    """
    neurons = [_Neurons((len(inputs), bias.size), config) for _, bias in layers]
    weight, bias = layers[0]
    current = inputs @ weight.T + bias
    for _ in range(config.time_steps):
        neurons[0].integrate(current)
        for (below, above), (weight, bias) in zip(pairwise(neurons), layers[1:], strict=True):
            above.integrate(below.spikes.astype(np.float32) @ weight.T + bias)
        yield [layer.spikes for layer in neurons]


class _Neurons:
    """A layer's membranes and newest spikes, shape (B, neurons)."""

    def __init__(self, shape: tuple[int, int], config: TrainingConfig) -> None:
        self._integrate = _integrate()
        self._constants = np.array([config.membrane_decay, config.firing_threshold], np.float32)
        self._membranes = np.zeros(shape, np.float32)
        self.spikes = np.zeros(shape, bool)

    def integrate(self, currents: Array) -> None:
        """One time step."""
        membranes = currents.copy()
        self._integrate(membranes.reshape(-1), self._membranes.reshape(-1), self._constants)
        self._membranes, self.spikes = membranes, membranes > self._constants[1]


@cache
def _integrate() -> Callable[[Array, Array, Array], None]:
    """Returns the compiled neuron, which is loaded only where neurons are computed; that of torch where it cannot be had."""
    try:
        from quadra.model.kernels.neuron import integrate
    except Exception:  # noqa: BLE001  # as in `model.backend`, which tells people
        return _integrate_in_torch
    return integrate


def _integrate_in_torch(now: Array, before: Array, constants: Array) -> None:
    import torch

    from quadra.model.neuron import Neuron

    decay, threshold = constants.tolist()
    steps = [torch.from_numpy(before), torch.from_numpy(now)]  # the first one's current is its membrane
    membranes, spikes = ([torch.empty_like(step) for step in steps] for _ in range(2))
    Neuron(decay, threshold, slope=0.0).integrate(steps, membranes, spikes)
    now[:] = membranes[1].numpy()


def evenly(size: int, most: int) -> NDArray[np.int64]:
    """Returns all numbers below `size`, or `most` of them that are evenly spread."""
    count = min(size, most)
    return np.arange(count, dtype=np.int64) * size // count
