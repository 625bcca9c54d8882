"""The worker thread: it alone touches the training state. Commands come in with a reply; steps and saves go out as views.

A button press becomes a request on a queue. The worker takes requests between steps, so "stopped and saved" means just
that, and nothing can race a step. What others see is an immutable View, replaced after every step and command.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from quadra.config import TrainingConfig
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
from quadra.storage.folder import StateFolder
from quadra.storage.layout import ID, StateLayout
from quadra.storage.reset import describe_deletable
from quadra.training.autosave import CHECK_EVERY, AutoSave
from quadra.training.command_queue import CommandQueue, Reply, Request
from quadra.training.events import (
    LoadFailed,
    Message,
    PaceChanged,
    Publish,
    RunInitialized,
    StateLoaded,
    StatesChanged,
    SystemReset,
    TrainingStarted,
    TrainingStopped,
    WorkerDied,
)
from quadra.training.lifecycle import Command, Phase, next_phase
from quadra.training.progress_events import progress
from quadra.training.publisher import Publisher
from quadra.training.view import (
    FASTEST_PACE,
    SLOWEST_PACE,
    Rescue,
    SaveHealth,
    SaveOutcome,
    Status,
    View,
    WorkerSettings,
)

if TYPE_CHECKING:
    from quadra.states.load_order import LoadReport
    from quadra.storage.save_record import Ended
    from quadra.training.state import TrainingState

log = logging.getLogger("quadra.worker")


class Worker:
    """Owns the training state from the moment it starts until `close`.

    `open_state` is called on the worker thread: what it imports does not hold up the page.
    """

    def __init__(
        self,
        folder: StateFolder,
        config: TrainingConfig,
        settings: WorkerSettings,
        open_state: Callable[[], TrainingState],
    ) -> None:
        self.defaults = config  # of new runs
        self.layout = StateLayout(folder.path)  # for whoever reads beside the worker
        self.uploads_folder = folder.uploads_folder  # callable from any thread
        self._folder = folder
        self._open_state = open_state
        self._settings = settings
        self._queue = CommandQueue()
        self._thread = threading.Thread(target=self._run, name="training", daemon=True)
        self._training: TrainingState | None = None
        self.publisher = Publisher(Status.first(config, settings, folder))
        self._next_step_at = 0.0
        self._is_step_due = False
        self._rescued_at: int | None = None  # iteration at which integrity strikes were answered by going back
        self.autosave = AutoSave(folder, settings.save_every, self.publisher, self._wake)  # for what `do` does, too

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def view(self) -> View:
        """Returns the system as it is now; callable from any thread."""
        return self.publisher.view

    def listen(self, on_event: Publish) -> None:
        """Hands every event to `on_event`, on the thread that publishes it: it must only note it and return."""
        self.publisher.listen(on_event)

    @property
    def _view(self) -> View:
        return self.publisher.view

    def initialize(self, field_size: int | None = None, seed: int | None = None, corpus: str | None = None) -> Reply:
        """Begins a new run; `corpus`: as `states.own_texts.corpus_path` takes it."""
        return self._queue.submit(lambda: self._do_initialize(field_size, seed, corpus))

    def start_training(self, until: int | None = None) -> Reply:
        """Trains until stopped, or until that iteration."""
        return self._queue.submit(lambda: self._do_start(until))

    def stop_training(self) -> Reply:
        """Stops; done when the state is saved."""
        return self._queue.submit(self._do_stop)

    def load(self, source: str | None = None, discard_unsaved: bool = False) -> Reply:
        """Loads a saved state."""
        return self._queue.submit(lambda: self._do_load(source, discard_unsaved=discard_unsaved))

    def do(self, task: Callable[[TrainingState], dict[str, Any]]) -> Reply:
        """Carries out a task with the state between two steps, on the worker thread."""
        return self._queue.submit(lambda: task(self._state))

    def save_now(self) -> SaveOutcome:
        """Saves all three files, within a task of `do`. Raises SaveError."""
        outcome = self.autosave.save(self._state.saving, None)
        if outcome is None:
            raise SaveError(self.autosave.trouble)
        self.publisher.show()
        return outcome

    def states_changed(self, state: TrainingState) -> None:
        """Shows and publishes, within a task of `do`, that the saved states in the folder are others than before."""
        self.publisher.show(catalog=state.catalog(), deletes=describe_deletable(self._folder.layout))
        self.publisher.publish(StatesChanged())

    def save_as_new_run(self) -> Reply:
        """Saves the run in memory as a new one in the folder that now stands at the path, where the directory was exchanged."""
        return self._queue.submit(self._do_save_as_new_run)

    def reset(self) -> Reply:
        """Clears memory and disk."""
        return self._queue.submit(self._do_reset)

    def set_pace(self, pace: float | None) -> Reply:
        """Holds training to so many iterations a second; None: no limit."""
        return self._queue.submit(lambda: self._do_set_pace(pace))

    def resume(self) -> Reply:
        """Loads the newest intact save of all and trains; with no save, starts a new run."""
        return self._queue.submit(self._do_resume)

    def close(self) -> Reply:
        """Finishes the iteration, saves, releases the folder and ends the thread."""
        return self._queue.submit(self._do_close)

    def _run(self) -> None:
        try:
            self._training = self._open_state()
            self.publisher.follow(self._training)
            while not self._queue.is_closed:
                request = self._next_request()
                if request is not None:
                    request.carry_out()
                elif self._view.status.phase is not Phase.TRAINING:
                    self.autosave.retry(self._state.saving)
                elif self._is_step_due:
                    self._step()
        except Exception as error:
            log.exception("The training thread ended unexpectedly")
            self.publisher.publish(WorkerDied(f"{type(error).__name__}: {error}"))
        finally:
            self._queue.refuse_rest()

    def _next_request(self) -> Request | None:
        """Returns the next request; None when a step, or a check of the save under way, is due before one comes."""
        wait: float | None
        if self._view.status.phase is Phase.TRAINING:
            held_up = self.autosave.before_step(self._state.saving)
            due_in = self._next_step_at - time.monotonic()
            check_in = CHECK_EVERY if due_in > CHECK_EVERY and self._state.saving.is_under_way else due_in
            self._is_step_due = held_up is None and due_in <= check_in
            wait = min(due_in, check_in) if held_up is None else held_up
        else:
            wait = self.autosave.retry_in(self._state.saving)
        return self._queue.next(wait)

    @property
    def _state(self) -> TrainingState:
        assert self._training is not None, "opened before the first request is taken"
        return self._training

    def _step(self) -> None:
        """Trains one iteration, and does what follows from it."""
        try:
            self._state.step()
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
        count = self._state.iteration_count
        self.autosave.after_step(count)
        self.publisher.show_step(self._state)
        until = self._view.status.until
        if until is not None and count >= until:
            self._end_training("stopped")
            self.publisher.publish(Message(f"Training reached iteration {count} and stopped.", "success"))

    def _pace_next_step(self) -> None:
        pace, now = self._view.status.pace, time.monotonic()
        due = self._next_step_at + (1.0 / pace if pace else 0.0)
        self._next_step_at = max(due, now - 0.1)  # a late step is caught up with, a long pause is not

    def _end_by_failure(self, text: str) -> None:
        self._end_training(None)  # first: the message may name an iteration that must be durable to be shown
        self.publisher.publish(Message(text, "error"))

    def _offer_rescue(self, until: int | None) -> None:
        """Shows the last good state; with the option, goes back to it and trains on, once for each iteration that failed."""
        count = self._state.iteration_count
        good = last_good(self._state.saved_states.listing, self._state.run.id, count)
        rescue = None if good is None else Rescue(count, good.id, good.iteration_count)
        self.publisher.show(rescue=rescue)
        if rescue is None or not self._settings.rescue or self._rescued_at == count:
            return
        self._rescued_at = count
        text = f"Going back to iteration {rescue.iteration_count} by itself (--rescue)."
        self.publisher.publish(Message(text, "warning"))
        try:
            self._do_load(rescue.state)
            self._do_start(until)
        except QuadraError as error:
            self.publisher.publish(Message(f"Training could not go on by itself: {error}", "error"))

    def _end_training(self, ended: Ended | None, by_itself: bool = True) -> SaveOutcome | None:
        """Goes from training to ready, saved; `ended` is "stopped" where a person or `until` asked for it."""
        outcome = self.autosave.save(self._state.saving, ended)
        self.publisher.restart_rate()
        self.publisher.show(phase=Phase.READY, until=None)
        self.publisher.publish(TrainingStopped(by_itself, self._state.run.strikes))
        return outcome

    def _do_initialize(
        self, field_size: int | None = None, seed: int | None = None, corpus: str | None = None
    ) -> dict[str, Any]:
        target = next_phase(self._view.status.phase, Command.INITIALIZE)
        self.autosave.publish_saved_first(self._state.initialize(field_size, seed, corpus))
        self._show_run(target)
        config = self._state.config
        self.publisher.publish(RunInitialized(config.field_size, config.seed))
        return {"initialized": True, "field_size": config.field_size, "seed": config.seed}

    def _do_start(self, until: int | None) -> dict[str, Any]:
        target = next_phase(self._view.status.phase, Command.START)
        count = self._state.iteration_count
        if until is not None and until <= count:
            raise ConfigurationError("until", f"must be above the present iteration, {count}, not {until}")
        self._next_step_at = time.monotonic()
        self.publisher.restart_rate()
        self.publisher.show(phase=target, until=until)
        self.publisher.publish(TrainingStarted())
        return {"running": True, "iteration_count": count, "until": until}

    def _do_stop(self) -> dict[str, Any]:
        next_phase(self._view.status.phase, Command.STOP)
        outcome = self._end_training("stopped", by_itself=False)
        count = self._state.iteration_count
        if outcome is None:
            raise SaveError(
                f"Training has stopped at iteration {count}, but it could not be saved: {self.autosave.trouble}"
            )
        return {"iteration_count": count, "saved_at": outcome.saved_at}

    def _do_load(self, source: str | None, newest: bool = False, discard_unsaved: bool = False) -> dict[str, Any]:
        target = next_phase(self._view.status.phase, Command.LOAD)
        try:
            with progress("load", self.publisher.publish):
                report = self._state.load(source, newest, discard_unsaved)
        except LoadError as error:
            is_of_a_run = source is None or ID.fullmatch(source) is not None
            raise self._answer_failed_load(error, newest or not is_of_a_run) from error
        self._show_run(target)
        return self._report_load(report)

    def _do_save_as_new_run(self) -> dict[str, Any]:
        if not self.autosave.is_folder_changed:
            raise RefusedError("The state directory is still this server's own; there is nothing to resolve.")
        record = self._state.go_on_as_new_run().record
        self._show_run(self._view.status.phase)
        self.autosave.publish_saved_first(record)
        self.publisher.publish(Message("The run in memory goes on as a new saved run.", "success"))
        return {"run": record.run, "iteration_count": record.iteration_count}

    def _report_load(self, report: LoadReport) -> dict[str, Any]:
        count = report.record.iteration_count
        self.autosave.publish_saved_first(report.saved_first)
        self.publisher.publish(StateLoaded(count))
        remarks = report.remarks()
        for text in remarks:
            self.publisher.publish(Message(text, "warning"))
        newer = report.newer.brief() if report.newer else None
        answer = {"iteration_count": count, "newer": newer, "warnings": remarks}
        return {**answer, "went_on_from": report.went_on_from}

    def _answer_failed_load(self, error: LoadError, as_it_was: bool) -> LoadError:
        """Returns the error for who asked. Where no run is in memory one is initialized, unless all shall stay as it was."""
        self.publisher.publish(LoadFailed(str(error), nothing_there=isinstance(error, NoSavedStateError)))
        if self._view.status.phase is not Phase.UNINITIALIZED or as_it_was or error.code == "unknown_source":
            return error
        self._do_initialize()
        return type(error)(f"{str(error).removesuffix('.')}. A fresh run was initialized instead.")

    def _do_reset(self) -> dict[str, Any]:
        target = next_phase(self._view.status.phase, Command.RESET)
        self.publisher.restart_rate()
        try:
            self._state.reset()
        except OSError as error:
            raise SaveError(f"Not everything could be deleted: {error}. Remove the cause and reset again.") from error
        finally:
            self._show_run(target)
            self.publisher.show(until=None)
        self.publisher.publish(SystemReset())
        return {}

    def _do_set_pace(self, pace: float | None) -> dict[str, Any]:
        if pace is not None and not (math.isfinite(pace) and SLOWEST_PACE <= pace <= FASTEST_PACE):
            raise ConfigurationError("iterations_per_second", f"must be from {SLOWEST_PACE} to {FASTEST_PACE:,.0f}")
        self._next_step_at = time.monotonic()
        self.publisher.show(pace=pace)
        self.publisher.publish(PaceChanged(pace))
        return {"iterations_per_second": pace}

    def _do_resume(self) -> dict[str, Any]:
        try:
            self._do_load(None, newest=True)
        except NoSavedStateError:
            self._do_initialize()
        return self._do_start(None)

    def _do_close(self) -> dict[str, Any]:
        """Saves and releases the folder, which is free afterwards whatever happens here. Raises SaveError."""
        state = self._state
        try:
            failed = state.saving.is_unsaved and self.autosave.save(state.saving, None) is None
        finally:
            state.release()
            self._queue.close()
        if failed:
            raise SaveError(self.autosave.trouble)
        return {}

    def _show_run(self, target: Phase) -> None:
        """Shows that another run, or none, is in memory."""
        state = self._state
        self.autosave.start_over()
        self.publisher.show(
            phase=target,
            **state.identity(),
            texts=own_texts(self._folder.path),
            best=state.saving.best,
            alerts=state.run.alert_rules if state.is_initialized else (),
            rescue=None,
            catalog=state.catalog(),
            deletes=describe_deletable(self._folder.layout),
            last_save=None,
            trouble=None,
            save_health=SaveHealth(),
        )
        self.autosave.show_newest(state.saving)

    def _wake(self) -> None:
        """Makes the worker check the save under way; callable from any thread."""
        self._queue.put(self._check_save)

    def _check_save(self) -> dict[str, Any]:
        self.autosave.collect(self._state.saving)
        if self._view.status.phase is not Phase.TRAINING:
            self.autosave.retry(self._state.saving)
        return {}
