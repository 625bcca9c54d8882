"""A started worker and what it told, for tests that give it commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from quadra.config import TrainingConfig
from quadra.storage.folder import StateFolder
from quadra.training.events import Event
from quadra.training.state import TrainingState
from quadra.training.view import WorkerSettings
from quadra.training.worker import Worker
from tests.helpers.waiting import wait_until

CONFIG = TrainingConfig(field_size=8, seed=1, threads=1)
Kind = TypeVar("Kind", bound=Event)


class Bench:
    """A started worker and what it told."""

    def __init__(self, path: Path, settings: WorkerSettings = WorkerSettings(pace=None)) -> None:
        self.folder = StateFolder(path)
        self.state: TrainingState | None = None
        self.events: list[Event] = []
        self.worker = Worker(self.folder, CONFIG, settings, self._open)
        self.worker.listen(self.events.append)
        self.worker.start()

    def _open(self) -> TrainingState:
        self.state = TrainingState(self.folder, CONFIG)
        return self.state

    def kinds(self) -> list[type[Event]]:
        return [type(event) for event in self.events]

    def all_of(self, kind: type[Kind]) -> list[Kind]:
        return [event for event in self.events if isinstance(event, kind)]

    def until(self, condition: Callable[[], bool]) -> None:
        wait_until(condition)
