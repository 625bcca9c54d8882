"""PacedSocket: a connection whose other side must keep moving while a thread waits for it."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class PacedSocket(socket.socket):
    """A socket that ends with ECONNRESET where fewer than `pace_bytes` pass in `pace_seconds` of waiting.

    Time in which nobody waits for it does not count. Where it has no timeout, or does not wait at all, it is as any other.
    """

    _bytes, _seconds = 0, 0.0
    _moved, _waited = 0, 0.0

    @classmethod
    def around(cls, accepted: socket.socket) -> PacedSocket:
        """Returns the same connection as one of this class; the given object is of no use afterwards."""
        return cls(accepted.family, accepted.type, accepted.proto, accepted.detach())

    def pace(self, pace_bytes: int, pace_seconds: float) -> None:
        """Waits from now on, for a client that keeps such a pace."""
        self._bytes, self._seconds = pace_bytes, pace_seconds
        self._moved, self._waited = 0, 0.0
        self.settimeout(pace_seconds)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Receives as `socket.recv` does."""
        if not self.gettimeout():
            return super().recv(size, flags)
        return self._paced(lambda: super(PacedSocket, self).recv(size, flags), len)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Sends as `socket.sendall` does, however long it takes at a fair pace."""
        if not self.gettimeout():
            super().sendall(data, flags)
            return
        rest = memoryview(data).cast("B")
        while rest:
            sent = self._paced(lambda: super(PacedSocket, self).send(rest, flags), int)  # noqa: B023  # called at once
            rest = rest[sent:]

    def _paced(self, move: Callable[[], T], size: Callable[[T], int]) -> T:
        started = time.monotonic()
        try:
            moved = move()
        except TimeoutError as error:
            raise self._too_slow() from error
        self._waited += time.monotonic() - started
        self._moved += size(moved)
        if self._moved >= self._bytes:
            self._moved, self._waited = 0, 0.0
        elif self._waited > self._seconds:
            raise self._too_slow()
        return moved

    def _too_slow(self) -> ConnectionResetError:
        return ConnectionResetError(errno.ECONNRESET, "the client is slower than clients may be")
