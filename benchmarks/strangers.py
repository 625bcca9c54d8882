"""Strangers: connections from one address that ask for nothing, or for something very slowly, in a process of their own.

`python -m benchmarks.strangers PORT COUNT KIND ...` opens them, says so, and keeps them until its input ends. What the
server gives up is opened again within a second.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time

from benchmarks.measuring import say

_POST = b"POST /login HTTP/1.1\r\nHost: here\r\n"
KINDS = {
    "idle": b"",
    "slow-head": b"GET / HTTP/1.1\r\nHost: here\r\n",
    "slow-body": _POST + b"Content-Length: 5000\r\n\r\ntoken=",
    "slow-large-body": _POST + b"Content-Length: 500000\r\n\r\ntoken=",
    "slow-chunks": _POST + b"Transfer-Encoding: chunked\r\n\r\n1000\r\ntoken=",
}
_DRIP_EVERY = 1.0  # seconds between two bytes of each


class Strangers:
    """So many connections, of these kinds by turns."""

    def __init__(self, port: int, count: int, kinds: list[str]) -> None:
        self._port = port
        self._selector = selectors.DefaultSelector()
        self._closed: list[bytes] = []  # what those began with that the server has given up
        for number in range(count):
            self._open(KINDS[kinds[number % len(kinds)]])

    def keep(self) -> None:
        """Send a byte on each now and then, and open what was closed, until the input ends."""
        self._selector.register(sys.stdin, selectors.EVENT_READ)
        next_drip = time.monotonic() + _DRIP_EVERY
        while True:
            for key, _ in self._selector.select(max(0.0, next_drip - time.monotonic())):
                if key.fileobj is sys.stdin:
                    return
                if not self._is_open(key):
                    self._close(key)
            if time.monotonic() >= next_drip:
                next_drip += _DRIP_EVERY
                self._drip()

    def _open(self, first: bytes) -> None:
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=60)
        connection.sendall(first)
        connection.setblocking(False)
        self._selector.register(connection, selectors.EVENT_READ, first)

    def _close(self, key: selectors.SelectorKey) -> None:
        self._selector.unregister(key.fileobj)
        assert isinstance(key.fileobj, socket.socket)
        key.fileobj.close()
        self._closed.append(key.data)

    def _is_open(self, key: selectors.SelectorKey) -> bool:
        assert isinstance(key.fileobj, socket.socket)
        try:
            return bool(key.fileobj.recv(4096))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def _drip(self) -> None:
        for key in list(self._selector.get_map().values()):
            if key.data:
                assert isinstance(key.fileobj, socket.socket)
                try:
                    key.fileobj.send(b"a")
                except OSError:
                    self._close(key)
        again, self._closed = self._closed, []
        for first in again:
            self._open(first)


if __name__ == "__main__":
    strangers = Strangers(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
    say("ready")
    strangers.keep()
