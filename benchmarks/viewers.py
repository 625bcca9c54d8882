"""Viewers that cost little: many raw WebSockets in one process, so that a crowd does not take the server's processor.

`python -m benchmarks.viewers PORT COUNT SECONDS` prints what each of them was sent, as JSON; `--deaf` are viewers that never
read, and that come back when the server has cut their connection.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import select
import socket
import sys
import time
from itertools import pairwise
from typing import Any

# The first and the last iteration of an update; the text in it cannot hold a quotation mark that is not escaped.
_RANGE = re.compile(rb'"points":\{"iteration":\[(\d+)(?:[\d,]*,)?(\d+)?\]')
_ACKNOWLEDGED = re.compile(rb'42(\d+)\["metrics_update"')
_BUFFER = 1 << 18  # bytes


class Viewer:
    """One connection: it answers pings and acknowledges, and notes when updates came and whether one follows on the other."""

    def __init__(self, port: int, is_deaf: bool) -> None:
        self.updates: list[float] = []
        self.last = 0  # iteration
        self.gaps = 0
        self._bytes = bytearray()
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        if is_deaf:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self._bytes:
            self._bytes += self.socket.recv(4096)
        head, _, rest = bytes(self._bytes).partition(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise ConnectionError(head.decode())
        self._bytes = bytearray(rest)
        self.send(b"40")
        self.socket.setblocking(False)

    def send(self, text: bytes) -> None:
        """A short text frame, masked with zeros, which is allowed."""
        self.socket.sendall(bytes([0x81, 0x80 | len(text)]) + b"\0\0\0\0" + text)

    def read(self) -> bool:
        """Take what is there; whether the connection still stands."""
        try:
            new = self.socket.recv(_BUFFER)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._bytes += new
        while (message := self._message()) is not None:
            self._take(message)
        return bool(new)

    def _message(self) -> bytes | None:
        """The next whole frame."""
        data = self._bytes
        if len(data) < 2:
            return None
        length, start = data[1] & 127, 2
        if length >= 126:
            start = 4 if length == 126 else 10
            if len(data) < start:
                return None
            length = int.from_bytes(data[2:start], "big")
        if len(data) < start + length:
            return None
        message = bytes(data[start : start + length])
        del data[: start + length]
        return message

    def _take(self, message: bytes) -> None:
        if message == b"2":
            self.send(b"3")
        elif found := _ACKNOWLEDGED.match(message):
            self.updates.append(time.perf_counter())
            points = _RANGE.search(message)
            if points:
                first, last = int(points[1]), int(points[2] or points[1])
                self.gaps += int(self.last != 0 and first != self.last + 1)
                self.last = last
            self.send(b"43" + found[1] + b"[]")


def watch(viewers: list[Viewer], seconds: float) -> None:
    """Read for so long. Raises ConnectionError where the server ends one."""
    poll = select.epoll()
    by_number = {viewer.socket.fileno(): viewer for viewer in viewers}
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    end = time.perf_counter() + seconds
    while (left := end - time.perf_counter()) > 0:
        for number, _ in poll.poll(left):
            if not by_number[number].read():
                raise ConnectionError("the server has ended the connection of a viewer that reads")


def ignore(port: int, count: int, seconds: float) -> dict[str, Any]:
    """Connect and never read; come back when the connection was cut."""
    poll, cut = select.poll(), 0
    viewers: dict[int, Viewer] = {}
    end = time.perf_counter() + seconds
    while (left := end - time.perf_counter()) > 0:
        while len(viewers) < count:
            viewer = Viewer(port, is_deaf=True)
            viewers[viewer.socket.fileno()] = viewer
            poll.register(viewer.socket, select.POLLRDHUP)
        for number, _ in poll.poll(min(left, 1.0) * 1000):
            poll.unregister(number)
            viewers.pop(number).socket.close()
            cut += 1
    return {"cut": cut}


def told(viewers: list[Viewer], started: float, seconds: float) -> dict[str, Any]:
    """What they were sent in a time."""
    pauses = []
    for viewer in viewers:
        times = [started, *(moment for moment in viewer.updates if moment > started), started + seconds]
        pauses.append(max(later - earlier for earlier, later in pairwise(times)))
    counts = [sum(moment > started for moment in viewer.updates) for viewer in viewers]
    return {
        "fewest_updates_a_second": min(counts) / seconds,
        "longest_pause": max(pauses),
        "gaps": sum(viewer.gaps for viewer in viewers),
    }


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--deaf", action="store_true")
    options = parser.parse_args()
    if options.deaf:
        result = ignore(options.port, options.count, options.seconds)
    else:
        viewers = [Viewer(options.port, is_deaf=False) for _ in range(options.count)]
        watch(viewers, 2.0)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        started = time.perf_counter()
        watch(viewers, options.seconds)
        result = told(viewers, started, options.seconds)
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
