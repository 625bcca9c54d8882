"""Compiled and torch backend against snnTorch in double precision, and against each other."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import snntorch
import torch
from snntorch import surrogate
from torch import Tensor

from quadra.config import ACTIONS, NETWORKS, TrainingConfig
from quadra.model.adam import AdamRule
from quadra.model.backend import BackendClass
from quadra.model.compiled_backend import CompiledBackend
from quadra.model.engine import processor_modes
from quadra.model.kernels.forward import BLOCK
from quadra.model.run_buffers import StateBuffers
from quadra.model.torch_backend import TorchBackend
from tests.helpers.model_helpers import BACKENDS

CHOICES = ([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2], [1, 1, 0, 0, 2, 2, 2, 0, 1, 0, 2, 1], [0] * 6 + [2] * 6, [1] * 12)
SEEDS_100, SEEDS_10_000 = range(1, 13), range(1, 6)
MOMENTS = ("exp_avg", "exp_avg_sq")  # of Adam
MOST_DRAWS = 100  # of vectors, until twelve clear ones are found
cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


class DoubleNetwork(torch.nn.Module):
    """snnTorch in float64; its surrogate returns float32, so spikes are cast between layers."""

    def __init__(self, parameters: dict[str, Tensor]) -> None:
        super().__init__()
        self.values = {name: value.double().clone().requires_grad_() for name, value in parameters.items()}
        gradient = surrogate.fast_sigmoid(slope=25)
        self.neurons = [
            snntorch.Leaky(beta=0.95, threshold=1, reset_mechanism="subtract", spike_grad=gradient) for _ in range(3)
        ]

    def forward(self, x: Tensor) -> Tensor:
        """The firing rate over ten time steps."""
        membranes = [neuron.init_leaky().double() for neuron in self.neurons]
        outputs, self.gaps = [], [torch.full((len(x),), math.inf) for _ in self.neurons]
        for _ in range(10):
            signal = x
            for layer, neuron in enumerate(self.neurons):
                weight, bias = self.values[f"fc{layer + 1}.weight"], self.values[f"fc{layer + 1}.bias"]
                signal, membranes[layer] = neuron(signal @ weight.T + bias, membranes[layer])
                signal = signal.double()
                nearest = (membranes[layer].detach() - 1).abs().amin(1)
                self.gaps[layer] = torch.minimum(self.gaps[layer], nearest)
            outputs.append(signal)
        return torch.stack(outputs).mean(0)


class DoubleBackend:
    """Means, losses and one Adam step as the model's description reads, with autograd and torch.optim, from where a run is."""

    def __init__(self, buffers: StateBuffers, steps_done: int) -> None:
        self.networks = {name: DoubleNetwork(of_network(buffers, "parameters", name)) for name in NETWORKS}
        values = [value for network in self.networks.values() for value in network.values.values()]
        for value in values:
            value.grad = torch.zeros_like(value)
        self.adam = torch.optim.Adam(values, lr=1e-3)
        for name, network in self.networks.items():
            moments = {part: of_network(buffers, part, name) for part in MOMENTS}
            for key, value in network.values.items():
                self.adam.state[value] = {part: moments[part][key].double().clone() for part in MOMENTS}
                self.adam.state[value]["step"] = torch.tensor(float(steps_done))

    def outcomes(self, f: Tensor) -> Tensor:
        """(actions, vectors, cells)"""
        net = self.networks
        variance, mean = torch.var_mean(f, 1, keepdim=True)
        scale = torch.where(variance > 0.1, 0.5, 1.0)
        standardized = (f - mean) / (variance + 1e-8).sqrt()
        return torch.stack(
            [
                f + scale * net["field_update"](f),
                f + net["syntropy"](0.5 - f) * (0.5 - f),
                f - net["feedback"](standardized) * (f - mean),
            ]
        )

    def step(self, vectors: Tensor, chosen: list[int]) -> tuple[Tensor, Tensor]:
        """Means and losses, each (actions, vectors), before one step on the chosen ones."""
        outcomes = self.outcomes(vectors.double())
        means = outcomes.mean(-1)
        losses = outcomes.var(-1) + (means - 0.5).abs()
        self.adam.zero_grad(set_to_none=False)
        losses[chosen, range(len(chosen))].mean().backward()
        self.adam.step()
        return means.detach(), losses.detach()

    def gaps(self, vectors: Tensor) -> Tensor:
        """(vectors,) How near to the threshold any membrane of a hidden layer comes; for a small field, of the output too."""
        with torch.no_grad():
            self.outcomes(vectors.double())
        layers = 3 if vectors.shape[1] <= 100 else 2
        return torch.stack([gap for net in self.networks.values() for gap in net.gaps[:layers]]).amin(0)


def of_network(buffers: StateBuffers, part: str, network: str) -> dict[str, Tensor]:
    prefix = f"{part}/{network}."
    return {
        name.removeprefix(prefix): value.cpu() for name, value in buffers.tensors.items() if name.startswith(prefix)
    }


def buffers_of(config: TrainingConfig, seed: int) -> StateBuffers:
    """Start values, stronger than a run's own so that all layers spike."""
    buffers = StateBuffers(config)
    buffers.draw(torch.Generator().manual_seed(seed))
    buffers.parameters.flat.mul_(2.0)
    return buffers


def vectors_of(field_size: int, seed: int) -> Tensor:
    """Twelve vectors: noise, a line's counts, a field."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.empty(12, field_size).normal_(0.0, 0.1, generator=generator)
    vectors[10] = vectors[10].mul(10).round().clamp(min=0.0)
    vectors[11] += 0.4
    return vectors


def clear_vectors(oracle: DoubleBackend, field_size: int, seed: int, margin: float) -> Tensor:
    """Twelve vectors that bring no membrane so near to the threshold that single precision might take the other side: what a
    rounding decides there differs between processors, and one spike in a hidden layer changes everything after it."""
    found: dict[int, Tensor] = {}
    for draw in range(MOST_DRAWS):
        vectors = vectors_of(field_size, MOST_DRAWS * seed + draw)
        clear = oracle.gaps(vectors) > margin
        found = {row: vectors[row] for row in range(12) if clear[row]} | found
        if len(found) == 12:
            return torch.stack([found[row] for row in range(12)])
    raise AssertionError(f"only {len(found)} of twelve vectors keep {margin} from the threshold in {MOST_DRAWS} draws")


@dataclass(frozen=True)
class Nearness:
    """How near to double precision a tensor must be, as shares of its own maximum."""

    tolerance: float
    share: float = 1.0  # of the elements that must be within the tolerance
    ceiling: float = math.inf  # for all elements

    def require(self, found: Tensor, expected: Tensor, name: str) -> None:
        expected = expected.detach().double().cpu()
        distance = (found.double().cpu() - expected).abs() / max(expected.abs().max().item(), 1e-30)
        farthest, near = distance.max().item(), (distance <= self.tolerance).double().mean().item()
        assert near >= self.share, f"{name}: {farthest:.2e} of the maximum, {near:.6f} near"
        assert farthest <= self.ceiling, f"{name}: {farthest:.2e} of the maximum"


@dataclass(frozen=True)
class Bounds:
    """How near all that a step gives must come to double precision, on vectors that keep so far from the threshold."""

    outcomes: Nearness
    learned: Nearness
    margin: float


def check_against_double_precision(
    backend: BackendClass, field_size: int, seed: int, bounds: Bounds, device: str = "cpu"
) -> None:
    """Means, losses, both moments and the weights of each of four Adam steps, each begun where ours has come to."""
    config = TrainingConfig(field_size=field_size, seed=1, threads=1, device=device)
    buffers = buffers_of(config, seed)
    with processor_modes(config):
        ours = backend(config, buffers)
        for number, chosen in enumerate(CHOICES, start=1):
            oracle = DoubleBackend(buffers, number - 1)
            vectors = clear_vectors(oracle, field_size, 10 * seed + number, bounds.margin)
            ours.vectors.copy_(vectors)
            ours.prepare()
            expected, found = oracle.step(vectors, chosen), ours.evaluate()
            bounds.outcomes.require(torch.tensor(found[0]), expected[0], "means")
            bounds.outcomes.require(torch.tensor(found[1]), expected[1], "losses")
            assert ours.learn(chosen, AdamRule.at(number, config, 1.0))
            check_learned(buffers, oracle, bounds.learned)


def check_learned(buffers: StateBuffers, oracle: DoubleBackend, nearness: Nearness) -> None:
    for name, network in oracle.networks.items():
        for part, value in network.values.items():
            nearness.require(of_network(buffers, "parameters", name)[part], value, f"{name}.{part}")
            for moment in MOMENTS:
                expected = oracle.adam.state[value][moment]
                nearness.require(of_network(buffers, moment, name)[part], expected, f"{moment} of {name}.{part}")


# The surrogate gradient is steep at the threshold: a membrane near it passes its own rounding on, enlarged fifty times, to
# the one neuron's row of weights; and Adam divides by a gradient's own size, so an element whose gradient is nearly zero
# moves by its rounding. So a twentieth of a tensor may be farther off.
ON_100 = Bounds(Nearness(1e-6), Nearness(1e-4, 0.95, 1e-3), margin=2e-6)
ON_10_000 = Bounds(Nearness(1e-4), Nearness(5e-4, 0.95), margin=2e-5)


@pytest.mark.oracle
@pytest.mark.rotates(2, per="backend")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("seed", SEEDS_100)
def test_an_adam_step_is_that_of_snntorch_in_double_precision(backend: BackendClass, seed: int) -> None:
    check_against_double_precision(backend, 100, seed, ON_100)


@pytest.mark.long
@pytest.mark.oracle
@pytest.mark.rotates(1)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("seed", SEEDS_10_000)
def test_so_it_is_on_a_field_of_ten_thousand_cells(backend: BackendClass, seed: int) -> None:
    check_against_double_precision(backend, 10_000, seed, ON_10_000)


@cuda
@pytest.mark.oracle
def test_an_adam_step_on_a_gpu_is_that_of_snntorch_in_double_precision() -> None:
    check_against_double_precision(TorchBackend, 100, SEEDS_100[0], ON_100, device="cuda")


def trained_alike(field_size: int, steps: int) -> tuple[StateBuffers, StateBuffers]:
    """The same start, moved and trained by both backends."""
    config = TrainingConfig(field_size=field_size, seed=1, threads=1)
    runs = buffers_of(config, 5), buffers_of(config, 5)
    x = torch.from_numpy(np.arange(field_size) % 7 == 1).float() * 30.0  # enough to be clipped
    with processor_modes(config):
        for buffers, kind in zip(runs, BACKENDS, strict=True):
            backend = kind(config, buffers)
            backend.vectors.copy_(vectors_of(field_size, 5))
            for number, action in enumerate(range(steps), start=1):
                backend.prepare()
                backend.evaluate()
                backend.learn(CHOICES[number % len(CHOICES)], AdamRule.at(number, config, 1.0))
                backend.stimulate(x, 0.1)
                backend.move(action % len(ACTIONS))
                backend.remember()
                backend.recognize()
                backend.vectors[-1] = buffers.field
    return runs


@pytest.mark.parametrize("field_size", [2, 15, 100, BLOCK, BLOCK + 1, 2 * BLOCK + 33])
def test_both_backends_move_field_memories_and_patterns_alike(field_size: int) -> None:
    ours, theirs = trained_alike(field_size, 3)
    for name in ("field", "syntropy_fields", "centroids"):
        torch.testing.assert_close(ours.tensors[name], theirs.tensors[name], rtol=1e-4, atol=1e-5, msg=name)
    assert ours.wins.tolist() == theirs.wins.tolist()
    assert ours.field.abs().max() == 1.0


def backend_with(poisoned: str) -> CompiledBackend:
    config = TrainingConfig(field_size=BLOCK + 5, seed=1, threads=1)
    buffers = buffers_of(config, 1)
    backend = CompiledBackend(config, buffers)
    backend.vectors.copy_(vectors_of(config.field_size, 1))
    backend.prepare()
    backend.evaluate()
    buffers.tensors[poisoned][(-1,) * buffers.tensors[poisoned].ndim] = math.nan
    return backend


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("layer", ["fc1", "fc2", "fc3"])
@pytest.mark.parametrize("part", ["parameters", "exp_avg", "exp_avg_sq"])
def test_the_adam_step_tells_of_a_number_that_is_not_finite(part: str, network: str, layer: str) -> None:
    rule = AdamRule.at(1, TrainingConfig(), 1.0)
    assert backend_with("field").learn(CHOICES[0], rule)
    for kind in ("weight", "bias"):
        assert not backend_with(f"{part}/{network}.{layer}.{kind}").learn([0] * 12, rule)


@pytest.mark.parametrize("name", ["field", "syntropy_fields", "centroids"])
def test_a_field_that_is_not_finite_is_found(name: str) -> None:
    assert not backend_with(name).fields_are_finite()
    assert backend_with("parameters/syntropy.fc1.weight").fields_are_finite()
