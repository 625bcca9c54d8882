"""Run: the run that is in memory, from its engine to its alert rules. Knows no folder and no thread."""

from __future__ import annotations

import math

from quadra.config import TrainingConfig
from quadra.errors import RefusedError
from quadra.model.activity import ActivityRecorder
from quadra.model.engine import Engine, StepResult
from quadra.model.history import SERIES, History
from quadra.states.alert_rules import Rule
from quadra.storage.save_record import Ended, RunEvents
from quadra.storage.saved_state import SavedState


class Run:
    """One run as it is now; its activity is recorded from here on."""

    def __init__(self, engine: Engine, run_id: str) -> None:
        self.engine = engine
        self.id = run_id
        self.parent: str | None = None  # the state that the run went on from, `<run>@<iteration>`
        self.history = History()
        self.activity = ActivityRecorder(engine.activity_sample())
        self.last_result: StepResult | None = None
        self.alert_rules: tuple[Rule, ...] = ()
        self.events = RunEvents()  # what happened to it besides training
        self.ended: Ended = "cut off"  # as the next save will say

    @classmethod
    def restored(cls, saved: SavedState, engine: Engine) -> Run:
        """Returns the run of a saved state; `engine` continues that state."""
        run = cls(engine, saved.record.run)
        run.parent, run.events, run.ended = saved.record.parent, saved.record.events, saved.record.ended
        run.history = History(saved.rows)
        if len(saved.rows):
            run.last_result = engine.result(*saved.rows[-1].tolist())
        return run

    @property
    def config(self) -> TrainingConfig:
        """The configuration that the run was begun with."""
        return self.engine.config

    @property
    def iteration_count(self) -> int:
        """The good iterations of the run."""
        return len(self.history)

    @property
    def strikes(self) -> int:
        """The void iterations of the run so far, those among them that have just ended training."""
        return self.engine.neuroplasticity.integrity_strikes

    def step(self) -> StepResult:
        """Trains one iteration. Raises IntegrityError after three void ones in a row, CorpusError."""
        strikes = self.strikes
        try:
            result = self.engine.step()
        finally:
            if self.strikes > strikes:
                self.events = self.events.with_void(self.iteration_count + 1)
        self.history.append(result.loss, result.reward, result.variance, result.mean)
        self.last_result = result
        if result.iteration >= self.activity.due:
            self.activity.add(self.engine.activity_sample())
        self.ended = "cut off"
        return result

    def newest(self, series: str) -> float | None:
        """Returns the newest iteration's value of a series; None before the first, or where a damaged history has lost it."""
        rows = self.history.rows()
        value = float(rows[-1, SERIES.index(series)]) if len(rows) else math.nan
        return value if math.isfinite(value) else None


def require_run(run: Run | None) -> Run:
    """Returns the run. Raises RefusedError where there is none."""
    if run is None:
        raise RefusedError("There is no run in memory. Initialize a new one or load a saved state first.")
    return run
