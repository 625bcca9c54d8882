"""Pictures go to the browsers that have the view open, one at a time, each with the columns that the browser lacks."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quadra.errors import RefusedError
from quadra.live import activity_feed
from quadra.live.activity_feed import ActivityFeed
from quadra.storage.folder import StateFolder
from quadra.training.lifecycle import Phase
from quadra.training.state import TrainingState
from quadra.training.view import WorkerSettings
from quadra.training.worker import Worker
from tests.helpers.server import Client, Server, warm_server
from tests.helpers.state_helpers import small_config
from tests.helpers.waiting import PATIENCE


class Stage:
    """A worker, its frames, and browsers that acknowledge when a test says so."""

    def __init__(self, path: Path) -> None:
        folder, config = StateFolder(path), small_config()
        self.worker = Worker(folder, config, WorkerSettings(0, None), lambda: TrainingState(folder, config))
        self.feed = ActivityFeed(self.worker, self._send)
        self.worker.listen(self.feed.on_event)
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self._acknowledgements: list[Callable[[], None]] = []
        self._arrived = threading.Condition()
        self.worker.start()

    def _send(self, event: str, payload: dict[str, Any], client: str, acknowledged: Callable[[], None]) -> None:
        assert event == "inside_update"
        with self._arrived:
            self.sent.append((client, payload))
            self._acknowledgements.append(acknowledged)
            self._arrived.notify_all()

    def wait_for(self, count: int) -> dict[str, Any]:
        """The newest message once so many were sent."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.sent) >= count, PATIENCE), self.sent
            return self.sent[-1][1]

    def acknowledge(self) -> None:
        """Every browser has drawn what it was sent."""
        with self._arrived:
            acknowledgements, self._acknowledgements = self._acknowledgements, []
        for acknowledged in acknowledgements:
            acknowledged()

    def train(self, until: int) -> None:
        self.worker.start_training(until).result(PATIENCE)
        while self.worker.view().status.phase is Phase.TRAINING:
            self.worker.set_pace(None).result(PATIENCE)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(activity_feed, "SHORTEST_INTERVAL", 0.01)
    monkeypatch.setattr(activity_feed, "LARGEST_SHARE", 1.0)
    stage = Stage(tmp_path / "state")
    yield stage
    stage.worker.close().result(PATIENCE)


def last_of(payload: dict[str, Any]) -> list[int]:
    found: list[int] = np.frombuffer(base64.b64decode(payload["columns"]["last"]), "<u4").tolist()
    return found


def test_a_browser_that_opens_the_view_is_sent_a_whole_frame_also_of_a_run_that_rests(stage: Stage) -> None:
    stage.worker.initialize().result(PATIENCE)
    stage.train(20)
    stage.feed.join("anna")
    assert last_of(stage.wait_for(1)) == list(range(1, 21))


def test_a_browser_that_has_not_acknowledged_is_sent_nothing_and_its_next_message_has_all_it_lacks(
    stage: Stage,
) -> None:
    stage.worker.initialize().result(PATIENCE)
    stage.feed.join("anna")
    assert last_of(stage.wait_for(1)) == []
    stage.train(15)
    stage.feed.join("berta")  # a frame that only she is sent
    stage.wait_for(2)
    assert [client for client, _ in stage.sent] == ["anna", "berta"]
    stage.acknowledge()
    told = stage.wait_for(3)
    assert (stage.sent[-1][0], told["columns"]["from"], last_of(told)) == ("anna", 0, list(range(1, 16)))
    stage.acknowledge()
    stage.train(18)
    stage.wait_for(5)
    assert {client for client, _ in stage.sent[3:5]} == {"anna", "berta"}
    for _, payload in stage.sent[3:5]:
        assert (payload["columns"]["from"], last_of(payload)[-1]) == (15, payload["iteration"])


def test_with_another_run_in_memory_all_columns_are_sent_anew(stage: Stage) -> None:
    stage.worker.initialize().result(PATIENCE)
    stage.train(10)
    stage.feed.join("anna")
    before = stage.wait_for(1)
    stage.worker.initialize().result(PATIENCE)
    stage.acknowledge()
    told = stage.wait_for(2)
    assert told["run"] != before["run"]
    assert (told["columns"]["from"], last_of(told)) == (0, [])


def test_a_browser_that_has_closed_the_view_is_sent_nothing_more(stage: Stage) -> None:
    stage.worker.initialize().result(PATIENCE)
    for client in ("anna", "berta"):
        stage.feed.join(client)
    stage.wait_for(2)
    stage.feed.leave("anna")
    stage.acknowledge()
    stage.train(5)
    stage.wait_for(3)
    assert {client for client, _ in stage.sent[2:]} == {"berta"}


def test_while_there_is_no_run_nothing_is_sent_and_the_feed_goes_on(stage: Stage) -> None:
    stage.feed.join("anna")
    with pytest.raises(RefusedError):
        stage.worker.start_training().result(PATIENCE)
    assert stage.sent == []
    stage.worker.initialize().result(PATIENCE)
    assert stage.wait_for(1)["iteration"] == 0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with warm_server(tmp_path_factory.mktemp("inside") / "state", "--pace", "100", "--field-size", "8") as server:
        yield server


@pytest.mark.process
def test_over_the_socket_only_those_who_watch_are_sent_pictures(server: Server) -> None:
    with Client(server.url) as watcher, Client(server.url) as other:
        assert watcher.ask("initialize_system")["ok"]
        assert watcher.ask("watch_inside", {"open": True}) == {"ok": True, "open": True}
        assert watcher.ask("start_training")["ok"]
        watcher.wait_for("inside_update", lambda payload: payload["iteration"] > 100)
        assert watcher.ask("stop_training")["ok"]
        stopped = watcher.wait_for("training_status", lambda status: status.get("iteration_count", 0) > 100)
        watcher.wait_for("inside_update", lambda payload: payload["iteration"] >= stopped["iteration_count"])
        assert watcher.ask("watch_inside", {"open": False}) == {"ok": True, "open": False}
        assert other.payloads("inside_update") == []
        assert other.ask("watch_inside", {"open": "yes"})["error"]["code"] == "invalid_value"
