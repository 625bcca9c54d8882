"""One training iteration, step by step as the model describes it.

The engine is pure of the world: no clock, thread, print or global random generator. What it reads besides its own
state is the next line of the corpus.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quadra.actions import NETWORK_OF, Transformation, loss_gradient, means_and_losses, reward_of
from quadra.config import ACTIONS, NETWORKS, TrainingConfig
from quadra.errors import IntegrityError
from quadra.field import recognize, regulate, remember, stimulate
from quadra.plasticity import NeuroplasticityManager
from quadra.qlearning import QTable, state_key
from quadra.spiking import SpikingNetworks, draw_parameters, parameter_shapes
from quadra.tensors import FlatTensors
from quadra.text import Corpus, features


@dataclass(frozen=True)
class StepResult:
    """The metrics of one good iteration, as plain numbers."""

    iteration: int  # counted from 1
    loss: float  # of the last epoch
    reward: float  # summed over an epoch's samples, averaged over the epochs
    variance: float  # of the core field after the iteration
    mean: float  # of the core field after the iteration
    integrity_strikes: int  # void iterations of this run so far
    qtable_size: int  # states in the table
    plasticity: float
    pattern: int
    text: str  # the line of this iteration
    action: str  # what moved the core field

    def as_dict(self) -> dict[str, Any]:
        """The metrics by name."""
        return asdict(self)


class Place(NamedTuple):
    """Where a tensor lies in a flat buffer, in floats."""

    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class Snapshot:
    """The state between two iterations, for a save: it stays as it is while training goes on, until `release`."""

    flat: NDArray[np.float32]
    places: Mapping[str, Place]  # by the engine's names, `<part>/<network>.<tensor>` or `<tensor>`
    rest: Mapping[str, Any]  # everything else of `state_dict`, as builtins and numpy arrays

    def release(self) -> None:
        """Give the buffer back; callable from any thread."""


class _VoidIterationError(Exception):
    """A number of this iteration is not finite; never leaves the engine."""


class Engine:
    """All that one run trains. `config.seed` must be set; CUDA is used when `config.device` says so."""

    def __init__(self, config: TrainingConfig, corpus: Corpus) -> None:
        if config.seed is None:
            raise ValueError("an engine needs a seed")
        self.config = config
        self.corpus = corpus
        self.iteration = 0
        weights_seed, samples_seed, choice_seed = np.random.SeedSequence(config.seed).spawn(3)
        self.q_table = QTable(config, choice_seed)
        self.neuroplasticity = NeuroplasticityManager(config)
        self._samples = torch.Generator(config.device).manual_seed(_whole(samples_seed))
        self.newest: dict[str, Any] = dict(
            _NOTHING_YET
        )  # what the newest iteration did, for people: pattern, text, action
        with processor_modes(config):  # before torch starts threads of its own: they keep the mode they were born with
            self._allocate()
            self._draw(torch.Generator().manual_seed(_whole(weights_seed)))

    def _allocate(self) -> None:
        config, shapes = self.config, parameter_shapes(self.config)
        self._shapes = {
            **{f"{part}/{name}": shape for part in _LEARNED for name, shape in shapes.items()},
            "field": (config.field_size,),
            "syntropy_fields": (len(config.syntropy_decays), config.field_size),
            "centroids": (config.patterns, config.field_size),
        }
        self._state = FlatTensors.zeros(self._shapes, config.device)
        self._wins = torch.zeros(config.patterns, dtype=torch.int64, device=config.device)  # a float would stop at 2^24
        self._before = torch.zeros_like(self._state.flat)
        size = FlatTensors.flat_size(shapes)
        self._parameters, self._first_moments, self._second_moments = (
            FlatTensors(shapes, self._state.flat[part * size : (part + 1) * size]) for part in range(3)
        )
        self._gradients = FlatTensors.zeros(shapes, config.device)
        self._adam_steps = 0
        self._networks = SpikingNetworks(config, self._parameters, self._gradients)
        self._decays = torch.tensor(config.syntropy_decays, device=config.device)[:, None]

    def _draw(self, generator: torch.Generator) -> None:
        """Start values, always drawn on the CPU, so that a seed means the same run on every device."""
        draw_parameters(self._parameters, self.config, generator)
        for name in ("field", "syntropy_fields", "centroids"):
            target = self._state[name]
            target.copy_(torch.empty(target.shape).normal_(0.0, self.config.start_deviation, generator=generator))

    @property
    def field(self) -> Tensor:
        """The core field, shape (n,)."""
        return self._state["field"]

    def step(self) -> StepResult:
        """Train one iteration; a void one is undone, counts a strike and is followed by the next line.

        Raises IntegrityError after three void iterations in a row; all values are then those of the last good one.
        """
        with processor_modes(self.config):
            return self._step()

    def _step(self) -> StepResult:
        for _ in range(self.config.strikes_in_a_row):
            line = self.corpus.next_line()
            self._begin()
            try:
                return self._iterate(line)
            except _VoidIterationError:
                self._undo()
                self.neuroplasticity.strike()
            except BaseException:
                self._undo()  # whatever failed, the state stays one between two iterations
                raise
        raise IntegrityError(
            f"Training stopped after iteration {self.iteration}: {self.config.strikes_in_a_row} iterations in a row gave "
            "numbers that are not finite and were undone. Load an earlier saved state, or initialize a new run."
        )

    def is_finite(self) -> bool:
        """Whether every number of the state is; one that is not is never saved."""
        rewards = self.neuroplasticity.mean_reward
        return bool(torch.isfinite(self._state.flat).all()) and (rewards is None or math.isfinite(rewards))

    def _begin(self) -> None:
        self._before.copy_(self._state.flat)
        self._wins_before = self._wins.clone()
        self._adam_steps_before = self._adam_steps
        self.q_table.begin()

    def _undo(self) -> None:
        """All that training changes goes back; the place in the text and the generators stay advanced."""
        self._state.flat.copy_(self._before)
        self._wins.copy_(self._wins_before)
        self._adam_steps = self._adam_steps_before
        self.q_table.undo()

    def _iterate(self, line: str) -> StepResult:
        x = torch.from_numpy(features(line, self.config.field_size)).to(self.config.device)
        samples = self._draw_samples(x)
        epochs = [self._epoch(samples) for _ in range(self.config.epochs)]
        action = self._move_field(x)
        remember(self._state["syntropy_fields"], self.field, self._decays)
        regulate(self._state["syntropy_fields"], self.config)
        pattern = recognize(self.field, self._state["centroids"], self._wins, self.config.pattern_rate)
        variance, mean = torch.stack(torch.var_mean(self.field)).tolist()
        if not self.is_finite():
            raise _VoidIterationError
        reward = sum(epoch_reward for _, epoch_reward in epochs) / len(epochs)
        self.neuroplasticity.observe(reward, variance)
        self.iteration += 1
        self.newest = {"pattern": pattern, "text": line, "action": action}
        return self.result(epochs[-1][0], reward, variance, mean)

    def result(self, loss: float, reward: float, variance: float, mean: float) -> StepResult:
        """The newest iteration's metrics, given those that only the history keeps."""
        manager = self.neuroplasticity
        return StepResult(
            iteration=self.iteration, loss=_single(loss), reward=_single(reward), variance=variance, mean=mean,
            integrity_strikes=manager.integrity_strikes, qtable_size=len(self.q_table),
            plasticity=manager.plasticity, **self.newest,
        )  # fmt: skip

    def _draw_samples(self, x: Tensor) -> Transformation:
        """The synthetic vectors, then x, then the core field: shape (12, n)."""
        count = self.config.synthetic_samples
        vectors = torch.empty(count + 2, self.config.field_size, device=self.config.device)
        vectors[:count].normal_(0.0, self.config.start_deviation, generator=self._samples)
        vectors[count], vectors[count + 1] = x, self.field
        return Transformation(vectors, self.config)

    def _epoch(self, samples: Transformation) -> tuple[float, float]:
        """Choose an action for each sample in turn, update Q, take one Adam step; returns mean loss and summed reward.

        Weights do not change within an epoch, so all samples are evaluated under all actions at once.
        """
        outcomes = samples.outcomes(self._networks.rates(samples.network_inputs()))
        means, losses = means_and_losses(outcomes, self.config.set_point).tolist()
        chosen, reward = self._choose(means, losses)
        loss = sum(losses[action][row] for row, action in enumerate(chosen)) / len(chosen)
        if not math.isfinite(loss):
            raise _VoidIterationError
        self._backward(samples, outcomes, chosen)
        self._adam_step()
        return loss, reward

    def _choose(self, means: list[list[float]], losses: list[list[float]]) -> tuple[list[int], float]:
        """The sequence of choices through the samples, from precomputed means and losses, each (actions, samples)."""
        state = state_key(self.field.mean().item())
        chosen, total = [], 0.0
        for row in range(len(means[0])):
            action = self.q_table.choose(state)
            reward = reward_of(losses[action][row])
            next_state = state_key(means[action][row])
            self.q_table.update(state, action, reward, next_state)
            chosen.append(action)
            total += reward
            state = next_state
        return chosen, total

    def _backward(self, samples: Transformation, outcomes: Tensor, chosen: list[int]) -> None:
        """The gradient of the mean loss of the chosen actions; a network that no sample chose has a zero one."""
        for number, action in enumerate(ACTIONS):
            picked = [row for row, choice in enumerate(chosen) if choice == number]
            if not picked:
                self._networks.no_gradient(NETWORK_OF[action])
                continue
            rows = torch.tensor(picked, device=self.config.device)
            gradient = loss_gradient(outcomes[number].index_select(0, rows), self.config.set_point).div_(len(chosen))
            self._networks.backward(NETWORK_OF[action], rows, samples.rate_gradient(action, rows, gradient))

    def _adam_step(self) -> None:
        """Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, Algorithm 1, on all parameters at once."""
        config = self.config
        self._adam_steps += 1
        gradient, first, second = self._gradients.flat, self._first_moments.flat, self._second_moments.flat
        first.lerp_(gradient, 1.0 - config.adam_beta1)
        second.mul_(config.adam_beta2).addcmul_(gradient, gradient, value=1.0 - config.adam_beta2)
        first_correction = 1.0 - config.adam_beta1**self._adam_steps
        second_correction = math.sqrt(1.0 - config.adam_beta2**self._adam_steps)
        step_size = config.learning_rate * self.neuroplasticity.plasticity / first_correction
        scale = second.sqrt().div_(second_correction).add_(config.adam_epsilon)
        self._parameters.flat.addcdiv_(first, scale, value=-step_size)

    def _move_field(self, x: Tensor) -> str:
        """field = clip(action(g), -1, 1) with the greedy action for the state of g; returns the action's name."""
        g = Transformation(stimulate(self.field, x, self.config.field_decay)[None, :], self.config)
        action = self.q_table.greedy(state_key(g.vectors.mean().item()))
        outcomes = g.outcomes(self._networks.rates(g.network_inputs()))
        self.field.copy_(outcomes[action, 0].clamp_(-1.0, 1.0))
        return ACTIONS[action]

    def state_dict(self) -> dict[str, Any]:
        """Everything that training reads: a copy, so that it stays as it is while training goes on.

        All tensors are views of one storage, so the copy is one move of memory and one entry in a file.
        """
        q_table = self.q_table.state_dict()
        copy = FlatTensors(self._shapes, self._state.flat.detach().to("cpu", copy=True))
        return {
            **{network: _of_network(copy, "parameters", network) for network in NETWORKS},
            "optimizer": {
                "step": self._adam_steps,
                **{part: {name: _of_network(copy, part, name) for name in NETWORKS} for part in _LEARNED[1:]},
            },
            **{name: copy[name] for name in _FIELDS},
            "wins": self._wins.to("cpu", copy=True),
            "q_table": q_table["table"],
            "generators": {
                "samples": self._samples.get_state(),
                "samples_device": self.config.device,
                "exploration": q_table["generator"],
            },
            "neuroplasticity": self.neuroplasticity.state_dict(),
            "corpus": self.corpus.state_dict(),
            "newest": dict(self.newest),
            "iteration_count": self.iteration,
        }

    def snapshot(self) -> Snapshot:
        state = self.state_dict()
        copy = FlatTensors(self._shapes, self._state.flat.detach().to("cpu", copy=True))
        places = {
            name: Place(int(view.storage_offset()), tuple(view.shape), view.stride()) for name, view in copy.items()
        }
        names = ("q_table", "neuroplasticity", "corpus", "newest", "iteration_count")
        generators = {**state["generators"], "samples": state["generators"]["samples"].numpy()}
        rest = {**{name: state[name] for name in names}, "wins": state["wins"].numpy(), "step": self._adam_steps}
        return Snapshot(copy.flat.numpy(), places, {**rest, "generators": generators})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; raises KeyError or ValueError where it does not fit."""
        tensors = {name: state[name] for name in _FIELDS}
        for network in NETWORKS:
            for name, value in state[network].items():
                tensors[f"parameters/{network}.{name}"] = value
            for part in _LEARNED[1:]:
                for name, value in state["optimizer"][part][network].items():
                    tensors[f"{part}/{network}.{name}"] = value
        self._state.load_state_dict(tensors)
        self._wins.copy_(state["wins"])
        self._adam_steps = int(state["optimizer"]["step"])
        generators = state["generators"]
        self.q_table.load_state_dict({"table": state["q_table"], "generator": generators["exploration"]})
        if generators["samples_device"].split(":")[0] == self.config.device.split(":")[0]:
            self._samples.set_state(generators["samples"])
        self.neuroplasticity.load_state_dict(state["neuroplasticity"])
        self.corpus.load_state_dict(state["corpus"])
        self.newest = {**_NOTHING_YET, **state.get("newest", {})}
        self.iteration = int(state["iteration_count"])


_NOTHING_YET = {"pattern": 0, "text": "", "action": ""}
_SMALLEST_NORMAL = sys.float_info.min
_LEARNED = ("parameters", "exp_avg", "exp_avg_sq")  # the order in which they lie in the state's buffer
_FIELDS = ("field", "syntropy_fields", "centroids")


@contextmanager
def processor_modes(config: TrainingConfig) -> Iterator[None]:
    """Flush denormals and set the thread count while a run computes: both are part of what its bits depend on.

    The calling thread gets its own denormal mode back: other code on it may count on denormals.
    """
    flushed_before = _SMALLEST_NORMAL / 2.0 == 0.0
    torch.set_flush_denormal(True)
    if config.threads is not None and torch.get_num_threads() != config.threads:
        torch.set_num_threads(config.threads)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed_before)


def _of_network(tensors: Mapping[str, Tensor], part: str, network: str) -> dict[str, Tensor]:
    prefix = f"{part}/{network}."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _single(number: float) -> float:
    """Rounded to single precision, as the history keeps it: one figure everywhere."""
    return float(np.float32(number))


def _whole(seed: np.random.SeedSequence) -> int:
    return int(seed.generate_state(1, np.uint64)[0])
