"""Events: what happens to the run and its saved states; every listener of the worker is handed each of them.

A listener matches an event by its type. What people read of it, on the page and in the terminal, stands in `sentence`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from quadra.states.alert_rules import Rule

Level = Literal["info", "success", "warning", "error"]


@dataclass(frozen=True)
class Event:
    """Something that happened."""

    name: ClassVar[str]  # in logs and for browsers


Publish = Callable[[Event], None]


@dataclass(frozen=True)
class Message(Event):
    """A sentence for everybody."""

    name: ClassVar = "message"
    text: str
    level: Level = "info"


@dataclass(frozen=True)
class Secret(Event):
    """A sentence for the terminal only: no file keeps it, and no browser is shown it."""

    name: ClassVar = "secret"
    text: str


@dataclass(frozen=True)
class RunInitialized(Event):
    """A new run is in memory."""

    name: ClassVar = "initialized"
    field_size: int
    seed: int | None


@dataclass(frozen=True)
class StateLoaded(Event):
    """A saved state is in memory."""

    name: ClassVar = "loaded"
    iteration_count: int


@dataclass(frozen=True)
class LoadFailed(Event):
    """No saved state was loaded."""

    name: ClassVar = "load_failed"
    message: str  # why
    nothing_there: bool  # whether there is no saved state at all


@dataclass(frozen=True)
class TrainingStarted(Event):
    """Iterations follow."""

    name: ClassVar = "training"


@dataclass(frozen=True)
class TrainingStopped(Event):
    """No more iterations follow; the run is saved where that was possible."""

    name: ClassVar = "training"
    by_itself: bool  # whether nobody asked for it just now
    integrity_strikes: int  # of the run so far


@dataclass(frozen=True)
class SystemReset(Event):
    """Memory and state directory are empty."""

    name: ClassVar = "reset"


@dataclass(frozen=True)
class StateSaved(Event):
    """A saved state is durable. By itself: of a run that was saved because another one took its place."""

    name: ClassVar = "saved"
    iteration_count: int
    saved_at: str  # ISO 8601, UTC
    duration_ms: float


@dataclass(frozen=True)
class MeasuredSave(StateSaved):
    """A saved state of the run in memory is durable, and what that took is known."""

    size: int  # bytes of the weights file
    written: int  # bytes in all


@dataclass(frozen=True)
class SaveFailed(Event):
    """A save failed; the saved state before it is intact."""

    name: ClassVar = "save_failed"
    iteration_count: int
    message: str  # why


@dataclass(frozen=True)
class PaceChanged(Event):
    """Training is held to another pace."""

    name: ClassVar = "pace"
    iterations_per_second: float | None  # None: no limit


@dataclass(frozen=True)
class SaveEveryChanged(Event):
    """Auto-saves come at another interval."""

    name: ClassVar = "save_every"
    iterations: int  # 0: only Stop saves


@dataclass(frozen=True)
class StatesChanged(Event):
    """The saved states in the state directory are others than before."""

    name: ClassVar = "states_changed"


@dataclass(frozen=True)
class RunEventsChanged(Event):
    """Something besides training has happened to the run: a load, an integrity strike."""

    name: ClassVar = "happened"


@dataclass(frozen=True)
class BackupChanged(Event):
    """The backups go otherwise than before."""

    name: ClassVar = "backup"


@dataclass(frozen=True)
class AlertRulesChanged(Event):
    """A run has other alert rules."""

    name: ClassVar = "alerts_changed"
    rules: tuple[Rule, ...]
    run: str | None


@dataclass(frozen=True)
class AlertFired(Event):
    """The condition of an alert rule has begun."""

    name: ClassVar = "alert"
    id: str
    rule: Rule
    run: str | None
    iteration: int
    value: float | None  # at that iteration
    times: int  # that it has begun since the last alert of this rule
    message: str
    at: str  # when it was first seen, ISO 8601, UTC

    def as_dict(self) -> dict[str, Any]:
        """Returns what browsers and scripts are told."""
        return {**vars(self), "rule": self.rule.as_dict()}


@dataclass(frozen=True)
class CommandProgress(Event):
    """A long command has come so far."""

    name: ClassVar = "progress"
    command: str
    doing: str  # what it does now
    done: int  # bytes
    total: int
    seconds_left: float | None  # None: not known yet


@dataclass(frozen=True)
class WorkerDied(Event):
    """The training thread has ended unexpectedly."""

    name: ClassVar = "died"
    message: str  # why


_GOOD = (RunInitialized, StateLoaded, StateSaved, SystemReset)
_BAD = (LoadFailed, SaveFailed, WorkerDied)


def level(event: Event) -> Level:
    """Returns how good or bad the news is."""
    if isinstance(event, Message):
        return event.level
    if isinstance(event, _GOOD):
        return "success"
    if isinstance(event, _BAD):
        return "error"
    return "warning" if isinstance(event, AlertFired) else "info"


def sentence(event: Event) -> str | None:
    """Returns what people are told of an event, None where nothing; only texts from elsewhere end with a full stop."""
    match event:
        case Message() | Secret():
            return event.text
        case RunInitialized():
            return f"New run initialized: field size {event.field_size}, seed {event.seed}"
        case StateLoaded():
            return f"State loaded: {event.iteration_count} iterations restored"
        case LoadFailed():
            return event.message if event.nothing_there else f"Failed to load state: {event.message}"
        case TrainingStarted():
            return "Training started"
        case TrainingStopped():
            return "Training stopped"
        case SystemReset():
            return "System reset: every saved state was deleted"
        case StateSaved():
            return f"State saved: {event.iteration_count} iterations"
        case SaveFailed():
            return f"Failed to save state: {event.message}"
        case PaceChanged(iterations_per_second=pace):
            return "Pace: no limit" if pace is None else f"Pace: {pace:g} iterations a second"
        case SaveEveryChanged(iterations=0):
            return "Auto-save is off: only Stop saves"
        case SaveEveryChanged():
            return f"Saved every {event.iterations} iterations from now on"
        case AlertFired():
            return event.message
        case WorkerDied():
            return f"The training thread ended: {event.message}"
    return None
