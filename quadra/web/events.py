"""The table of Socket.IO events: which command each of them carries out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from quadra.backup.remote import Remote
from quadra.backup.remote_commands import RemoteCommands
from quadra.backup.service import Backup
from quadra.errors import RefusedError
from quadra.storage.layout import StateLayout
from quadra.training.command_queue import Reply
from quadra.training.commands import Commands
from quadra.training.events import Publish
from quadra.web.payloads import required_text


def backup_events(
    backup: Backup | None, states: Commands, layout: StateLayout, publish: Publish
) -> dict[str, Callable[[Mapping[str, Any]], Reply]]:
    """Returns the events of the backups; each of them is refused where the server has no place for backups."""
    if backup is None:
        names = ("backup_now", "list_backups", "restore_backup", "delete_backup")
        return dict.fromkeys(names, _refuse_backup)
    commands = RemoteCommands(Remote(backup.place.url), states, layout, publish)
    return {
        "backup_now": lambda _: backup.now(),
        "list_backups": lambda _: commands.list(),
        "restore_backup": lambda given: commands.restore(required_text(given, "name")),
        "delete_backup": lambda given: commands.delete(required_text(given, "name")),
    }


def _refuse_backup(_: Mapping[str, Any]) -> Reply:
    raise RefusedError("This server has no place for backups. Start it with --backup-url.")
