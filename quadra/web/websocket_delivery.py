"""SocketSender: messages to browsers, encoded once for all that get them, written without a thread's help where possible.

python-engineio has a thread for every connection that writes what is put into its queue, and simple-websocket has another one
that reads. With a hundred viewers they wake up by hundreds for one update, each wants the interpreter, and training waits for
its turn among them. So here the sender itself writes to every WebSocket whose system buffer has room; the queue and its
thread are for those that have none. What comes in is read by the thread that acts on it.

WebSockets are not compressed: that would be done for each receiver anew, and cost more than all else together.

This goes deeper into the two libraries than their interfaces. They are pinned, and `tests/web/test_websocket_delivery.py`
holds them to what is used.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import simple_websocket
from engineio.async_drivers._websocket_wsgi import SimpleWebSocketWSGI
from engineio.packet import MESSAGE, NOOP, Packet
from flask_socketio import SocketIO
from wsproto.utilities import ProtocolError

from quadra.web.serving.session_threads import SessionThreads

_NOT_WAITING = getattr(socket, "MSG_DONTWAIT", None)  # Windows has none
_WITHOUT_DELAY = struct.pack("ii", 1, 0)  # closing does not wait until what was sent is taken
_TEXT = 0x81  # first byte of a frame that is a whole text message


class PlainWebSocket(SimpleWebSocketWSGI):  # type: ignore[misc]  # engineio ships no types
    """A WebSocket for engineio, to which another thread may write while its own have nothing to write."""

    largest_message = 0  # bytes that one message may have; set for each application

    def __init__(self, handler: Callable[..., Any], _: Any) -> None:
        super().__init__(handler, None, max_message_size=self.largest_message, thread_class=_NoThread)
        handler.__self__.websocket = self  # type: ignore[attr-defined]  # engineio's session, whose method it is
        self._writing = threading.Lock()
        self._rest = b""  # of a frame that had no room
        self._left: str | None = (
            None  # the newest message that was left to the thread that writes, until it has written it
        )

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)  # that is where compression is agreed on
        if "gunicorn.socket" in environ:
            environ["gunicorn.socket"].settimeout(None)  # a browser may be silent for as long as it likes
        return super().__call__(environ, start_response)

    def write(self, frame: bytes, wake: Callable[[], None]) -> bool:
        """Write a frame at once, or as much as there is room for, in which case `wake` has the rest written.

        Returns whether any of it was written.
        """
        if _NOT_WAITING is None or self._left is not None or not self._writing.acquire(blocking=False):
            return False
        try:
            if self._rest or not self.ws.connected:
                return False
            sent = self.ws.sock.send(frame, _NOT_WAITING)
            self._rest = frame[sent:]
        except OSError:  # no room at all, or closed
            return False
        finally:
            self._writing.release()
        if self._rest:
            wake()
        return True

    def leave_to_thread(self, message: str) -> None:
        """Note that a message is put into the queue: what follows must not overtake it."""
        self._left = message

    def send(self, message: Any) -> Any:
        """Send a message; for the thread that writes."""
        with self._writing:
            if self._rest:
                self.ws.sock.sendall(self._rest)
                self._rest = b""
            super().send(message)
            if message is self._left:
                self._left = None

    def wait(self) -> Any:
        """Blocks until a message comes in and returns it; None at the end."""
        connection = self.ws
        with contextlib.suppress(OSError, ProtocolError, ValueError):  # which end this connection and nothing else
            while connection.connected and not connection.input_buffer:
                received = connection.sock.recv(connection.receive_bytes)
                if not received:
                    break
                connection.ws.receive_data(received)
                connection.connected = connection._handle_events()
        if connection.input_buffer and _is_readable(connection.input_buffer[0]):
            return connection.input_buffer.pop(0)
        connection.connected = False
        connection.sock.close()
        return None

    def close(self) -> None:
        """Close the connection; for the thread that writes."""
        with contextlib.suppress(OSError, simple_websocket.ConnectionClosed, ProtocolError):  # it is closed already
            super().close()


def _is_readable(message: Any) -> bool:
    """Returns whether engineio can read a message; it would raise where nobody catches it."""
    try:
        Packet(encoded_packet=message)
    except (ValueError, RecursionError):
        return False
    return True


class _Unreadable(logging.Filter):
    """Has engineio say in a line that a client sent nonsense in the body of a request, instead of showing a failure of the
    server."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Returns True: every record stays."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, (ValueError, RecursionError)):
            record.msg, record.args, record.exc_info = "A client sent what cannot be read: %r", (error,), None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


class _NoThread:
    """In place of the thread that reads ahead."""

    def __init__(self, target: Callable[[], None]) -> None:
        del target
        self.name = ""

    def start(self) -> None:
        """There is nothing to start."""


class SocketSender:
    """Sends events to browsers, on the thread that calls."""

    def __init__(self, socketio: SocketIO) -> None:
        self._server = socketio.server

    def send(self, event: str, payload: Mapping[str, Any], to: str | Sequence[str] | None = None) -> None:
        """Send an event to one client, to some, or to all."""
        if to is None:
            transports = [transport for _, transport in self._server.manager.get_participants("/", None)]
        else:
            transports = self._transports([to] if isinstance(to, str) else to)
        self._deliver(event, payload, transports, None)

    def send_update(
        self, payload: Mapping[str, Any], clients: Sequence[str], number: int, event: str = "metrics_update"
    ) -> None:
        """Send an event that asks for an acknowledgement; all clients acknowledge the same number."""
        self._deliver(event, payload, self._transports(clients), number)

    def waiting(self, client: str) -> int:
        """Returns how many messages are in a client's queue: its connection is slower than what it is sent."""
        connection = self._server.eio.sockets.get(self._server.manager.eio_sid_from_sid(client, "/"))
        return 0 if connection is None else connection.queue.qsize()

    def drop(self, client: str) -> None:
        """Cut the connection of a client that does not read: it would not see a polite end."""
        for transport in self._transports([client]):
            drop_transport(self._server, transport)

    def _transports(self, clients: Iterable[str]) -> list[str]:
        found = (self._server.manager.eio_sid_from_sid(client, "/") for client in clients)
        return [transport for transport in found if transport is not None]  # the others have gone meanwhile

    def _deliver(self, event: str, payload: Mapping[str, Any], transports: Iterable[str], number: int | None) -> None:
        packet = self._server.packet_class(data=[event, payload], namespace="/", id=number, binary=False)
        message = Packet(MESSAGE, packet.encode())
        frame = _frame(message.encode())
        for transport in transports:
            connection = self._server.eio.sockets.get(transport)
            websocket = getattr(connection, "websocket", None)
            if websocket is None or connection.queue.qsize() or not websocket.write(frame, _waker(connection)):
                if websocket is not None:
                    websocket.leave_to_thread(message.encode())
                self._server._send_eio_packet(transport, message)


def _waker(connection: Any) -> Callable[[], None]:
    return lambda: connection.queue.put(Packet(NOOP))


def _frame(text: str) -> bytes:
    """Returns a text message as a server sends it (RFC 6455, section 5.2)."""
    content = text.encode()
    size = len(content)
    if size < 126:
        return bytes([_TEXT, size]) + content
    if size < 1 << 16:
        return bytes([_TEXT, 126]) + size.to_bytes(2, "big") + content
    return bytes([_TEXT, 127]) + size.to_bytes(8, "big") + content


def use_plain_websockets(socketio: SocketIO, largest_message: int) -> None:
    """Have WebSockets served as this module says; `largest_message` in bytes."""
    kind = type("PlainWebSocket", (PlainWebSocket,), {"largest_message": largest_message})
    engine = socketio.server.eio
    engine._async = {**engine._async, "websocket": kind, "thread": SessionThreads()}
    engine.logger.addFilter(_Unreadable())


def drop_transport(server: Any, transport: str) -> None:
    """End a session of engine.io at once, whatever waits in its queue."""
    connection = server.eio.sockets.get(transport)
    hang_up(server.environ.get(transport, {}))
    if connection is not None:
        with contextlib.suppress(connection.server.get_queue_empty_exception()):
            while True:
                connection.queue.get_nowait()
        connection.close(wait=False, abort=True, reason=server.eio.reason.TRANSPORT_ERROR)


def hang_up(environment: Mapping[str, Any]) -> None:
    """Shut the socket of a WebSocket; threads that wait for the other side there wake up and end. What the system still holds
    for it is given up, too."""
    if "HTTP_UPGRADE" not in environment:
        return
    for name in ("gunicorn.socket", "werkzeug.socket"):
        if name in environment:
            with contextlib.suppress(OSError):  # it is closed already
                environment[name].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _WITHOUT_DELAY)
                environment[name].shutdown(socket.SHUT_RDWR)
