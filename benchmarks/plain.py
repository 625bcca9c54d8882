"""One iteration the plain way: per sample and per time step with snnTorch and autograd, as a reader of the model would."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import snntorch
import torch
from snntorch import surrogate
from torch import Tensor, nn

from quadra.config import ACTIONS, TrainingConfig
from quadra.model.actions import reward_of
from quadra.model.corpus import Corpus
from quadra.model.plasticity import NeuroplasticityManager
from quadra.model.qlearning import QTable, state_key
from quadra.model.spiking import layer_sizes
from quadra.model.words import classic_words, features


class PlainNetwork(nn.Module):
    """Linear - LIF - Linear - LIF - Linear - LIF; the output is the firing rate."""

    def __init__(self, sizes: tuple[int, ...], time_steps: int) -> None:
        super().__init__()
        gradient = surrogate.fast_sigmoid(slope=25)
        self.linear = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.lif = nn.ModuleList(
            snntorch.Leaky(beta=0.95, threshold=1.0, reset_mechanism="subtract", spike_grad=gradient)
            for _ in self.linear
        )
        self._time_steps = time_steps

    def forward(self, x: Tensor) -> Tensor:
        membranes = [lif.init_leaky() for lif in self.lif]
        spikes = []
        for _ in range(self._time_steps):
            signal = x
            for number, (linear, lif) in enumerate(zip(self.linear, self.lif, strict=True)):
                signal, membranes[number] = lif(linear(signal), membranes[number])
            spikes.append(signal)
        return torch.stack(spikes).mean(0)


class PlainEngine:
    """The same mathematics as `quadra.engine.Engine`, without any of its speed."""

    def __init__(self, config: TrainingConfig, corpus: Corpus) -> None:
        self.config, self.corpus = config, corpus
        torch.manual_seed(config.seed or 0)
        n = config.field_size
        self.networks = {name: PlainNetwork(sizes, config.time_steps) for name, sizes in layer_sizes(config).items()}
        self.parameters = [parameter for network in self.networks.values() for parameter in network.parameters()]
        self.adam = torch.optim.Adam(self.parameters, lr=config.learning_rate)
        self.table = QTable(config, np.random.SeedSequence(config.seed))
        self.plasticity = NeuroplasticityManager(config)
        self.field = torch.randn(n) * 0.1
        self.syntropy_fields = [torch.randn(n) * 0.1 for _ in config.syntropy_decays]
        self.centroids = [torch.randn(n) * 0.1 for _ in range(config.patterns)]
        self.wins = [0] * config.patterns

    def act(self, action: str, f: Tensor) -> Tensor:
        mean, variance = f.mean(), f.var()
        if action == "update_field":
            return f + (0.5 if variance > 0.1 else 1.0) * self.networks["field_update"](f)
        if action == "adjust_syntropy":
            return f + self.networks["syntropy"](0.5 - f) * (0.5 - f)
        standardized = (f - mean) / torch.sqrt(variance + 1e-8)
        return f - self.networks["feedback"](standardized) * (f - mean)

    def step(self) -> dict[str, Any]:
        x = torch.from_numpy(features(classic_words(self.corpus.next_line()), self.config.field_size))
        samples = [torch.randn(self.config.field_size) * 0.1 for _ in range(self.config.synthetic_samples)]
        samples += [x, self.field]
        for group in self.adam.param_groups:
            group["lr"] = self.config.learning_rate * self.plasticity.plasticity
        epochs = [self.epoch(samples) for _ in range(self.config.epochs)]
        with torch.no_grad():
            self.move(x)
            reward = sum(epoch[1] for epoch in epochs) / len(epochs)
            self.plasticity.observe(reward, float(self.field.var()))
        return {"loss": epochs[-1][0], "reward": reward}

    def epoch(self, samples: list[Tensor]) -> tuple[float, float]:
        state, losses, total = state_key(float(self.field.mean())), [], 0.0
        for sample in samples:
            action = self.table.choose(state)
            result = self.act(ACTIONS[action], sample)
            loss = result.var() + (result.mean() - 0.5).abs()
            reward = reward_of(loss.item())
            next_state = state_key(result.mean().item())
            self.table.update(state, action, reward, next_state)
            losses.append(loss)
            total += reward
            state = next_state
        loss = torch.stack(losses).mean()
        self.adam.zero_grad(set_to_none=False)
        for parameter in self.parameters:  # a network that no sample chose has a zero gradient and is stepped too
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        loss.backward()
        self.adam.step()
        return loss.item(), total

    def move(self, x: Tensor) -> None:
        g = 0.9 * self.field + 0.1 * x
        action = self.table.greedy(state_key(float(g.mean())))
        self.field = self.act(ACTIONS[action], g).clamp(-1.0, 1.0)
        for number, decay in enumerate(self.config.syntropy_decays):
            slow = decay * self.syntropy_fields[number] + (1.0 - decay) * self.field
            distance = 0.5 - slow.mean()
            if abs(distance) > 0.1:
                slow = (slow + 0.1 * distance).clamp(-1.0, 1.0)
            self.syntropy_fields[number] = slow
        distances = [
            (wins + 1) * (self.field - centroid).square().sum()
            for wins, centroid in zip(self.wins, self.centroids, strict=True)
        ]
        winner = int(torch.stack(distances).argmin())
        self.wins[winner] += 1
        self.centroids[winner] = torch.lerp(self.centroids[winner], self.field, 0.05)
