"""The neuron: membranes, spikes and surrogate gradient computed by hand, in torch and as compiled for the CPU."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from quadra.model.kernels import neuron as kernels
from quadra.model.neuron import Neuron

NEURON = Neuron(decay=0.95, threshold=1.0, slope=25.0)
CONSTANTS = np.array([0.95, 1.0, 25.0, 0.5], np.float32)

Membranes = Callable[[list[float]], list[float]]
Derivatives = Callable[[list[float]], list[float]]


def torch_membranes(currents: list[float]) -> list[float]:
    membranes, spikes = torch.empty(len(currents)), torch.empty(len(currents))
    NEURON.integrate(torch.tensor(currents).unbind(), membranes.unbind(), spikes.unbind())
    assert spikes.tolist() == [float(u > NEURON.threshold) for u in membranes.tolist()]
    return membranes.tolist()


def compiled_membranes(currents: list[float]) -> list[float]:
    membranes = np.array(currents, np.float32)[:, None]
    for now, before in zip(membranes[1:], membranes[:-1], strict=True):
        kernels.integrate(now, before, CONSTANTS)
    found: list[float] = membranes[:, 0].tolist()
    return found


def torch_derivatives(membranes: list[float]) -> list[float]:
    found: list[float] = NEURON.surrogate_gradient(torch.tensor(membranes)).tolist()
    return found


def compiled_derivatives(membranes: list[float]) -> list[float]:
    gradient = np.ones((1, len(membranes)), np.float32)
    kernels.surrogate_backward(gradient, np.array([membranes], np.float32), CONSTANTS)
    found: list[float] = gradient[0].tolist()
    return found


of_both = pytest.mark.parametrize("membranes_of", [torch_membranes, compiled_membranes])


def spikes_of(membranes: list[float]) -> list[bool]:
    return [u > 1.0 for u in membranes]


@of_both
def test_a_silent_neuron_keeps_leaking(membranes_of: Membranes) -> None:
    membranes = membranes_of([0.8, 0.0, 0.0])
    assert membranes == pytest.approx([0.8, 0.76, 0.722])
    assert not any(spikes_of(membranes))


@of_both
def test_a_spike_is_subtracted_one_step_late(membranes_of: Membranes) -> None:
    membranes = membranes_of([0.6] * 5)
    assert membranes == pytest.approx([0.6, 1.17, 0.7115, 1.275925, 0.81212875])
    assert spikes_of(membranes) == [False, True, False, True, False]


@of_both
def test_a_neuron_may_spike_in_a_row_and_be_driven_below_zero(membranes_of: Membranes) -> None:
    membranes = membranes_of([3.0, 0.0, 0.0, 0.0, 0.0])
    assert membranes == pytest.approx([3.0, 1.85, 0.7575, 0.719625, 0.68364375])
    assert spikes_of(membranes) == [True, True, False, False, False]
    assert membranes_of([1.5, -2.0]) == pytest.approx([1.5, -1.575])  # 0.95 * 1.5 - 2 - 1


@of_both
def test_a_membrane_at_the_threshold_does_not_spike(membranes_of: Membranes) -> None:
    assert membranes_of([1.0, 0.0]) == pytest.approx([1.0, 0.95])
    assert membranes_of([0.0, 1.0, 0.0]) == pytest.approx([0.0, 1.0, 0.95])
    for currents in ([1.0, 0.0], [0.0, 1.0, 0.0]):
        assert not any(spikes_of(membranes_of(currents)))
    next_number = membranes_of([1.0000001192092896, 0.0])
    assert next_number == pytest.approx([1.0, -0.05], abs=1e-6)
    assert spikes_of(next_number) == [True, False]


@pytest.mark.parametrize("derivatives_of", [torch_derivatives, compiled_derivatives])
def test_the_surrogate_gradient_is_one_at_the_threshold_and_falls_to_both_sides(derivatives_of: Derivatives) -> None:
    found = derivatives_of([1.0, 1.04, 0.96, 0.0, 2.0])
    assert found == pytest.approx([1.0, 0.25, 0.25, 26.0**-2, 26.0**-2], rel=1e-5)


def test_the_surrogate_gradient_leaves_the_membranes_as_they_are() -> None:
    membranes = torch.tensor([0.5, 1.5])
    NEURON.surrogate_gradient(membranes)
    assert membranes.tolist() == [0.5, 1.5]


def test_a_current_has_the_gradient_of_its_own_and_later_time_steps_only() -> None:
    expected = [1.0, 0.95, 0.9025, 0.0, 1.0, 0.95, 0.0, 0.0, 1.0]
    assert NEURON.gradient_filter(3, "cpu").flatten().tolist() == pytest.approx(expected)


def test_the_compiled_gradient_goes_back_through_time_as_the_filter_does() -> None:
    drawn = np.random.default_rng(1).normal(1.0, 0.5, (2, 6, 5)).astype(np.float32)
    membranes, gradient = drawn[0], drawn[1]
    surrogate = NEURON.surrogate_gradient(torch.from_numpy(membranes)).numpy()
    expected = NEURON.gradient_filter(6, "cpu").numpy() @ (gradient * surrogate)
    kernels.surrogate_backward(gradient, membranes, CONSTANTS)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)
