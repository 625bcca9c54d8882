"""What a click does: the one table of Socket.IO events, each with the type of its payload and the command it carries out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from flask_socketio import SocketIO

from quadra.errors import QuadraError
from quadra.states.alert_rules import rules_from
from quadra.training.command_queue import Reply
from quadra.web.error_answers import client, refuse_event
from quadra.web.payloads import (
    BackupName,
    Initialize,
    LabelState,
    LoadState,
    Nothing,
    Payload,
    ProveState,
    SaveSlot,
    SetAlerts,
    SetPace,
    SetSaveEvery,
    StartTraining,
    StateId,
    WatchInside,
    fields_of,
    read,
)
from quadra.web.rate_limits import CommandLimits
from quadra.web.services import Services

log = logging.getLogger("quadra.web")

P = TypeVar("P", bound=Payload)


@dataclass(frozen=True)
class EventCommand:
    """What an event carries out."""

    payload: type[Payload]
    carry_out: Callable[[Services, Any], Reply]
    is_for_watchers: bool  # whether those may send it who may change nothing
    needs_backups: bool  # whether it is refused where the server has no place for backups

    def __call__(self, services: Services, given: Mapping[str, Any]) -> Reply:
        """Raises QuadraError where the payload does not fit or the command cannot be begun."""
        if self.needs_backups:
            services.backups()
        return self.carry_out(services, read(self.payload, given))


def _event(
    payload: type[P],
    carry_out: Callable[[Services, P], Reply],
    is_for_watchers: bool = False,
    needs_backups: bool = False,
) -> EventCommand:
    return EventCommand(payload, carry_out, is_for_watchers, needs_backups)


def _watch_inside(services: Services, given: WatchInside) -> Reply:
    (services.activity.join if given.open else services.activity.leave)(client())
    reply: Reply = Future()
    reply.set_result({"open": given.open})
    return reply


EVENTS: dict[str, EventCommand] = {
    "initialize_system": _event(
        Initialize, lambda services, given: services.worker.initialize(given.field_size, given.seed, given.corpus)
    ),
    "start_training": _event(StartTraining, lambda services, given: services.worker.start_training(given.until)),
    "stop_training": _event(Nothing, lambda services, _: services.worker.stop_training()),
    "load_state": _event(LoadState, lambda services, given: services.worker.load(given.source, given.discard_unsaved)),
    "save_as_new_run": _event(Nothing, lambda services, _: services.worker.save_as_new_run()),
    "reset_system": _event(Nothing, lambda services, _: services.worker.reset()),
    "set_pace": _event(SetPace, lambda services, given: services.worker.set_pace(given.iterations_per_second)),
    "set_save_every": _event(SetSaveEvery, lambda services, given: services.commands.set_save_every(given.iterations)),
    "save_slot": _event(SaveSlot, lambda services, given: services.commands.save_slot(given.name, given.overwrite)),
    "label_state": _event(
        LabelState, lambda services, given: services.commands.label(given.id, given.name, given.note, given.pinned)
    ),
    "delete_state": _event(StateId, lambda services, given: services.commands.delete(given.id)),
    "undelete_state": _event(StateId, lambda services, given: services.commands.undelete(given.id)),
    "prove_state": _event(ProveState, lambda services, given: services.proofs.prove(given.id, given.iterations)),
    "set_alerts": _event(
        SetAlerts,
        lambda services, given: services.commands.set_alert_rules(
            rules_from(given.rules), given.run, None if given.seen is None else rules_from(given.seen, "seen")
        ),
    ),
    "backup_now": _event(Nothing, lambda services, _: services.backups().service.now(), needs_backups=True),
    "list_backups": _event(Nothing, lambda services, _: services.backups().remote.list(), needs_backups=True),
    "restore_backup": _event(
        BackupName, lambda services, given: services.backups().remote.restore(given.name), needs_backups=True
    ),
    "delete_backup": _event(
        BackupName, lambda services, given: services.backups().remote.delete(given.name), needs_backups=True
    ),
    "watch_inside": _event(WatchInside, _watch_inside, is_for_watchers=True),
}
FOR_WATCHERS = tuple(name for name, command in EVENTS.items() if command.is_for_watchers)  # every other one is refused


def add_events(socketio: SocketIO, services: Services, limits: CommandLimits) -> None:
    """Register a handler for every event of the table."""
    for name, command in EVENTS.items():
        socketio.on_event(name, handler(socketio, partial(command, services), limits))


def handler(
    socketio: SocketIO, command: Callable[[Mapping[str, Any]], Reply], limits: CommandLimits
) -> Callable[..., dict[str, Any]]:
    """Returns an event handler whose return value is the acknowledgement; nothing that a client sends makes it raise."""

    def handle(*message: Any) -> dict[str, Any]:
        try:
            with limits.command(client()):
                return {"ok": True, **command(fields_of(message)).result()}
        except QuadraError as error:
            return refuse_event(socketio, client(), error.code, error.message)
        except Exception:
            log.exception("A command failed unexpectedly")
            reason = "The command failed unexpectedly; the terminal says why."
            return refuse_event(socketio, client(), "internal_error", reason)

    return handle
