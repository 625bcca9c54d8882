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


class LifecycleCommand(StrEnum):
    """A command that moves the run through its phases."""

    INITIALIZE = "initialize"
    START = "start"
    STOP = "stop"
    LOAD = "load"
    RESET = "reset"


_STOP_FIRST = "Training is running: stop it first."
_NOT_TRAINING = "Not training."

_TABLE: dict[tuple[Phase, LifecycleCommand], Phase | str] = {
    (Phase.UNINITIALIZED, LifecycleCommand.INITIALIZE): Phase.READY,
    (Phase.UNINITIALIZED, LifecycleCommand.START): "Initialize a new run or load a saved state first.",
    (Phase.UNINITIALIZED, LifecycleCommand.STOP): _NOT_TRAINING,
    (Phase.UNINITIALIZED, LifecycleCommand.LOAD): Phase.READY,
    (Phase.UNINITIALIZED, LifecycleCommand.RESET): Phase.UNINITIALIZED,
    (Phase.READY, LifecycleCommand.INITIALIZE): Phase.READY,
    (Phase.READY, LifecycleCommand.START): Phase.TRAINING,
    (Phase.READY, LifecycleCommand.STOP): _NOT_TRAINING,
    (Phase.READY, LifecycleCommand.LOAD): Phase.READY,
    (Phase.READY, LifecycleCommand.RESET): Phase.UNINITIALIZED,
    (Phase.TRAINING, LifecycleCommand.INITIALIZE): _STOP_FIRST,
    (Phase.TRAINING, LifecycleCommand.START): "Already training.",
    (Phase.TRAINING, LifecycleCommand.STOP): Phase.READY,
    (Phase.TRAINING, LifecycleCommand.LOAD): _STOP_FIRST,
    (Phase.TRAINING, LifecycleCommand.RESET): Phase.UNINITIALIZED,
}


def next_phase(phase: Phase, command: LifecycleCommand) -> Phase:
    """Returns the phase that a command leads to. Raises RefusedError, with the reason, where it is not allowed."""
    outcome = _TABLE[phase, command]
    if isinstance(outcome, Phase):
        return outcome
    raise RefusedError(outcome)


def refusals(phase: Phase) -> dict[str, str | None]:
    """Returns for every command: None where it is allowed in this phase, else the reason."""
    outcomes = {command: _TABLE[phase, command] for command in LifecycleCommand}
    return {command.value: None if isinstance(outcome, Phase) else outcome for command, outcome in outcomes.items()}
