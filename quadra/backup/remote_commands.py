"""Commands on the backups at a remote: list, restore as named states, delete."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from quadra.backup.remote import Remote
from quadra.byte_progress import expect
from quadra.errors import BackupError
from quadra.states.listing import StateListing
from quadra.states.own_texts import id_of, is_stored
from quadra.storage.files.scratch import ScratchFolder
from quadra.storage.layout import METRICS, StateLayout
from quadra.training.command_queue import Reply
from quadra.training.commands import Commands
from quadra.training.events import Publish
from quadra.training.progress_events import progress

_GIVE_IT_AGAIN = "Give the same text in Settings and load the saved state after that: it then continues to the bit."


class RemoteCommands:
    """Runs one command after the other on a thread of its own, over its own connection, while uploads go on."""

    def __init__(self, remote: Remote, states: Commands, layout: StateLayout, publish: Publish) -> None:
        self._remote, self._states, self._layout, self._listing = remote, states, layout, StateListing(layout)
        self._publish = publish
        self._thread = ThreadPoolExecutor(1, "backup-requests")

    def list(self) -> Reply:
        """Returns every complete backup, newest first."""
        return self._thread.submit(
            lambda: {
                "place": self._remote.shown_url,
                "backups": [manifest.as_dict() for manifest in self._remote.listed()],
            }
        )

    def restore(self, name: str) -> Reply:
        """Makes a backup a named state, which can then be loaded like any other."""
        return self._thread.submit(self._restore, name)

    def delete(self, name: str) -> Reply:
        """Deletes a backup for good."""

        def delete() -> dict[str, Any]:
            self._remote.remove(name)
            return {"name": name}

        return self._thread.submit(delete)

    def _restore(self, backup: str) -> dict[str, Any]:
        with progress("restore", self._publish), ScratchFolder() as temporary:
            folder = Path(temporary)
            try:
                manifest = self._remote.fetch(backup, folder)
                remarks = self._remote.fetch_along(manifest, folder)
            except OSError as error:
                raise BackupError(f"What was fetched cannot be written here: {error.strerror}.") from error
            # Read, checked, read again, checked, numbered and written under its name, the history three times on the way.
            expect("Checking and keeping", 5 * manifest.size + manifest.files[METRICS].size)
            remarks += self._check(folder)
            record = manifest.record
            name = f"Backup of run {record.run[:8]}, iteration {record.iteration_count}"
            added = self._states.import_folder(folder, name).result()
        title = self._listing.label(added["id"]).name  # it has got a number where the name was taken
        return {**added, "title": title, "iteration_count": record.iteration_count, "warnings": list(remarks)}

    def _check(self, folder: Path) -> tuple[str, ...]:
        """Returns what a person should know of a fetched state. Raises a BadFileError where it is not whole."""
        # Imported here, since both bring torch along: a server must not wait for that.
        from quadra.states.transfer import retain_own_text, rules_warnings
        from quadra.storage.saved_state import read

        own = id_of(read(folder).engine["corpus"]["path"])
        retain_own_text(folder, own)
        remarks = rules_warnings(folder)
        if own is None or (folder / f"{own}.txt").is_file() or is_stored(self._layout.path, own):
            return remarks
        return (*remarks, f"The run's own text ({own[:8]}…) did not come with it. {_GIVE_IT_AGAIN}")
