"""Logs: what the parts of the program report, as text or as JSON, on stderr and in a file that cannot grow without end.

The terminal's lines are shaped here too: for JSON each becomes an object whose `message` is the line.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from quadra.errors import ConfigurationError
from quadra.training.events import Secret

Form = Literal["text", "json"]
FORMS: tuple[Form, ...] = ("text", "json")
_OLDER_FILES = 4  # beside the one that is written
_TERMINAL = "quadra.terminal"

log = logging.getLogger("quadra")


@dataclass(frozen=True)
class LogSettings:
    """Where logs go, and as what."""

    form: Form = "text"
    file: Path | None = None
    budget: int = 50_000_000  # bytes that the file and its older ones take together at most

    def check(self) -> None:
        """Refuses a file that cannot be written, without making it. Raises ConfigurationError."""
        if self.file is None:
            return
        if not self.file.parent.is_dir():
            raise ConfigurationError("log_file", f"the folder {self.file.parent} is not there. Make it first.")
        if self.file.exists() and not self.file.is_file():
            raise ConfigurationError("log_file", f"{self.file} is no plain file. Name another one.")


class Logs:
    """Writes what all loggers of the process report, and the terminal's lines."""

    def __init__(self, settings: LogSettings) -> None:
        """Raises ConfigurationError where the file cannot be opened."""
        self._form: logging.Formatter = _JsonFormatter() if settings.form == "json" else _TextFormatter()
        self._line: logging.Formatter = self._form if settings.form == "json" else logging.Formatter("%(message)s")
        self._file = _opened(settings) if settings.file else None
        screen = logging.StreamHandler(sys.stderr)
        screen.setLevel(logging.WARNING)
        root = logging.getLogger()
        for handler in (screen, self._file):
            if handler is not None:
                handler.setFormatter(self._form)
                root.addHandler(handler)
        log.setLevel(logging.INFO)
        logging.captureWarnings(capture=True)
        sys.excepthook, threading.excepthook = _escaped, _escaped_thread

    def line(self, text: str, event: str, level: int) -> str:
        """A line for the terminal as it is to be printed; it is kept in the file as well. Callable from any thread."""
        record = logging.makeLogRecord(
            {"name": _TERMINAL, "msg": text, "levelno": level, "levelname": logging.getLevelName(level), "event": event}
        )
        if self._file is not None and event != Secret.name:
            self._file.handle(record)
        return self._line.format(record)


class _TextFormatter(logging.Formatter):
    """`2026-01-01T00:00:00.000Z WARNING quadra.backup: message`, and a traceback below it."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_timestamp(record)} {record.levelname} {record.name}: {_one_line(record.getMessage())}"
        return line + (f"\n{self.formatException(record.exc_info)}" if record.exc_info else "")


class _JsonFormatter(logging.Formatter):
    """One object a line."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": _timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if hasattr(record, "event"):
            entry["event"] = record.event
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


class _File(RotatingFileHandler):
    """Says once that it cannot write, and why, until it can again: a full disk must not end anything."""

    _failed = _reported = False

    def emit(self, record: logging.LogRecord) -> None:
        """Appends a record; begins the next file before this one grows too large."""
        self._failed = False
        super().emit(record)
        self._reported = self._failed

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, ARG002  # the standard library's name
        """Notes that a record could not be written; the standard library calls it."""
        self._failed = True
        if not self._reported:
            with contextlib.suppress(OSError):  # the terminal is gone as well: there is nobody left to tell
                sys.stderr.write(f"The log file {self.baseFilename} cannot be written: {sys.exc_info()[1]}\n")


def _opened(settings: LogSettings) -> _File:
    assert settings.file is not None, "asked before"
    size = (
        settings.budget * 9 // 10 // (_OLDER_FILES + 1)
    )  # the handler counts characters, of which some take more bytes
    try:
        return _File(
            settings.file, maxBytes=size, backupCount=_OLDER_FILES, encoding="utf-8", errors="backslashreplace"
        )
    except OSError as error:
        raise ConfigurationError(
            "log_file", f"{settings.file} cannot be written: {error.strerror}. Name another one."
        ) from error


def _escaped(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    log.critical("The program ended unexpectedly", exc_info=(kind, error, trace))


def _escaped_thread(args: threading.ExceptHookArgs) -> None:
    name = args.thread.name if args.thread else "unknown"
    value = args.exc_value or args.exc_type()
    log.error("Thread %s ended unexpectedly", name, exc_info=(args.exc_type, value, args.exc_traceback))


def _timestamp(record: logging.LogRecord) -> str:
    created = datetime.fromtimestamp(record.created, UTC)
    return created.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _one_line(text: str) -> str:
    """Returns the text on one line: what somebody sent must not look like a line of the log."""
    return text.replace("\r", "\\r").replace("\n", "\\n")
