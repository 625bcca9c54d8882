"""The terminal: the exact lines that people watch and grep for, printed without ever holding up training."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, TextIO

from quadra.live import log_setup
from quadra.live.log_lines import TerminalLines
from quadra.training.view import Event

Shape = Callable[[str, str, int], str]  # a line, its event and its level, to the line as it is printed
_SECONDS_BETWEEN_SAVED = 0.5  # at high speed the "saved" lines are thinned to two a second
_FAILURES = ("save_failed", "load_failed", "died")
_LEVELS = {"warning": logging.WARNING, "error": logging.ERROR}  # of what is printed; else INFO
_REPEATING = ("saved", "save_failed")  # of these in a row, the newest says all
_TYPES = {
    **dict.fromkeys(("saved", "loaded", "initialized", "reset"), "success"),
    **dict.fromkeys(_FAILURES, "error"),
    "alert": "warning",
}


class _Line(NamedTuple):
    event: str
    kind: str  # as messages have it: info, success, warning or error
    text: str


class Console:
    """Prints events to a stream from a thread of its own; a stream that blocks or is gone harms nobody else."""

    def __init__(self, stream: TextIO, shape: Shape = lambda text, *_: text) -> None:
        self._stream, self._shape = stream, shape
        self.journal = TerminalLines()  # of what was printed
        self._good, self._bad = ("✓", "✗") if _can_print(stream, "✓✗") else ("[ok]", "[failed]")
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._waiting: _Line | None = None  # of the newest save that was held back
        self._saved_at = -_SECONDS_BETWEEN_SAVED
        self._thread = threading.Thread(target=self._run, name="console", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def take(self, event: Event) -> None:
        """Print this event soon; returns at once."""
        self._events.put(event)

    def close(self, timeout: float = 2.0) -> None:
        """Print what is left, the last "saved" line among it; a stream that blocks is left after `timeout` seconds."""
        self._events.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            try:
                event = self._events.get(timeout=self._patience())
            except queue.Empty:
                self._print_waiting()
                continue
            if event is None:
                self._print_waiting()
                return
            self._handle(event)

    def _patience(self) -> float | None:
        """Seconds until a line that was held back is due; None: nothing is held back."""
        if self._waiting is None:
            return None
        return max(0.0, self._saved_at + _SECONDS_BETWEEN_SAVED - time.monotonic())

    def _handle(self, event: Event) -> None:
        text = self._text(event)
        if text is None:
            return
        line = _Line(event.kind, _type_of(event), text)
        if event.kind in ("saved", "save_failed"):
            if self._waiting is not None and self._waiting.event != event.kind:
                self._print_waiting()
            self._waiting = line
            if time.monotonic() - self._saved_at >= _SECONDS_BETWEEN_SAVED:
                self._print_waiting()
            return
        self._print_waiting()
        self._print(line)

    def _text(self, event: Event) -> str | None:
        told = event.details
        match event.kind:
            case "saved":
                return f"{self._good} State saved: {told['iteration_count']} iterations"
            case "loaded":
                return f"{self._good} State loaded: {told['iteration_count']} iterations restored"
            case "save_failed":
                return f"{self._bad} Failed to save state: {told['message']}"
            case "load_failed" if told["nothing_there"]:
                return "No saved state found"
            case "load_failed":
                return f"{self._bad} Failed to load state: {told['message']}"
            case "initialized":
                return f"New run initialized: field size {told['field_size']}, seed {told['seed']}"
            case "training":
                return "Training started" if told["running"] else "Training stopped"
            case "reset":
                return "System reset: every saved state was deleted"
            case "died":
                return f"{self._bad} The training thread ended: {told['message']}"
            case "message" | log_setup.SECRET:
                return str(told["text"])
            case "alert":
                return str(told["message"])
            case "pace":
                pace = told["iterations_per_second"]
                return "Pace: no limit" if pace is None else f"Pace: {pace:g} iterations a second"
        return None

    def _print_waiting(self) -> None:
        if self._waiting is not None:
            self._print(self._waiting)
            self._waiting = None
            self._saved_at = time.monotonic()

    def _print(self, line: _Line) -> None:
        if line.event != log_setup.SECRET:
            self.journal.add(line.text, line.kind, line.event if line.event in _REPEATING else None)
        encoding = self._stream.encoding or "utf-8"
        shaped = self._shape(line.text, line.event, _LEVELS.get(line.kind, logging.INFO))
        printable = shaped.encode(encoding, "replace").decode(encoding)
        try:
            self._stream.write(printable + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # the terminal is gone: there is nobody left to tell
            return


def _type_of(event: Event) -> str:
    if event.kind == "message":
        return str(event.details["type"])
    return _TYPES.get(event.kind, "info")


def _can_print(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
