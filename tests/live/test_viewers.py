"""A viewer has at most one update under way, and is never sent more than it can take."""

from __future__ import annotations

import pytest

from quadra.live.viewers import (
    LONGEST_INTERVAL,
    LOST_AFTER,
    SHORTEST_INTERVAL,
    UPDATES_A_SECOND,
    WITHOUT_ACKNOWLEDGEMENT,
    Viewers,
    interval_for,
    newest_interval,
    split_by_queue,
)
from quadra.model.history import History

HISTORY = History()


def viewers_with(*names: str) -> Viewers:
    viewers = Viewers()
    for name in names:
        viewers.join(name, HISTORY, 0)
    return viewers


def acknowledging(name: str = "one") -> Viewers:
    """One that has taken iterations 1 to 10 at the time 0."""
    viewers = viewers_with(name)
    viewers.mark_sent([name], HISTORY, 10, 1, 0.0)
    viewers.acknowledge(name, 1)
    return viewers


def test_one_that_acknowledges_is_sent_nothing_until_it_has_acknowledged_the_last() -> None:
    viewers = acknowledging()
    viewers.mark_sent(["one"], HISTORY, 20, 2, 1.0)
    assert viewers.due(["one"], HISTORY, 30, LOST_AFTER) == {}
    viewers.acknowledge("one", 2)
    assert viewers.due(["one"], HISTORY, 30, 2.0) == {20: ["one"]}


def test_an_old_acknowledgement_does_not_stand_for_a_new_one() -> None:
    viewers = acknowledging()
    viewers.mark_sent(["one"], HISTORY, 20, 2, 1.0)
    viewers.acknowledge("one", 1)
    assert viewers.due(["one"], HISTORY, 30, 2.0) == {}


def test_an_acknowledgement_that_got_lost_does_not_end_the_updates_for_ever() -> None:
    viewers = acknowledging()
    viewers.mark_sent(["one"], HISTORY, 20, 2, 1.0)
    assert viewers.due(["one"], HISTORY, 30, 1.0 + LOST_AFTER) == {20: ["one"]}


def test_one_that_knows_nothing_of_acknowledgements_is_sent_updates_more_slowly() -> None:
    viewers = viewers_with("plain")
    viewers.mark_sent(["plain"], HISTORY, 10, 1, 0.0)
    assert viewers.due(["plain"], HISTORY, 20, WITHOUT_ACKNOWLEDGEMENT - 0.01) == {}
    assert viewers.due(["plain"], HISTORY, 20, WITHOUT_ACKNOWLEDGEMENT) == {10: ["plain"]}


def test_viewers_at_the_same_place_are_sent_one_message() -> None:
    viewers = viewers_with("one", "two", "three")
    viewers.mark_sent(["three"], HISTORY, 5, 1, 0.0)
    viewers.acknowledge("three", 1)
    assert viewers.due(["one", "two", "three"], HISTORY, 9, 1.0) == {0: ["one", "two"], 5: ["three"]}


def test_one_that_has_everything_or_watches_another_run_is_not_due() -> None:
    viewers = viewers_with("one")
    assert viewers.due(["one"], HISTORY, 0, 1.0) == {}
    assert viewers.due(["one"], History(), 5, 1.0) == {}
    assert viewers.due(["gone"], HISTORY, 5, 1.0) == {}


def test_an_update_that_could_not_be_sent_is_due_again() -> None:
    viewers = acknowledging()
    viewers.mark_sent(["one"], HISTORY, 20, 2, 1.0)
    viewers.mark_unsent(["one"], HISTORY, 10, 2)
    assert viewers.due(["one"], HISTORY, 20, 2.0) == {10: ["one"]}


def test_of_what_is_owed_the_newest_is_told_once() -> None:
    viewers = viewers_with("one")
    viewers.defer(["one", "gone"], {"state_saved": {"iteration_count": 10}})
    viewers.defer(["one"], {"state_saved": {"iteration_count": 20}})
    assert viewers.has_deferred
    assert viewers.take_deferred(["one", "gone"]) == {"one": {"state_saved": {"iteration_count": 20}}}
    assert not viewers.has_deferred
    assert viewers.take_deferred(["one"]) == {}


def test_what_is_owed_of_a_run_that_is_left_is_forgotten() -> None:
    viewers = viewers_with("one")
    viewers.defer(["one"], {"state_saved": {"iteration_count": 10}})
    viewers.move_all(History(), 0)
    assert not viewers.has_deferred


@pytest.mark.parametrize("viewers", [1, 10, 50, 100, 200, 1000])
def test_each_gets_at_least_two_updates_a_second_and_all_together_a_bounded_number(viewers: int) -> None:
    interval = interval_for(viewers)
    assert SHORTEST_INTERVAL <= interval <= LONGEST_INTERVAL < 0.5
    assert interval == LONGEST_INTERVAL or viewers / interval <= UPDATES_A_SECOND
    assert newest_interval(viewers) >= 0.0


def test_viewers_are_told_apart_by_their_queues() -> None:
    queues = {"idle": 0, "busy": 3, "lost": 11}
    assert split_by_queue(queues, queues.__getitem__, 10) == (["idle"], ["busy"], ["lost"])
