"""Tasks are carried out in their order, whatever they raise; once the queue is closed each is refused."""

from __future__ import annotations

import logging

import pytest

from quadra.errors import RefusedError, WorkerClosedError
from quadra.training.command_queue import CommandQueue


def test_tasks_come_in_the_order_in_which_they_were_submitted() -> None:
    queue = CommandQueue()
    replies = [queue.submit(lambda number=number: {"number": number}) for number in range(3)]  # type: ignore[misc]
    while (task := queue.next(0.0)) is not None:
        task.carry_out()
    assert [reply.result(0) for reply in replies] == [{"number": 0}, {"number": 1}, {"number": 2}]


@pytest.mark.parametrize("error", [RefusedError("no"), ValueError("a bug")], ids=["ours", "unforeseen"])
def test_what_a_task_raises_reaches_who_asked(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> dict[str, object]:
        raise error

    queue = CommandQueue()
    reply, after = queue.submit(fail), queue.submit(dict)
    with caplog.at_level(logging.CRITICAL):
        for _ in range(2):
            task = queue.next(0.0)
            assert task is not None
            task.carry_out()
    assert reply.exception(0) is error
    assert after.result(0) == {}


def test_once_it_is_closed_what_waits_and_what_comes_is_refused() -> None:
    queue = CommandQueue()
    waiting = queue.submit(dict)
    queue.refuse_rest()
    for reply in (waiting, queue.submit(dict)):
        with pytest.raises(WorkerClosedError):
            reply.result(0)
    assert queue.is_closed
    assert queue.next(0.0) is None
