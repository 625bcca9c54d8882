"""Socket.IO below its events: how messages go out to browsers, and what is looked at before a message that came in is acted on.

It goes deeper into python-socketio and python-engineio than their interfaces, for three things that these do not offer: one
encoding for many receivers that acknowledge, a view of what waits in a queue, and a bound on what a client may send. Both are
pinned, and `tests/test_web_sockets.py` holds them to what is used here.
"""

from __future__ import annotations

import contextlib
import logging
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engineio.async_drivers._websocket_wsgi import SimpleWebSocketWSGI
from engineio.packet import MESSAGE, Packet
from flask_socketio import SocketIO

from quadra.errors import ConfigurationError
from quadra.limits import CONNECTIONS, MESSAGES, MOST_CONNECTIONS, Buckets

log = logging.getLogger("quadra.web")

_CONNECT, _DISCONNECT, _EVENT, _ACKNOWLEDGEMENT, _BINARY_EVENT = "0", "1", "2", "3", "5"
_NUMBERED = re.compile(r"3(?:/,)?(\d{1,15})(?!\d)")
_NOT_JSON = ConfigurationError("payload", "must be an object of fields in JSON, not binary data")


class SocketSender:
    """The feed's way to browsers."""

    def __init__(self, socketio: SocketIO) -> None:
        self._socketio = socketio

    def send(self, event: str, payload: Mapping[str, Any], to: str | Sequence[str] | None = None) -> None:
        """To one client, to some, or to all; encoded once."""
        self._socketio.emit(event, payload, to=to)

    def send_update(self, payload: Mapping[str, Any], clients: Sequence[str], number: int) -> None:
        """A `metrics_update` that asks for an acknowledgement; encoded once, because all are given the same number."""
        server = self._socketio.server
        event = server.packet_class(data=["metrics_update", payload], namespace="/", id=number, binary=False)
        message = Packet(MESSAGE, event.encode())
        message.encode()  # now, and not on the thread of every connection
        for client in clients:
            transport = server.manager.eio_sid_from_sid(client, "/")
            if transport is not None:  # it has gone meanwhile
                server._send_eio_packet(transport, message)

    def waiting(self, client: str) -> int:
        """Messages in the client's queue: its connection is slower than what it is sent."""
        server = self._socketio.server
        connection = server.eio.sockets.get(server.manager.eio_sid_from_sid(client, "/"))
        return 0 if connection is None else connection.queue.qsize()

    def drop(self, client: str) -> None:
        """Cut the connection of a client that does not read: it would not see a polite end."""
        server = self._socketio.server
        transport = server.manager.eio_sid_from_sid(client, "/")
        if transport is not None:
            drop_transport(server, transport)


def drop_transport(server: Any, transport: str) -> None:
    """End a session of engine.io at once, whatever waits in its queue."""
    environment = server.environ.get(transport, {})
    connection = server.eio.sockets.get(transport)
    hang_up(environment)
    if connection is not None:
        while not connection.queue.empty():
            with contextlib.suppress(connection.server.get_queue_empty_exception()):
                connection.queue.get_nowait()
        connection.close(wait=False, abort=True, reason=server.eio.reason.TRANSPORT_ERROR)


def hang_up(environment: Mapping[str, Any]) -> None:
    """Shut the socket of a WebSocket; threads that wait for the other side there wake up and end."""
    if "HTTP_UPGRADE" not in environment:
        return
    for name in ("gunicorn.socket", "werkzeug.socket"):
        if name in environment:
            with contextlib.suppress(OSError):  # it is closed already
                environment[name].shutdown(socket.SHUT_RDWR)


def use_plain_websockets(socketio: SocketIO, largest_message: int) -> None:
    """WebSockets without compression, and with a limit for what is received.

    Compressing would be done for each receiver anew, which costs more time than all else together, and a small compressed
    message could unfold into a large one.
    """

    class PlainWebSocket(SimpleWebSocketWSGI):  # type: ignore[misc]  # engineio ships no types
        def __init__(self, handler: Callable[..., Any], server: Any) -> None:
            super().__init__(handler, server, max_message_size=largest_message)

        def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
            environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
            return super().__call__(environ, start_response)

        def close(self) -> None:
            with contextlib.suppress(OSError):  # the socket is closed already: what reads from it was quicker
                super().close()

    engine = socketio.server.eio
    engine._async = {**engine._async, "websocket": PlainWebSocket}


class Gate:
    """Looks at every message before Socket.IO does, on the thread of the connection that it came by.

    What is no message of the protocol ends the connection, and so does a flood. Binary data is refused by an answer, because
    no event has any. Acknowledgements go to `acknowledge` with the client and their number.
    """

    def __init__(
        self,
        socketio: SocketIO,
        acknowledge: Callable[[str, int], None],
        refuse: Callable[[str, ConfigurationError], Any],
    ) -> None:
        self._server = socketio.server
        self._acknowledge = acknowledge
        self._refuse = refuse
        self._messages = Buckets(MESSAGES)
        self._connections = Buckets(CONNECTIONS)
        self._server.eio.on("message", self.take)
        self._server.eio.on("connect", self.connect)
        self._server.eio.on("disconnect", self.disconnect)

    def connect(self, transport: str, environment: dict[str, Any]) -> str | None:
        """None, or why no session is begun."""
        if len(self._server.eio.sockets) > MOST_CONNECTIONS:
            return f"{MOST_CONNECTIONS} pages are open already."
        if self._connections.wait_for(environment.get("REMOTE_ADDR", "")):
            return "Too many connections came from here in a short time."
        answer: str | None = self._server._handle_eio_connect(transport, environment)
        return answer

    def disconnect(self, transport: str, reason: str) -> None:
        """A session has ended. Where the other side does not answer, nothing else would end its threads."""
        environment = self._server.environ.get(transport, {})
        self._messages.forget(transport)
        self._server._handle_eio_disconnect(transport, reason)
        if reason == self._server.eio.reason.PING_TIMEOUT:
            hang_up(environment)

    def take(self, transport: str, message: Any) -> None:
        """Pass a message on, answer it, or end its connection."""
        if self._messages.wait_for(transport):
            self._end(transport, "sends too many messages")
        elif isinstance(message, str):  # else it is part of a binary event, which was refused already
            try:
                self._pass_on(transport, message)
            except _MalformedError as error:
                self._end(transport, str(error))

    def _pass_on(self, transport: str, message: str) -> None:
        kind = message[:1]
        if kind == _ACKNOWLEDGEMENT:
            self._take_acknowledgement(transport, message)
            return
        if kind not in (_CONNECT, _DISCONNECT, _EVENT, _BINARY_EVENT):
            raise _MalformedError("sends what is no message of Socket.IO")
        packet = self._decoded(message)
        if kind == _BINARY_EVENT:
            self._answer_binary(transport, packet)
        elif kind == _EVENT:
            if not isinstance(packet.data, list) or not packet.data or not isinstance(packet.data[0], str):
                raise _MalformedError("sends an event without a name")
            self._server._handle_event(transport, packet.namespace, packet.id, packet.data)
        elif kind == _CONNECT:
            given = packet.data if isinstance(packet.data, dict) else None
            self._server._handle_connect(transport, packet.namespace, given)
        else:
            self._server._handle_disconnect(transport, packet.namespace, self._server.reason.CLIENT_DISCONNECT)

    def _decoded(self, message: str) -> Any:
        try:
            return self._server.packet_class(encoded_packet=message)
        except (ValueError, RecursionError, TypeError, IndexError) as error:
            raise _MalformedError("sends what cannot be read") from error

    def _answer_binary(self, transport: str, packet: Any) -> None:
        client = self._server.manager.sid_from_eio_sid(transport, packet.namespace or "/")
        if client is None:
            raise _MalformedError("sends binary data without being connected")
        answer = self._refuse(client, _NOT_JSON)
        if packet.id is not None:
            kind = self._server.packet_class
            self._server._send_packet(
                transport,
                kind(packet_type=int(_ACKNOWLEDGEMENT), namespace=packet.namespace, id=packet.id, data=[answer]),
            )

    def _take_acknowledgement(self, transport: str, message: str) -> None:
        found = _NUMBERED.match(message)
        client = self._server.manager.sid_from_eio_sid(transport, "/")
        if found and client is not None:
            self._acknowledge(client, int(found[1]))

    def _end(self, transport: str, reason: str) -> None:
        environment = self._server.environ.get(transport, {})
        log.warning("A client at %s %s; its connection is ended", environment.get("REMOTE_ADDR", "?"), reason)
        drop_transport(self._server, transport)


class _MalformedError(Exception):
    """A message that Socket.IO has no meaning for."""
