"""Which neurons of the three networks fire, and when, while they are shown one vector: for people to look at.

The equations are those of `spiking`, forward only and in numpy; nothing of the run is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quadra.config import LAYERS, NETWORKS, TrainingConfig
from quadra.model.probes import Array, Neurons, network_inputs

MOST_OUTPUTS = 1024  # neurons of a last layer that are evaluated; evenly spread where there are more

Spikes = NDArray[np.bool_]


class LayerSpikes(NamedTuple):
    """A layer's spikes; where it has more neurons than were evaluated, `neurons` tells which were."""

    spikes: Spikes  # (time steps, neurons evaluated)
    neurons: NDArray[np.int64]  # (neurons evaluated,)
    size: int  # neurons of the layer

    @property
    def rate(self) -> float:
        """The share of time steps at which a neuron fires, on average over those evaluated."""
        return float(self.spikes.mean())


def spikes_for(
    vector: Array, parameters: Mapping[str, Array], config: TrainingConfig
) -> dict[str, tuple[LayerSpikes, ...]]:
    """The spikes of every layer of each network for one vector (n,); `parameters` by `<network>.<layer>.<part>`."""
    inputs = network_inputs(vector[None, :], config)
    with np.errstate(over="ignore", invalid="ignore"):  # weights may be as large as float32 allows; no spike is NaN
        return {network: _network_spikes(network, inputs[network][0], parameters, config) for network in NETWORKS}


def _network_spikes(
    network: str, shown: Array, parameters: Mapping[str, Array], config: TrainingConfig
) -> tuple[LayerSpikes, ...]:
    """The input is the same at every time step; a layer's spikes reach the next one within the step."""
    layers: list[LayerSpikes] = []
    below = np.broadcast_to(shown, (1, shown.size))
    for layer in LAYERS:
        weight, bias = parameters[f"{network}.{layer}.weight"], parameters[f"{network}.{layer}.bias"]
        neurons = evenly(bias.size, MOST_OUTPUTS)
        if neurons.size < bias.size:
            weight, bias = weight[neurons], bias[neurons]
        currents = below @ weight.T + bias
        spikes = _train(np.broadcast_to(currents, (config.time_steps, neurons.size)), config)
        layers.append(LayerSpikes(spikes, neurons, parameters[f"{network}.{layer}.bias"].size))
        below = spikes.astype(np.float32)
    return tuple(layers)


def _train(currents: Array, config: TrainingConfig) -> Spikes:
    """Spikes of a layer that these currents drive, one row a time step; same shape."""
    neurons = Neurons(currents.shape[1:], config)
    spikes = np.empty(currents.shape, bool)
    for now, current in zip(spikes, currents, strict=True):
        neurons.integrate(current)
        now[:] = neurons.spikes
    return spikes


def evenly(size: int, most: int) -> NDArray[np.int64]:
    """All numbers below `size`, or `most` of them that are evenly spread."""
    count = min(size, most)
    return np.arange(count, dtype=np.int64) * size // count
