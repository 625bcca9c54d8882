"""Firing rates and spikes for people: hand-computed, and those of snnTorch and of the engine's own networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from quadra.config import NETWORKS, TrainingConfig
from quadra.model import probes
from quadra.model.actions import Transformation
from quadra.model.corpus import BUILT_IN
from quadra.model.flat_tensors import FlatTensors
from quadra.model.probes import (
    PROBE_LINES,
    Array,
    Layer,
    evenly,
    layer_rates,
    network_inputs,
    probe_texts,
    probe_vectors,
    spikes_for,
)
from quadra.model.spiking import LAYERS, SpikingNetworks, draw_parameters, parameter_specs
from quadra.model.words import classic_words, features
from tests.helpers.model_helpers import OracleNetwork
from tests.helpers.state_helpers import small_config

LEFT_OUT = 1e-4  # a membrane so near to the threshold may round to either side


def drawn(config: TrainingConfig, seed: int, scale: float = 1.0) -> FlatTensors:
    """Random weights and biases of all three networks."""
    parameters = FlatTensors.zeros(parameter_specs(config), "cpu")
    draw_parameters(parameters, config, torch.Generator().manual_seed(seed))
    parameters.flat.mul_(scale)
    return parameters


def layers_of(parameters: FlatTensors, network: str) -> dict[str, Layer]:
    of_network = {name: (f"{network}.{name}.weight", f"{network}.{name}.bias") for name in LAYERS}
    return {name: (parameters[weight].numpy(), parameters[bias].numpy()) for name, (weight, bias) in of_network.items()}


def snntorch_rates(parameters: FlatTensors, network: str, shown: Array) -> tuple[dict[str, Tensor], float]:
    """The rates of every layer, and the least distance of a membrane from the threshold."""
    prefix = f"{network}."
    oracle = OracleNetwork({name.removeprefix(prefix): parameters[name] for name in parameters if prefix in name})
    spikes: dict[str, list[Tensor]] = {name: [] for name in LAYERS}
    for name, neuron in zip(LAYERS, oracle.neurons, strict=True):
        neuron.register_forward_hook(lambda *call, kept=spikes[name]: kept.append(call[-1][0]))
    with torch.no_grad():
        oracle(torch.from_numpy(shown))
    return {name: torch.stack(found).mean(0) for name, found in spikes.items()}, oracle.margin


@pytest.mark.oracle
@settings(max_examples=25, deadline=None, database=None)
@given(
    field_size=st.sampled_from([2, 3, 17, 100]),
    seed=st.integers(0, 2**32),
    scale=st.floats(0.5, 3.0),
    network=st.sampled_from(NETWORKS),
)
def test_the_rates_of_all_three_layers_are_those_of_snntorch(
    field_size: int, seed: int, scale: float, network: str
) -> None:
    config = TrainingConfig(field_size=field_size)
    parameters = drawn(config, seed, scale)
    shown = network_inputs(probe_vectors(field_size), config)[network]
    expected, margin = snntorch_rates(parameters, network, shown)
    assume(margin > LEFT_OUT)
    found = layer_rates(layers_of(parameters, network), shown, config)
    assert list(found) == list(LAYERS)
    for name, rates in found.items():
        assert rates.dtype == np.float32
        np.testing.assert_allclose(rates, expected[name].numpy(), rtol=0, atol=1e-6)


@settings(max_examples=25, deadline=None, database=None)
@given(
    seed=st.integers(0, 2**32),
    time_steps=st.integers(1, 20),
    decay=st.floats(0.0, 1.0),
    threshold=st.floats(0.2, 2.0),
)
def test_the_rates_are_those_of_the_engines_networks_for_other_neurons_too(
    seed: int, time_steps: int, decay: float, threshold: float
) -> None:
    config = small_config(time_steps=time_steps, membrane_decay=decay, firing_threshold=threshold)
    parameters = drawn(config, seed, 2.0)
    vectors = probe_vectors(config.field_size)
    networks = SpikingNetworks(config, parameters, {})
    expected = networks.rates(Transformation(torch.from_numpy(vectors), config).network_inputs())
    membranes = torch.cat([trace.membranes.flatten() for trace in networks._trace(len(vectors))])
    assume((membranes - threshold).abs().min() > LEFT_OUT)
    inputs = network_inputs(vectors, config)
    for network in NETWORKS:
        found = layer_rates(layers_of(parameters, network), inputs[network], config)
        np.testing.assert_allclose(found["fc3"], expected[network].numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_compared_layers_do_fire(network: str) -> None:
    config = TrainingConfig()
    inputs = network_inputs(probe_vectors(100), config)[network]
    found = layer_rates(layers_of(drawn(config, 3, 2.0), network), inputs, config)
    assert all(0.0 < rates.mean() < 1.0 for rates in found.values())


def silent(outputs: int, inputs: int, bias: float) -> Layer:
    return np.zeros((outputs, inputs), np.float32), np.full(outputs, bias, np.float32)


def test_layers_driven_by_their_biases_fire_as_computed_by_hand() -> None:
    layers = {"fc1": silent(3, 2, 0.6), "fc2": silent(4, 3, 0.0), "fc3": silent(1, 4, 10.0)}
    found = layer_rates(layers, np.ones((5, 2), np.float32), TrainingConfig(field_size=2))
    assert {name: rates.shape for name, rates in found.items()} == {"fc1": (5, 3), "fc2": (5, 4), "fc3": (5, 1)}
    # 0.6 passes the threshold at every second step.
    assert {name: np.unique(rates).tolist() for name, rates in found.items()} == {
        "fc1": [0.5], "fc2": [0.0], "fc3": [1.0],
    }  # fmt: skip


def test_a_spike_reaches_the_next_layer_within_the_step() -> None:
    config = TrainingConfig(field_size=2, time_steps=1)
    chain = (np.full((1, 1), 2.0, np.float32), np.zeros(1, np.float32))
    found = layer_rates({"fc1": chain, "fc2": chain, "fc3": chain}, np.array([[1.0], [0.4]], np.float32), config)
    assert {name: rates.tolist() for name, rates in found.items()} == {name: [[1.0], [0.0]] for name in LAYERS}


@pytest.mark.filterwarnings("error")
def test_weights_beyond_all_measure_give_rates_and_no_warning() -> None:
    config, huge = TrainingConfig(field_size=2), np.finfo(np.float32).max
    layers = {"fc1": (np.full((3, 2), huge), np.full(3, huge)), "fc2": (np.full((3, 3), -huge), np.full(3, huge))}
    found = layer_rates(layers, np.full((1, 2), 3.0, np.float32), config)
    assert all(((rates >= 0.0) & (rates <= 1.0)).all() for rates in found.values())


@pytest.mark.parametrize("field_size", [2, 8, 100])
@pytest.mark.parametrize("changes", [{}, {"set_point": 0.25}])
def test_each_network_is_shown_what_the_engine_shows_it(field_size: int, changes: dict[str, Any]) -> None:
    config = TrainingConfig(field_size=field_size, **changes)
    random = np.random.default_rng(1).normal(0, 1, (5, field_size)).astype(np.float32)
    for vectors in (probe_vectors(field_size), random):
        expected = Transformation(torch.from_numpy(vectors.copy()), config).network_inputs()
        found = network_inputs(vectors, config)
        assert list(found) == list(expected)
        for name, shown in found.items():
            assert shown.dtype == np.float32
            np.testing.assert_allclose(shown, expected[name].numpy(), rtol=2e-5, atol=2e-6)


def test_the_probes_are_the_first_lines_of_the_built_in_corpus_and_a_constant_field() -> None:
    lines = BUILT_IN.read_text(encoding="utf-8").splitlines()[:PROBE_LINES]
    assert probe_texts() == lines
    vectors = probe_vectors(12)
    assert vectors.shape == (PROBE_LINES + 1, 12)
    assert vectors.dtype == np.float32
    for line, vector in zip(lines, vectors, strict=False):
        assert vector.tolist() == features(classic_words(line), 12).tolist()
    assert vectors[-1].tolist() == [0.5] * 12


@pytest.mark.parametrize("seed", range(3))
def test_the_output_fires_as_often_as_in_the_networks_that_are_trained(seed: int) -> None:
    config = small_config(field_size=40)
    parameters = drawn(config, seed, 4.0)
    vector = torch.rand(1, 40, generator=torch.Generator().manual_seed(seed))
    networks = SpikingNetworks(config, parameters, FlatTensors.zeros(parameter_specs(config), "cpu"))
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
    parameters = {name: tensor.numpy() for name, tensor in drawn(config, 1, 4.0).items()}
    vector = np.random.default_rng(1).random(40).astype(np.float32)
    whole = spikes_for(vector, parameters, config)["field_update"][-1]
    monkeypatch.setattr(probes, "MOST_OUTPUTS", 7)
    part = spikes_for(vector, parameters, config)["field_update"][-1]
    assert part.neurons.tolist() == [0, 5, 11, 17, 22, 28, 34]
    assert part.spikes.tolist() == whole.spikes[:, part.neurons].tolist()
    assert part.size == 40


def test_evenly_takes_all_where_they_are_few() -> None:
    assert evenly(3, 7).tolist() == [0, 1, 2]


def test_hidden_layers_are_computed_whole_however_large(monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config(field_size=9, field_update_hidden=20)
    parameters = {name: tensor.numpy() for name, tensor in drawn(config, 1, 4.0).items()}
    vector = np.random.default_rng(1).random(9).astype(np.float32)
    whole = spikes_for(vector, parameters, config)["field_update"]
    monkeypatch.setattr(probes, "MOST_OUTPUTS", 6)
    part = spikes_for(vector, parameters, config)["field_update"]
    assert [layer.spikes.shape[1] for layer in part] == [20, 20, 6]
    for number in (0, 1):
        assert part[number].spikes.tolist() == whole[number].spikes.tolist()
    assert part[-1].spikes.tolist() == whole[-1].spikes[:, part[-1].neurons].tolist()
