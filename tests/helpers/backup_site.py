"""The web application on a real worker, with backups or without them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from quadra.backup.service import Timing, service_for
from quadra.errors import (
    WorkerClosedError,
)
from quadra.storage.folder import StateFolder
from quadra.training.lifecycle import Phase
from quadra.training.state import TrainingState
from quadra.training.view import WorkerSettings
from quadra.training.worker import Worker
from quadra.web.app import create_app
from tests.helpers.state_helpers import (
    small_config,
)
from tests.helpers.waiting import PATIENCE


class BackupSite:
    """The web application on a real worker with a place for backups, or without one."""

    def __init__(self, folder: Path, place: Path | None) -> None:
        self.folder, config = folder, small_config()
        held = StateFolder(folder)
        self.worker = Worker(held, config, WorkerSettings(pace=None), lambda: TrainingState(held, config))
        self.backup = service_for(self.worker, place.as_uri(), 5, Timing(rest=0.0)) if place else None
        app, self._socketio, self._feed = create_app(self.worker, b"secret", self.backup)
        self.http, self._app = app.test_client(), app
        for part in (self.worker, self._feed):
            part.start()  # type: ignore[attr-defined]
        if self.backup:
            self.backup.start()

    def ask(self, event: str, **payload: Any) -> dict[str, Any]:
        client = self._socketio.test_client(self._app)
        try:
            answer = client.emit(event, payload, callback=True)
        finally:
            client.disconnect()
        assert isinstance(answer, dict)
        return answer

    def train(self, until: int) -> None:
        self.worker.start_training(until).result(PATIENCE)
        while self.worker.view().status.phase is Phase.TRAINING:
            self.worker.set_pace(None).result(PATIENCE)

    def shown(self) -> dict[str, Any] | None:
        told: dict[str, Any] | None = self.http.get("/api/status").json["backup"]
        return told

    def close(self) -> None:
        with suppress(WorkerClosedError):  # a test may have closed it
            self.worker.close().result(PATIENCE)
        if self.backup:
            self.backup.close()
        self._feed.close()
