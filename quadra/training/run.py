"""RunInMemory: engine, history and identity of the run that is in memory, if there is one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadra.config import TrainingConfig
from quadra.errors import RefusedError
from quadra.model.activity import ActivityRecorder
from quadra.model.corpus import BUILT_IN_NAME
from quadra.model.engine import Engine, StepResult
from quadra.model.history import SERIES, History
from quadra.states.alert_rules import Rule
from quadra.states.own_texts import id_of
from quadra.storage.save_record import RunEvents

_NO_RUN = "There is no run in memory. Initialize a new one or load a saved state first."


class RunInMemory:
    """What can be read of a run without a look at any folder; `defaults` is the configuration of new runs."""

    def __init__(self, defaults: TrainingConfig) -> None:
        self._defaults = defaults
        self._empty()

    def _empty(self) -> None:
        self._engine: Engine | None = None
        self._activity: ActivityRecorder | None = None
        self.history = History()
        self.run: str | None = None
        self.parent: str | None = None  # the state that the run went on from, `<run>@<iteration>`
        self.last_result: StepResult | None = None
        self.rules: tuple[Rule, ...] = ()  # alerts that a person has asked for
        self.happened = RunEvents()

    def _hold(self, engine: Engine) -> None:
        """This run is in memory now; what is inside it is recorded from here on."""
        self._engine, self._activity = engine, ActivityRecorder(engine.activity_sample())

    @property
    def is_initialized(self) -> bool:
        """Whether a run is in memory."""
        return self._engine is not None

    @property
    def engine(self) -> Engine:
        """The run's engine; raises RefusedError before `initialize` or `load_state`."""
        if self._engine is None:
            raise RefusedError(_NO_RUN)
        return self._engine

    @property
    def activity(self) -> ActivityRecorder:
        """What was inside the run since it is in memory; raises RefusedError as `engine` does."""
        if self._activity is None:
            raise RefusedError(_NO_RUN)
        return self._activity

    @property
    def config(self) -> TrainingConfig:
        """The configuration of the run in memory, or that of new runs."""
        return self._defaults if self._engine is None else self._engine.config

    def identity(self) -> dict[str, Any]:
        """What the run in memory is, or new runs will be, by the names of `quadra.view.Status`."""
        corpus = None if self._engine is None else self._engine.corpus
        return {
            "run": self.run,
            "parent": self.parent,
            "field_size": self.config.field_size,
            "seed": self.config.seed,
            "corpus": corpus.name if corpus else self._defaults.corpus or BUILT_IN_NAME,
            "own_text": id_of(corpus.reference) if corpus else None,
        }

    @property
    def iteration_count(self) -> int:
        """Good iterations of the run in memory."""
        return len(self.history)

    @property
    def strikes(self) -> int:
        """Void iterations of the run so far, those among them that have just ended training."""
        return self.engine.neuroplasticity.integrity_strikes

    def newest(self, series: str) -> float | None:
        """The newest iteration's value of a series; None before the first, or where a damaged history has lost it."""
        rows = self.history.rows()
        value = float(rows[-1, SERIES.index(series)]) if len(rows) else math.nan
        return value if math.isfinite(value) else None

    @property
    def loss_history(self) -> NDArray[np.float32]:
        """Loss of every iteration, shape (iteration_count,)."""
        return self.history.series("loss")

    @property
    def reward_history(self) -> NDArray[np.float32]:
        """Reward of every iteration, shape (iteration_count,)."""
        return self.history.series("reward")

    @property
    def variance_history(self) -> NDArray[np.float32]:
        """Variance of the core field after every iteration, shape (iteration_count,)."""
        return self.history.series("variance")

    @property
    def field_mean_history(self) -> NDArray[np.float32]:
        """Mean of the core field after every iteration, shape (iteration_count,)."""
        return self.history.series("mean")
