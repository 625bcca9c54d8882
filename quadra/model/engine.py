"""One training iteration, step by step as the model describes it.

The engine is pure of the world: no clock, thread, print or global random generator. What it reads besides its own
state is the next line of the corpus.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quadra.config import ACTIONS, TrainingConfig
from quadra.errors import IntegrityError
from quadra.model.actions import reward_of
from quadra.model.activity import ActivitySample
from quadra.model.adam import AdamRule
from quadra.model.corpus import Corpus, features
from quadra.model.packing import packed
from quadra.model.plasticity import NeuroplasticityManager
from quadra.model.qlearning import QTable, state_key
from quadra.model.run_buffers import Copies, RunTensors, Snapshot


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


class Trainer(Protocol):
    """The mathematics between two choices; on the CPU compiled, on a GPU in torch."""

    vectors: Tensor  # the samples (12, n), to be filled before `show`

    def show(self) -> None:
        """Prepare what the epochs need of the samples."""

    def mean(self) -> float:
        """Of the core field."""

    def evaluate(self) -> tuple[list[list[float]], list[list[float]]]:
        """Means and losses of all samples under all actions, each (actions, samples)."""

    def learn(self, chosen: list[int], rule: AdamRule) -> bool:
        """One Adam step on the mean loss of the chosen actions; False where a number was found that is not finite."""

    def stimulate(self, x: Tensor) -> float:
        """Keep g = 0.9 * field + 0.1 * x for `move`; returns its mean."""

    def move(self, action: int) -> None:
        """field = clip(action(g), -1, 1)."""

    def remember(self) -> None:
        """The syntropy fields follow the field and are regulated."""

    def recognize(self) -> int:
        """The field's pattern."""

    def variance_and_mean(self) -> tuple[float, float]:
        """Of the core field."""

    def fields_are_finite(self) -> bool:
        """Whether every number is that `learn` did not look at."""


TrainerClass = Callable[[TrainingConfig, RunTensors], Trainer]


def fastest_trainer(config: TrainingConfig) -> TrainerClass:
    """The kernels compiled for the CPU, or torch on a GPU; each is imported only where it is used."""
    if config.device == "cpu":
        from quadra.model.compiled_backend import CompiledBackend

        return CompiledBackend
    from quadra.model.torch_backend import TorchBackend

    return TorchBackend


class _VoidIterationError(Exception):
    """A number of this iteration is not finite; never leaves the engine."""


class Engine:
    """All that one run trains. `config.seed` must be set; CUDA is used when `config.device` says so."""

    def __init__(self, config: TrainingConfig, corpus: Corpus, trainer: TrainerClass | None = None) -> None:
        if config.seed is None:
            raise ValueError("an engine needs a seed")
        self.config = config
        self.corpus = corpus
        self.iteration = 0
        self.newest: dict[str, Any] = dict(_NOTHING_YET)  # what the newest iteration did, for people
        weights_seed, samples_seed, choice_seed = np.random.SeedSequence(config.seed).spawn(3)
        self.q_table = QTable(config, choice_seed)
        self.neuroplasticity = NeuroplasticityManager(config)
        self._samples = torch.Generator(config.device).manual_seed(_whole(samples_seed))
        with processor_modes(config):  # before torch starts threads of its own: they keep the mode they were born with
            self._run = RunTensors(config)
            self._run.draw(torch.Generator().manual_seed(_whole(weights_seed)))
            self._copies = Copies(self._run)
            self._trainer: Trainer = (trainer or fastest_trainer(config))(config, self._run)

    @property
    def field(self) -> Tensor:
        """The core field, shape (n,)."""
        return self._run.field

    @property
    def parameters(self) -> Mapping[str, NDArray[np.float32]]:
        """Weights and biases by name; on the CPU they are the run's own memory, to be read between steps only."""
        return {name: tensor.cpu().numpy() for name, tensor in self._run.parameters.items()}

    def activity_sample(self) -> ActivitySample:
        """What can be seen between two steps; on the CPU the field is the run's own memory."""
        return ActivitySample(
            self.iteration,
            self._run.field.cpu().numpy(),
            self.neuroplasticity.plasticity,
            [sum(column) for column in zip(*self.q_table.visits.values(), strict=True)] or [0] * len(ACTIONS),
            self._run.wins.tolist(),
        )

    @property
    def parameter_bytes(self) -> int:
        """Bytes of the networks' weights and biases, padding included."""
        return self._run.parameters.flat.numel() * self._run.parameters.flat.element_size()

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
                result = self._iterate(line)
                self._copies.forget()
                return result
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
        return bool(torch.isfinite(self._run.flat).all()) and self._mean_reward_is_finite()

    def _mean_reward_is_finite(self) -> bool:
        mean_reward = self.neuroplasticity.mean_reward
        return mean_reward is None or math.isfinite(mean_reward)

    def _begin(self) -> None:
        self._copies.keep()
        self._wins_before = self._run.wins.clone()
        self._adam_steps_before = self._run.adam_steps
        self.q_table.begin()

    def _undo(self) -> None:
        """All that training changes goes back; the place in the text and the generators stay advanced."""
        self._copies.restore()
        self._run.wins.copy_(self._wins_before)
        self._run.adam_steps = self._adam_steps_before
        self.q_table.undo()

    def _iterate(self, line: str) -> StepResult:
        trainer = self._trainer
        x = torch.from_numpy(features(line, self.config.field_size)).to(self.config.device)
        self._draw_samples(x)
        epochs = [self._epoch() for _ in range(self.config.epochs)]
        action = self.q_table.greedy(state_key(trainer.stimulate(x)))
        trainer.move(action)
        trainer.remember()
        pattern = trainer.recognize()
        variance, mean = trainer.variance_and_mean()
        if not (trainer.fields_are_finite() and self._mean_reward_is_finite()):
            raise _VoidIterationError
        reward = sum(epoch_reward for _, epoch_reward in epochs) / len(epochs)
        self.neuroplasticity.observe(reward, variance)
        self.iteration += 1
        self.newest = {"pattern": pattern, "text": line, "action": ACTIONS[action]}
        return self.result(epochs[-1][0], reward, variance, mean)

    def result(self, loss: float, reward: float, variance: float, mean: float) -> StepResult:
        """The newest iteration's metrics, given those that only the history keeps."""
        manager = self.neuroplasticity
        return StepResult(
            iteration=self.iteration, loss=_single(loss), reward=_single(reward), variance=variance, mean=mean,
            integrity_strikes=manager.integrity_strikes, qtable_size=len(self.q_table),
            plasticity=manager.plasticity, **self.newest,
        )  # fmt: skip

    def _draw_samples(self, x: Tensor) -> None:
        """The synthetic vectors, then x, then the core field."""
        count, vectors = self.config.synthetic_samples, self._trainer.vectors
        vectors[:count].normal_(0.0, self.config.start_deviation, generator=self._samples)
        vectors[count], vectors[count + 1] = x, self.field
        self._trainer.show()

    def _epoch(self) -> tuple[float, float]:
        """Choose an action for each sample in turn, update Q, take one Adam step; returns mean loss and summed reward.

        Weights do not change within an epoch, so all samples are evaluated under all actions at once.
        """
        means, losses = self._trainer.evaluate()
        chosen, reward = self._choose(means, losses)
        loss = sum(losses[action][row] for row, action in enumerate(chosen)) / len(chosen)
        if not math.isfinite(loss):
            raise _VoidIterationError
        self._run.adam_steps += 1
        if not self._trainer.learn(
            chosen, AdamRule.at(self._run.adam_steps, self.config, self.neuroplasticity.plasticity)
        ):
            raise _VoidIterationError
        return loss, reward

    def _choose(self, means: list[list[float]], losses: list[list[float]]) -> tuple[list[int], float]:
        """The sequence of choices through the samples, from precomputed means and losses, each (actions, samples)."""
        state = state_key(self._trainer.mean())
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

    @property
    def snapshot_in_use(self) -> bool:
        """Whether neither `step` nor `snapshot` can go on before a snapshot is released; the engine never waits."""
        return self._copies.snapshot_in_use

    def snapshot(self) -> Snapshot:
        """The state as it is now, in a buffer that is lent; the next step then needs no copy of its own to undo it.

        Raises RuntimeError where `snapshot_in_use`.
        """
        return self._copies.lend(self._plain())

    def state_dict(self) -> dict[str, Any]:
        """Everything that training reads: a copy, so that it stays as it is while training goes on.

        All tensors are views of one storage, so the copy is one move of memory and one entry in a file.
        """
        copy = self._run.flat.detach().to("cpu", copy=True)
        return Snapshot(copy, self._run.tensors.table, self._plain(), None).state_dict()

    def _plain(self) -> bytes:
        """A copy of everything that does not stand in the buffer."""
        return packed(
            {
                **self._run.plain(),
                "q_table": self.q_table.rows,
                "generators": {
                    "samples": self._samples.get_state().numpy().tobytes(),
                    "samples_device": self.config.device,
                    "exploration": self.q_table.generator_state,
                },
                "neuroplasticity": self.neuroplasticity.state_dict(),
                "corpus": self.corpus.state_dict(),
                "newest": self.newest,
                "iteration_count": self.iteration,
            }
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; raises KeyError or ValueError where it does not fit."""
        self._copies.forget()
        self._run.load_state_dict(state)
        generators = state["generators"]
        self.q_table.load_state_dict({"table": state["q_table"], "generator": generators["exploration"]})
        if generators["samples_device"].split(":")[0] == self.config.device.split(":")[0]:
            self._samples.set_state(generators["samples"])
        self.neuroplasticity.load_state_dict(state["neuroplasticity"])
        self.corpus.load_state_dict(state["corpus"])
        self.newest = _checked_newest(state.get("newest", {}))
        self.iteration = int(state["iteration_count"])


_NOTHING_YET = {"pattern": 0, "text": "", "action": ""}
_SMALLEST_NORMAL = sys.float_info.min


def _checked_newest(saved: Mapping[str, Any]) -> dict[str, Any]:
    """What a saved iteration did, as browsers are sent it. Raises ValueError for what they could not be sent."""
    newest = {name: saved.get(name, nothing) for name, nothing in _NOTHING_YET.items()}
    for name, nothing in _NOTHING_YET.items():
        if type(newest[name]) is not type(nothing):
            raise ValueError(f"its newest {name} is {newest[name]!r:.50}")
    return newest


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


def _single(number: float) -> float:
    """Rounded to single precision, as the history keeps it: one figure everywhere."""
    return float(np.float32(number))


def _whole(seed: np.random.SeedSequence) -> int:
    return int(seed.generate_state(1, np.uint64)[0])
