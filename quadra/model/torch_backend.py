"""TorchBackend: the mathematics of an iteration in torch, on any device. On the CPU `compiled_backend` is faster."""

from __future__ import annotations

import torch
from torch import Tensor

from quadra.config import ACTIONS, TrainingConfig
from quadra.model.actions import NETWORK_OF, Transformation, describe_outcomes, loss_gradient
from quadra.model.adam import AdamRule
from quadra.model.field import recognize, regulate, remember, stimulate
from quadra.model.flat_tensors import FlatTensors
from quadra.model.outcomes import Moments, Outcomes
from quadra.model.run_buffers import StateBuffers
from quadra.model.spiking import SpikingNetworks, parameter_specs


class TorchBackend:
    """Evaluates and trains the three networks and moves the field, on the run's own tensors. Methods as in `backend.Backend`."""

    def __init__(self, config: TrainingConfig, buffers: StateBuffers) -> None:
        self._config, self._buffers = config, buffers
        self._gradients = FlatTensors.zeros(parameter_specs(config), config.device)
        self._networks = SpikingNetworks(config, buffers.parameters, self._gradients)
        self._decays = torch.tensor(config.syntropy_decays, device=config.device)[:, None]
        self.vectors = torch.zeros(config.synthetic_samples + 2, config.field_size, device=config.device)

    def prepare(self) -> None:
        """Computes what the epochs need of the vectors."""
        self._samples = Transformation(self.vectors, self._config)

    def field_moments(self) -> Moments:
        """Returns mean and variance of the core field."""
        return _moments(self._buffers.field)

    def sample_moments(self) -> list[Moments]:
        """Returns mean and variance of each sample."""
        return [Moments(mean, variance) for mean, variance in self._samples.moments.tolist()]

    def evaluate(self) -> Outcomes:
        """Returns what all actions make of all samples."""
        self._outcomes = self._samples.outcomes(self._networks.rates(self._samples.network_inputs()))
        return Outcomes(*describe_outcomes(self._outcomes, self._config.set_point).tolist())

    def learn(self, chosen: list[int], rule: AdamRule) -> bool:
        """Makes one Adam step on the mean loss of the chosen actions. Returns True: `fields_are_finite` checks all numbers."""
        for number, action in enumerate(ACTIONS):
            picked = [row for row, choice in enumerate(chosen) if choice == number]
            if not picked:
                self._networks.no_gradient(NETWORK_OF[action])
                continue
            rows = torch.tensor(picked, device=self._config.device)
            outcomes = self._outcomes[number].index_select(0, rows)
            gradient = loss_gradient(outcomes, self._config.set_point).div_(len(chosen))
            self._networks.backward(NETWORK_OF[action], rows, self._samples.rate_gradient(action, rows, gradient))
        self._adam_step(rule)
        return True

    def _adam_step(self, rule: AdamRule) -> None:
        gradient, first, second = (
            self._gradients.flat,
            self._buffers.first_moments.flat,
            self._buffers.second_moments.flat,
        )
        first.lerp_(gradient, rule.one_minus_beta1)
        second.mul_(rule.beta2).addcmul_(gradient, gradient, value=rule.one_minus_beta2)
        scale = second.sqrt().mul_(rule.correction).add_(rule.epsilon)
        self._buffers.parameters.flat.addcdiv_(first, scale, value=-rule.step_size)

    def stimulate(self, x: Tensor, share: float) -> Moments:
        """Sets `stimulated` to g = 0.9 * field + share * x; returns its mean and variance."""
        self.stimulated = stimulate(self._buffers.field, x, self._config.field_decay, share)
        return _moments(self.stimulated)

    def move(self, action: int) -> None:
        """Sets field = clip(action(g), -1, 1)."""
        g = Transformation(self.stimulated[None, :], self._config)
        outcomes = g.outcomes(self._networks.rates(g.network_inputs()))
        self._buffers.field.copy_(outcomes[action, 0].clamp_(-1.0, 1.0))

    def remember(self) -> None:
        """Moves the syntropy fields toward the field and regulates them."""
        remember(self._buffers.syntropy_fields, self._buffers.field, self._decays)
        regulate(self._buffers.syntropy_fields, self._config)

    def recognize(self) -> int:
        """Returns the field's pattern; its centroid moves toward the field."""
        buffers = self._buffers
        return recognize(buffers.field, buffers.centroids, buffers.wins, self._config.pattern_rate)

    def variance_and_mean(self) -> tuple[float, float]:
        """Returns variance and mean of the core field."""
        variance, mean = torch.stack(torch.var_mean(self._buffers.field)).tolist()
        return variance, mean

    def fields_are_finite(self) -> bool:
        """Returns whether all numbers are finite: fields, parameters and moments, in one pass."""
        return bool(torch.isfinite(self._buffers.flat).all())


def _moments(vector: Tensor) -> Moments:
    mean, variance = torch.stack([vector.mean(), vector.var()]).tolist()  # a GPU is waited for once
    return Moments(mean, variance)
