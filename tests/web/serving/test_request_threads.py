"""Threads for requests: none is lost where no thread can be started."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from quadra.web.serving.request_lanes import RequestLanes
from quadra.web.serving.request_threads import RequestThreads
from quadra.web.serving.session_threads import SessionThreads
from tests.helpers.waiting import PATIENCE, wait_until


def none_can_be_started(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


class Held:
    """A task that goes on until it is let go."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.begun.set()
        assert self.go.wait(PATIENCE)


def threads(most: int, longest_queue: int = 9, at_start: int = 1) -> tuple[RequestThreads, list[BaseException]]:
    shortages: list[BaseException] = []
    return RequestThreads("test", most, longest_queue, shortages.append, at_start), shortages


def test_tasks_run_beside_each_other_up_to_a_number_and_the_rest_waits() -> None:
    pool, _ = threads(most=2)
    held = [Held() for _ in range(3)]
    for task in held:
        assert pool.submit(task)
    assert held[0].begun.wait(PATIENCE)
    assert held[1].begun.wait(PATIENCE)
    assert not held[2].begun.is_set()
    held[0].go.set()
    assert held[2].begun.wait(PATIENCE)
    for task in held:
        task.go.set()
    pool.close()


def test_no_more_wait_than_may() -> None:
    pool, _ = threads(most=1, longest_queue=1)
    held = Held()
    assert [pool.submit(task) for task in (held, int, int)] == [True, True, False]
    held.go.set()
    pool.close()


def test_a_task_that_fails_costs_no_thread() -> None:
    pool, _ = threads(most=1)
    done = threading.Event()
    assert pool.submit(lambda: [][0])
    assert pool.submit(done.set)
    assert done.wait(PATIENCE)
    pool.close()


def test_where_no_thread_can_be_started_those_that_run_take_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, shortages = threads(most=5)
    held, done = Held(), threading.Event()
    pool.submit(held)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_can_be_started)
        assert pool.submit(done.set)
    assert len(shortages) == 1
    held.go.set()
    assert done.wait(PATIENCE)
    pool.close()


def test_a_task_without_any_thread_is_done_once_one_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_can_be_started)
        pool, shortages = threads(most=2)
        assert pool.submit(done.set)
        pool.start_missing()
        assert len(shortages) == 3
    pool.start_missing()
    assert done.wait(PATIENCE)
    pool.close()


@pytest.mark.parametrize(
    ("path", "is_large"),
    [("/socket.io/", False), ("/", False), ("/api/corpus", True)],
    ids=["sockets", "pages", "bodies"],
)
def test_no_kind_of_request_takes_the_threads_of_health(path: str, is_large: bool) -> None:
    shortages: list[BaseException] = []
    lanes = RequestLanes(8, shortages.append)
    tasks: list[Callable[[], None]] = [Held() for _ in range(300)]
    held = [task for task in tasks if lanes.submit(path, is_large, task)]
    done = threading.Event()
    assert lanes.submit("/health", False, done.set)
    wait_until(done.is_set, "/health was not answered")
    for task in held:
        assert isinstance(task, Held)
        task.go.set()
    lanes.close()
    assert shortages == []


def test_a_thread_that_has_long_had_nothing_to_do_ends_and_the_first_ones_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quadra.web.serving.request_threads._IDLE_SECONDS", 0.01)
    pool, _ = threads(most=3)
    for _ in range(2):  # the second time those that ended are missed by nobody
        held = [Held() for _ in range(3)]
        for task in held:
            assert pool.submit(task)
            assert task.begun.wait(PATIENCE)
        for task in held:
            task.go.set()
        wait_until(lambda: pool._count == 1)
    pool.close()


def test_a_task_of_a_session_is_waited_for_as_a_thread_is() -> None:
    held = Held()
    task = SessionThreads()(target=held)
    task.start()
    task.join(0.01)
    assert held.begun.wait(PATIENCE)
    held.go.set()
    task.join(PATIENCE)
    done = SessionThreads()(target=[].append, args=(1,), kwargs={})
    done.start()
    done.join(PATIENCE)
