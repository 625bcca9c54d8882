"""A connection whose other side must keep moving."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from quadra.web.serving.paced_socket import PacedSocket
from tests.helpers.waiting import PATIENCE


@pytest.fixture
def pair() -> Iterator[tuple[PacedSocket, socket.socket]]:
    ours, its = socket.socketpair()
    with PacedSocket.around(ours) as paced, its:
        yield paced, its


def test_silence_ends_a_connection(pair: tuple[PacedSocket, socket.socket]) -> None:
    pair[0].pace(10, 0.02)
    with pytest.raises(ConnectionResetError) as caught:
        pair[0].recv(100)
    assert caught.value.errno == errno.ECONNRESET


class Clock:
    """Goes on by so many seconds whenever it is looked at."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.now = seconds, 0.0

    def monotonic(self) -> float:
        self.now += self.seconds
        return self.now


@pytest.mark.parametrize(("seconds", "is_ended"), [(3.0, True), (0.1, False)])
def test_drops_that_come_in_time_end_it_where_they_bring_too_little(
    pair: tuple[PacedSocket, socket.socket], monkeypatch: pytest.MonkeyPatch, seconds: float, is_ended: bool
) -> None:
    paced, its = pair
    paced.pace(10, 10.0)
    monkeypatch.setattr("quadra.web.serving.paced_socket.time", Clock(seconds))
    with ExitStack() as stack:
        if is_ended:
            stack.enter_context(pytest.raises(ConnectionResetError))
        for _ in range(200):  # 20 seconds of waiting, ten bytes a second; or as many in 600 seconds
            its.send(b"a")
            assert paced.recv(100) == b"a"


def test_time_in_which_nobody_waits_does_not_count(
    pair: tuple[PacedSocket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    paced, its = pair
    paced.pace(1_000_000, 10.0)
    monkeypatch.setattr("quadra.web.serving.paced_socket.time", clock := Clock(0.0))
    for _ in range(5):
        clock.now += 9.0
        its.send(b"a")
        assert paced.recv(100) == b"a"


def test_an_answer_that_nobody_reads_ends_it(pair: tuple[PacedSocket, socket.socket]) -> None:
    pair[0].pace(10, 0.02)
    with pytest.raises(ConnectionResetError):
        pair[0].sendall(bytes(10_000_000))


def test_an_answer_arrives_whole_where_it_is_read(pair: tuple[PacedSocket, socket.socket]) -> None:
    paced, its = pair
    paced.pace(10, PATIENCE)
    sent, received = bytes(range(256)) * 8_000, bytearray()

    def read() -> None:
        while len(received) < len(sent):
            received.extend(its.recv(100_000))

    reading = threading.Thread(target=read)
    reading.start()
    paced.sendall(sent)
    reading.join()
    assert received == sent


def test_without_a_timeout_it_is_as_any_other(pair: tuple[PacedSocket, socket.socket]) -> None:
    paced, its = pair
    paced.pace(1_000_000, PATIENCE)
    paced.settimeout(None)
    threading.Timer(0.02, its.send, [b"late"]).start()
    assert paced.recv(100) == b"late"
    paced.sendall(b"answer")
    assert its.recv(100) == b"answer"
