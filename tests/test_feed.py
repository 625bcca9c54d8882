"""Every browser gets every iteration: in order, thinned where they are many, and never faster than it takes them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from quadra.catalog import Catalog
from quadra.engine import StepResult
from quadra.feed import MOST_POINTS, Feed, describe, update
from quadra.history import History
from quadra.lifecycle import SystemState
from quadra.view import Event, Status, View

RUN = "0123456789abcdef"
STATUS = Status(
    state=SystemState.TRAINING, run=RUN, field_size=8, seed=1, corpus="built-in corpus", device="cpu", pace=None,
    until=None, save_every=10, catalog=Catalog((), ()), state_dir="dashboard_state", deletes=(),
)  # fmt: skip


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
            assert self._arrived.wait_for(condition, 20.0), self.sent

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
    world.status = replace(STATUS, state=SystemState.READY)
    feed.take(Event("training", {"running": False}))
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
    feed.take(Event("saved", {"iteration_count": 10, "saved_at": "", "duration_ms": 1.0}))
    feed.start()
    world.wait(lambda: world.points("one") == list(range(1, 11)))
    feed.close()


def test_many_missed_iterations_come_thinned_and_say_so(world: World) -> None:
    world.train(MOST_POINTS + 1)
    told = update(world.view(), 0)
    assert told["thinned"] is True
    assert len(told["points"]["iteration"]) <= MOST_POINTS
    assert {len(series) for series in told["points"].values()} == {len(told["points"]["iteration"])}
    assert "thinned" not in update(world.view(), 1)


def test_what_is_not_a_number_reaches_no_socket(world: World) -> None:
    world.train(1)
    told = update(world.view(), 0)
    assert told["points"]["mean"] == [None]
    assert told["mean"] is None
    assert describe(world.view())["current_metrics"]["mean"] is None


def test_a_long_line_is_shortened_for_the_page(world: World) -> None:
    world.train(1)
    assert len(update(world.view(), 0)["text"]) <= 300


def test_points_of_another_run_are_never_mixed(world: World) -> None:
    feed = Feed(world.view, world)
    feed.join("one")
    feed.start()
    world.train(3)
    world.wait(lambda: len(world.points("one")) == 3)
    world.history = History()
    world.status = replace(STATUS, run="f" * 16)
    world.train(2)
    feed.take(Event("initialized", {"field_size": 8, "seed": 1}))
    world.wait(lambda: len(world.points("one")) == 5)
    feed.close()
    assert world.points("one") == [1, 2, 3, 1, 2]
    order = [event for event, _, _ in world.sent]
    assert order.index("system_initialized") < len(order) - order[::-1].index("metrics_update") - 1


def test_of_many_saves_the_newest_is_told(world: World) -> None:
    feed = Feed(world.view, world)
    for count in range(10, 110, 10):
        feed.take(Event("saved", {"iteration_count": count, "saved_at": "", "duration_ms": 1.0}))
    feed.take(Event("message", {"text": "done", "type": "info"}))
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
