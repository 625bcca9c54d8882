"""StateCommands: what people do with saved states while the worker owns the folder; each is done between two steps."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quadra.byte_progress import carried
from quadra.states.own_texts import own_texts
from quadra.storage.labels import checked_name
from quadra.training.worker import Worker

if TYPE_CHECKING:
    from quadra.training.state import TrainingState

Answer = Future[dict[str, Any]]


class StateCommands:
    """Each command's future gives what the client is told, or raises a QuadraError."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def save_slot(self, name: str, overwrite: bool = False) -> Answer:
        """Save the run as it is now under a name."""

        def save(state: TrainingState) -> dict[str, Any]:
            checked_name(name)
            state.engine  # noqa: B018  # raises where there is no run
            self._worker.save_now()
            slot = state.keep_as_slot(name, overwrite)
            self._say(f"Saved as {name!r}: {state.iteration_count} iterations.")
            return {"id": slot, "iteration_count": state.iteration_count}

        return self._do(save)

    def label(self, state: str, name: str | None, note: str | None, pinned: bool | None) -> Answer:
        """Change a state's name, note or pin."""
        return self._do(lambda training: training.shelf.label(state, name, note, pinned).as_dict())

    def delete(self, state: str) -> Answer:
        """Have a state removed in an hour."""

        def delete(training: TrainingState) -> dict[str, Any]:
            training.shelf.delete(state)
            self._say("The state was deleted. It can be taken back for an hour.")
            return {"id": state}

        return self._do(delete)

    def take_back(self, state: str) -> Answer:
        """Undo a deletion."""

        def take_back(training: TrainingState) -> dict[str, Any]:
            training.shelf.take_back(state)
            return {"id": state}

        return self._do(take_back)

    def take_folder(self, folder: Path, name: str) -> Answer:
        """Make a verified folder of three files a named state."""

        def take(training: TrainingState) -> dict[str, Any]:
            slot = training.shelf.take_folder(folder, name)
            self._worker.show(texts=own_texts(training.folder.path))  # one may have come along
            self._say(f"Imported as {training.shelf.library.find(slot).label.name!r}.")
            return {"id": slot}

        return self._do(carried(take))

    def _do(self, action: Callable[[TrainingState], dict[str, Any]]) -> Answer:
        """Carry out; what was deleted long ago goes on this occasion."""

        def done(training: TrainingState) -> dict[str, Any]:
            answer = action(training)
            training.shelf.purge(datetime.now(UTC))
            self._worker.states_changed(training)
            return answer

        return self._worker.do(done)

    def _say(self, text: str) -> None:
        self._worker.tell("message", text=text, type="success")
