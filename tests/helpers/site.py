"""The web application on a real worker, for tests: on this machine, and behind a token."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_socketio import SocketIO, SocketIOTestClient

from quadra.config import TrainingConfig
from quadra.live.terminal_lines import TerminalLines
from quadra.storage.folder import StateFolder
from quadra.storage.save_store import SaveStore
from quadra.training.lifecycle import Phase
from quadra.training.state import TrainingState
from quadra.training.view import WorkerSettings
from quadra.training.worker import Worker
from quadra.web.access_rules import AccessRules
from quadra.web.app import create_app
from tests.helpers.state_helpers import small_config
from tests.helpers.waiting import PATIENCE, wait_until

CONFIG = TrainingConfig(field_size=8, seed=1, threads=1)
METRICS = {"loss", "reward", "variance", "mean", "integrity_strikes", "qtable_size"}
TOKEN, WATCH = "operators-token", "watchers-token"
LAB = AccessRules(is_loopback=False, token=TOKEN, watch_token=WATCH, names=frozenset({"lab.example"}))


class Site:
    """The web application on a real worker."""

    def __init__(
        self, path: Path, terminal: TerminalLines | None = None, settings: WorkerSettings = WorkerSettings(pace=None)
    ) -> None:
        folder = StateFolder(path)
        self.worker = Worker(folder, CONFIG, settings, lambda: TrainingState(folder, CONFIG))
        self.app: Flask
        self.socketio: SocketIO
        self.app, self.socketio, self.feed = create_app(self.worker, b"secret", terminal=terminal)
        self.worker.start()
        self.feed.start()
        self.http = self.app.test_client()

    def connect(self) -> SocketIOTestClient:
        return self.socketio.test_client(self.app)

    def ask(self, event: str, *payload: Any) -> dict[str, Any]:
        client = self.connect()
        try:
            answer = client.emit(event, *payload, callback=True)
        finally:
            client.disconnect()
        assert isinstance(answer, dict)
        return answer

    def train(self, until: int) -> None:
        assert self.ask("initialize_system")["ok"]
        self.worker.start_training(until).result(PATIENCE)
        while self.worker.view().status.phase is Phase.TRAINING:
            self.worker.set_pace(None).result(PATIENCE)

    def close(self) -> None:
        self.worker.close().result(PATIENCE)
        self.feed.close()


class Lab:
    """One worker behind as many doors as a test wants."""

    def __init__(self, path: Path) -> None:
        folder, self.config = StateFolder(path), small_config()
        self.worker = Worker(folder, self.config, WorkerSettings(), lambda: TrainingState(folder, self.config))
        self.worker.start()
        self.site(LAB)

    def site(self, rules: AccessRules) -> FlaskClient:
        self.app, self.socketio, _ = create_app(self.worker, b"key", access_rules=rules)
        return self.app.test_client()

    def socket(self, token: str | None = None, **headers: str) -> SocketIOTestClient:
        auth = None if token is None else {"token": token}
        return self.socketio.test_client(self.app, auth=auth, headers=headers or None)


def train_on_a_full_disk(site: Site, until: int, patch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    patch.setattr(SaveStore, "commit", full)
    site.worker.start_training(until).result(PATIENCE)
    while site.worker.view().status.phase is Phase.TRAINING:
        site.worker.set_pace(None).result(PATIENCE)


def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    wait_until(condition)
