"""The worker thread: it alone touches the training state. Commands come in with a reply; steps and saves go out as views.

A button press becomes a task on a queue. The worker takes tasks between steps, so "stopped and saved" means just
that, and nothing can race a step. What others see is an immutable View, replaced after every step and command. What each
command does stands in `operations`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from quadra.config import TrainingConfig
from quadra.storage.folder import StateFolder
from quadra.storage.layout import StateLayout
from quadra.training.autosave import CHECK_EVERY, AutoSave
from quadra.training.command_queue import CommandQueue, QueuedTask, Reply
from quadra.training.events import Publish, WorkerDied
from quadra.training.lifecycle import Phase
from quadra.training.operations import Operations
from quadra.training.publisher import Publisher
from quadra.training.view import Status, View, WorkerSettings

if TYPE_CHECKING:
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
        self._open_state = open_state
        self._settings = settings
        self._queue = CommandQueue()
        self._thread = threading.Thread(target=self._run, name="training", daemon=True)
        self._opened: Operations | None = None
        self.publisher = Publisher(Status.first(config, settings, folder))
        self._is_step_due = False
        self.autosave = AutoSave(folder, settings, self.publisher, self._wake)  # for what `do` does, too

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
        return self._queue.submit(lambda: self._operations.initialize(field_size, seed, corpus))

    def start_training(self, until: int | None = None) -> Reply:
        """Trains until stopped, or until that iteration."""
        return self._queue.submit(lambda: self._operations.start(until))

    def stop_training(self) -> Reply:
        """Stops; done when the state is saved."""
        return self._queue.submit(lambda: self._operations.stop())

    def load(self, source: str | None = None, discard_unsaved: bool = False) -> Reply:
        """Loads a saved state."""
        return self._queue.submit(lambda: self._operations.load(source, discard_unsaved=discard_unsaved))

    def do(self, task: Callable[[TrainingState], dict[str, Any]]) -> Reply:
        """Carries out a task with the state between two steps, on the worker thread."""
        return self._queue.submit(lambda: task(self._state))

    def save_as_new_run(self) -> Reply:
        """Saves the run in memory as a new one in the folder that now stands at the path, where the directory was exchanged."""
        return self._queue.submit(lambda: self._operations.save_as_new_run())

    def reset(self) -> Reply:
        """Clears memory and disk."""
        return self._queue.submit(lambda: self._operations.reset())

    def set_pace(self, pace: float | None) -> Reply:
        """Holds training to so many iterations a second; None: no limit."""
        return self._queue.submit(lambda: self._operations.set_pace(pace))

    def resume(self) -> Reply:
        """Loads the newest intact save of all and trains; with no save, starts a new run."""
        return self._queue.submit(lambda: self._operations.resume())

    def close(self) -> Reply:
        """Finishes the iteration, saves, releases the folder and ends the thread."""
        return self._queue.submit(self._close)

    def _run(self) -> None:
        try:
            state = self._open_state()
            self._opened = Operations(state, self.publisher, self.autosave, self._settings.rescue)
            self.publisher.follow(state)
            while not self._queue.is_closed:
                task = self._next_task()
                if task is not None:
                    task.carry_out()
                elif self.autosave.answer_in == 0.0:
                    self._operations.go_on_unattended()
                elif self._view.status.phase is not Phase.TRAINING:
                    self.autosave.retry(self._state.saving)
                elif self._is_step_due:
                    self._operations.step()
        except Exception as error:
            log.exception("The training thread ended unexpectedly")
            self.publisher.publish(WorkerDied(f"{type(error).__name__}: {error}"))
        finally:
            self._queue.refuse_rest()

    def _next_task(self) -> QueuedTask | None:
        """Returns the next task; None when a step, or a check of the save under way, is due before one comes."""
        wait: float | None
        if self._view.status.phase is Phase.TRAINING:
            held_up = self.autosave.before_step(self._state.saving)
            due_in = self._operations.seconds_until_step
            check_in = CHECK_EVERY if due_in > CHECK_EVERY and self._state.saving.is_under_way else due_in
            self._is_step_due = held_up is None and due_in <= check_in
            wait = min(due_in, check_in) if held_up is None else held_up
        else:
            wait = self.autosave.retry_in(self._state.saving)
        answer_in = self.autosave.answer_in
        return self._queue.next(answer_in if wait is None or (answer_in is not None and answer_in < wait) else wait)

    @property
    def _operations(self) -> Operations:
        assert self._opened is not None, "the state is opened before the first task is carried out"
        return self._opened

    @property
    def _state(self) -> TrainingState:
        return self._operations.state

    def _close(self) -> dict[str, Any]:
        try:
            return self._operations.close()
        finally:
            self._queue.close()

    def _wake(self) -> None:
        """Makes the worker check the save under way; callable from any thread."""
        self._queue.put(self._check_save)

    def _check_save(self) -> dict[str, Any]:
        self.autosave.collect(self._state.saving)
        if self._view.status.phase is not Phase.TRAINING:
            self.autosave.retry(self._state.saving)
        return {}
