"""Backups for browsers and scripts: made on demand, listed, restored as named states, and deleted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from quadra.backup.remote import Remote
from quadra.backup.service import Backup
from quadra.byte_progress import expect
from quadra.errors import BackupError, RefusedError
from quadra.states.listing import StateListing
from quadra.states.own_texts import id_of, is_there
from quadra.storage.layout import METRICS, StateLayout
from quadra.training.commands import StateCommands
from quadra.training.progress_events import Teller, progress
from quadra.web.payloads import required_text

Answer = Future[dict[str, Any]]

_GIVE_IT_AGAIN = "Give the same text in Settings and load the saved state after that: it then continues to the bit."


def backup_events(
    backup: Backup | None, states: StateCommands, layout: StateLayout, tell: Teller
) -> dict[str, Callable[[Mapping[str, Any]], Answer]]:
    """The Socket.IO events of the backups; without a place for them each is refused."""
    if backup is None:
        names = ("backup_now", "list_backups", "restore_backup", "delete_backup")
        return dict.fromkeys(names, _refuse)
    requests = _Requests(Remote(backup.place.url), states, layout, tell)
    return {
        "backup_now": lambda _: backup.now(),
        "list_backups": lambda _: requests.list(),
        "restore_backup": lambda given: requests.restore(required_text(given, "name")),
        "delete_backup": lambda given: requests.delete(required_text(given, "name")),
    }


class _Requests:
    """What is asked of the place beside the uploads, one after the other, over a connection of its own."""

    def __init__(self, place: Remote, states: StateCommands, layout: StateLayout, tell: Teller) -> None:
        self._place, self._states, self._layout, self._library = place, states, layout, StateListing(layout)
        self._tell = tell
        self._thread = ThreadPoolExecutor(1, "backup-requests")

    def list(self) -> Answer:
        """Every complete backup, newest first."""
        return self._thread.submit(
            lambda: {
                "place": self._place.shown_url,
                "backups": [manifest.as_dict() for manifest in self._place.listed()],
            }
        )

    def restore(self, name: str) -> Answer:
        """Make a backup a named state, which can then be loaded like any other."""
        return self._thread.submit(self._restored, name)

    def delete(self, name: str) -> Answer:
        """Delete a backup for good."""

        def delete() -> dict[str, Any]:
            self._place.remove(name)
            return {"name": name}

        return self._thread.submit(delete)

    def _restored(self, backup: str) -> dict[str, Any]:
        with progress("restore", self._tell), TemporaryDirectory(prefix="quadra-restore-") as place:
            folder = Path(place)
            try:
                manifest = self._place.fetch(backup, folder)
                remarks = self._place.fetch_along(manifest, folder)
            except OSError as error:
                raise BackupError(f"What was fetched cannot be written here: {error.strerror}.") from error
            # Read, checked, read again, and written under its name, the history three times on the way.
            expect("Checking and keeping", 4 * manifest.size + manifest.files[METRICS].size)
            remarks += self._looked_at(folder)
            record = manifest.record
            name = f"Backup of run {record.run[:8]}, iteration {record.iteration_count}"
            taken = self._states.take_folder(folder, name).result()
        title = self._library.label(taken["id"]).name  # it has got a number where the name was taken
        return {**taken, "title": title, "iteration_count": record.iteration_count, "warnings": list(remarks)}

    def _looked_at(self, folder: Path) -> tuple[str, ...]:
        """What a person should know of a state that was fetched. Raises a BadFileError where it is not whole."""
        from quadra.states.transfer import remarks_on_rules, settle_text
        from quadra.storage.saved_state import (
            read,  # here, since these take torch along: a server must not wait for that
        )

        own = id_of(read(folder).engine["corpus"]["path"])
        settle_text(folder, own)
        remarks = remarks_on_rules(folder)
        if own is None or (folder / f"{own}.txt").is_file() or is_there(self._layout.path, own):
            return remarks
        return (*remarks, f"The run's own text ({own[:8]}…) did not come with it. {_GIVE_IT_AGAIN}")


def _refuse(_: Mapping[str, Any]) -> Answer:
    raise RefusedError("This server has no place for backups. Start it with --backup-url.")
