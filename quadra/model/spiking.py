"""The three spiking networks in torch, evaluated side by side, forward and backward by hand.

Their neuron and its surrogate gradient are in `model.neuron`. `model.kernels` has the same networks compiled for the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from quadra.config import LAYERS, TrainingConfig
from quadra.model.flat_tensors import TensorSpec, specs_for
from quadra.model.neuron import Neuron


@dataclass(frozen=True)
class LayerTrace:
    """Membranes and spikes of a layer over T time steps for B inputs, all networks' neurons side by side in the last axis."""

    membranes: Tensor  # (T, B, neurons)
    spikes: Tensor  # (T, B, neurons)
    membrane_steps: tuple[Tensor, ...]  # the same by time step; separated once, not in every pass
    spike_steps: tuple[Tensor, ...]

    @classmethod
    def empty(cls, time_steps: int, batch: int, neurons: int, device: str) -> LayerTrace:
        membranes = torch.empty(time_steps, batch, neurons, device=device)
        spikes = torch.empty(time_steps, batch, neurons, device=device)
        return cls(membranes, spikes, membranes.unbind(0), spikes.unbind(0))


class SpikingNetworks:
    """Networks Linear - LIF - Linear - LIF - Linear - LIF that are evaluated beside each other.

    A network's input is the same at every time step; its output is the firing rate of its last layer, in [0, 1]. The neurons
    of one layer of all networks lie side by side in one tensor: that halves the number of small operations, which is what
    a step at field size 100 costs.
    """

    def __init__(
        self, config: TrainingConfig, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor]
    ) -> None:
        self.sizes = layer_sizes(config)
        self._parameters = parameters
        self._gradients = gradients
        self._neuron = Neuron(config.membrane_decay, config.firing_threshold, config.surrogate_slope)
        self._time_steps = config.time_steps
        self._device = config.device
        self._gradient_filter = self._neuron.gradient_filter(config.time_steps, config.device)
        self._columns = [_columns([sizes[layer] for sizes in self.sizes.values()]) for layer in (1, 2, 3)]
        self._traces: dict[int, tuple[LayerTrace, ...]] = {}
        self._inputs: dict[str, Tensor] = {}

    def rates(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns the firing rates of every network for its own inputs: (B, n) -> (B, n), (B, 1) for `feedback`."""
        self._inputs = dict(inputs)
        first, second, third = self._trace(next(iter(inputs.values())).shape[0])
        current = torch.empty_like(first.membrane_steps[0])
        for column, (name, x) in zip(self._columns[0], inputs.items(), strict=True):
            self._linear(name, "fc1", x, current[:, column])
        self._neuron.integrate([current] * self._time_steps, first.membrane_steps, first.spike_steps)
        self._layer("fc2", first, second)
        self._layer("fc3", second, third)
        rate = third.spikes.mean(0)
        return {name: rate[:, column] for name, column in zip(self.sizes, self._columns[2], strict=True)}

    def backward(self, name: str, rows: Tensor, rate_gradient: Tensor) -> None:
        """Writes d(loss)/d(parameters) of one network, given d(loss)/d(rate) for some rows of the last `rates` call.

        `rows`: indices into the batch, shape (k,); `rate_gradient`: shape (k, outputs). Other rows have no gradient.
        """
        index = list(self.sizes).index(name)
        traces = self._trace(self._inputs[name].shape[0])
        spike_gradient = (rate_gradient / self._time_steps).expand(self._time_steps, -1, -1)
        for layer in (2, 1):
            current = self._current_gradient(traces[layer], self._columns[layer][index], rows, spike_gradient)
            below = traces[layer - 1].spikes[:, :, self._columns[layer - 1][index]].index_select(1, rows)
            spike_gradient = self._linear_backward(name, LAYERS[layer], current, below)
        current = self._current_gradient(traces[0], self._columns[0][index], rows, spike_gradient)
        self._input_backward(name, current.sum(0), self._inputs[name].index_select(0, rows))

    def no_gradient(self, name: str) -> None:
        """Sets the gradient of a network that no row chose to zero."""
        for layer in LAYERS:
            self._gradients[f"{name}.{layer}.weight"].zero_()
            self._gradients[f"{name}.{layer}.bias"].zero_()

    def _trace(self, batch: int) -> tuple[LayerTrace, ...]:
        """Returns buffers for a batch of this size, which are allocated once."""
        if batch not in self._traces:
            widths = [columns[-1].stop for columns in self._columns]
            self._traces[batch] = tuple(
                LayerTrace.empty(self._time_steps, batch, width, self._device) for width in widths
            )
        return self._traces[batch]

    def _layer(self, layer: str, below: LayerTrace, above: LayerTrace) -> None:
        spikes = below.spikes.flatten(0, 1)
        currents = above.membranes.flatten(0, 1)  # the membranes will overwrite the currents: one buffer less
        number = LAYERS.index(layer)
        for name, source, target in zip(self.sizes, self._columns[number - 1], self._columns[number], strict=True):
            self._linear(name, layer, spikes[:, source], currents[:, target])
        self._neuron.integrate(above.membrane_steps, above.membrane_steps, above.spike_steps)

    def _linear(self, name: str, layer: str, x: Tensor, out: Tensor) -> None:
        weight, bias = self._parameters[f"{name}.{layer}.weight"], self._parameters[f"{name}.{layer}.bias"]
        torch.addmm(bias, x, weight.t(), out=out)

    def _current_gradient(self, trace: LayerTrace, columns: slice, rows: Tensor, spike_gradient: Tensor) -> Tensor:
        """Returns dL/di of a layer, shape (T, k, neurons): the surrogate gradient, back through time."""
        membranes = trace.membranes[:, :, columns].index_select(1, rows)
        gradient = self._neuron.surrogate_gradient(membranes).mul_(spike_gradient)
        return torch.mm(self._gradient_filter, gradient.flatten(1)).view_as(gradient)

    def _linear_backward(self, name: str, layer: str, current: Tensor, below: Tensor) -> Tensor:
        """Writes the gradients of one Linear layer; returns dL/ds of the spikes below, shape (T, k, neurons below)."""
        rows, spikes = current.flatten(0, 1), below.flatten(0, 1)
        torch.mm(spikes.t(), rows, out=self._gradients[f"{name}.{layer}.weight"].t())
        torch.sum(rows, 0, out=self._gradients[f"{name}.{layer}.bias"])
        return torch.mm(rows, self._parameters[f"{name}.{layer}.weight"]).view_as(below)

    def _input_backward(self, name: str, current: Tensor, x: Tensor) -> None:
        torch.mm(current.t(), x, out=self._gradients[f"{name}.fc1.weight"])
        torch.sum(current, 0, out=self._gradients[f"{name}.fc1.bias"])


def layer_sizes(config: TrainingConfig) -> dict[str, tuple[int, int, int, int]]:
    """Inputs, hidden, hidden, outputs of each network."""
    n = config.field_size
    return {
        "field_update": (n, config.field_update_hidden, config.field_update_hidden, n),
        "syntropy": (n, config.syntropy_hidden, config.syntropy_hidden, n),
        "feedback": (n, config.feedback_hidden, config.feedback_hidden, 1),
    }


def parameter_shapes(config: TrainingConfig) -> dict[str, tuple[int, ...]]:
    """Returns shapes by name: `<network>.fc1.weight` (outputs, inputs), `<network>.fc1.bias` (outputs,), and so on."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, sizes in layer_sizes(config).items():
        for layer, inputs, outputs in zip(LAYERS, sizes[:-1], sizes[1:], strict=True):
            shapes[f"{name}.{layer}.weight"] = (outputs, inputs)
            shapes[f"{name}.{layer}.bias"] = (outputs,)
    return shapes


def parameter_specs(config: TrainingConfig) -> dict[str, TensorSpec]:
    """Returns the parameters' specs in a flat buffer: the weights of a hidden neuron to all above it lie together."""
    return specs_for(parameter_shapes(config), transposed=("fc2.weight", "fc3.weight"))


def draw_parameters(parameters: Mapping[str, Tensor], config: TrainingConfig, generator: torch.Generator) -> None:
    """Draws weights and biases uniform in +-1/sqrt(inputs), in the order of `parameter_shapes` (PyTorch's default for Linear)."""
    for name, sizes in layer_sizes(config).items():
        for layer, inputs in zip(LAYERS, sizes[:-1], strict=True):
            bound = inputs**-0.5
            for part in ("weight", "bias"):
                target = parameters[f"{name}.{layer}.{part}"]
                target.copy_(torch.empty(target.shape).uniform_(-bound, bound, generator=generator))


def _columns(widths: Sequence[int]) -> list[slice]:
    """Returns each network's neurons in a layer's last dimension, aligned to 16 floats."""
    columns, start = [], 0
    for width in widths:
        columns.append(slice(start, start + width))
        start = -(-(start + width) // 16) * 16
    return columns
