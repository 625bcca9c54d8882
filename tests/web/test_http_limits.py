"""What an address may ask for over HTTP: thirty people behind one proxy do not notice, a flood is answered 429."""

from __future__ import annotations

import queue
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request

from quadra.errors import TooManyRequestsError
from quadra.web.events import handler
from quadra.web.rate_limits import (
    EXPENSIVE,
    MOST_COMMANDS_AT_ONCE,
    REQUESTS,
    UPLOADS,
    Allowance,
    CommandLimits,
    HttpLimits,
    count_request,
)
from tests.web.test_app import Site

PEOPLE = 30
FILES_OF_A_PAGE = 70  # requests until a page is there, with every module a file of its own
PLENTY = Allowance(1.0, 1000.0)


def application(limits: HttpLimits) -> Flask:
    app = Flask("under test")
    app.before_request(partial(count_request, limits))

    @app.get("/api/compare")
    def compare() -> str:
        return "compared"

    return app


def test_more_is_answered_with_the_seconds_to_wait() -> None:
    client = application(HttpLimits(PLENTY, Allowance(0.1, 2.0), PLENTY)).test_client()
    assert [client.get("/api/compare").status_code for _ in range(2)] == [200, 200]
    answer = client.get("/api/compare")
    assert answer.status_code == 429
    assert answer.json["error"]["code"] == "too_many_requests"
    assert answer.headers["Retry-After"] == "10"
    assert client.get("/nothing").status_code == 404


def test_another_address_is_not_affected() -> None:
    client = application(HttpLimits(PLENTY, Allowance(0.1, 1.0), PLENTY)).test_client()
    addresses = ("10.0.0.1", "10.0.0.1", "10.0.0.2")
    answers = [client.get("/api/compare", environ_base={"REMOTE_ADDR": address}) for address in addresses]
    assert [answer.status_code for answer in answers] == [200, 429, 200]


@pytest.mark.parametrize("ending", ["history", "history.csv", "history.json", "report", "archive"])
def test_what_opens_a_saved_state_counts_as_expensive(ending: str) -> None:
    limits = HttpLimits(PLENTY, Allowance(0.1, 1.0), PLENTY)
    limits.acquire("one", "GET", f"/api/states/x/{ending}")
    with pytest.raises(TooManyRequestsError):
        limits.acquire("one", "GET", "/api/compare")
    limits.acquire("one", "GET", "/api/states")
    limits.acquire("one", "GET", "/api/history")


def test_uploads_are_counted_apart() -> None:
    limits = HttpLimits(PLENTY, PLENTY, Allowance(0.1, 1.0))
    limits.acquire("one", "POST", "/api/states")
    with pytest.raises(TooManyRequestsError):
        limits.acquire("one", "POST", "/api/states")
    limits.acquire("one", "GET", "/api/states")


def test_thirty_people_behind_one_proxy_can_open_the_page_and_a_saved_state_each_at_once() -> None:
    assert REQUESTS.burst >= PEOPLE * FILES_OF_A_PAGE
    assert EXPENSIVE.burst >= 2 * PEOPLE
    assert UPLOADS.burst >= 10


def test_what_one_client_can_queue_for_the_worker_is_bounded_and_another_one_has_its_place(tmp_path: Path) -> None:
    site = Site(tmp_path / "state")
    released, limits, answers = threading.Event(), CommandLimits(), queue.SimpleQueue[dict[str, Any]]()
    handle = handler(site.socketio, lambda _: site.worker.stop_training(), limits)

    def ask(client: str) -> None:
        with site.app.test_request_context():
            request.sid = client  # type: ignore[attr-defined]
            answers.put(handle({}))

    site.worker.do(lambda _: {"released": released.wait(60)})
    flood = [threading.Thread(target=ask, args=("flood",)) for _ in range(60)]
    other = threading.Thread(target=ask, args=("other",))
    for thread in flood:
        thread.start()
    refused = [answers.get(timeout=60)["error"]["code"] for _ in range(60 - MOST_COMMANDS_AT_ONCE)]
    waiting = site.worker._inbox._requests.qsize()
    other.start()
    released.set()
    for thread in (*flood, other):
        thread.join(60)
    site.close()
    rest = [answers.get(timeout=60)["error"]["code"] for _ in range(MOST_COMMANDS_AT_ONCE + 1)]
    assert set(refused) == {"too_many_requests"}
    assert waiting <= MOST_COMMANDS_AT_ONCE
    assert set(rest) == {"refused"}  # by the life cycle: each of these was answered by the worker
