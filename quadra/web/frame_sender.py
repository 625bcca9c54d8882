"""FrameSender: activity frames on their way to browsers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from quadra.web.websocket_delivery import SocketSender

FIRST_NUMBER = 2**40  # of acknowledgements; those of other updates count from 1


class FrameSender:
    """Sends an activity frame to a browser and notes which acknowledgement it owes for it."""

    def __init__(self, sender: SocketSender) -> None:
        self._sender = sender
        self._numbers = count(FIRST_NUMBER)
        self._awaited: dict[str, tuple[int, Callable[[], None]]] = {}  # client -> number, what to call then

    def send(self, event: str, payload: dict[str, Any], client: str, acknowledged: Callable[[], None]) -> None:
        """Send a frame to one client; `acknowledged` is called when it has taken it."""
        number = next(self._numbers)
        self._awaited[client] = (number, acknowledged)
        self._sender.send_update(payload, [client], number, event)

    def acknowledge(self, client: str, number: int) -> None:
        """Note that a client has taken what has this number; other numbers belong to other updates."""
        awaited = self._awaited.get(client)
        if awaited is not None and awaited[0] == number:
            self._awaited.pop(client, None)
            awaited[1]()

    def leave(self, client: str) -> None:
        """Forget a client that has gone."""
        self._awaited.pop(client, None)
