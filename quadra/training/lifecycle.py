"""The life cycle: (phase, command) -> what may happen. Pure: a table and nothing else.

A pair that is not allowed maps to the reason, which the browser shows on the disabled button.
"""

from __future__ import annotations

from enum import StrEnum

from quadra.errors import RefusedError


class Phase(StrEnum):
    """What the system is doing."""

    UNINITIALIZED = "uninitialized"
    READY = "ready"
    TRAINING = "training"


class Command(StrEnum):
    """What a person or script may ask for."""

    INITIALIZE = "initialize"
    START = "start"
    STOP = "stop"
    LOAD = "load"
    RESET = "reset"


_STOP_FIRST = "Training is running: stop it first."
_NOT_TRAINING = "Not training."

_TABLE: dict[tuple[Phase, Command], Phase | str] = {
    (Phase.UNINITIALIZED, Command.INITIALIZE): Phase.READY,
    (Phase.UNINITIALIZED, Command.START): "Initialize a new run or load a saved state first.",
    (Phase.UNINITIALIZED, Command.STOP): _NOT_TRAINING,
    (Phase.UNINITIALIZED, Command.LOAD): Phase.READY,
    (Phase.UNINITIALIZED, Command.RESET): Phase.UNINITIALIZED,
    (Phase.READY, Command.INITIALIZE): Phase.READY,
    (Phase.READY, Command.START): Phase.TRAINING,
    (Phase.READY, Command.STOP): _NOT_TRAINING,
    (Phase.READY, Command.LOAD): Phase.READY,
    (Phase.READY, Command.RESET): Phase.UNINITIALIZED,
    (Phase.TRAINING, Command.INITIALIZE): _STOP_FIRST,
    (Phase.TRAINING, Command.START): "Already training.",
    (Phase.TRAINING, Command.STOP): Phase.READY,
    (Phase.TRAINING, Command.LOAD): _STOP_FIRST,
    (Phase.TRAINING, Command.RESET): Phase.UNINITIALIZED,
}


def next_phase(phase: Phase, command: Command) -> Phase:
    """Returns the phase that a command leads to. Raises RefusedError, with the reason, where it is not allowed."""
    outcome = _TABLE[phase, command]
    if isinstance(outcome, Phase):
        return outcome
    raise RefusedError(outcome)


def refusals(phase: Phase) -> dict[str, str | None]:
    """Returns for every command: None where it is allowed in this phase, else the reason."""
    outcomes = {command: _TABLE[phase, command] for command in Command}
    return {command.value: None if isinstance(outcome, Phase) else outcome for command, outcome in outcomes.items()}
