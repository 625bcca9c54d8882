"""Every event of the table is acknowledged, whatever is sent with it, and nothing that a client sends does harm."""

from __future__ import annotations

import logging
import queue
import threading
from pathlib import Path
from typing import Any

import pytest
from flask import request

from quadra.web.events import EVENTS, handler
from quadra.web.rate_limits import (
    MOST_COMMANDS_AT_ONCE,
    CommandLimits,
)
from tests.helpers.site import Site
from tests.helpers.waiting import PATIENCE

SLOT_EVENTS = ("label_state", "delete_state", "undelete_state", "prove_state")


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


def test_the_server_listens_to_the_events_of_the_table_and_to_no_others(site: Site) -> None:
    assert set(site.socketio.server.handlers["/"]) == {"connect", "disconnect", *EVENTS}


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
    site.worker.set_pace(None).result(PATIENCE)
    assert client.is_connected()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_a_client_without_acknowledgement_gets_the_matching_message(site: Site) -> None:
    client = site.connect()
    client.emit("stop_training")
    site.worker.set_pace(None).result(PATIENCE)
    messages = [packet["args"][0] for packet in client.get_received() if packet["name"] == "status_message"]
    assert {"message": "Not training.", "type": "error"} in messages


@pytest.mark.parametrize("iterations", [None, -1, 1.5, "5", True, 10**10])
def test_an_interval_that_is_not_possible_is_refused_by_its_field(site: Site, iterations: object) -> None:
    error = site.ask("set_save_every", {"iterations": iterations})["error"]
    assert error["code"] == "invalid_value"
    assert error["message"].startswith("iterations ")
    assert site.http.get("/api/status").get_json()["save_every"] == 10


def test_the_interval_of_saves_is_changed_and_shown(site: Site) -> None:
    assert site.ask("set_save_every", {"iterations": 25}) == {"ok": True, "iterations": 25}
    assert site.http.get("/api/status").get_json()["save_every"] == 25


@pytest.mark.parametrize("event", ["save_slot", *SLOT_EVENTS])
@pytest.mark.parametrize(
    "payload",
    [None, {}, 7, {"id": 7, "name": 7}, {"id": "x", "name": ""}, {"id": "../..", "name": "\0"}, {"id": [], "name": {}}],
)
def test_nothing_that_is_sent_does_harm(site: Site, event: str, payload: object) -> None:
    answer = site.ask(event, payload)
    assert not answer["ok"]
    assert answer["error"]["code"] in ("invalid_value", "unknown_source", "refused")
    assert site.http.get("/health").get_json()["status"] == "healthy"


def test_what_one_client_can_queue_for_the_worker_is_bounded_and_another_one_has_its_place(tmp_path: Path) -> None:
    site = Site(tmp_path / "state")
    released, limits, answers = threading.Event(), CommandLimits(), queue.SimpleQueue[dict[str, Any]]()
    handle = handler(site.socketio, lambda _: site.worker.stop_training(), limits)

    def ask(client: str) -> None:
        with site.app.test_request_context():
            request.sid = client  # type: ignore[attr-defined]
            answers.put(handle({}))

    site.worker.do(lambda _: {"released": released.wait(PATIENCE)})
    flood = [threading.Thread(target=ask, args=("flood",)) for _ in range(60)]
    other = threading.Thread(target=ask, args=("other",))
    for thread in flood:
        thread.start()
    refused = [answers.get(timeout=PATIENCE)["error"]["code"] for _ in range(60 - MOST_COMMANDS_AT_ONCE)]
    waiting = site.worker._queue._tasks.qsize()
    other.start()
    released.set()
    for thread in (*flood, other):
        thread.join(PATIENCE)
    site.close()
    rest = [answers.get(timeout=PATIENCE)["error"]["code"] for _ in range(MOST_COMMANDS_AT_ONCE + 1)]
    assert set(refused) == {"too_many_requests"}
    assert waiting <= MOST_COMMANDS_AT_ONCE
    assert set(rest) == {"refused"}  # by the life cycle: each of these was answered by the worker
