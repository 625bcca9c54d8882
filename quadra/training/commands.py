"""Commands on saved states, settings and alerts, each done on the worker thread between two iterations.

Every function that is handed to `Worker.do` by a command stands here. Initialize, start, stop, load and reset: `operations`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quadra.byte_progress import carried
from quadra.errors import SaveError
from quadra.states.alert_rules import Rule, as_list
from quadra.states.own_texts import UploadedText, own_texts
from quadra.storage.labels import checked_name
from quadra.storage.reset import describe_deletable
from quadra.training.command_queue import Reply
from quadra.training.events import AlertRulesChanged, BackupChanged, Message, StatesChanged
from quadra.training.view import BackupHealth
from quadra.training.worker import Worker

if TYPE_CHECKING:
    from quadra.training.state import TrainingState

MOST_BETWEEN_SAVES = 1_000_000_000  # iterations


class Commands:
    """Each command returns a future of what the client is answered; the future raises a QuadraError where it failed."""

    def __init__(self, worker: Worker) -> None:
        self._worker, self._publisher = worker, worker.publisher

    def save_slot(self, name: str, overwrite: bool = False) -> Reply:
        """Saves the run as it is now under a name."""

        def save(state: TrainingState) -> dict[str, Any]:
            checked_name(name)
            state.run  # noqa: B018  # raises where there is no run
            self._save(state)
            slot = state.keep_as_slot(name, overwrite)
            self._announce(f"Saved as {name!r}: {state.iteration_count} iterations.")
            return {"id": slot, "iteration_count": state.iteration_count}

        return self._change_states(save)

    def label(self, state_id: str, name: str | None, note: str | None, pinned: bool | None) -> Reply:
        """Changes a saved state's name, note or pin."""
        return self._change_states(lambda state: state.saved_states.label(state_id, name, note, pinned).as_dict())

    def delete(self, state_id: str) -> Reply:
        """Deletes a saved state: its files are removed in an hour."""

        def delete(state: TrainingState) -> dict[str, Any]:
            state.saved_states.delete(state_id)
            self._announce("The state was deleted. It can be taken back for an hour.")
            return {"id": state_id}

        return self._change_states(delete)

    def undelete(self, state_id: str) -> Reply:
        """Undoes a deletion."""

        def undelete(state: TrainingState) -> dict[str, Any]:
            state.saved_states.undelete(state_id)
            return {"id": state_id}

        return self._change_states(undelete)

    def import_folder(self, folder: Path, name: str) -> Reply:
        """Makes a verified folder of three files a named state."""

        def import_it(state: TrainingState) -> dict[str, Any]:
            slot = state.saved_states.import_folder(folder, name)
            self._publisher.show(texts=own_texts(state.folder.path))  # one may have come along
            self._announce(f"Imported as {state.saved_states.listing.find(slot).label.name!r}.")
            return {"id": slot}

        return self._change_states(carried(import_it))

    def keep_text(self, file: Path, text: UploadedText) -> Reply:
        """Makes a text that was uploaded one that new runs can train on."""

        def keep(state: TrainingState) -> dict[str, Any]:
            state.saved_states.add_text(file, text)
            self._publisher.show(texts=own_texts(state.folder.path), deletes=describe_deletable(state.folder.layout))
            self._announce(f"The text {text.name!r} is kept: {text.lines} lines.")
            return text.as_dict()

        return self._worker.do(keep)

    def set_save_every(self, iterations: int) -> Reply:
        """Sets the iterations between two saves, until the server ends; 0: only Stop saves."""

        def change(state: TrainingState) -> dict[str, Any]:
            self._worker.autosave.set_interval(state.saving, iterations)
            return {"iterations": iterations}

        return self._worker.do(change)

    def set_alert_rules(
        self, rules: tuple[Rule, ...], run: str | None = None, seen: tuple[Rule, ...] | None = None
    ) -> Reply:
        """Makes these the alert rules of the run in memory, saved with it.

        `run`: the one that they are meant for; `seen`: the rules that the change was made from, None: whatever they are.
        The future raises RefusedError where there is no run or another one, or the rules are others than those that were
        seen, SaveError where they could not be saved.
        """

        def change(state: TrainingState) -> dict[str, Any]:
            state.change_alert_rules(rules, run, seen)
            self._publisher.show(alert_rules=rules, deletes=describe_deletable(state.folder.layout))
            self._publisher.publish(AlertRulesChanged(rules, state.run.id))
            return {"rules": as_list(rules)}

        return self._worker.do(change)

    def show_backups(self, health: BackupHealth) -> Reply:
        """Shows how the backups go; done once everybody can see it."""

        def show(_: TrainingState) -> dict[str, Any]:
            self._publisher.show(backup=health)
            self._publisher.publish(BackupChanged())
            return {}

        return self._worker.do(show)

    def say(self, message: Message) -> Reply:
        """Publishes a sentence for everybody."""

        def say(_: TrainingState) -> dict[str, Any]:
            self._publisher.publish(message)
            return {}

        return self._worker.do(say)

    def _change_states(self, task: Callable[[TrainingState], dict[str, Any]]) -> Reply:
        """Changes the saved states; what was deleted more than an hour ago is removed on this occasion."""

        def change(state: TrainingState) -> dict[str, Any]:
            answer = task(state)
            state.saved_states.purge(datetime.now(UTC))
            self._publisher.show(catalog=state.catalog(), deletes=describe_deletable(state.folder.layout))
            self._publisher.publish(StatesChanged())
            return answer

        return self._worker.do(change)

    def _save(self, state: TrainingState) -> None:
        """Saves all three files. Raises SaveError."""
        if self._worker.autosave.save(state.saving, None) is None:
            raise SaveError(self._worker.autosave.trouble)
        self._publisher.show()

    def _announce(self, text: str) -> None:
        self._publisher.publish(Message(text, "success"))
