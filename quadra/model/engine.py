"""Engine: one training iteration, step by step as the model describes it, and the state that it trains.

The engine uses no clock, thread, print or global random generator. Besides its own state it reads the next line of the
corpus. An iteration with a number that is not finite is rejected: it is undone, and people read of a void iteration.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quadra.config import ACTIONS, TrainingConfig, default_text_gain
from quadra.errors import IntegrityError
from quadra.model.actions import reward_of
from quadra.model.activity import ActivitySample
from quadra.model.adam import AdamRule
from quadra.model.backend import Backend, BackendClass, fastest_backend, why_not_compiled
from quadra.model.corpus import Corpus
from quadra.model.outcomes import Outcomes
from quadra.model.packing import packed
from quadra.model.plasticity import NeuroplasticityManager
from quadra.model.qlearning import QTable, state_key
from quadra.model.run_buffers import Snapshot, SnapshotPool, StateBuffers
from quadra.model.words import TOKENIZERS, features


@dataclass(frozen=True)
class StepResult:
    """The metrics of one good iteration, as plain numbers and text."""

    iteration: int  # counted from 1
    loss: float  # of the last epoch
    reward: float  # summed over an epoch's samples, averaged over the epochs
    variance: float  # of the core field after the iteration
    mean: float  # of the core field after the iteration
    integrity_strikes: int  # rejected iterations of this run so far
    qtable_size: int  # states in the table
    plasticity: float
    pattern: int
    text: str  # the line of this iteration
    action: str  # what moved the core field

    def as_dict(self) -> dict[str, Any]:
        """Returns the metrics by name."""
        return asdict(self)


class _RejectedIterationError(Exception):
    """A number of this iteration is not finite; never leaves the engine."""


class Engine:
    """All that one run trains. `config.seed` must be set; CUDA is used where `config.device` says so."""

    def __init__(self, config: TrainingConfig, corpus: Corpus, backend: BackendClass | None = None) -> None:
        if config.seed is None:
            raise ValueError("an engine needs a seed")
        self.config = config
        self.corpus = corpus
        self.iteration = 0
        self.newest: dict[str, Any] = dict(_NOTHING_YET)  # what the newest iteration did, for people
        # Why torch trains on a CPU; None where that is not so, or was asked for.
        self.slow_because = why_not_compiled() if backend is None and config.device == "cpu" else None
        weights_seed, samples_seed, choice_seed, text_seed = np.random.SeedSequence(config.seed).spawn(4)
        self._restless_above = config.high_variance if config.restless_states else math.inf
        self._text_chance = np.random.Generator(np.random.PCG64(text_seed))
        self.q_table = QTable(config, choice_seed)
        self.neuroplasticity = NeuroplasticityManager(config)
        self._samples = torch.Generator(config.device).manual_seed(_whole(samples_seed))
        with processor_modes(config):  # before torch starts threads, which keep the mode they begin with
            self._buffers = StateBuffers(config)
            self._buffers.draw(torch.Generator().manual_seed(_whole(weights_seed)))
            self._snapshots = SnapshotPool(self._buffers)
            self._backend: Backend = (backend or fastest_backend(config))(config, self._buffers)

    @property
    def field(self) -> Tensor:
        """The core field, shape (n,)."""
        return self._buffers.field

    @property
    def parameters(self) -> Mapping[str, NDArray[np.float32]]:
        """Weights and biases by name; on the CPU they are the run's own memory, which may be read between two steps only."""
        return {name: tensor.cpu().numpy() for name, tensor in self._buffers.parameters.items()}

    def activity_sample(self) -> ActivitySample:
        """Returns what people are shown of the run between two steps; on the CPU the field is the run's own memory."""
        return ActivitySample(
            self.iteration,
            self._buffers.field.cpu().numpy(),
            self.neuroplasticity.plasticity,
            [sum(column) for column in zip(*self.q_table.visits.values(), strict=True)] or [0] * len(ACTIONS),
            self._buffers.wins.tolist(),
        )

    def step(self) -> StepResult:
        """Trains one iteration; a rejected one is undone, counts as a strike and is followed by the next line.

        Raises IntegrityError after three rejected iterations in a row; all values are then those of the last good one.
        """
        with processor_modes(self.config):
            return self._step()

    def _step(self) -> StepResult:
        for _ in range(self.config.strikes_in_a_row):
            line = self.corpus.next_line()
            self._begin()
            try:
                result = self._iterate(line)
                self._snapshots.discard()
                return result
            except _RejectedIterationError:
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
        """Returns whether every number of the state is finite; a state that is not is never saved."""
        return bool(torch.isfinite(self._buffers.flat).all()) and self._mean_reward_is_finite()

    def _mean_reward_is_finite(self) -> bool:
        mean_reward = self.neuroplasticity.mean_reward
        return mean_reward is None or math.isfinite(mean_reward)

    def _begin(self) -> None:
        self._snapshots.capture()
        self._wins_before = self._buffers.wins.clone()
        self._adam_steps_before = self._buffers.adam_steps
        self.q_table.begin()

    def _undo(self) -> None:
        """Undoes all that training changed; the position in the text and the generators stay advanced."""
        self._snapshots.restore()
        self._buffers.wins.copy_(self._wins_before)
        self._buffers.adam_steps = self._adam_steps_before
        self.q_table.undo()

    def _iterate(self, line: str) -> StepResult:
        backend = self._backend
        x = torch.from_numpy(self._features(line)).to(self.config.device)
        stimulated = backend.stimulate(x, self._text_share())
        self._draw_samples(x)
        epochs = [self._epoch() for _ in range(self.config.epochs)]
        action = self.q_table.greedy(self._q_state(*stimulated))
        backend.move(action)
        backend.remember()
        pattern = backend.recognize()
        variance, mean = backend.variance_and_mean()
        if not (backend.fields_are_finite() and self._mean_reward_is_finite()):
            raise _RejectedIterationError
        reward = sum(epoch_reward for _, epoch_reward in epochs) / len(epochs)
        self.neuroplasticity.observe(reward, variance)
        self.iteration += 1
        self.newest = {"pattern": pattern, "text": line, "action": ACTIONS[action]}
        return self.result(epochs[-1][0], reward, variance, mean)

    def result(self, loss: float, reward: float, variance: float, mean: float) -> StepResult:
        """Returns the newest iteration's metrics, given those that only the history holds."""
        manager = self.neuroplasticity
        return StepResult(
            iteration=self.iteration, loss=_single(loss), reward=_single(reward), variance=variance, mean=mean,
            integrity_strikes=manager.integrity_strikes, qtable_size=len(self.q_table),
            plasticity=manager.plasticity, **self.newest,
        )  # fmt: skip

    def _features(self, line: str) -> NDArray[np.float32]:
        """Returns x of a line, shape (n,). Words are left out and noise is added where the run has that."""
        config = self.config
        words = TOKENIZERS[config.tokenizer](line)
        if config.word_dropout:
            kept = self._text_chance.random(len(words)) >= config.word_dropout
            words = [word for word, is_kept in zip(words, kept, strict=True) if is_kept]
        x = features(words, config.field_size)
        if config.noise:
            x += np.float32(config.noise) * self._text_chance.standard_normal(config.field_size, np.float32)
        return x

    def _text_share(self) -> float:
        """Returns the factor of x in this iteration: its gain swings, so that the field is never at rest."""
        config = self.config
        gain = default_text_gain(config.field_size) if config.text_gain is None else config.text_gain
        swing = 1.0 + config.vibration * math.sin(config.vibration_rate * (self.iteration + 1))
        return float(np.float32((1.0 - config.field_decay) * gain * swing))

    def _q_state(self, mean: float, variance: float) -> str:
        return state_key(mean, variance > self._restless_above)

    def _draw_samples(self, x: Tensor) -> None:
        """Fills the samples: the synthetic vectors, then x, then the field that the actions will meet."""
        count, vectors = self.config.synthetic_samples, self._backend.vectors
        vectors[:count].normal_(0.0, self.config.start_deviation, generator=self._samples)
        is_driven = self.config.last_sample == "driven"
        vectors[count], vectors[count + 1] = x, self._backend.stimulated if is_driven else self.field
        self._backend.prepare()

    def _epoch(self) -> tuple[float, float]:
        """Chooses an action for each sample in turn, updates Q, makes one Adam step; returns mean loss and summed reward.

        Weights do not change within an epoch, so all samples are evaluated under all actions at once.
        """
        outcomes = self._backend.evaluate()
        chosen, reward = self._choose(outcomes)
        loss = sum(outcomes.losses[action][row] for row, action in enumerate(chosen)) / len(chosen)
        if not math.isfinite(loss):
            raise _RejectedIterationError
        self._buffers.adam_steps += 1
        if not self._backend.learn(
            chosen, AdamRule.at(self._buffers.adam_steps, self.config, self.neuroplasticity.plasticity)
        ):
            raise _RejectedIterationError
        return loss, reward

    def _choose(self, outcomes: Outcomes) -> tuple[list[int], float]:
        """Returns the choices through the samples and the summed reward."""
        is_own, restless_above = self.config.choice_state == "own", self._restless_above
        own = [self._q_state(*moments) for moments in self._backend.sample_moments()] if is_own else []
        q_state = self._q_state(*self._backend.field_moments())
        chosen, total = [], 0.0
        for row in range(len(outcomes.means[0])):
            if is_own:
                q_state = own[row]
            action = self.q_table.choose(q_state)
            reward = reward_of(outcomes.losses[action][row])
            next_q_state = state_key(outcomes.means[action][row], outcomes.variances[action][row] > restless_above)
            self.q_table.update(q_state, action, reward, next_q_state)
            chosen.append(action)
            total += reward
            q_state = next_q_state
        return chosen, total

    @property
    def snapshot_in_use(self) -> bool:
        """Whether neither `step` nor `snapshot` can go on until a snapshot is released; the engine never waits."""
        return self._snapshots.snapshot_in_use

    def snapshot(self) -> Snapshot:
        """Returns the present state in a buffer that is lent; the next step then needs no copy of its own for its undo.

        Raises RuntimeError where `snapshot_in_use`.
        """
        return self._snapshots.snapshot(self._plain())

    def state_dict(self) -> dict[str, Any]:
        """Returns a copy of everything that training reads, which stays as it is while training goes on.

        All tensors are views of one storage, so the copy is one move of memory and one entry in a file.
        """
        copy = self._buffers.flat.detach().to("cpu", copy=True)
        return Snapshot(copy, self._buffers.tensors.specs, self._plain(), None).state_dict()

    def _plain(self) -> bytes:
        """Returns a copy of everything that is not in the buffer."""
        return packed(
            {
                **self._buffers.plain(),
                "q_table": self.q_table.rows,
                "generators": {
                    "samples": self._samples.get_state().numpy().tobytes(),
                    "samples_device": self.config.device,
                    "exploration": self.q_table.generator_state,
                    **self._text_generator(),
                },
                "neuroplasticity": self.neuroplasticity.state_dict(),
                "corpus": self.corpus.state_dict(),
                "newest": self.newest,
                "iteration_count": self.iteration,
            }
        )

    def _text_generator(self) -> dict[str, Any]:
        """Returns the generator of dropped words and noise, where the run draws from it."""
        draws = self.config.word_dropout or self.config.noise
        return {"text": self._text_chance.bit_generator.state} if draws else {}

    def has_samples_generator(self, generators: Mapping[str, Any]) -> bool:
        """Whether the saved generator of random samples is of this kind of device and, on a GPU, of this torch's length."""
        saved, present = (device.split(":")[0] for device in (generators["samples_device"], self.config.device))
        same_length = present == "cpu" or len(generators["samples"]) == len(self._samples.get_state())
        return saved == present and same_length  # on the CPU every torch has the same

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Restores what `state_dict` gave. Raises KeyError or ValueError where it does not fit."""
        self._snapshots.discard()
        self._buffers.load_state_dict(saved)
        generators = saved["generators"]
        self.q_table.load_state_dict({"table": saved["q_table"], "generator": generators["exploration"]})
        if "text" in generators:
            self._text_chance.bit_generator.state = generators["text"]
        if self.has_samples_generator(generators):
            self._samples.set_state(generators["samples"])
        self.neuroplasticity.load_state_dict(saved["neuroplasticity"])
        self.corpus.load_state_dict(saved["corpus"])
        self.newest = _checked_newest(saved.get("newest", {}))
        self.iteration = int(saved["iteration_count"])


_NOTHING_YET = {"pattern": 0, "text": "", "action": ""}
_SMALLEST_NORMAL = sys.float_info.min


def _checked_newest(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a saved iteration did, for browsers. Raises ValueError for a value that they could not be sent."""
    newest = {name: saved.get(name, nothing) for name, nothing in _NOTHING_YET.items()}
    for name, nothing in _NOTHING_YET.items():
        if type(newest[name]) is not type(nothing):
            raise ValueError(f"its newest {name} is {newest[name]!r:.50}")
    return newest


@contextmanager
def processor_modes(config: TrainingConfig) -> Iterator[None]:
    """Flushes denormals and sets the thread count while a run computes: its bits depend on both.

    The calling thread gets its own denormal mode back, because other code on it may need denormals.
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
    """Returns the number rounded to single precision, as the history holds it: the same figure everywhere."""
    return float(np.float32(number))


def _whole(seed: np.random.SeedSequence) -> int:
    return int(seed.generate_state(1, np.uint64)[0])
