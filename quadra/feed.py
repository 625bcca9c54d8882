"""Feed: step results and events -> what each browser is sent. It drops nothing and floods nobody.

Every browser has a place in the history. At most twenty times a second it is sent all iterations since that place (a
thinned set where they are many), unless it has not taken its last message yet: then its next one carries more.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable
from itertools import zip_longest
from pathlib import PurePath
from typing import Any, Protocol

from quadra import __version__
from quadra.corpora import LARGEST_TEXT
from quadra.history import History
from quadra.lifecycle import SystemState, refusals
from quadra.text import BUILT_IN_NAME
from quadra.view import Event, Status, View

log = logging.getLogger("quadra.feed")

SHORTEST_INTERVAL = 0.05  # seconds between two updates of one browser
MOST_POINTS = 2000
_COALESCED = ("saved", "save_failed")  # of many in a row the newest says all
_LONGEST_TEXT = 300  # characters of a line that are shown


class Sender(Protocol):
    """How the feed reaches browsers."""

    def send(self, event: str, payload: dict[str, Any], client: str | None = None) -> None:
        """Send to one client, or to all."""

    def is_busy(self, client: str) -> bool:
        """Whether a client has not taken its last message yet."""


class Feed:
    """Sends from a thread of its own; `take` and the client methods may be called from any thread."""

    def __init__(self, view: Callable[[], View], sender: Sender) -> None:
        self._view = view
        self._sender = sender
        self._events: deque[Event] = deque()
        self._places: dict[str, tuple[History, int]] = {}  # client -> (history, iterations of it that it was sent)
        self._told_waiting = False
        self._lock = threading.Lock()
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

    def take(self, event: Event) -> None:
        """Pass an event on soon; returns at once."""
        self._events.append(event)
        self._wake.set()

    def join(self, client: str) -> None:
        """A browser has connected: from here on it is sent every iteration."""
        view = self._view()
        with self._lock:
            self._places[client] = (view.history, view.iteration_count)
        self._sender.send("training_status", describe(view), client)

    def leave(self, client: str) -> None:
        """A browser has gone."""
        with self._lock:
            self._places.pop(client, None)

    def _run(self) -> None:
        while not self._closing.wait(SHORTEST_INTERVAL):
            if self._view().status.state is not SystemState.TRAINING and not self._someone_is_behind():
                self._wake.wait()
            self._wake.clear()
            self._round()
        self._round()

    def _round(self) -> None:
        try:
            idle = self._idle_clients()  # before the events go out: what they put in a queue must not count as slowness
            self._send_events()
            self._send_points(self._view(), idle)
        except Exception:
            log.exception("An update could not be sent; the next one carries what it held")

    def _send_events(self) -> None:
        """Everything that happened since the last round, in order; of many saves, or failures, in a row the newest is enough."""
        events = [self._events.popleft() for _ in range(len(self._events))]
        for event, following in zip_longest(events, events[1:]):
            if not (event.kind in _COALESCED and following is not None and following.kind == event.kind):
                self._send_event(event)
        view = self._view()
        waiting = view.status.saves.waiting
        if events or waiting is not self._told_waiting:  # that training waits for the disk is a state, no event
            self._told_waiting = waiting
            self._sender.send("training_status", describe(view))

    def _send_event(self, event: Event) -> None:
        told = dict(event.details)
        match event.kind:
            case "saved":
                self._sender.send("state_saved", told)
            case "save_failed":
                self._sender.send("save_failed", told)
                self._say(f"Failed to save state: {told['message']}", "error")
            case "load_failed":
                self._say(
                    told["message"] if told["nothing_there"] else f"Failed to load state: {told['message']}", "error"
                )
            case "loaded":
                self._send_loaded(told["iteration_count"])
            case "initialized":
                self._move_all(0)
                self._sender.send("system_initialized", {"initialized": True, **told})
                self._say(f"New run initialized: field size {told['field_size']}, seed {told['seed']}.", "success")
            case "training":
                self._say("Training started." if told["running"] else "Training stopped.", "info")
            case "pace":
                pace = told["iterations_per_second"]
                self._say("Pace: no limit." if pace is None else f"Pace: {pace:g} iterations a second.", "info")
            case "save_every":
                self._say(_cadence(told["iterations"]), "info")
            case "reset":
                self._move_all(0)
                self._sender.send("system_reset", {})
                self._say("System reset: every saved state was deleted.", "success")
            case "states_changed":
                self._sender.send("states_changed", {})
            case "message":
                self._say(told["text"], told["type"])

    def _send_loaded(self, iteration_count: int) -> None:
        self._move_all(iteration_count)
        history = self._view().history.slice(1, iteration_count, MOST_POINTS)
        self._sender.send("state_loaded", {"iteration_count": iteration_count, "history": history.as_lists()})
        self._say(f"State loaded: {iteration_count} iterations restored.", "success")

    def _say(self, message: str, kind: str) -> None:
        self._sender.send("status_message", {"message": message, "type": kind})

    def _move_all(self, iteration_count: int) -> None:
        """Another run is in memory: every browser has been told of its first iterations."""
        history = self._view().history
        with self._lock:
            self._places = dict.fromkeys(self._places, (history, iteration_count))

    def _idle_clients(self) -> list[str]:
        with self._lock:
            clients = list(self._places)
        return [client for client in clients if not self._sender.is_busy(client)]

    def _send_points(self, view: View, clients: list[str]) -> None:
        if view.result is None:
            return
        with self._lock:
            places = {client: self._places[client] for client in clients if client in self._places}
        for client, (history, sent) in places.items():
            if history is view.history and sent < view.iteration_count:
                self._sender.send("metrics_update", update(view, sent), client)
                self._advance(client, (history, sent), view.iteration_count)

    def _someone_is_behind(self) -> bool:
        view = self._view()
        with self._lock:
            return any(
                history is view.history and sent < view.iteration_count for history, sent in self._places.values()
            )

    def _advance(self, client: str, before: tuple[History, int], iteration_count: int) -> None:
        with self._lock:
            if self._places.get(client) == before:
                self._places[client] = (before[0], iteration_count)


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


def _cadence(save_every: int) -> str:
    return f"Saved every {save_every} iterations from now on." if save_every else "Auto-save is off: only Stop saves."


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
