"""Feed: step results and events -> what each browser is sent. It drops nothing and floods nobody.

Every browser has a place in the history. At most twenty times a second it is sent all iterations since that place (a
thinned set where they are many), unless it has not taken its last message yet: then its next one carries more. `pacing`
has the rules. Browsers at the same place get the same message, which is encoded once.

Other events are of two kinds. Of those that say how things stand (status, saves, the list of states) the newest says all:
a browser whose queue is not empty gets that one when it is. The rest goes into its queue; one that lets more than
LONGEST_QUEUE messages pile up there is disconnected, and refreshes itself when it comes back.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import PurePath
from typing import Any, Protocol

from quadra.live.log_lines import TerminalLine
from quadra.live.viewers import SHORTEST_INTERVAL, Viewers, split, standing_interval
from quadra.model.corpus import BUILT_IN_NAME
from quadra.states.alert_rules import as_list
from quadra.states.own_texts import LARGEST_TEXT
from quadra.training.events import (
    AlertFired,
    AlertRulesChanged,
    CommandProgress,
    Event,
    LoadFailed,
    Message,
    PaceChanged,
    RunInitialized,
    SaveEveryChanged,
    SaveFailed,
    StateLoaded,
    StateSaved,
    StatesChanged,
    SystemReset,
    TrainingStarted,
    TrainingStopped,
    level,
    sentence,
)
from quadra.training.lifecycle import SystemState, refusals
from quadra.training.view import Status, View
from quadra.version import __version__

log = logging.getLogger("quadra.feed")

MOST_POINTS = 2000
LONGEST_QUEUE = 200  # messages that may wait for one browser
_REMARKS = (AlertFired, TerminalLine, CommandProgress)  # change nothing of what is shown of the system
_SAID = (
    *(Message, RunInitialized, StateLoaded, LoadFailed, TrainingStarted, TrainingStopped),
    *(SystemReset, PaceChanged, SaveEveryChanged),
)
_LONGEST_TEXT = 300  # characters of a line that are shown


class Sender(Protocol):
    """How the feed reaches browsers."""

    def send(self, event: str, payload: Mapping[str, Any], to: str | Sequence[str] | None = None) -> None:
        """Send to one client, to some, or to all."""

    def send_update(self, payload: Mapping[str, Any], clients: Sequence[str], number: int) -> None:
        """Send a `metrics_update` and ask for an acknowledgement, which names its number."""

    def waiting(self, client: str) -> int:
        """How many messages a client has not taken from its queue yet."""

    def drop(self, client: str) -> None:
        """Cut a client's connection."""


class Feed:
    """Sends from a thread of its own; `on_event` and the client methods may be called from any thread."""

    def __init__(
        self,
        view: Callable[[], View],
        sender: Sender,
        watch: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`watch` is called at every round, on the thread of the feed, before anything is sent."""
        self._view = view
        self._sender = sender
        self._watch = watch
        self._clock = clock
        self._events: deque[Event] = deque()
        self._viewers = Viewers()
        self._numbers = count(1)  # of updates
        self._standing: dict[str, Mapping[str, Any]] = {}  # event -> the newest, not told yet
        self._stood_at = float("-inf")  # when that was told last
        self._told_waiting = False
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Send what is left and end the thread."""
        self._closing.set()
        self._wake.set()
        self._thread.join(2.0)

    def on_event(self, event: Event) -> None:
        """Pass an event on soon; returns at once."""
        self._events.append(event)
        self._wake.set()

    def join(self, client: str) -> None:
        """A browser has connected: from here on it is sent every iteration."""
        view = self._view()
        self._viewers.join(client, view.history, view.iteration_count)
        self._sender.send("training_status", describe(view), client)

    def leave(self, client: str) -> None:
        """A browser has gone."""
        self._viewers.leave(client)

    def acknowledge(self, client: str, number: int) -> None:
        """A browser has applied an update."""
        self._viewers.acknowledge(client, number)

    def _run(self) -> None:
        while not self._closing.wait(SHORTEST_INTERVAL):
            if self._is_at_rest():
                self._wake.wait()
            self._wake.clear()
            self.round()
        self.round(is_last=True)

    def _is_at_rest(self) -> bool:
        view = self._view()
        behind = self._viewers.behind(view.history, view.iteration_count)
        return view.status.state is not SystemState.TRAINING and not (behind or self._standing or self._viewers.owing)

    def round(self, is_last: bool = False) -> None:
        """Send what is due now; the thread does so again and again."""
        try:
            self._watch()
            # Before the events go out: what they put in a queue must not count as slowness.
            idle, busy, lost = split(self._viewers.names(), self._sender.waiting, LONGEST_QUEUE)
            for client in lost:
                log.warning("A browser does not take its messages; its connection is cut, so that it begins afresh")
                self._viewers.leave(client)
                self._sender.drop(client)
            self._pay(idle)
            self._send_events(busy, is_last)
            self._send_points(self._view(), idle)
        except Exception:
            log.exception("An update could not be sent; the next one carries what it held")

    def _pay(self, idle: list[str]) -> None:
        """Browsers that have emptied their queues are told how things have come to stand."""
        for client, events in self._viewers.pay(idle).items():
            for event, payload in events.items():
                self._sender.send(event, describe(self._view()) if event == "training_status" else payload, client)

    def _send_events(self, busy: list[str], is_last: bool) -> None:
        """Everything that happened since the last round, in order; of what says how things stand the newest is enough."""
        events = [self._events.popleft() for _ in range(len(self._events))]
        urgent = is_last
        for event in events:
            if isinstance(event, StateSaved | SaveFailed | StatesChanged):  # of which the newest says all
                self._stand(event)
            else:
                urgent = True
                self._tell_standing(busy)
                self._send_event(event)
        view = self._view()
        waiting = view.status.saves.waiting
        changed = any(not isinstance(event, _REMARKS) for event in events)
        if changed or waiting is not self._told_waiting:  # that training waits for the disk is a state, no event
            self._told_waiting = waiting
            self._standing["training_status"] = {}
        due = self._clock() - self._stood_at >= standing_interval(len(self._viewers))
        if urgent or due:
            self._tell_standing(busy)

    def _stand(self, event: StateSaved | SaveFailed | StatesChanged) -> None:
        self._standing["state_saved" if isinstance(event, StateSaved) else event.name] = dict(vars(event))
        if isinstance(event, SaveFailed):
            self._standing["status_message"] = _message(event)

    def _tell_standing(self, busy: list[str]) -> None:
        """Tell all how things stand: browsers that are busy will be told."""
        if not self._standing:
            return
        standing, self._standing = self._standing, {}
        self._stood_at = self._clock()
        if "training_status" in standing:
            standing["training_status"] = describe(self._view())
        self._viewers.owe(busy, standing)
        to = [name for name in self._viewers.names() if name not in busy] if busy else None
        if to != []:
            for event, payload in standing.items():
                self._sender.send(event, payload, to)

    def _send_event(self, event: Event) -> None:
        match event:
            case StateLoaded():
                self._move_all(event.iteration_count)
                history = self._view().history.slice(1, event.iteration_count, MOST_POINTS).as_lists()
                self._sender.send("state_loaded", {"iteration_count": event.iteration_count, "history": history})
            case RunInitialized():
                self._move_all(0)
                self._sender.send("system_initialized", {"initialized": True, **vars(event)})
            case SystemReset():
                self._move_all(0)
                self._sender.send("system_reset", {})
            case AlertFired():
                self._sender.send(event.name, event.as_dict())
            case AlertRulesChanged():
                self._sender.send(event.name, {"rules": as_list(event.rules), "run": event.run})
            case TerminalLine() | CommandProgress():
                self._sender.send(event.name, dict(vars(event)))
        if isinstance(event, _SAID):
            self._sender.send("status_message", _message(event))

    def _move_all(self, iteration_count: int) -> None:
        """Another run is in memory: every browser has been told of its first iterations."""
        self._viewers.move_all(self._view().history, iteration_count)

    def _send_points(self, view: View, idle: list[str]) -> None:
        if view.result is None:
            return
        now = self._clock()
        for sent, clients in self._viewers.due(idle, view.history, view.iteration_count, now).items():
            number = next(self._numbers)
            # First: the acknowledgement may be here before `send_update` returns.
            self._viewers.mark_sent(clients, view.history, view.iteration_count, number, now)
            try:
                self._sender.send_update(update(view, sent), clients, number)
            except Exception:
                self._viewers.take_back(clients, view.history, sent, number)
                raise


def _message(event: Event) -> dict[str, Any]:
    """Returns the `status_message` of an event; what comes from elsewhere has its full stop, or none, already."""
    text, kind = sentence(event), level(event)
    return {"message": text if kind == "error" or isinstance(event, Message) else f"{text}.", "type": kind}


def update(view: View, sent: int) -> dict[str, Any]:
    """A `metrics_update` for a browser that was sent the first `sent` iterations."""
    points = view.history.slice(sent + 1, view.iteration_count, MOST_POINTS)
    told: dict[str, Any] = {
        **(current_metrics(view) or {}),
        "run": view.status.run,
        "iterations_per_second": round(view.iterations_per_second, 2),
        "unsaved_iterations": view.unsaved_iterations,
        "points": points.as_lists(),
    }
    if points.thinned:
        told["thinned"] = True
    return told


def current_metrics(view: View) -> dict[str, Any] | None:
    """The newest iteration's metrics as they are shown; None before the first."""
    if view.result is None:
        return None
    metrics = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in view.result.as_dict().items()
    }
    return {**metrics, "text": view.result.text[:_LONGEST_TEXT]}


def describe(view: View) -> dict[str, Any]:
    """The status object: what a browser draws its buttons, cards and notices from."""
    status = view.status
    return {
        "state": status.state.value,
        "initialized": status.state is not SystemState.UNINITIALIZED,
        "running": status.state is SystemState.TRAINING,
        "refusals": refusals(status.state),
        "iteration_count": view.iteration_count,
        "current_metrics": current_metrics(view),
        "run": status.run,
        "field_size": status.field_size,
        "seed": status.seed,
        "corpus": status.corpus,
        "own_text": status.own_text,
        "texts": [text.as_dict() for text in status.texts],
        "new_run": _new_run(status),
        "device": status.device,
        "pace": status.pace,
        "until": status.until,
        "parent": status.parent,
        "best": _best(status),
        "rescue": _plain(status.rescue),
        "alerts": as_list(status.alerts),
        **status.run_events._asdict(),
        "iterations_per_second": round(view.iterations_per_second, 2),
        "save_every": status.save_every,
        **_saves(view),
        "reset_deletes": list(status.deletes),
        "state_dir": status.state_dir,
        "version": __version__,
    }


def _saves(view: View) -> dict[str, Any]:
    status = view.status
    default = status.catalog.default
    newer = status.catalog.newer_than(default)
    return {
        "saved": default.brief() if default else None,
        "newer": newer.brief() if newer else None,
        "saved_states": [{**state.as_dict(), "current": state.id == status.run} for state in status.catalog.states],
        "last_save": _plain(status.last_save),
        "save_error": _plain(status.trouble),
        "save_health": {**status.saves.as_dict(), "bytes_per_second": _wear(view)},
        "unsaved_iterations": view.unsaved_iterations,
        "backup": _plain(status.backup),
    }


def _new_run(status: Status) -> dict[str, Any]:
    """What a new run gets where nothing else is asked for."""
    config = status.new_run
    name = BUILT_IN_NAME if config.corpus is None else PurePath(config.corpus).name
    return {
        "field_size": config.field_size, "seed": config.seed, "corpus": name, "is_built_in": config.corpus is None,
        "largest_text": LARGEST_TEXT,
    }  # fmt: skip


def _best(status: Status) -> dict[str, Any] | None:
    if status.best is None:
        return None
    iteration, reward = status.best
    return {"id": f"{status.run}@{iteration}", "iteration_count": iteration, "reward": reward}


def _wear(view: View) -> int:
    """Bytes that saves write a second, at the present rate."""
    status = view.status
    if status.last_save is None or not status.save_every or status.state is not SystemState.TRAINING:
        return 0
    return round(status.last_save.size * view.iterations_per_second / status.save_every)


def _plain(value: Any) -> dict[str, Any] | None:
    return None if value is None else dict(vars(value))
