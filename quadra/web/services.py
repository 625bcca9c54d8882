"""What the routes and events of one application act on; `services()` finds it while a request is handled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from flask import current_app

from quadra.backup.remote_commands import RemoteCommands
from quadra.backup.service import BackupService
from quadra.config import TrainingConfig
from quadra.errors import RefusedError
from quadra.live.activity_feed import ActivityFeed
from quadra.live.alert_monitor import AlertMonitor
from quadra.live.prometheus import PrometheusExporter
from quadra.live.terminal_lines import TerminalLines
from quadra.reports.proof_queue import ProofQueue
from quadra.states.alert_rules import exported_rules
from quadra.states.listing import StateListing
from quadra.storage.layout import StateLayout
from quadra.training.commands import Commands
from quadra.training.worker import Worker
from quadra.web.access_rules import Access
from quadra.web.static_files import StaticFiles

if TYPE_CHECKING:
    from quadra.storage.files.durable import Piece
    from quadra.storage.saved_state import SavedState

NAME = "quadra"  # among the extensions of an application


class StateReader:
    """Reads saved states beside the worker; callable from any thread.

    Modules that take torch along are imported when a state is opened: a server must not wait for them to start.
    """

    def __init__(self, layout: StateLayout, defaults: TrainingConfig) -> None:
        self._layout, self._defaults = layout, defaults
        self.listing = StateListing(layout)

    def open(self, state_id: str) -> tuple[str, SavedState]:
        """Returns a state's title and content. Raises UnknownSourceError, or a BadFileError."""
        from quadra.states.read_only import read_state

        entry, saved = read_state(self._layout, state_id, self._defaults)
        return self.listing.title(entry), saved

    def note(self, state_id: str) -> str:
        """Returns what a person has noted of a state."""
        return self.listing.label(state_id).note

    def archive(self, state_id: str) -> tuple[str, Mapping[str, Iterable[Piece]]]:
        """Returns the name of a state's archive and the files in it. Raises UnknownSourceError, or a BadFileError."""
        from quadra.states import read_only, transfer

        entry, files = read_only.read_portable_files(self._layout, state_id, self._defaults)
        rules = exported_rules(self._layout.path, entry.run, entry.id, entry.run)
        name = transfer.archive_name(self.listing.label(state_id).name, entry.run, entry.iteration_count)
        return name, {**files, **rules}


class Backups(NamedTuple):
    """What is asked of the backups: one more of them, or what is done with those that are there."""

    service: BackupService
    remote: RemoteCommands


@dataclass(frozen=True)
class Services:
    """The parts of one application."""

    worker: Worker
    commands: Commands
    states: StateReader
    proofs: ProofQueue
    backups_or_none: Backups | None  # None: the server has no place for backups
    activity: ActivityFeed
    alerts: AlertMonitor
    terminal: TerminalLines
    prometheus: PrometheusExporter
    access: Access
    files: StaticFiles

    def backups(self) -> Backups:
        """Raises RefusedError where the server has no place for backups."""
        if self.backups_or_none is None:
            raise RefusedError("This server has no place for backups. Start it with --backup-url.")
        return self.backups_or_none


def services() -> Services:
    """Returns those of the application that handles the present request or event."""
    found: Services = current_app.extensions[NAME]
    return found
