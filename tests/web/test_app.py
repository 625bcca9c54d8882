"""What browsers and scripts are answered: the contract's routes and events, and nothing they send does harm."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Any

import pytest
from flask import Flask
from flask_socketio import SocketIO, SocketIOTestClient

from quadra import __version__
from quadra.config import TrainingConfig
from quadra.live.log_lines import TerminalLines
from quadra.storage.folder import StateFolder
from quadra.storage.save_store import SaveStore
from quadra.training.lifecycle import SystemState
from quadra.training.state import TrainingState
from quadra.training.view import Settings
from quadra.training.worker import Worker
from quadra.web.app import create_app
from quadra.web.pages import FIRST, STATIC, modules_of

CONFIG = TrainingConfig(field_size=8, seed=1, threads=1)
METRICS = {"loss", "reward", "variance", "mean", "integrity_strikes", "qtable_size"}


class Site:
    """The web application on a real worker."""

    def __init__(self, path: Path, journal: TerminalLines | None = None) -> None:
        folder = StateFolder(path)
        self.worker = Worker(folder, CONFIG, Settings(pace=None), lambda: TrainingState(folder, CONFIG))
        self.app: Flask
        self.socketio: SocketIO
        self.app, self.socketio, self.feed = create_app(self.worker, b"secret", terminal=journal)
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
        self.worker.start_training(until).result(30)
        while self.worker.view().status.state is SystemState.TRAINING:
            self.worker.set_pace(None).result(30)

    def close(self) -> None:
        self.worker.close().result(30)
        self.feed.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "state")
    yield site
    site.close()


def test_the_whole_history_is_a_file_of_csv_or_json(site: Site) -> None:
    assert site.http.get("/api/history.csv").text.splitlines() == ["iteration,loss,reward,variance,mean"]
    site.train(30)
    csv, found = site.http.get("/api/history.csv"), site.http.get("/api/history.json")
    run = site.worker.view().status.run or ""
    assert csv.headers["Content-Disposition"] == f'attachment; filename="quadramatrix-{run[:8]}-30.csv"'
    assert csv.mimetype == "text/csv"
    assert len(csv.text.splitlines()) == 31
    assert found.json == {"run": run, "seed": 1, "iterations": 30, "program": __version__} | {
        name: pytest.approx(site.http.get("/api/history").json[name]) for name in ("loss", "reward", "variance", "mean")
    }


def test_a_range_of_the_history_is_a_file_too(site: Site) -> None:
    site.train(30)
    lines = site.http.get("/api/history.csv").text.splitlines()
    part = site.http.get("/api/history.csv?start=11&end=20")
    assert part.text.splitlines() == [lines[0], *lines[11:21]]
    assert part.headers["Content-Disposition"].endswith('-11-20.csv"')
    assert site.http.get("/api/history.csv?start=29&end=99").text.splitlines() == [lines[0], *lines[29:]]
    assert site.http.get("/api/history.csv?start=31").text.splitlines() == lines[:1]
    assert site.http.get("/api/history.csv?start=20&end=10").text.splitlines() == lines[:1]
    refused = site.http.get("/api/history.csv?start=0")
    assert (refused.status_code, refused.json["error"]["code"]) == (400, "invalid_value")


def test_the_page_is_served_with_versioned_files(site: Site) -> None:
    page = site.http.get("/").text
    for name in ("Initialize System", "Start Training", "Stop Training", "Load Saved State", "Reset System"):
        assert name in page
    address = page.split('href="assets/')[1].split('"')[0]
    answer = site.http.get(f"/assets/{address}")
    assert answer.status_code == 200
    assert "immutable" in answer.headers["Cache-Control"]


def test_the_page_holds_no_inline_script_or_style(site: Site) -> None:
    page = site.http.get("/").text
    assert "<style" not in page
    assert " style=" not in page
    assert " onclick=" not in page
    assert all(" src=" in tag.split(">")[0] for tag in page.split("<script")[1:])


def test_files_outside_static_cannot_be_reached(site: Site) -> None:
    for path in ("../app.py", "%2e%2e/app.py", "..%2fapp.py", "//etc/passwd"):
        assert site.http.get(f"/assets/x/{path}").status_code in (308, 404)


def test_health_says_healthy_and_the_version(site: Site) -> None:
    assert site.http.get("/health").json == {
        "status": "healthy", "problems": [], "initialized": False, "running": False, "version": __version__,
    }  # fmt: skip


def train_on_a_full_disk(site: Site, until: int, patch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    patch.setattr(SaveStore, "commit", full)
    site.worker.start_training(until).result(30)
    while site.worker.view().status.state is SystemState.TRAINING:
        site.worker.set_pace(None).result(30)


def test_health_says_degraded_while_saves_fail(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.train(5)
    with monkeypatch.context() as patch:
        train_on_a_full_disk(site, 7, patch)
        answer = site.http.get("/health")
        assert (answer.status_code, answer.json["status"], answer.json["problems"]) == (200, "degraded", ["saves"])
        status = site.http.get("/api/status").json
        assert status["save_error"]["since"] == 5
        assert "No space left" in status["save_error"]["message"]


def test_status_before_and_after_training(site: Site) -> None:
    status = site.http.get("/api/status").json
    assert (status["initialized"], status["current_metrics"], status["saved"]) == (False, None, None)
    site.train(60)
    status = site.http.get("/api/status").json
    assert status["iteration_count"] == 60
    assert set(status["current_metrics"]) >= METRICS
    assert {len(series) for series in status["history"].values()} == {50}
    assert status["history"]["loss"][-1] == status["current_metrics"]["loss"]
    assert status["saved"]["iteration_count"] == 60
    assert [state["ended"] for state in status["saved_states"]] == ["stopped"]
    assert (status["field_size"], status["seed"], status["pace"]) == (8, 1, None)


def test_history_gives_the_range_that_was_asked_for(site: Site) -> None:
    site.train(60)
    whole = site.http.get("/api/history").json
    assert whole["iteration"] == list(range(1, 61))
    part = site.http.get("/api/history?start=11&end=20").json
    assert part["iteration"] == list(range(11, 21))
    assert part["loss"] == whole["loss"][10:20]
    few = site.http.get("/api/history?points=20").json
    assert len(few["iteration"]) <= 20
    assert few["thinned"] is True
    assert max(few["loss"]) == max(whole["loss"])
    assert site.http.get("/api/history?start=100&end=200").json["iteration"] == []


@pytest.mark.parametrize(
    "query", ["start=x", "end=-1", "points=0", "points=20001", "start=1e3", "points=9" * 9, "start=٣"]
)
def test_a_bad_range_is_an_error_that_names_the_field(site: Site, query: str) -> None:
    answer = site.http.get(f"/api/history?{query}")
    assert answer.status_code == 400
    assert answer.json["error"]["code"] == "invalid_value"
    assert query.split("=")[0] in answer.json["error"]["message"]


def test_errors_are_json_with_the_right_status(site: Site) -> None:
    assert site.http.get("/nothing").json["error"]["code"] == "not_found"
    answer = site.http.post("/api/status")
    assert (answer.status_code, answer.json["error"]["code"]) == (405, "method_not_allowed")


def test_each_command_is_acknowledged(site: Site) -> None:
    assert site.ask("initialize_system", {"field_size": 6, "seed": 9, "unknown": 1}) == {
        "ok": True, "initialized": True, "field_size": 6, "seed": 9,
    }  # fmt: skip
    assert site.ask("set_pace", {"iterations_per_second": 100})["iterations_per_second"] == 100
    assert site.ask("start_training", {"until": 1_000_000})["running"] is True
    assert site.ask("start_training")["error"] == {"code": "refused", "message": "Already training."}
    stopped = site.ask("stop_training")
    assert stopped["iteration_count"] == site.worker.view().iteration_count
    assert site.ask("load_state")["iteration_count"] == stopped["iteration_count"]
    assert site.ask("load_state", {"source": "nope"})["error"]["code"] == "unknown_source"
    assert site.ask("reset_system") == {"ok": True}


@pytest.mark.parametrize(
    ("event", "payload", "field"),
    [
        ("initialize_system", {"field_size": 1}, "field_size"),
        ("initialize_system", {"field_size": 1_000_001}, "field_size"),
        ("initialize_system", {"field_size": "many"}, "field_size"),
        ("initialize_system", {"field_size": 2.5}, "field_size"),
        ("initialize_system", {"field_size": True}, "field_size"),
        ("initialize_system", {"seed": -1}, "seed"),
        ("initialize_system", {"seed": 2**53}, "seed"),
        ("initialize_system", [1, 2], "payload"),
        ("initialize_system", "text", "payload"),
        ("start_training", {"until": 0}, "until"),
        ("load_state", {"source": 7}, "source"),
        ("set_pace", {"iterations_per_second": 0}, "iterations_per_second"),
        ("set_pace", {"iterations_per_second": -3}, "iterations_per_second"),
        ("set_pace", {"iterations_per_second": float("nan")}, "iterations_per_second"),
        ("set_pace", {"iterations_per_second": "fast"}, "iterations_per_second"),
    ],
)
def test_a_bad_value_is_an_error_that_names_the_field(site: Site, event: str, payload: Any, field: str) -> None:
    answer = site.ask(event, payload)
    assert answer["ok"] is False
    assert answer["error"]["code"] == "invalid_value"
    assert field in answer["error"]["message"]


def test_nothing_a_client_sends_raises_in_the_server(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    client = site.connect()
    for event in ("initialize_system", "start_training", "stop_training", "load_state", "reset_system", "set_pace"):
        for payload in (None, 0, "", "x" * 1000, [], [[]], {}, {"": None}, {"field_size": {"a": [1]}}, b"\x00", True):
            client.emit(event, payload)
        client.emit(event, {}, {}, 3)
    client.emit("no_such_event", 1)
    site.worker.set_pace(None).result(30)
    assert client.is_connected()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_a_client_without_acknowledgement_gets_the_matching_message(site: Site) -> None:
    client = site.connect()
    client.emit("stop_training")
    site.worker.set_pace(None).result(30)
    messages = [packet["args"][0] for packet in client.get_received() if packet["name"] == "status_message"]
    assert {"message": "Not training.", "type": "error"} in messages


def test_another_origin_cannot_open_a_socket(site: Site) -> None:
    own = site.http.get("/socket.io/?EIO=4&transport=polling", headers={"Origin": "http://localhost"})
    foreign = site.http.get("/socket.io/?EIO=4&transport=polling", headers={"Origin": "http://evil.example"})
    assert own.status_code == 200
    assert foreign.status_code == 403


def test_every_module_that_the_page_needs_is_told_to_the_browser_at_once(site: Site) -> None:
    page = site.http.get("/").text
    told = {part.split('.js"')[0] for part in page.split("/js/")[1:]} - {"loader", "theme"}
    imported = {
        normpath(join(dirname(module), name))
        for module in told
        for name in re.findall(r' from "(\.[\w./]+)\.js"', (STATIC / "js" / f"{module}.js").read_text())
    }
    assert told >= imported | {"main"}
    assert len(told) == page.count("modulepreload")


def test_what_is_shown_first_is_asked_for_in_the_head_and_never_kept(site: Site) -> None:
    page = site.http.get("/").text
    for address in FIRST:
        assert page.index(f'as="fetch" crossorigin href="{address}"') < page.index("<script")
        assert site.http.get(f"/{address}").headers["Cache-Control"] == "no-store"


def test_the_modules_that_are_needed_later_are_not_fetched_before_the_page_asks_for_them(site: Site) -> None:
    at_once, later = site.http.get("/").text.split("<template id")
    names = [[part.split('.js"')[0] for part in text.split("/js/")[1:]] for text in (at_once, later)]
    assert set(names[0]) == {*modules_of("main"), "loader", "theme"}
    assert set(names[1]) == set(modules_of("later")) - set(modules_of("main"))
    assert len(names[0]) <= len(names[1]) + 2
