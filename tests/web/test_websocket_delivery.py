"""Messages are written at once where there is room, in order, and by the connection's own thread where there is none."""

from __future__ import annotations

import json
import queue
import socket
import threading
from types import SimpleNamespace
from typing import Any

import pytest
import websocket

from quadra.web import websocket_delivery
from quadra.web.websocket_delivery import PlainWebSocket
from tests.helpers.waiting import PATIENCE

pytestmark = pytest.mark.skipif(
    websocket_delivery._NOT_WAITING is None, reason="this system cannot write without waiting"
)


class Session:
    """As much of a session of engineio as a WebSocket asks for."""

    def __init__(self) -> None:
        self.queue: queue.Queue[Any] = queue.Queue()

    def handle(self, websocket: Any) -> None:
        """Nothing is handled."""


class Pair:
    """A WebSocket of the server, and the other end of its wire."""

    def __init__(self) -> None:
        here, self.there = socket.socketpair()
        here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.there.settimeout(PATIENCE)
        self.session = Session()
        self.server = PlainWebSocket(self.session.handle, None)
        self.server.ws = SimpleNamespace(
            sock=here, connected=True, send=self._send, input_buffer=[], receive_bytes=4096
        )
        self.woken = 0
        self.client = websocket.WebSocket()
        self.client.sock, self.client.connected = self.there, True

    def _send(self, message: str) -> None:
        self.server.ws.sock.sendall(websocket_delivery._frame(message))

    def wake(self) -> None:
        self.woken += 1

    def write(self, text: str) -> bool:
        return self.server.write(websocket_delivery._frame(text), self.wake)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_a_frame_is_what_a_client_of_another_library_reads(size: int) -> None:
    here, there = socket.socketpair()
    here.sendall(websocket_delivery._frame("é" * (size // 2) + "x" * (size % 2)))
    client = websocket.WebSocket()
    client.sock, client.connected = there, True
    assert len(client.recv().encode()) == size


def test_a_message_is_written_at_once_where_there_is_room() -> None:
    pair = Pair()
    assert pair.write("4hello")
    assert pair.client.recv() == "4hello"
    assert pair.woken == 0


def test_what_has_no_room_is_finished_by_the_thread_and_nothing_comes_between() -> None:
    pair = Pair()
    long = "4" + "x" * 3_000_000
    assert pair.write(long)
    assert pair.woken == 1
    assert not pair.write("4later")
    thread = threading.Thread(target=pair.server.send, args=("6",))
    thread.start()
    assert pair.client.recv() == long
    assert pair.client.recv() == "6"
    thread.join(PATIENCE)
    assert pair.write("4later")


def test_a_message_does_not_overtake_one_that_was_left_to_the_thread() -> None:
    pair = Pair()
    left = "4" + json.dumps(["left"])
    pair.server.leave_to_thread(left)
    assert not pair.write("4later")
    pair.server.send("43[]")
    assert not pair.write("4later")
    pair.server.send(left)
    assert pair.write("4later")
    assert [pair.client.recv() for _ in range(3)] == ["43[]", left, "4later"]


def test_nothing_is_written_to_a_connection_that_is_closed() -> None:
    pair = Pair()
    pair.server.ws.sock.close()
    assert not pair.write("4hello")
    pair.server.ws.connected = False
    assert not pair.write("4hello")
    assert pair.server.wait() is None
