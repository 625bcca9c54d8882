"""Feed: what each browser is sent, from step results and events. It drops nothing and floods nobody.

Every browser has a position in the history. At most twenty times a second it is sent all iterations since that position (a
thinned set where they are many), unless it has not acknowledged its last message yet: then its next one carries more.
`viewers` has the rules. Browsers at the same position get the same message, which is encoded once.

Other events are of two kinds. A newer status, save or list of states replaces the one before: a browser whose queue is not
empty gets only the newest, once the queue is empty. Everything else goes into its queue; a browser that lets more than
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

from quadra.live.terminal_lines import TerminalLine
from quadra.live.viewers import SHORTEST_INTERVAL, Viewers, newest_interval, split_by_queue
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
from quadra.training.lifecycle import Phase, refusals
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
    """Sends messages to browsers."""

    def send(self, event: str, payload: Mapping[str, Any], to: str | Sequence[str] | None = None) -> None:
        """Sends to one client, to some, or to all."""

    def send_update(self, payload: Mapping[str, Any], clients: Sequence[str], number: int) -> None:
        """Sends a `metrics_update` and asks for an acknowledgement, which names its number."""

    def waiting(self, client: str) -> int:
        """Returns how many messages a client has not taken from its queue yet."""

    def drop(self, client: str) -> None:
        """Cuts a client's connection."""


class Feed:
    """Sends from a thread of its own; `on_event` and the client methods may be called from any thread."""

    def __init__(
        self,
        view: Callable[[], View],
        sender: Sender,
        check_alerts: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`check_alerts` is called at every round, on the thread of the feed, before anything is sent."""
        self._view = view
        self._sender = sender
        self._check_alerts = check_alerts
        self._clock = clock
        self._events: deque[Event] = deque()
        self._viewers = Viewers()
        self._numbers = count(1)  # of updates
        self._newest: dict[str, Mapping[str, Any]] = {}  # event -> its newest payload, which says all, not sent yet
        self._newest_sent_at = float("-inf")
        self._sent_waiting = False  # whether browsers were told last that training waits for the disk
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self) -> None:
        """Sends what is left and ends the thread."""
        self._closing.set()
        self._wake.set()
        self._thread.join(2.0)

    def on_event(self, event: Event) -> None:
        """Passes an event on soon; returns at once."""
        self._events.append(event)
        self._wake.set()

    def join(self, client: str) -> None:
        """Adds a browser that has connected: from here on it is sent every iteration."""
        view = self._view()
        self._viewers.join(client, view.history, view.iteration_count)
        self._sender.send("training_status", status_payload(view), client)

    def leave(self, client: str) -> None:
        """Removes a browser that has gone."""
        self._viewers.leave(client)

    def acknowledge(self, client: str, number: int) -> None:
        """Notes that a browser has applied an update."""
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
        return view.status.phase is not Phase.TRAINING and not (behind or self._newest or self._viewers.has_deferred)

    def round(self, is_last: bool = False) -> None:
        """Sends what is due now; the thread does so again and again."""
        try:
            self._check_alerts()
            # Before the events go out: what they put in a queue must not count as slowness.
            idle, busy, lost = split_by_queue(self._viewers.names(), self._sender.waiting, LONGEST_QUEUE)
            for client in lost:
                log.warning("A browser does not take its messages; its connection is cut, so that it begins afresh")
                self._viewers.leave(client)
                self._sender.drop(client)
            self._send_deferred(idle)
            self._send_events(busy, is_last)
            self._send_points(self._view(), idle)
        except Exception:
            log.exception("An update could not be sent; the next one carries what it held")

    def _send_deferred(self, idle: list[str]) -> None:
        """Sends browsers that have emptied their queues what was deferred."""
        for client, events in self._viewers.take_deferred(idle).items():
            for event, payload in events.items():
                self._sender.send(
                    event, status_payload(self._view()) if event == "training_status" else payload, client
                )

    def _send_events(self, busy: list[str], is_last: bool) -> None:
        """Sends everything that happened since the last round, in order; of some events the newest is enough."""
        events = [self._events.popleft() for _ in range(len(self._events))]
        urgent = is_last
        for event in events:
            if isinstance(event, StateSaved | SaveFailed | StatesChanged):  # of which the newest says all
                self._note_newest(event)
            else:
                urgent = True
                self._send_newest(busy)
                self._send_event(event)
        view = self._view()
        waiting = view.status.save_health.waiting
        changed = any(not isinstance(event, _REMARKS) for event in events)
        if changed or waiting is not self._sent_waiting:  # that training waits for the disk is no event
            self._sent_waiting = waiting
            self._newest["training_status"] = {}
        due = self._clock() - self._newest_sent_at >= newest_interval(len(self._viewers))
        if urgent or due:
            self._send_newest(busy)

    def _note_newest(self, event: StateSaved | SaveFailed | StatesChanged) -> None:
        self._newest["state_saved" if isinstance(event, StateSaved) else event.name] = dict(vars(event))
        if isinstance(event, SaveFailed):
            self._newest["status_message"] = _message(event)

    def _send_newest(self, busy: list[str]) -> None:
        """Sends all browsers what says all; those that are busy are sent it later."""
        if not self._newest:
            return
        newest, self._newest = self._newest, {}
        self._newest_sent_at = self._clock()
        if "training_status" in newest:
            newest["training_status"] = status_payload(self._view())
        self._viewers.defer(busy, newest)
        to = [name for name in self._viewers.names() if name not in busy] if busy else None
        if to != []:
            for event, payload in newest.items():
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
        """Moves every viewer to another run, whose first iterations another message tells."""
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
                self._sender.send_update(metrics_payload(view, sent), clients, number)
            except Exception:
                self._viewers.mark_unsent(clients, view.history, sent, number)
                raise


def _message(event: Event) -> dict[str, Any]:
    """Returns the `status_message` of an event; what comes from elsewhere has its full stop, or none, already."""
    text, kind = sentence(event), level(event)
    return {"message": text if kind == "error" or isinstance(event, Message) else f"{text}.", "type": kind}


def metrics_payload(view: View, sent: int) -> dict[str, Any]:
    """Returns a `metrics_update` for a browser that was sent the first `sent` iterations."""
    points = view.history.slice(sent + 1, view.iteration_count, MOST_POINTS)
    payload: dict[str, Any] = {
        **(current_metrics(view) or {}),
        "run": view.status.run,
        "iterations_per_second": round(view.iterations_per_second, 2),
        "unsaved_iterations": view.unsaved_iterations,
        "points": points.as_lists(),
    }
    if points.thinned:
        payload["thinned"] = True
    return payload


def current_metrics(view: View) -> dict[str, Any] | None:
    """Returns the newest iteration's metrics as they are shown; None before the first."""
    if view.result is None:
        return None
    metrics = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in view.result.as_dict().items()
    }
    return {**metrics, "text": view.result.text[:_LONGEST_TEXT]}


def status_payload(view: View) -> dict[str, Any]:
    """Returns what a browser draws its buttons, cards and notices from."""
    status = view.status
    return {
        "state": status.phase.value,
        "initialized": status.phase is not Phase.UNINITIALIZED,
        "running": status.phase is Phase.TRAINING,
        "refusals": refusals(status.phase),
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
        "rescue": _dict_or_none(status.rescue),
        "slow_because": status.slow_because,
        "keeps_names": status.keeps_names,
        "alerts": as_list(status.alert_rules),
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
        "last_save": _dict_or_none(status.last_save),
        "save_error": _dict_or_none(status.trouble),
        "save_health": {**status.save_health.as_dict(), "bytes_per_second": _bytes_per_second(view)},
        "unsaved_iterations": view.unsaved_iterations,
        "backup": _dict_or_none(status.backup),
    }


def _new_run(status: Status) -> dict[str, Any]:
    """Returns what a new run gets where nothing else is asked for."""
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


def _bytes_per_second(view: View) -> int:
    """Returns the bytes that saves write a second, at the present rate."""
    status = view.status
    if status.last_save is None or not status.save_every or status.phase is not Phase.TRAINING:
        return 0
    return round(status.last_save.size * view.iterations_per_second / status.save_every)


def _dict_or_none(value: Any) -> dict[str, Any] | None:
    return None if value is None else dict(vars(value))
