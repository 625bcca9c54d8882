"""Operations: what each command of the life cycle does, and what a step brings with it; on the worker thread."""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING, Any

from quadra.errors import (
    ConfigurationError,
    IntegrityError,
    LoadError,
    NoSavedStateError,
    QuadraError,
    RefusedError,
    SaveError,
)
from quadra.states.listing import last_good
from quadra.states.own_texts import own_texts
from quadra.storage.layout import ID
from quadra.storage.reset import describe_deletable
from quadra.training.autosave import AutoSave
from quadra.training.events import (
    LoadFailed,
    Message,
    PaceChanged,
    RunInitialized,
    StateLoaded,
    SystemReset,
    TrainingStarted,
    TrainingStopped,
)
from quadra.training.lifecycle import LifecycleCommand, Phase, next_phase
from quadra.training.progress_events import progress
from quadra.training.publisher import Publisher
from quadra.training.view import FASTEST_PACE, SLOWEST_PACE, Rescue, SaveHealth, SaveOutcome, View

if TYPE_CHECKING:
    from quadra.states.load_order import LoadReport
    from quadra.storage.save_record import Ended
    from quadra.training.state import TrainingState

log = logging.getLogger("quadra.worker")


class Operations:
    """Changes the run as people ask for it; each operation returns what whoever asked is answered, or raises a QuadraError.

    `goes_back`: whether training that ended by integrity strikes goes back to a good state by itself.
    """

    def __init__(self, state: TrainingState, publisher: Publisher, autosave: AutoSave, goes_back: bool) -> None:
        self.state, self._publisher, self._autosave, self._goes_back = state, publisher, autosave, goes_back
        self._next_step_at = 0.0
        self._rescued_at: int | None = None  # iteration at which integrity strikes were answered by going back

    @property
    def seconds_until_step(self) -> float:
        """How long to wait so that training keeps its pace; negative where a step is late."""
        return self._next_step_at - time.monotonic()

    def step(self) -> None:
        """Trains one iteration, and does what follows from it."""
        try:
            self.state.step()
        except IntegrityError as error:
            until = self._view.status.until
            self._end_by_failure(str(error))
            self._offer_rescue(until)
            return
        except QuadraError as error:
            self._end_by_failure(str(error))
            return
        except Exception as error:
            log.exception("A training step failed")
            self._end_by_failure(f"Training stopped: a step failed with {type(error).__name__}: {error}")
            return
        self._pace_next_step()
        count = self.state.iteration_count
        self._autosave.after_step(count)
        self._publisher.show_step(self.state)
        until = self._view.status.until
        if until is not None and count >= until:
            self._end_training("stopped")
            self._publisher.publish(Message(f"Training reached iteration {count} and stopped.", "success"))

    def initialize(
        self, field_size: int | None = None, seed: int | None = None, corpus: str | None = None
    ) -> dict[str, Any]:
        """Begins a new run; what was unsaved of the one before is saved."""
        target = next_phase(self._view.status.phase, LifecycleCommand.INITIALIZE)
        self._autosave.publish_saved_first(self.state.initialize(field_size, seed, corpus))
        self._show_run(target)
        config = self.state.config
        self._publisher.publish(RunInitialized(config.field_size, config.seed))
        for text in self.state.slowness:
            self._publisher.publish(Message(text, "warning"))
        return {"initialized": True, "field_size": config.field_size, "seed": config.seed}

    def start(self, until: int | None) -> dict[str, Any]:
        """Trains from now on, to the iteration `until` where that is given."""
        target = next_phase(self._view.status.phase, LifecycleCommand.START)
        count = self.state.iteration_count
        if until is not None and until <= count:
            raise ConfigurationError("until", f"must be above the present iteration, {count}, not {until}")
        self._next_step_at = time.monotonic()
        self._publisher.restart_rate()
        self._publisher.show(phase=target, until=until)
        self._publisher.publish(TrainingStarted())
        return {"running": True, "iteration_count": count, "until": until}

    def stop(self) -> dict[str, Any]:
        """Ends training and saves. Raises SaveError where that failed; training has ended all the same."""
        next_phase(self._view.status.phase, LifecycleCommand.STOP)
        outcome = self._end_training("stopped", by_itself=False)
        count = self.state.iteration_count
        if outcome is None:
            raise SaveError(
                f"Training has stopped at iteration {count}, but it could not be saved: {self._autosave.trouble}"
            )
        return {"iteration_count": count, "saved_at": outcome.saved_at}

    def load(self, source: str | None, newest: bool = False, discard_unsaved: bool = False) -> dict[str, Any]:
        """Loads a saved state, by default the run that was last stopped or loaded, with `newest` the newest of all."""
        target = next_phase(self._view.status.phase, LifecycleCommand.LOAD)
        try:
            with progress("load", self._publisher.publish):
                report = self.state.load(source, newest, discard_unsaved)
        except LoadError as error:
            is_of_a_run = source is None or ID.fullmatch(source) is not None
            raise self._answer_failed_load(error, newest or not is_of_a_run) from error
        self._show_run(target)
        return self._report_load(report)

    def save_as_new_run(self) -> dict[str, Any]:
        """Saves the run in memory as a new one, where the state directory was exchanged."""
        if not self._autosave.is_folder_changed:
            raise RefusedError("The state directory is still this server's own; there is nothing to resolve.")
        record = self.state.go_on_as_new_run().record
        self._show_run(self._view.status.phase)
        self._autosave.publish_saved_first(record)
        self._publisher.publish(Message("The run in memory goes on as a new saved run.", "success"))
        return {"run": record.run, "iteration_count": record.iteration_count}

    def go_on_unattended(self) -> None:
        """Saves the run in memory as a new one, since nobody has said in time what becomes of it.

        Where no folder is at the path none is made: the disk on which it stood may come back.
        """
        self._autosave.wait_for_answer()  # for what fails now
        path = self.state.folder.path
        if not path.is_dir() or self._autosave.save(self.state.saving, None) is not None:
            return  # in the other case all is our own again, as where a disk was mounted anew
        try:
            self.save_as_new_run()
        except (QuadraError, OSError) as error:
            text = f"Nobody has said what becomes of the run in memory, and it could not go on as a new one in {path}: {error}"
            self._publisher.publish(Message(text, "error"))
            return
        text = f"Nobody has said in time what becomes of the run in memory: it goes on by itself. What is in {path} is kept."
        self._publisher.publish(Message(text, "warning"))

    def reset(self) -> dict[str, Any]:
        """Deletes every saved state, and clears memory."""
        target = next_phase(self._view.status.phase, LifecycleCommand.RESET)
        self._publisher.restart_rate()
        try:
            self.state.reset()
        except OSError as error:
            raise SaveError(f"Not everything could be deleted: {error}. Remove the cause and reset again.") from error
        finally:
            self._show_run(target)
            self._publisher.show(until=None, must_train=False)
        self._publisher.publish(SystemReset())
        return {}

    def set_pace(self, pace: float | None) -> dict[str, Any]:
        """Holds training to so many iterations a second; None: no limit."""
        if pace is not None and not (math.isfinite(pace) and SLOWEST_PACE <= pace <= FASTEST_PACE):
            raise ConfigurationError("iterations_per_second", f"must be from {SLOWEST_PACE} to {FASTEST_PACE:,.0f}")
        self._next_step_at = time.monotonic()
        self._publisher.show(pace=pace)
        self._publisher.publish(PaceChanged(pace))
        return {"iterations_per_second": pace}

    def resume(self) -> dict[str, Any]:
        """Loads the newest intact save of all and trains; with no save, begins a new run."""
        try:
            self.load(None, newest=True)
        except NoSavedStateError:
            self.initialize()
        return self.start(None)

    def close(self) -> dict[str, Any]:
        """Saves and releases the folder, which is free afterwards whatever happens here. Raises SaveError."""
        state = self.state
        try:
            failed = state.saving.is_unsaved and self._autosave.save(state.saving, None) is None
        finally:
            state.release()
        if failed:
            raise SaveError(self._autosave.trouble)
        return {}

    @property
    def _view(self) -> View:
        return self._publisher.view

    def _pace_next_step(self) -> None:
        pace, now = self._view.status.pace, time.monotonic()
        due = self._next_step_at + (1.0 / pace if pace else 0.0)
        self._next_step_at = max(due, now - 0.1)  # a late step is caught up with, a long pause is not

    def _end_by_failure(self, text: str) -> None:
        self._end_training(None)  # first: the message may name an iteration that must be durable to be shown
        self._publisher.publish(Message(text, "error"))

    def _end_training(self, ended: Ended | None, by_itself: bool = True) -> SaveOutcome | None:
        """Goes from training to ready, saved; `ended` is "stopped" where a person or `until` asked for it."""
        outcome = self._autosave.save(self.state.saving, ended)
        self._publisher.restart_rate()
        if ended == "stopped":
            self._publisher.show(must_train=False)
        self._publisher.show(phase=Phase.READY, until=None)
        self._publisher.publish(TrainingStopped(by_itself, self.state.run.strikes))
        return outcome

    def _offer_rescue(self, until: int | None) -> None:
        """Shows the last good state; with the option, goes back to it and trains on, once for each iteration that failed."""
        count = self.state.iteration_count
        good = last_good(self.state.saved_states.listing, self.state.run.id, count)
        rescue = None if good is None else Rescue(count, good.id, good.iteration_count)
        self._publisher.show(rescue=rescue)
        if rescue is None or not self._goes_back or self._rescued_at == count:
            return
        self._rescued_at = count
        text = f"Going back to iteration {rescue.iteration_count} by itself (--rescue)."
        self._publisher.publish(Message(text, "warning"))
        try:
            self.load(rescue.state)
            self.start(until)
        except QuadraError as error:
            self._publisher.publish(Message(f"Training could not go on by itself: {error}", "error"))

    def _show_run(self, target: Phase) -> None:
        """Shows that another run, or none, is in memory."""
        state = self.state
        self._autosave.start_over()
        self._publisher.show(
            phase=target,
            **state.identity(),
            texts=own_texts(self.state.folder.path),
            best=state.saving.best,
            alert_rules=state.run.alert_rules if state.is_initialized else (),
            rescue=None,
            catalog=state.catalog(),
            deletes=describe_deletable(self.state.folder.layout),
            last_save=None,
            trouble=None,
            save_health=SaveHealth(),
        )
        self._autosave.show_newest(state.saving)

    def _report_load(self, report: LoadReport) -> dict[str, Any]:
        count = report.record.iteration_count
        self._autosave.publish_saved_first(report.saved_first)
        self._publisher.publish(StateLoaded(count))
        remarks = report.remarks()
        for text in remarks:
            self._publisher.publish(Message(text, "warning"))
        newer = report.newer.brief() if report.newer else None
        answer = {"iteration_count": count, "newer": newer, "warnings": remarks}
        return {**answer, "went_on_from": report.went_on_from}

    def _answer_failed_load(self, error: LoadError, as_it_was: bool) -> LoadError:
        """Returns the error to raise; first initializes a run where none is, unless `as_it_was` or for an unknown state."""
        self._publisher.publish(LoadFailed(str(error), nothing_there=isinstance(error, NoSavedStateError)))
        if self._view.status.phase is not Phase.UNINITIALIZED or as_it_was or error.code == "unknown_source":
            return error
        self.initialize()
        return type(error)(f"{str(error).removesuffix('.')}. A fresh run was initialized instead.")
