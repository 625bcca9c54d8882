"""CompiledBackend: the mathematics of an iteration in kernels compiled for the CPU, on the run's own memory."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from quadra.config import TrainingConfig
from quadra.model.adam import AdamRule
from quadra.model.flat_tensors import TensorSpec
from quadra.model.kernels.backward import learn
from quadra.model.kernels.field import (
    describe,
    recognize,
    remember_and_regulate,
    stimulate,
    sum_if_finite,
    variance_and_mean,
)
from quadra.model.kernels.forward import HIDDEN, TRACE, act, evaluate
from quadra.model.kernels.jit import Floats, Integers
from quadra.model.outcomes import Moments, Outcomes
from quadra.model.run_buffers import StateBuffers
from quadra.model.spiking import layer_sizes


class _Batch:
    """The arrays that kernels work on for B vectors: inputs of the networks, and the trace of their hidden layers."""

    def __init__(self, config: TrainingConfig, layout: Integers, size: int) -> None:
        trace = size * 2 * config.time_steps * int(layout[:, HIDDEN].sum())
        self.shown = torch.zeros(3, size, config.field_size)  # aligned, which numpy's own arrays need not be
        self.scale = np.zeros(size, np.float32)
        self.moments = np.zeros((2, size))
        self.layout = layout.copy()
        self.layout[:, TRACE] *= size
        self.membranes, self.spikes = np.zeros(trace, np.float32), np.zeros(trace, np.int32)
        self.counts = np.zeros((3, size, 2, config.time_steps), np.int32)
        self.inputs: Floats = self.shown.numpy()


class CompiledBackend:
    """Evaluates and trains the three networks and moves the field, on the run's own tensors. Methods as in `backend.Backend`."""

    def __init__(self, config: TrainingConfig, buffers: StateBuffers) -> None:
        self._config = config
        layout = _layout(config, buffers.parameters.specs)
        self._samples = _Batch(config, layout, config.synthetic_samples + 2)
        self._single = _Batch(config, layout, 1)
        self.vectors = self._samples.shown[0]
        self._parameters = buffers.parameters.flat.numpy()
        self._firsts, self._seconds = buffers.first_moments.flat.numpy(), buffers.second_moments.flat.numpy()
        self._field, self._memories = buffers.field.numpy(), buffers.syntropy_fields.numpy()
        self._centroids, self._wins = buffers.centroids.numpy(), buffers.wins.numpy()
        self._fields = buffers.flat[
            3 * buffers.parameters.flat.numel() :
        ].numpy()  # field, syntropy fields and centroids
        self._constants = np.array(
            (
                *(config.membrane_decay, config.firing_threshold, config.surrogate_slope, config.set_point),
                *(config.syntropy_strength, config.feedback_strength),
            ),
            np.float32,
        )
        self._decays = np.array(config.syntropy_decays)
        self._found = np.zeros((3, 3, config.synthetic_samples + 2))
        self.stimulated = self._single.shown[0, 0]

    def prepare(self) -> None:
        """Computes what the epochs need of the vectors."""
        self._describe(self._samples)

    def _describe(self, batch: _Batch) -> None:
        config = self._config
        describe(
            batch.inputs, batch.scale, batch.moments, config.set_point, config.high_variance, config.update_strength
        )

    def field_moments(self) -> Moments:
        """Returns mean and variance of the core field."""
        variance, mean = variance_and_mean(self._field)
        return Moments(mean, variance)

    def sample_moments(self) -> list[Moments]:
        """Returns mean and variance of each sample."""
        return [Moments(mean, variance) for mean, variance in self._samples.moments.T.tolist()]

    def evaluate(self) -> Outcomes:
        """Returns what all actions make of all samples."""
        samples = self._samples
        evaluate(
            samples.layout,
            self._parameters,
            samples.inputs,
            samples.scale,
            samples.moments,
            samples.membranes,
            samples.spikes,
            samples.counts,
            self._constants,
            self._found,
        )
        return Outcomes(*self._found.tolist())

    def learn(self, chosen: list[int], rule: AdamRule) -> bool:
        """Makes one Adam step on the mean loss of the chosen actions; returns whether parameters and moments are finite."""
        samples = self._samples
        broken = learn(
            samples.layout, self._parameters, self._firsts, self._seconds, np.array(rule, np.float32),
            samples.inputs, samples.scale, samples.moments, samples.membranes, samples.spikes, samples.counts,
            self._constants, self._found, np.array(chosen),
        )  # fmt: skip
        return math.isfinite(broken)

    def stimulate(self, x: Tensor, share: float) -> Moments:
        """Sets `stimulated` to g = 0.9 * field + share * x, which `move` uses; returns its mean and variance."""
        single = self._single
        stimulate(single.inputs[0, 0], self._field, x.numpy(), self._config.field_decay, share)
        self._describe(single)
        return Moments(float(single.moments[0, 0]), float(single.moments[1, 0]))

    def move(self, action: int) -> None:
        """Sets field = clip(action(g), -1, 1); only the network of this action is evaluated."""
        single = self._single
        act(
            action,
            single.layout,
            self._parameters,
            single.inputs,
            single.scale,
            single.moments,
            single.membranes,
            single.spikes,
            single.counts,
            self._constants,
            self._field,
        )

    def remember(self) -> None:
        """Moves the syntropy fields toward the field and regulates them."""
        config = self._config
        remember_and_regulate(
            self._memories, self._field, self._decays,
            config.set_point, config.syntropy_tolerance, config.syntropy_correction,
        )  # fmt: skip

    def recognize(self) -> int:
        """Returns the field's pattern; its centroid moves toward the field."""
        return recognize(self._field, self._centroids, self._wins, self._config.pattern_rate)

    def variance_and_mean(self) -> tuple[float, float]:
        """Returns variance and mean of the core field."""
        return variance_and_mean(self._field)

    def fields_are_finite(self) -> bool:
        """Returns whether field, syntropy fields and centroids are finite; `learn` has checked the rest."""
        return math.isfinite(sum_if_finite(self._fields))


def _layout(config: TrainingConfig, specs: Mapping[str, TensorSpec]) -> Integers:
    """Returns one row for each network: its sizes, where its matrices begin, and where its trace begins for one vector."""
    rows, trace = [], 0
    for name, (inputs, hidden, _, outputs) in layer_sizes(config).items():
        begins = [
            specs[f"{name}.{layer}.{part}"].offset for layer in ("fc1", "fc2", "fc3") for part in ("weight", "bias")
        ]
        rows.append([inputs, hidden, outputs, *begins, trace])
        trace += 2 * config.time_steps * hidden
    return np.array(rows, np.int64)
