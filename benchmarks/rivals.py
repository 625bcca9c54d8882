"""The same iteration with all samples batched, on the layers of other packages. Each network is evaluated once an epoch.

Their neurons differ in detail (SpikingJelly resets at once, not one step late): what is compared is the cost.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from quadra.config import ACTIONS, TrainingConfig
from quadra.model.actions import Transformation, reward_of
from quadra.model.corpus import Corpus
from quadra.model.field import recognize, regulate, remember, stimulate
from quadra.model.plasticity import NeuroplasticityManager
from quadra.model.qlearning import QTable, state_key
from quadra.model.spiking import layer_sizes
from quadra.model.words import classic_words, features

NetworkKind = Callable[[tuple[int, ...], int], nn.Module]


class SnnTorchNetwork(nn.Module):
    """Step by step, samples batched."""

    def __init__(self, sizes: tuple[int, ...], time_steps: int) -> None:
        import snntorch
        from snntorch import surrogate

        super().__init__()
        gradient = surrogate.fast_sigmoid(slope=25)
        self.linear = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.lif = nn.ModuleList(snntorch.Leaky(beta=0.95, spike_grad=gradient) for _ in self.linear)
        self._time_steps = time_steps

    def forward(self, x: Tensor) -> Tensor:
        membranes, total = [lif.init_leaky() for lif in self.lif], torch.zeros(())
        for _ in range(self._time_steps):
            signal = x
            for number, (linear, lif) in enumerate(zip(self.linear, self.lif, strict=True)):
                signal, membranes[number] = lif(linear(signal), membranes[number])
            total = total + signal
        return total / self._time_steps


class NorseNetwork(nn.Module):
    """Step by step with LIFBox cells, samples batched."""

    def __init__(self, sizes: tuple[int, ...], time_steps: int) -> None:
        from norse.torch import LIFBoxCell, LIFBoxParameters

        super().__init__()
        parameters = LIFBoxParameters(tau_mem_inv=torch.tensor(50.0))  # 1 - 50 * 0.001 = 0.95
        self.linear = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.lif = nn.ModuleList(LIFBoxCell(parameters) for _ in self.linear)
        self._time_steps = time_steps

    def forward(self, x: Tensor) -> Tensor:
        states: list[Any] = [None] * len(self.lif)
        total = torch.zeros(())
        for _ in range(self._time_steps):
            signal = x
            for number, (linear, lif) in enumerate(zip(self.linear, self.lif, strict=True)):
                signal, states[number] = lif(linear(signal), states[number])
            total = total + signal
        return total / self._time_steps


class SpikingJellyNetwork(nn.Module):
    """Multi-step mode: every layer for all time steps at once, samples batched."""

    def __init__(self, sizes: tuple[int, ...], time_steps: int) -> None:
        from spikingjelly.activation_based import layer, neuron

        super().__init__()
        self.linear = nn.ModuleList(layer.Linear(a, b, step_mode="m") for a, b in pairwise(sizes))
        self.lif = nn.ModuleList(
            neuron.LIFNode(tau=20.0, decay_input=False, v_reset=None, step_mode="m") for _ in self.linear
        )
        self._time_steps = time_steps

    def forward(self, x: Tensor) -> Tensor:
        from spikingjelly.activation_based import functional

        functional.reset_net(self)
        signal = x.expand(self._time_steps, *x.shape)
        for linear, lif in zip(self.linear, self.lif, strict=True):
            signal = lif(linear(signal))
        return signal.mean(0)


RIVALS: dict[str, tuple[str, NetworkKind]] = {
    "snnTorch, batched": ("snntorch", SnnTorchNetwork),
    "Norse, batched": ("norse", NorseNetwork),
    "SpikingJelly, multi-step, batched": ("spikingjelly", SpikingJellyNetwork),
}


class BatchedEngine:
    """An iteration as in `plain`, but for all samples at once and with any kind of network."""

    def __init__(self, config: TrainingConfig, corpus: Corpus, kind: NetworkKind) -> None:
        self.config, self.corpus = config, corpus
        torch.manual_seed(config.seed or 0)
        self.networks = {name: kind(sizes, config.time_steps) for name, sizes in layer_sizes(config).items()}
        parameters = [value for network in self.networks.values() for value in network.parameters()]
        self.adam = torch.optim.Adam(parameters, lr=config.learning_rate)
        self.table = QTable(config, np.random.SeedSequence(config.seed))
        self.plasticity = NeuroplasticityManager(config)
        self.field = torch.randn(config.field_size) * 0.1
        self.memories = torch.randn(len(config.syntropy_decays), config.field_size) * 0.1
        self.decays = torch.tensor(config.syntropy_decays)[:, None]
        self.centroids, self.wins = torch.randn(config.patterns, config.field_size) * 0.1, torch.zeros(config.patterns)

    def step(self) -> float:
        config = self.config
        x = torch.from_numpy(features(classic_words(self.corpus.next_line()), config.field_size))
        samples = torch.cat([torch.randn(config.synthetic_samples, config.field_size) * 0.1, x[None], self.field[None]])
        for group in self.adam.param_groups:
            group["lr"] = config.learning_rate * self.plasticity.plasticity
        rewards = [self.epoch(samples) for _ in range(config.epochs)]
        with torch.no_grad():
            g = stimulate(self.field, x, config.field_decay, 1.0 - config.field_decay)[None]
            action = self.table.greedy(state_key(g.mean().item()))
            self.field = self.outcomes(g)[action, 0].clamp(-1.0, 1.0)
            remember(self.memories, self.field, self.decays)
            regulate(self.memories, config)
            recognize(self.field, self.centroids, self.wins, config.pattern_rate)
        self.plasticity.observe(sum(rewards) / len(rewards), float(self.field.var()))
        return rewards[-1]

    def outcomes(self, vectors: Tensor) -> Tensor:
        """f' under every action: (3, B, n)."""
        known = Transformation(vectors, self.config)
        shown = known.network_inputs()
        return known.outcomes({name: network(shown[name]) for name, network in self.networks.items()})

    def epoch(self, samples: Tensor) -> float:
        outcomes = self.outcomes(samples)
        means = outcomes.mean(-1)
        losses = outcomes.var(-1) + (means - 0.5).abs()
        seen, costs = means.tolist(), losses.tolist()
        state, chosen, total = state_key(self.field.mean().item()), [], 0.0
        for row in range(len(samples)):
            action = self.table.choose(state)
            reward, after = reward_of(costs[action][row]), state_key(seen[action][row])
            self.table.update(state, action, reward, after)
            chosen.append(action)
            total, state = total + reward, after
        assert max(chosen) < len(ACTIONS)
        self.adam.zero_grad(set_to_none=False)
        losses[chosen, range(len(chosen))].mean().backward()
        self.adam.step()
        return total
