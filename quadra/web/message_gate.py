"""MessageGate: looks at every message before Socket.IO acts on it, so that nothing a client sends raises, piles up or floods.

It takes the place of python-socketio's own handler of messages and calls the same functions behind it. The library is pinned,
and `tests/web/test_message_gate.py` holds it to what is used here.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

from flask_socketio import SocketIO

from quadra.errors import ConfigurationError
from quadra.web.polling import deliver_in_portions
from quadra.web.rate_limits import CONNECTIONS, MESSAGES, MOST_CONNECTIONS, Buckets
from quadra.web.websocket_delivery import drop_transport, hang_up

log = logging.getLogger("quadra.web")

_CONNECT, _DISCONNECT, _EVENT, _ACKNOWLEDGEMENT, _BINARY_EVENT = "0", "1", "2", "3", "5"
_NUMBERED = re.compile(r"3(?:/,)?(\d{1,15})(?!\d)")
_RESERVED = ("connect", "disconnect")  # whose handlers are the server's own
_NOT_JSON = ConfigurationError("payload", "must be an object of fields in JSON, not binary data")


class MessageGate:
    """Takes the messages of every connection, each on the thread of its connection.

    What is no message of the protocol ends the connection, and so does a flood. Binary data is refused by an acknowledgement,
    because no event has any. Acknowledgements of clients go to `acknowledge` with the client and their number.
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
        self._server.eio.on("message", self.on_message)
        self._server.eio.on("connect", self.on_connect)
        self._server.eio.on("disconnect", self.on_disconnect)

    def on_connect(self, transport: str, environment: dict[str, Any]) -> str | None:
        """Returns None, or why no session is begun."""
        if len(self._server.eio.sockets) > MOST_CONNECTIONS:
            return f"{MOST_CONNECTIONS} pages are open already."
        if self._connections.try_acquire(environment.get("REMOTE_ADDR", "")):
            return "Too many connections came from here in a short time."
        deliver_in_portions(self._server.eio.sockets[transport])
        answer: str | None = self._server._handle_eio_connect(transport, environment)
        return answer

    def on_disconnect(self, transport: str, reason: str) -> None:
        """Forget a session that has ended. Where the other side does not answer, nothing else would end its threads."""
        environment = self._server.environ.get(transport, {})
        self._messages.forget(transport)
        self._server.eio.sockets.pop(transport, None)  # a request that names it later is a bad one, not a failure
        self._server._handle_eio_disconnect(transport, reason)
        if reason == self._server.eio.reason.PING_TIMEOUT:
            hang_up(environment)

    def on_message(self, transport: str, message: Any) -> None:
        """Pass a message on, answer it, or end its connection."""
        if self._messages.try_acquire(transport):
            self._end(transport, "sends too many messages")
        elif isinstance(message, str):  # else it is part of a binary event, which was refused already
            try:
                self._pass_on(transport, message)
            except _MalformedError as error:
                self._end(transport, str(error))
            except KeyError:
                if transport in self._server.environ:
                    raise
                log.debug("A message came while its session ended; nobody waits for an answer")

    def _pass_on(self, transport: str, message: str) -> None:
        kind = message[:1]
        if kind == _ACKNOWLEDGEMENT:
            self._pass_acknowledgement(transport, message)
            return
        if kind not in (_CONNECT, _DISCONNECT, _EVENT, _BINARY_EVENT):
            raise _MalformedError("sends what is no message of Socket.IO")
        packet = self._decoded(message)
        if kind == _BINARY_EVENT:
            self._answer_binary(transport, packet)
        elif kind == _EVENT:
            if not isinstance(packet.data, list) or not packet.data or not isinstance(packet.data[0], str):
                raise _MalformedError("sends an event without a name")
            if packet.data[0] in _RESERVED:
                raise _MalformedError("sends an event that only the server may cause")
            self._client(transport, packet)
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

    def _client(self, transport: str, packet: Any) -> str:
        """Returns the client that a message comes from. Raises _MalformedError where it is not connected: it would wait for
        its answer for ever."""
        client = self._server.manager.sid_from_eio_sid(transport, packet.namespace or "/")
        if client is None:
            raise _MalformedError("sends an event without being connected")
        return str(client)

    def _answer_binary(self, transport: str, packet: Any) -> None:
        answer = self._refuse(self._client(transport, packet), _NOT_JSON)
        if packet.id is not None:
            kind = self._server.packet_class
            self._server._send_packet(
                transport,
                kind(packet_type=int(_ACKNOWLEDGEMENT), namespace=packet.namespace, id=packet.id, data=[answer]),
            )

    def _pass_acknowledgement(self, transport: str, message: str) -> None:
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
