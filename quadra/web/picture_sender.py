"""PictureSender: pictures of what is inside, on their way to browsers, one at a time for each of them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from quadra.web.websocket_delivery import SocketSender

FIRST_NUMBER = 2**40  # of acknowledgements; those of other updates count from 1


class PictureSender:
    """The way of pictures to this server's browsers: one at a time for each, until it has acknowledged it."""

    def __init__(self, sender: SocketSender) -> None:
        self._sender = sender
        self._numbers = count(FIRST_NUMBER)
        self._awaited: dict[str, tuple[int, Callable[[], None]]] = {}  # client -> number, what to call then

    def send(self, event: str, payload: dict[str, Any], client: str, acknowledged: Callable[[], None]) -> None:
        """To one client, which is to acknowledge it."""
        number = next(self._numbers)
        self._awaited[client] = (number, acknowledged)
        self._sender.send_update(payload, [client], number, event)

    def acknowledge(self, client: str, number: int) -> None:
        """A client has taken what it was sent; any other number is none of ours."""
        awaited = self._awaited.get(client)
        if awaited is not None and awaited[0] == number:
            self._awaited.pop(client, None)
            awaited[1]()

    def leave(self, client: str) -> None:
        """A client has gone."""
        self._awaited.pop(client, None)
