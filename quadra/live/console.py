"""Console: prints the exact lines that people watch and grep for, without ever holding up training."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, TextIO

from quadra.live.terminal_lines import TerminalLines
from quadra.training.events import (
    Event,
    LoadFailed,
    SaveEveryChanged,
    SaveFailed,
    Secret,
    StateLoaded,
    StateSaved,
    WorkerDied,
    level,
    sentence,
)

Shape = Callable[[str, str, int], str]  # a line, its event and its level, to the line as it is printed
_SECONDS_BETWEEN_SAVED = 0.5  # at high speed the "saved" lines are thinned to two a second
_LEVELS = {"warning": logging.WARNING, "error": logging.ERROR}  # of what is printed; else INFO
_REPEATING = (StateSaved, SaveFailed)  # of these in a row, the newest says all
_GOOD, _BAD = (StateSaved, StateLoaded), (SaveFailed, LoadFailed, WorkerDied)  # are marked as such


class _Line(NamedTuple):
    event: Event
    text: str


class Console:
    """Prints events to a stream from a thread of its own; a stream that blocks or is gone holds up nothing else."""

    def __init__(self, stream: TextIO, shape: Shape = lambda text, *_: text) -> None:
        self._stream, self._shape = stream, shape
        self.lines = TerminalLines()  # of what was printed
        self._good, self._bad = ("✓", "✗") if _can_print(stream, "✓✗") else ("[ok]", "[failed]")
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._waiting: _Line | None = None  # of the newest save that was held back
        self._saved_at = -_SECONDS_BETWEEN_SAVED
        self._thread = threading.Thread(target=self._run, name="console", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def on_event(self, event: Event) -> None:
        """Prints this event soon; returns at once."""
        self._events.put(event)

    def close(self, timeout: float = 2.0) -> None:
        """Prints what is left, the last "saved" line among it; a stream that blocks is left after `timeout` seconds."""
        self._events.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            try:
                event = self._events.get(timeout=self._due_in())
            except queue.Empty:
                self._print_waiting()
                continue
            if event is None:
                self._print_waiting()
                return
            self._handle(event)

    def _due_in(self) -> float | None:
        """Returns the seconds until a line that was held back is due; None: nothing is held back."""
        if self._waiting is None:
            return None
        return max(0.0, self._saved_at + _SECONDS_BETWEEN_SAVED - time.monotonic())

    def _handle(self, event: Event) -> None:
        text = self._text(event)
        if text is None:
            return
        line = _Line(event, text)
        if isinstance(event, _REPEATING):
            if self._waiting is not None and self._waiting.event.name != event.name:
                self._print_waiting()
            self._waiting = line
            if time.monotonic() - self._saved_at >= _SECONDS_BETWEEN_SAVED:
                self._print_waiting()
            return
        self._print_waiting()
        self._print(line)

    def _text(self, event: Event) -> str | None:
        """Returns the line of an event; None for one that the terminal does not show."""
        text = sentence(event)
        if isinstance(event, LoadFailed) and event.nothing_there:
            return text
        if isinstance(event, _GOOD):
            return f"{self._good} {text}"
        if isinstance(event, _BAD):
            return f"{self._bad} {text}"
        return None if isinstance(event, SaveEveryChanged) else text

    def _print_waiting(self) -> None:
        if self._waiting is not None:
            self._print(self._waiting)
            self._waiting = None
            self._saved_at = time.monotonic()

    def _print(self, line: _Line) -> None:
        event, kind = line.event, level(line.event)
        if not isinstance(event, Secret):
            self.lines.add(line.text, kind, event.name if isinstance(event, _REPEATING) else None)
        encoding = self._stream.encoding or "utf-8"
        shaped = self._shape(line.text, event.name, _LEVELS.get(kind, logging.INFO))
        printable = shaped.encode(encoding, "replace").decode(encoding)
        try:
            self._stream.write(printable + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # the terminal is gone: there is nobody left to tell
            return


def _can_print(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
