"""The life cycle: (state, command) -> what may happen. Pure: a table and nothing else.

A pair that is not allowed maps to the reason, which the browser shows on the disabled button.
"""

from __future__ import annotations

from enum import StrEnum

from quadra.errors import RefusedError


class SystemState(StrEnum):
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

_TABLE: dict[tuple[SystemState, Command], SystemState | str] = {
    (SystemState.UNINITIALIZED, Command.INITIALIZE): SystemState.READY,
    (SystemState.UNINITIALIZED, Command.START): "Initialize a new run or load a saved state first.",
    (SystemState.UNINITIALIZED, Command.STOP): _NOT_TRAINING,
    (SystemState.UNINITIALIZED, Command.LOAD): SystemState.READY,
    (SystemState.UNINITIALIZED, Command.RESET): SystemState.UNINITIALIZED,
    (SystemState.READY, Command.INITIALIZE): SystemState.READY,
    (SystemState.READY, Command.START): SystemState.TRAINING,
    (SystemState.READY, Command.STOP): _NOT_TRAINING,
    (SystemState.READY, Command.LOAD): SystemState.READY,
    (SystemState.READY, Command.RESET): SystemState.UNINITIALIZED,
    (SystemState.TRAINING, Command.INITIALIZE): _STOP_FIRST,
    (SystemState.TRAINING, Command.START): "Already training.",
    (SystemState.TRAINING, Command.STOP): SystemState.READY,
    (SystemState.TRAINING, Command.LOAD): _STOP_FIRST,
    (SystemState.TRAINING, Command.RESET): SystemState.UNINITIALIZED,
}


def next_state(state: SystemState, command: Command) -> SystemState:
    """Where a command leads; raises RefusedError, with the reason, where it is not allowed."""
    outcome = _TABLE[state, command]
    if isinstance(outcome, SystemState):
        return outcome
    raise RefusedError(outcome)


def refusals(state: SystemState) -> dict[str, str | None]:
    """For every command: None where it is allowed in this state, else the reason."""
    outcomes = {command: _TABLE[state, command] for command in Command}
    return {
        command.value: None if isinstance(outcome, SystemState) else outcome for command, outcome in outcomes.items()
    }
