"""Which neurons are said to fire: the same as in the networks that are trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from quadra.config import NETWORKS, TrainingConfig
from quadra.model import firing
from quadra.model.actions import Transformation
from quadra.model.firing import evenly, spikes_for
from quadra.model.flat_tensors import FlatTensors
from quadra.model.spiking import SpikingNetworks, draw_parameters, parameter_places
from tests.helpers.state_helpers import small_config


def parameters_of(config: TrainingConfig, seed: int) -> FlatTensors:
    """Weights large enough that neurons fire."""
    found = FlatTensors.zeros(parameter_places(config), "cpu")
    draw_parameters(found, config, torch.Generator().manual_seed(seed))
    found.flat.mul_(4.0)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_the_output_fires_as_often_as_in_the_networks_that_are_trained(seed: int) -> None:
    config = small_config(field_size=40)
    parameters = parameters_of(config, seed)
    vector = torch.rand(1, 40, generator=torch.Generator().manual_seed(seed))
    networks = SpikingNetworks(config, parameters, FlatTensors.zeros(parameter_places(config), "cpu"))
    expected = networks.rates(Transformation(vector, config).network_inputs())
    found = spikes_for(vector[0].numpy(), {name: tensor.numpy() for name, tensor in parameters.items()}, config)
    for network in NETWORKS:
        rates = found[network][-1].spikes.mean(0)
        np.testing.assert_allclose(rates, expected[network][0].numpy(), atol=1e-6)
        assert found[network][-1].rate == pytest.approx(expected[network].mean().item(), abs=1e-6)
        assert [layer.spikes.shape for layer in found[network]] == [
            (config.time_steps, layer.size) for layer in found[network]
        ]
    assert any(0 < layer.rate < 1 for layers in found.values() for layer in layers)


def test_of_a_large_output_evenly_spread_neurons_are_evaluated_as_if_all_were(monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config(field_size=40)
    parameters = {name: tensor.numpy() for name, tensor in parameters_of(config, 1).items()}
    vector = np.random.default_rng(1).random(40).astype(np.float32)
    whole = spikes_for(vector, parameters, config)["field_update"][-1]
    monkeypatch.setattr(firing, "MOST_OUTPUTS", 7)
    part = spikes_for(vector, parameters, config)["field_update"][-1]
    assert part.neurons.tolist() == [0, 5, 11, 17, 22, 28, 34]
    assert part.spikes.tolist() == whole.spikes[:, part.neurons].tolist()
    assert part.size == 40


def test_evenly_takes_all_where_they_are_few() -> None:
    assert evenly(3, 7).tolist() == [0, 1, 2]
