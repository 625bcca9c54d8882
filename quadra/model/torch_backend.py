"""TorchBackend: the mathematics of an iteration in torch, on any device. On the CPU `compiled_trainer` is faster."""

from __future__ import annotations

import torch
from torch import Tensor

from quadra.config import ACTIONS, TrainingConfig
from quadra.model.actions import NETWORK_OF, Transformation, loss_gradient, means_and_losses
from quadra.model.adam import AdamRule
from quadra.model.field import recognize, regulate, remember, stimulate
from quadra.model.flat_tensors import FlatTensors
from quadra.model.run_buffers import RunTensors
from quadra.model.spiking import SpikingNetworks, parameter_places


class TorchBackend:
    """Evaluates and trains the three networks and moves the field; the tensors are the run's own."""

    def __init__(self, config: TrainingConfig, run: RunTensors) -> None:
        self._config, self._run = config, run
        self._gradients = FlatTensors.zeros(parameter_places(config), config.device)
        self._networks = SpikingNetworks(config, run.parameters, self._gradients)
        self._decays = torch.tensor(config.syntropy_decays, device=config.device)[:, None]
        self.vectors = torch.zeros(config.synthetic_samples + 2, config.field_size, device=config.device)

    def show(self) -> None:
        """The vectors have been filled: prepare what the epochs need of them."""
        self._samples = Transformation(self.vectors, self._config)

    def mean(self) -> float:
        """Of the core field."""
        return self._run.field.mean().item()

    def evaluate(self) -> tuple[list[list[float]], list[list[float]]]:
        """Means and losses of all vectors under all actions, each (actions, vectors)."""
        self._outcomes = self._samples.outcomes(self._networks.rates(self._samples.network_inputs()))
        means, losses = means_and_losses(self._outcomes, self._config.set_point).tolist()
        return means, losses

    def learn(self, chosen: list[int], rule: AdamRule) -> bool:
        """One Adam step on the mean loss of the chosen actions; what is not finite is left for `settle` to find."""
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
        gradient, first, second = self._gradients.flat, self._run.first_moments.flat, self._run.second_moments.flat
        first.lerp_(gradient, rule.take)
        second.mul_(rule.keep2).addcmul_(gradient, gradient, value=rule.take2)
        scale = second.sqrt().mul_(rule.unbias).add_(rule.epsilon)
        self._run.parameters.flat.addcdiv_(first, scale, value=-rule.size)

    def stimulate(self, x: Tensor) -> float:
        """g = 0.9 * field + 0.1 * x is kept for `move`; returns its mean."""
        self._stimulated = stimulate(self._run.field, x, self._config.field_decay)[None, :]
        return self._stimulated.mean().item()

    def move(self, action: int) -> None:
        """field = clip(action(g), -1, 1)."""
        g = Transformation(self._stimulated, self._config)
        outcomes = g.outcomes(self._networks.rates(g.network_inputs()))
        self._run.field.copy_(outcomes[action, 0].clamp_(-1.0, 1.0))

    def remember(self) -> None:
        """The syntropy fields follow the field and are regulated."""
        remember(self._run.syntropy_fields, self._run.field, self._decays)
        regulate(self._run.syntropy_fields, self._config)

    def recognize(self) -> int:
        """The field's pattern."""
        run = self._run
        return recognize(run.field, run.centroids, run.wins, self._config.pattern_rate)

    def variance_and_mean(self) -> tuple[float, float]:
        """Of the core field."""
        variance, mean = torch.stack(torch.var_mean(self._run.field)).tolist()
        return variance, mean

    def fields_are_finite(self) -> bool:
        """Whether all numbers are; with the fields the parameters and moments, in one pass."""
        return bool(torch.isfinite(self._run.flat).all())
