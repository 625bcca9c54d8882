"""A bucket lets so much through and no more, and what one client has under way is bounded."""

from __future__ import annotations

import pytest

from quadra.errors import TooManyRequestsError
from quadra.web import rate_limits
from quadra.web.rate_limits import Allowance, Buckets, CommandLimits


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
