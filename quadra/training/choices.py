"""Choices: what people set while the worker owns the state, besides its pace: how often it saves, and texts of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from quadra.states.own_texts import UploadedText, own_texts
from quadra.training.command_queue import Answer
from quadra.training.worker import Worker

if TYPE_CHECKING:
    from quadra.training.state import TrainingState

MOST_BETWEEN_SAVES = 1_000_000_000  # iterations


class Choices:
    """Each command's future gives what the client is told, or raises a QuadraError."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def set_save_every(self, iterations: int) -> Answer:
        """Save so often from now on, until the server ends; 0: only Stop saves."""

        def change(state: TrainingState) -> dict[str, Any]:
            self._worker.saves.change(state, iterations)
            return {"iterations": iterations}

        return self._worker.do(change)

    def keep_text(self, file: Path, text: UploadedText) -> Answer:
        """A text that was uploaded becomes one that new runs can train on."""

        def keep(state: TrainingState) -> dict[str, Any]:
            state.shelf.keep_text(file, text)
            self._worker.show(texts=own_texts(state.folder.path), deletes=state.folder.describe_deletable())
            self._worker.tell("message", text=f"The text {text.name!r} is kept: {text.lines} lines.", type="success")
            return text.as_dict()

        return self._worker.do(keep)
