"""The spiking networks: snnTorch as the oracle for rates and gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from quadra.config import NETWORKS, TrainingConfig
from quadra.model.flat_tensors import FlatTensors
from quadra.model.spiking import (
    SpikingNetworks,
    draw_parameters,
    layer_sizes,
    parameter_shapes,
    parameter_specs,
)
from tests.helpers.model_helpers import OracleNetwork

LEFT_OUT = 1e-5  # a membrane this near the threshold may spike in one implementation and not in the other


class Networks:
    """The three networks with random weights, their inputs, and access to the gradients."""

    def __init__(
        self, field_size: int, seed: int = 1, scale: float = 1.0, batch: int = 12, counts: bool = False
    ) -> None:
        self.config = TrainingConfig(field_size=field_size)
        self.generator = torch.Generator().manual_seed(seed)
        self.parameters = FlatTensors.zeros(parameter_specs(self.config), "cpu")
        self.gradients = FlatTensors.zeros(parameter_specs(self.config), "cpu")
        self.gradients.flat.fill_(float("nan"))  # what is not written is seen
        draw_parameters(self.parameters, self.config, self.generator)
        self.parameters.flat.mul_(scale)
        self.own = SpikingNetworks(self.config, self.parameters, self.gradients)
        self.inputs = {name: self._input(batch, counts) for name in NETWORKS}

    def _input(self, batch: int, counts: bool) -> Tensor:
        normal = torch.empty(batch, self.config.field_size).normal_(0, 1, generator=self.generator)
        return normal.mul_(2).round_().clamp_(min=0) if counts else normal  # counts: what the words of a line look like

    def of(self, tensors: FlatTensors, name: str) -> dict[str, Tensor]:
        return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}

    def oracle(self, name: str) -> OracleNetwork:
        return OracleNetwork(self.of(self.parameters, name))

    def asked(self, name: str) -> Tensor:
        """A random gradient of the rates."""
        outputs = layer_sizes(self.config)[name][-1]
        return torch.empty(self.inputs[name].shape[0], outputs).normal_(0, 0.1, generator=self.generator)


def assert_near(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, rtol=1e-5, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.oracle
@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=40, deadline=None, database=None)
@given(
    field_size=st.sampled_from([2, 3, 16, 17, 33, 100, 101]),
    seed=st.integers(0, 2**32),
    scale=st.floats(0.5, 3.0),
    batch=st.integers(1, 12),
    counts=st.booleans(),
    data=st.data(),
)
def test_rates_and_gradients_are_those_of_snntorch(
    name: str, field_size: int, seed: int, scale: float, batch: int, counts: bool, data: st.DataObject
) -> None:
    networks = Networks(field_size, seed, scale, batch, counts)
    oracle = networks.oracle(name)
    expected = oracle(networks.inputs[name])
    assume(oracle.margin > LEFT_OUT)
    torch.testing.assert_close(networks.own.rates(networks.inputs)[name], expected, rtol=0, atol=1e-5)

    rows = data.draw(st.lists(st.integers(0, batch - 1), min_size=1, max_size=batch, unique=True), label="rows")
    asked = networks.asked(name)
    (expected[rows] * asked[rows]).sum().backward()
    networks.own.backward(name, torch.tensor(rows), asked[rows])
    found = networks.of(networks.gradients, name)
    assert_near(found, {part: oracle.gradient(part) for part in found})


@pytest.mark.parametrize("name", NETWORKS)
def test_the_networks_do_spike_and_have_gradients_where_they_are_compared(name: str) -> None:
    networks = Networks(100, seed=3, scale=2.0)
    rate = networks.own.rates(networks.inputs)[name]
    networks.own.backward(name, torch.arange(12), networks.asked(name))
    assert 0.0 < rate.mean().item() < 1.0
    assert all(gradient.abs().max() > 1e-3 for gradient in networks.of(networks.gradients, name).values())


@pytest.mark.parametrize("name", NETWORKS)
def test_rows_left_out_have_no_gradient(name: str) -> None:
    networks = Networks(17)
    asked, rows = networks.asked(name), torch.tensor([1, 4, 5])
    networks.own.rates(networks.inputs)
    networks.own.backward(name, rows, asked[rows])
    subset = networks.gradients.state_dict()
    networks.own.backward(name, torch.arange(12), torch.zeros_like(asked).index_copy_(0, rows, asked[rows]))
    assert_near(
        networks.of(networks.gradients, name),
        {key: subset[f"{name}.{key}"] for key in networks.of(networks.gradients, name)},
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_a_backward_pass_writes_the_gradients_of_its_network_alone_and_anew(name: str) -> None:
    networks = Networks(17)
    networks.own.rates(networks.inputs)
    asked = networks.asked(name)
    networks.own.backward(name, torch.arange(12), asked)
    once = networks.gradients.state_dict()
    networks.own.backward(name, torch.arange(12), asked)
    for key, value in networks.gradients.items():
        assert torch.equal(value, once[key]) if key.startswith(name) else value.isnan().all()


def test_a_network_without_rows_has_a_zero_gradient_and_the_others_keep_theirs() -> None:
    networks = Networks(5)
    networks.own.no_gradient("syntropy")
    for key, value in networks.gradients.items():
        assert (value == 0.0).all() if key.startswith("syntropy") else value.isnan().all()


def test_a_batch_of_another_size_does_not_disturb_the_rates() -> None:
    networks = Networks(100)
    before = {name: rate.clone() for name, rate in networks.own.rates(networks.inputs).items()}
    single = networks.own.rates({name: x[3:4] for name, x in networks.inputs.items()})
    again = networks.own.rates(networks.inputs)
    for name in NETWORKS:
        torch.testing.assert_close(single[name], before[name][3:4], rtol=0, atol=1e-5)
        assert torch.equal(again[name], before[name])


def test_a_rate_is_the_share_of_time_steps_with_a_spike() -> None:
    networks = Networks(2)
    networks.parameters.flat.zero_()
    for name, bias in zip(NETWORKS, (0.6, 0.0, 10.0), strict=True):
        networks.parameters[f"{name}.fc3.bias"].fill_(bias)  # 0.6: a spike at every second step; 10: at every step
    rates = networks.own.rates(networks.inputs)
    assert [rates[name].unique().tolist() for name in NETWORKS] == [[0.5], [0.0], [1.0]]


def test_the_networks_have_the_layers_of_the_model() -> None:
    assert layer_sizes(TrainingConfig(field_size=7)) == {
        "field_update": (7, 64, 64, 7),
        "syntropy": (7, 32, 32, 7),
        "feedback": (7, 48, 48, 1),
    }


@pytest.mark.parametrize("field_size", [2, 100])
def test_start_weights_are_uniform_within_one_over_the_root_of_the_inputs(field_size: int) -> None:
    networks = Networks(field_size)
    for name, sizes in layer_sizes(networks.config).items():
        for layer, inputs in zip(("fc1", "fc2", "fc3"), sizes[:-1], strict=True):
            bound = inputs**-0.5
            for part in ("weight", "bias"):
                assert networks.parameters[f"{name}.{layer}.{part}"].abs().max() <= bound
            weight = networks.parameters[f"{name}.{layer}.weight"]
            if weight.numel() > 1000:
                assert weight.abs().max().item() == pytest.approx(bound, rel=0.02)
                assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)


def drawn(seed: int) -> Tensor:
    return Networks(10, seed).parameters.flat


def test_start_weights_are_drawn_from_the_given_generator_only() -> None:
    torch.manual_seed(1)
    before, first = torch.get_rng_state(), drawn(7)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(drawn(7), first)
    assert not torch.equal(drawn(8), first)


def test_start_weights_are_drawn_in_the_order_of_the_networks_and_layers() -> None:
    generator = torch.Generator().manual_seed(3)
    parameters = Networks(10, seed=3).parameters
    for name, shape in parameter_shapes(TrainingConfig(field_size=10)).items():
        network, layer, _ = name.split(".")
        bound = layer_sizes(TrainingConfig(field_size=10))[network][("fc1", "fc2", "fc3").index(layer)] ** -0.5
        assert torch.equal(parameters[name], torch.empty(shape).uniform_(-bound, bound, generator=generator)), name
