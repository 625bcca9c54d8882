"""Publisher: hands the other threads what the worker shows them, the newest View and every Event.

A browser never sees an iteration that a crash could take back against what was promised: while saves go well, what is
shown is at most `save_every` iterations ahead of the newest durable save.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from quadra.model.history import History
from quadra.training.events import Event, Publish
from quadra.training.view import Status, View

if TYPE_CHECKING:
    from quadra.training.state import TrainingState

_RATE_WINDOW = 3.0  # seconds over which iterations a second are measured
_RATE_SAMPLE = 0.25  # seconds between two samples of that measurement


class Publisher:
    """Used on the worker's thread; `view` and `publish` may be used from any."""

    def __init__(self, status: Status) -> None:
        self.view = View(status, History(), 0, None, 0, 0.0)
        self._state: TrainingState | None = None  # whose iterations are shown
        self._rate = Rate()
        self._listeners: list[Publish] = []

    def listen(self, on_event: Publish) -> None:
        """Hands every event to `on_event`, on the thread that publishes it: it must only note it and return."""
        self._listeners.append(on_event)

    def publish(self, event: Event) -> None:
        """Hands an event to every listener."""
        for on_event in self._listeners:
            on_event(event)

    def follow(self, state: TrainingState) -> None:
        """Shows the iterations of this state from now on."""
        self._state = state

    def show(self, **changes: Any) -> None:
        """Changes what is shown of the system, by the names of `Status`."""
        self.view = self.view._replace(status=replace(self.view.status, **changes))
        if self._state is not None:
            self._show_run(self._state, self._rate.value)

    def show_step(self, state: TrainingState) -> None:
        """Shows that an iteration is done."""
        self._show_run(state, self._rate.after(state.iteration_count, time.monotonic()))

    def restart_rate(self) -> None:
        """Measures the iterations a second anew."""
        self._rate = Rate()

    def _show_run(self, state: TrainingState, rate: float) -> None:
        """Shows the newest iteration, unless a crash could take back more of it than was promised: then later."""
        status, unsaved = self.view.status, state.saving.unsaved_iterations
        is_other_run = self.view.history is not state.history
        if is_other_run or not status.save_every or status.trouble is not None or unsaved <= status.save_every:
            result = state.run.last_result if state.is_initialized else None
            self.view = View(status, state.history, state.iteration_count, result, unsaved, rate)


class Rate:
    """Measures the iterations a second over the last three seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()
        self.value = 0.0

    def after(self, count: int, now: float) -> float:
        """Returns the rate, now that this many iterations are done."""
        samples = self._samples
        if samples and now - samples[-1][0] < _RATE_SAMPLE:
            return self.value
        samples.append((now, count))
        while len(samples) > 2 and now - samples[0][0] > _RATE_WINDOW:
            samples.popleft()
        if len(samples) > 1:
            self.value = (count - samples[0][1]) / (now - samples[0][0])
        return self.value
