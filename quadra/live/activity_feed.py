"""ActivityFeed: activity frames for the browsers that have "What is inside" open, and for nobody else.

A thread of its own asks the worker for a frame between two steps, at most twice a second, and rarely enough that capturing
them costs at most one hundredth of the time. A browser has at most one frame on its way: until it has acknowledged that, it
is sent none, and the next one carries all the columns that it lacks. While nobody has the view open, a frame every few
seconds samples the firing rates for the recorder, and only while the run is training.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from quadra.errors import QuadraError, WorkerClosedError
from quadra.live.activity_frame import ActivityFrame, capture_frame, frame_payload
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
from quadra.training.lifecycle import Phase
from quadra.training.worker import Worker

log = logging.getLogger("quadra.inside")

SHORTEST_INTERVAL = 0.5  # seconds between two frames
UNSUBSCRIBED_INTERVAL = 2.0  # the same while no browser has the view open
LARGEST_SHARE = 0.01  # of the training thread's time
_CHECK_EVERY = 0.05  # seconds between two checks whether a frame may be shown already
_PATIENCE = 5.0  # seconds until it is captured anew instead
_EVENT = "inside_update"
# After these events the next frame may be another one.
_CHANGING = (TrainingStarted, TrainingStopped, RunInitialized, StateLoaded, SystemReset, Message)

Send = Callable[[str, dict[str, Any], str, Callable[[], None]], None]  # event, payload, client, and what to call then


@dataclass
class _Subscriber:
    """What a browser holds, as far as it has said so."""

    run: str = ""  # of the newest frame that it was sent
    recorder: ActivityRecorder | None = None
    stride: int = 0
    columns: int = 0  # complete ones
    iteration: int = -1  # of that frame
    awaits_acknowledgement: bool = False

    def held_columns(self, frame: ActivityFrame) -> int:
        """Returns how many columns of this frame it need not be sent."""
        same = frame.recorder is self.recorder and frame.stride == self.stride
        return min(self.columns, frame.complete) if same else 0

    def has(self, frame: ActivityFrame) -> bool:
        """Returns whether it was sent just this frame."""
        sent = (self.run, self.recorder, self.iteration)
        return sent == (frame.run, frame.recorder, frame.now.iteration)


class ActivityFeed:
    """Its thread starts with the first event or subscriber, and ends with the worker."""

    def __init__(self, worker: Worker, send: Send) -> None:
        self._worker = worker
        self._send = send
        self._subscribers: dict[str, _Subscriber] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def join(self, client: str) -> None:
        """Adds a browser that has opened the view: it is sent a whole frame as soon as there is one."""
        with self._lock:
            self._subscribers[client] = _Subscriber()
        self._wake_thread()

    def leave(self, client: str) -> None:
        """Removes a browser that has closed the view, or has gone."""
        with self._lock:
            self._subscribers.pop(client, None)

    def on_event(self, event: Event) -> None:
        """Notes that something has happened, maybe to what the frames show; returns at once."""
        if isinstance(event, _CHANGING):
            self._wake_thread()

    def _wake_thread(self) -> None:
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
                pause = self._send_frame()
            except WorkerClosedError:
                return
            except QuadraError as error:
                log.debug("No picture: %s", error)  # there is no run: the page says so by itself
            except Exception:
                log.exception("A picture of what is inside could not be taken or sent; the next one is tried as usual")

    def _wait(self, pause: float) -> None:
        """Blocks for so many seconds; without limit while nothing changes, until something does."""
        time.sleep(SHORTEST_INTERVAL)
        rest = pause - SHORTEST_INTERVAL
        if self._worker.view().status.phase is not Phase.TRAINING:
            self._wake.wait()
        elif rest > 0.0 or not self._has_subscribers:
            self._wake.wait(rest if self._has_subscribers else max(rest, UNSUBSCRIBED_INTERVAL))
        self._wake.clear()

    @property
    def _has_subscribers(self) -> bool:
        with self._lock:
            return bool(self._subscribers)

    def _send_frame(self) -> float:
        """Captures a frame and sends it; returns how long to leave the training thread alone then, in seconds."""
        frame: ActivityFrame = self._worker.do(lambda state: {"frame": capture_frame(state)}).result()["frame"]
        if self._has_subscribers and self._may_be_shown(frame):
            with self._lock:
                ready = {
                    name: each
                    for name, each in self._subscribers.items()
                    if not (each.awaits_acknowledgement or each.has(frame))
                }
            for client, subscriber in ready.items():
                self._send_to(client, subscriber, frame)
        return max(SHORTEST_INTERVAL, frame.seconds / LARGEST_SHARE)

    def _may_be_shown(self, frame: ActivityFrame) -> bool:
        """Blocks until its iteration is shown: no browser sees one that a crash could take back against what was promised."""
        for _ in range(round(_PATIENCE / _CHECK_EVERY)):
            view = self._worker.view()
            if view.status.run != frame.run:
                return False
            if view.iteration_count >= frame.now.iteration:
                return True
            time.sleep(_CHECK_EVERY)
        return False

    def _send_to(self, client: str, subscriber: _Subscriber, frame: ActivityFrame) -> None:
        payload = frame_payload(frame, subscriber.held_columns(frame))
        subscriber.recorder, subscriber.stride, subscriber.columns = frame.recorder, frame.stride, frame.complete
        subscriber.run, subscriber.iteration, subscriber.awaits_acknowledgement = frame.run, frame.now.iteration, True

        def acknowledged() -> None:
            subscriber.awaits_acknowledgement = False
            if self._worker.view().status.phase is not Phase.TRAINING:
                self._wake.set()  # what it missed meanwhile would otherwise wait for the next event

        self._send(_EVENT, payload, client, acknowledged)
