"""Every browser gets every iteration: in order, thinned where they are many, and never faster than it takes them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from quadra.live.feed import LONGEST_QUEUE, MOST_POINTS, Feed, metrics_payload, status_payload
from quadra.model.engine import StepResult
from quadra.model.history import History
from quadra.training.events import Message, RunInitialized, SaveFailed, StateSaved, TrainingStopped
from quadra.training.lifecycle import Phase
from quadra.training.view import View
from tests.helpers.training_status import STATUS
from tests.helpers.waiting import PATIENCE


class World:
    """A view that a test moves on, and clients that take messages or do not."""

    def __init__(self) -> None:
        self.history = History()
        self.status = STATUS
        self.sent: list[tuple[str, dict[str, Any], str | None]] = []
        self.queues: dict[str, int] = {}
        self.answering: set[str] = set()  # clients that acknowledge at once
        self.acknowledge: Callable[[str, int], None] = lambda client, number: None
        self.numbers: dict[str, list[int]] = {}  # of the updates that a client was sent
        self.dropped: list[str] = []
        self._arrived = threading.Condition()

    def view(self) -> View:
        count = len(self.history)
        result = StepResult(count, 0.5, 8.0, 0.1, float("nan"), 0, 3, 1.0, 2, "x" * 5000, "update_field")
        return View(self.status, self.history, count, result if count else None, count % 10, 12.345)

    def train(self, iterations: int) -> None:
        for _ in range(iterations):
            self.history.append(len(self.history) + 1, 8.0, 0.1, float("nan"))

    def send(self, event: str, payload: Mapping[str, Any], to: str | Sequence[str] | None = None) -> None:
        with self._arrived:
            clients = [to] if to is None or isinstance(to, str) else to
            self.sent.extend((event, dict(payload), client) for client in clients)
            self._arrived.notify_all()

    def send_update(self, payload: Mapping[str, Any], clients: Sequence[str], number: int) -> None:
        self.send("metrics_update", payload, clients)
        for client in clients:
            self.numbers.setdefault(client, []).append(number)
            if client in self.answering:
                self.acknowledge(client, number)

    def waiting(self, client: str) -> int:
        return self.queues.get(client, 0)

    def drop(self, client: str) -> None:
        self.dropped.append(client)

    def wait(self, condition: Callable[[], bool]) -> None:
        with self._arrived:
            assert self._arrived.wait_for(condition, PATIENCE), self.sent

    def points(self, client: str) -> list[int]:
        return [
            iteration
            for event, payload, to in self.sent
            if event == "metrics_update" and to == client
            for iteration in payload["points"]["iteration"]
        ]


@pytest.fixture
def world() -> World:
    return World()


def test_a_browser_gets_every_iteration_since_it_came_once_and_in_order(world: World) -> None:
    world.train(5)
    feed = Feed(world.view, world)
    feed.join("one")
    feed.start()
    for _ in range(20):
        world.train(7)
        threading.Event().wait(0.01)
    world.wait(lambda: len(world.points("one")) == 140)
    feed.close()
    assert world.points("one") == list(range(6, 146))


def test_a_slow_browser_is_sent_nothing_until_it_takes_its_messages_and_then_all_it_missed(world: World) -> None:
    feed = Feed(world.view, world)
    feed.join("slow")
    feed.join("quick")
    world.queues["slow"] = 1
    feed.start()
    world.train(30)
    world.wait(lambda: len(world.points("quick")) == 30)
    assert world.points("slow") == []
    world.status = replace(STATUS, phase=Phase.READY)
    feed.on_event(TrainingStopped(by_itself=False, integrity_strikes=0))
    world.queues.clear()
    world.wait(lambda: len(world.points("slow")) == 30)
    feed.close()


def test_messages_of_this_very_round_do_not_count_as_slowness(world: World) -> None:
    feed = Feed(world.view, world)
    feed.join("one")
    real = world.send

    def send(event: str, payload: Mapping[str, Any], to: str | Sequence[str] | None = None) -> None:
        world.queues["one"] = 1
        real(event, payload, to)

    world.send = send  # type: ignore[method-assign]
    world.train(10)
    feed.on_event(StateSaved(10, "", 1.0))
    feed.start()
    world.wait(lambda: world.points("one") == list(range(1, 11)))
    feed.close()


def test_many_missed_iterations_come_thinned_and_say_so(world: World) -> None:
    world.train(MOST_POINTS + 1)
    told = metrics_payload(world.view(), 0)
    assert told["thinned"] is True
    assert len(told["points"]["iteration"]) <= MOST_POINTS
    assert {len(series) for series in told["points"].values()} == {len(told["points"]["iteration"])}
    assert "thinned" not in metrics_payload(world.view(), 1)


def test_what_is_not_a_number_reaches_no_socket(world: World) -> None:
    world.train(1)
    told = metrics_payload(world.view(), 0)
    assert told["points"]["mean"] == [None]
    assert told["mean"] is None
    assert status_payload(world.view())["current_metrics"]["mean"] is None


def test_a_long_line_is_shortened_for_the_page(world: World) -> None:
    world.train(1)
    assert len(metrics_payload(world.view(), 0)["text"]) <= 300


def test_points_of_another_run_are_never_mixed(world: World) -> None:
    feed = Feed(world.view, world)
    feed.join("one")
    feed.start()
    world.train(3)
    world.wait(lambda: len(world.points("one")) == 3)
    world.history = History()
    world.status = replace(STATUS, run="f" * 16)
    world.train(2)
    feed.on_event(RunInitialized(8, 1))
    world.wait(lambda: len(world.points("one")) == 5)
    feed.close()
    assert world.points("one") == [1, 2, 3, 1, 2]
    order = [event for event, _, _ in world.sent]
    assert order.index("system_initialized") < len(order) - order[::-1].index("metrics_update") - 1


def test_of_many_saves_the_newest_is_told(world: World) -> None:
    feed = Feed(world.view, world)
    for count in range(10, 110, 10):
        feed.on_event(StateSaved(count, "", 1.0))
    feed.on_event(Message("done"))
    feed.start()
    world.wait(lambda: "status_message" in [event for event, _, _ in world.sent])
    feed.close()
    saved = [payload["iteration_count"] for event, payload, _ in world.sent if event == "state_saved"]
    assert saved == [100]


def test_a_client_that_cannot_be_reached_does_not_end_the_feed(world: World, caplog: pytest.LogCaptureFixture) -> None:
    real, failures = world.send, iter([True])

    def fail_once(event: str, payload: Mapping[str, Any], to: str | Sequence[str] | None = None) -> None:
        if event == "metrics_update" and next(failures, False):
            raise ConnectionError("gone")
        real(event, payload, to)

    world.send = fail_once  # type: ignore[method-assign]
    feed = Feed(world.view, world)
    feed.join("one")
    feed.start()
    world.train(3)
    world.wait(lambda: world.points("one") == [1, 2, 3])
    feed.close()
    assert "could not be sent" in caplog.text


class Clock:
    """One that a test moves on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def feed_by_hand(world: World, clock: Clock, *clients: str) -> Feed:
    """A feed without its thread: a test makes its rounds."""
    feed = Feed(world.view, world, clock=clock)
    world.acknowledge = feed.acknowledge
    for client in clients:
        feed.join(client)
    return feed


def rounds(world: World, clock: Clock, feed: Feed, number: int, iterations: int = 1, seconds: float = 1.0) -> None:
    for _ in range(number):
        world.train(iterations)
        clock.now += seconds
        feed.round()


def test_a_sleeping_browser_has_one_update_under_way_and_then_gets_all_it_missed(world: World, clock: Clock) -> None:
    feed = feed_by_hand(world, clock, "one")
    world.answering.add("one")
    rounds(world, clock, feed, 3)
    world.answering.clear()  # it sleeps
    rounds(world, clock, feed, 50)
    assert len(world.numbers["one"]) == 4
    feed.acknowledge("one", world.numbers["one"][-1])  # and wakes up
    rounds(world, clock, feed, 1)
    assert world.points("one") == list(range(1, 55))
    assert len(world.numbers["one"]) == 5


def test_what_a_sleeping_browser_missed_comes_thinned_without_a_gap_at_its_ends(world: World, clock: Clock) -> None:
    feed = feed_by_hand(world, clock, "one")
    world.answering.add("one")
    rounds(world, clock, feed, 1)
    world.answering.clear()
    rounds(world, clock, feed, 2, iterations=2 * MOST_POINTS)
    feed.acknowledge("one", world.numbers["one"][-1])
    rounds(world, clock, feed, 1)
    last = world.sent[-1][1]
    assert last["thinned"] is True
    assert len(last["points"]["iteration"]) <= MOST_POINTS
    assert last["points"]["iteration"][0] == 2 * MOST_POINTS + 2
    assert last["points"]["iteration"][-1] == len(world.history)


def test_browsers_at_the_same_place_share_one_encoding(world: World, clock: Clock) -> None:
    names = [f"viewer {number}" for number in range(30)]
    feed = feed_by_hand(world, clock, *names)
    world.answering.update(names)
    rounds(world, clock, feed, 5)
    assert {tuple(world.numbers[name]) for name in names} == {(1, 2, 3, 4, 5)}


def test_a_browser_that_never_reads_is_owed_one_of_each_and_nothing_piles_up(world: World, clock: Clock) -> None:
    feed = feed_by_hand(world, clock, "deaf")
    world.queues["deaf"] = 1
    before = len(world.sent)
    for count in range(10, 5000, 10):
        feed.on_event(StateSaved(count, "", 1.0))
        rounds(world, clock, feed, 1)
    assert len(world.sent) == before
    world.queues.clear()
    rounds(world, clock, feed, 1)
    assert [event for event, _, _ in world.sent[before:]] == ["state_saved", "training_status", "metrics_update"]
    assert world.sent[before][1]["iteration_count"] == 4990


def test_a_browser_whose_queue_grows_beyond_the_bound_is_cut(
    world: World, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    feed = feed_by_hand(world, clock, "deaf", "other")
    world.queues["deaf"] = LONGEST_QUEUE
    rounds(world, clock, feed, 1)
    assert world.dropped == []
    world.queues["deaf"] = LONGEST_QUEUE + 1
    rounds(world, clock, feed, 2)
    assert world.dropped == ["deaf"]
    assert "does not take its messages" in caplog.text


def test_with_many_browsers_saves_are_told_less_often(world: World, clock: Clock) -> None:
    feed = feed_by_hand(world, clock, *map(str, range(100)))
    for count in range(100):  # five seconds of a save in every round
        feed.on_event(StateSaved(count, "", 1.0))
        rounds(world, clock, feed, 1, seconds=0.05)
    told = [payload["iteration_count"] for event, payload, _ in world.sent if event == "state_saved"]
    assert len(told) <= 5
    feed.round(is_last=True)
    assert [payload["iteration_count"] for event, payload, _ in world.sent if event == "state_saved"][-1] == 99


def test_that_saves_fail_is_said_to_browsers_that_were_busy(world: World, clock: Clock) -> None:
    feed = feed_by_hand(world, clock, "busy")
    world.queues["busy"] = 1
    feed.on_event(SaveFailed(7, "the disk is full"))
    feed.round()
    world.queues.clear()
    feed.round()
    told = [payload for event, payload, client in world.sent if event == "status_message" and client == "busy"]
    assert told == [{"message": "Failed to save state: the disk is full", "type": "error"}]
