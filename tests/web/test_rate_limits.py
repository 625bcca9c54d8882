"""A bucket lets so much through and no more; thirty people behind one proxy do not notice, a flood is answered 429."""

from __future__ import annotations

from functools import partial

import pytest
from flask import Flask

from quadra.errors import TooManyRequestsError
from quadra.web import rate_limits
from quadra.web.rate_limits import (
    EXPENSIVE,
    REQUESTS,
    UPLOADS,
    Allowance,
    Buckets,
    CommandLimits,
    HttpLimits,
    count_request,
)

PEOPLE = 30
FILES_OF_A_PAGE = 70  # requests until a page is there, with every module a file of its own
PLENTY = Allowance(1.0, 1000.0)


class Clock:
    """One that a test moves on."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_passes_and_then_the_rate() -> None:
    clock = Clock()
    buckets = Buckets(Allowance(rate=2.0, burst=3.0), clock)
    assert [buckets.try_acquire("one") for _ in range(5)] == [0.0, 0.0, 0.0, 0.5, 0.5]
    clock.now = 0.5
    assert [buckets.try_acquire("one") for _ in range(2)] == [0.0, 0.5]
    clock.now = 100.0
    assert [buckets.try_acquire("one") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]


def test_one_client_takes_nothing_from_another() -> None:
    buckets = Buckets(Allowance(1.0, 1.0), Clock())
    assert buckets.try_acquire("flood") == 0.0
    assert buckets.try_acquire("flood") > 0.0
    assert buckets.try_acquire("other") == 0.0


def test_who_must_wait_is_told_how_long_in_whole_seconds() -> None:
    buckets = Buckets(Allowance(0.25, 1.0), Clock())
    buckets.acquire("one")
    with pytest.raises(TooManyRequestsError) as caught:
        buckets.acquire("one")
    assert caught.value.retry_after == 4
    assert "4 s" in caught.value.message


def test_buckets_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "_MOST_BUCKETS", 3)
    buckets = Buckets(Allowance(1.0, 1.0), Clock())
    for name in "abcde":
        buckets.acquire(name)
    assert len(buckets) == 3
    buckets.forget("e")
    assert len(buckets) == 2


def test_what_a_client_has_under_way_is_bounded_and_free_again_afterwards() -> None:
    bounded = CommandLimits(Allowance(100.0, 100.0), most_at_once=2)
    with bounded.command("one"), bounded.command("one"):
        with pytest.raises(TooManyRequestsError):
            with bounded.command("one"):
                pass
        with bounded.command("other"):
            pass
    with bounded.command("one"):
        pass


def test_a_command_that_fails_is_no_longer_under_way() -> None:
    bounded = CommandLimits(Allowance(100.0, 100.0), most_at_once=1)
    for _ in range(3):
        with pytest.raises(KeyError):
            with bounded.command("one"):
                raise KeyError


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
