"""InsideFeed: pictures of what is inside, for the browsers that have that view open and for nobody else.

A thread of its own asks the worker for a picture between two steps, at most twice a second, and rarely enough that taking
them costs at most one hundredth of the time. A browser has at most one on its way: until it has acknowledged that, it is
sent none, and the next one carries all the columns that it lacks. While nobody watches, a picture every few seconds
samples the firing rates of the record, and only while the run is training.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from quadra.errors import QuadraError, WorkerClosedError
from quadra.live.inside_picture import Picture, describe_picture, take_picture
from quadra.model.activity import ActivityRecorder
from quadra.training.events import (
    Event,
    Message,
    RunInitialized,
    StateLoaded,
    SystemReset,
    TrainingStarted,
    TrainingStopped,
)
from quadra.training.lifecycle import SystemState
from quadra.training.worker import Worker

log = logging.getLogger("quadra.inside")

SHORTEST_INTERVAL = 0.5  # seconds between two pictures
UNWATCHED_INTERVAL = 2.0
LARGEST_SHARE = 0.01  # of the training thread's time
_LOOK = 0.05  # seconds between two looks whether a picture may be shown already
_PATIENCE = 5.0  # seconds until it is taken anew instead
_EVENT = "inside_update"
# A picture may be another after these events.
_CHANGING = (TrainingStarted, TrainingStopped, RunInitialized, StateLoaded, SystemReset, Message)

Send = Callable[[str, dict[str, Any], str, Callable[[], None]], None]  # event, payload, client, and what to call then


@dataclass
class _Watcher:
    """What a browser holds, as far as it has said so."""

    run: str = ""  # of the newest picture that it was sent
    recorder: ActivityRecorder | None = None
    stride: int = 0
    columns: int = 0  # complete ones
    iteration: int = -1  # of that picture
    waits: bool = False  # for its acknowledgement

    def held(self, picture: Picture) -> int:
        """How many columns of this record it need not be sent."""
        same = picture.recorder is self.recorder and picture.stride == self.stride
        return min(self.columns, picture.complete) if same else 0

    def has(self, picture: Picture) -> bool:
        """Whether it was sent just this."""
        sent = (self.run, self.recorder, self.iteration)
        return sent == (picture.run, picture.recorder, picture.now.iteration)


class InsideFeed:
    """Its thread starts with the first event or watcher, and ends with the worker."""

    def __init__(self, worker: Worker, send: Send) -> None:
        self._worker = worker
        self._send = send
        self._watchers: dict[str, _Watcher] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, client: str) -> None:
        """A browser has opened the view: it is sent a whole picture as soon as there is one."""
        with self._lock:
            self._watchers[client] = _Watcher()
        self._rouse()

    def leave(self, client: str) -> None:
        """A browser has closed the view, or has gone."""
        with self._lock:
            self._watchers.pop(client, None)

    def on_event(self, event: Event) -> None:
        """Something has happened, maybe to what the pictures show; returns at once."""
        if isinstance(event, _CHANGING):
            self._rouse()

    def _rouse(self) -> None:
        self._wake.set()
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="inside", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        pause = SHORTEST_INTERVAL
        while True:
            self._wait(pause)
            try:
                pause = self._round()
            except WorkerClosedError:
                return
            except QuadraError as error:
                log.debug("No picture: %s", error)  # there is no run: the page says so by itself
            except Exception:
                log.exception("A picture of what is inside could not be taken or sent; the next one is tried as usual")

    def _wait(self, pause: float) -> None:
        """So long; without limit while nothing changes, until something does."""
        time.sleep(SHORTEST_INTERVAL)
        rest = pause - SHORTEST_INTERVAL
        if self._worker.view().status.state is not SystemState.TRAINING:
            self._wake.wait()
        elif rest > 0.0 or not self._is_watched:
            self._wake.wait(rest if self._is_watched else max(rest, UNWATCHED_INTERVAL))
        self._wake.clear()

    @property
    def _is_watched(self) -> bool:
        with self._lock:
            return bool(self._watchers)

    def _round(self) -> float:
        """Take a picture and send it; how long to leave the training thread alone then, in seconds."""
        picture: Picture = self._worker.do(lambda state: {"picture": take_picture(state)}).result()["picture"]
        if self._is_watched and self._may_be_shown(picture):
            with self._lock:
                ready = {name: each for name, each in self._watchers.items() if not (each.waits or each.has(picture))}
            for client, watcher in ready.items():
                self._send_to(client, watcher, picture)
        return max(SHORTEST_INTERVAL, picture.seconds / LARGEST_SHARE)

    def _may_be_shown(self, picture: Picture) -> bool:
        """Wait until its iteration is shown: no browser sees one that a crash could take back against what was promised."""
        for _ in range(round(_PATIENCE / _LOOK)):
            view = self._worker.view()
            if view.status.run != picture.run:
                return False
            if view.iteration_count >= picture.now.iteration:
                return True
            time.sleep(_LOOK)
        return False

    def _send_to(self, client: str, watcher: _Watcher, picture: Picture) -> None:
        payload = describe_picture(picture, watcher.held(picture))
        watcher.recorder, watcher.stride, watcher.columns = picture.recorder, picture.stride, picture.complete
        watcher.run, watcher.iteration, watcher.waits = picture.run, picture.now.iteration, True

        def acknowledged() -> None:
            watcher.waits = False
            if self._worker.view().status.state is not SystemState.TRAINING:
                self._wake.set()  # what it missed meanwhile would otherwise wait for the next event

        self._send(_EVENT, payload, client, acknowledged)
