"""EventLoop: accepts connections and reads requests on one thread; only a request that is all there gets a thread of its own.

It is gunicorn's threaded worker with another loop. Nothing that a client does ends it or stops it, nor does a system that has
no descriptors, threads or memory left for a while.

This goes deeper into gunicorn than its interfaces. It is pinned, and `tests/web/serving/test_event_loop.py` holds it to what is
used.
"""

from __future__ import annotations

import errno
import logging
import selectors
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from gunicorn import util
from gunicorn.workers.gthread import TConn, ThreadWorker

from quadra.web.serving.connections import Connections, network_of
from quadra.web.serving.incoming_request import IncomingRequest, Stage
from quadra.web.serving.limits import Limits
from quadra.web.serving.paced_socket import PacedSocket
from quadra.web.serving.request_lanes import RequestLanes
from quadra.web.serving.throttled_log import ThrottledLog

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication
    from gunicorn.config import Config
    from gunicorn.glogging import Logger

log = logging.getLogger("quadra.serving")

_PIECE = 65_536  # bytes that are read at once
_MOST_HELD_IN_ALL = 64_000_000  # bytes of requests that are not complete
_ACCEPTED_AT_ONCE = 16  # connections, before those that are here already are looked at again
_PAUSE = 0.5  # seconds without accepting, where it cannot be done
_LINGER = 2.0  # seconds for which the rest of what a client sends is thrown away, so that it reads its answer
_MOST_THROWN_AWAY = 16_000_000  # bytes
_LEFT_OF_LARGE = 0.2  # seconds for the rest of a large body that the application has not read
_NO_MORE = b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_GONE = {errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED, errno.EINTR}  # there is nobody to accept any more
_CLOSED = {errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP}  # the listener can never accept again
_SHORT = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}


class Connection(TConn):  # type: ignore[misc]  # gunicorn ships no types
    """A connection and the request that is coming in on it."""

    def __init__(self, config: Config, accepted: PacedSocket, client: Any, server: Any, limits: Limits) -> None:
        super().__init__(config, accepted, client, server)
        self.address = network_of(client[0])
        self.request = IncomingRequest()
        self.deadline = 0.0  # of what it waits for
        self.mark = 0  # bytes of a body that were here when the deadline was set
        self.thrown_away = 0
        self.data_ready = True
        self._limits = limits

    def init(self) -> None:
        """Hands what was read to gunicorn's parser; a thread calls it, before each request."""
        super().init()
        self.sock.pace(self._limits.pace_bytes, self._limits.pace_seconds)
        self.parser.unreader.unread(self.request.take())


class EventLoop(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threaded worker as the whole server: no arbiter, no signals, no time-out of a worker."""

    def __init__(
        self, app: WSGIApplication, listener: socket.socket, config: Config, logger: Logger, limits: Limits
    ) -> None:
        super().__init__(0, 0, [listener], None, 0, config, logger)
        self.wsgi = app
        self.connections: Connections[Connection] = Connections(limits.connections, limits.of_an_address)
        self._limits = limits
        self._troubles = ThrottledLog(log)
        self._lanes = RequestLanes(limits.connections, self._on_thread_shortage)
        self._look_every = min(
            1.0, *(seconds / 4 for seconds in (limits.idle_seconds, limits.head_seconds, limits.pace_seconds))
        )
        self._next_look = self._accept_again = 0.0
        self._broken: OSError | None = None  # why the listener cannot be used any more

    def serve_forever(self) -> None:
        """Serves until `end` is called. Raises OSError where the listener was closed by something else."""
        self.poller = selectors.DefaultSelector()
        self.method_queue.init()
        try:
            self.run()
        finally:
            self._close_all()
        if self._broken is not None:
            raise self._broken

    def end(self) -> None:
        """Ends; callable from any thread."""
        self.alive = False
        self.method_queue.defer(lambda: None)

    def run(self) -> None:
        """Waits for what happens, and does what it asks for."""
        self.poller.register(self.method_queue.fileno(), selectors.EVENT_READ, self.method_queue.run_callbacks)
        while self.alive:
            now = time.monotonic()
            if now >= self._next_look:
                self._next_look = now + self._look_every
                self._guarded(self._look_after_all)
            self._guarded(self._accept_where_possible)
            until = min(self._next_look, self._accept_again) if self._accept_again > now else self._next_look
            for key, _ in self.poller.select(max(0.0, until - time.monotonic())):
                self._guarded(key.data, key.fileobj)

    def _guarded(self, call: Callable[..., None], *arguments: Any) -> None:
        """Calls something; what it raises costs the connection that it is about, and nothing else."""
        try:
            call(*arguments)
        except Exception as error:  # noqa: BLE001  # whatever it is, all others are served on
            self._troubles.error("A connection was lost by an error of the server", error)
            for argument in getattr(call, "args", ()):
                if isinstance(argument, Connection):
                    self._close(argument)

    # --- accepting

    def _accept_where_possible(self) -> None:
        wanted = time.monotonic() >= self._accept_again and self.connections.has_room
        if wanted != self._accepting:
            self.set_accept_enabled(wanted)

    def accept(self, listener: socket.socket) -> None:
        """Accepts some of the connections that are there. Where that is not possible now, accepting pauses."""
        for _ in range(_ACCEPTED_AT_ONCE):
            if not self.connections.has_room:
                return
            try:
                accepted, client = listener.accept()
            except OSError as error:
                self._not_accepted(error)
                return
            self._welcome(accepted, client, listener)

    def _welcome(self, accepted: socket.socket, client: Any, listener: socket.socket) -> None:
        connection = Connection(self.cfg, PacedSocket.around(accepted), client, listener.getsockname(), self._limits)
        loser = self.connections.to_give_up_for(connection.address)
        if loser is not None:
            self._close(loser)
        self.connections.add(connection)
        self._guarded(partial(self._await_request, connection))

    def _not_accepted(self, error: OSError) -> None:
        if error.errno in _GONE:
            return
        if error.errno in _CLOSED:
            self._broken, self.alive = error, False
            return
        self._troubles.error("A connection could not be accepted; that is tried again twice a second", error)
        self._accept_again = time.monotonic() + _PAUSE
        loser = self.connections.longest_waiting()
        if loser is not None:  # its descriptor is worth more to somebody who asks for something
            self._close(loser)

    # --- reading

    def _await_request(self, connection: Connection) -> None:
        """Begins to wait for a request, the first bytes of which may be here."""
        connection.deadline = time.monotonic() + self._limits.idle_seconds
        self.poller.register(connection.sock, selectors.EVENT_READ, partial(self._on_readable, connection))
        if len(connection.request):
            self._go_on(connection, Stage.IDLE)
        else:
            self._on_readable(connection)

    def _on_readable(self, connection: Connection, _: Any = None) -> None:
        piece = self._received(connection)
        if piece is None:
            return
        if not piece:
            self._close(connection)
            return
        before = connection.request.stage
        connection.request.add(piece)
        self._go_on(connection, before)

    def _received(self, connection: Connection) -> bytes | None:
        """Returns what has arrived: nothing where the connection has ended, None where there is nothing to do now."""
        if connection not in self.connections:
            return None  # given up for another one, a moment ago
        try:
            piece: bytes = connection.sock.recv(_PIECE)
            return piece
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return b""

    def _go_on(self, connection: Connection, before: Stage) -> None:
        """Does what a request that has grown calls for."""
        stage, now = connection.request.stage, time.monotonic()
        if stage is Stage.OVERLONG:
            self.poller.unregister(connection.sock)
            self._refuse(connection, b"HTTP/1.1 431 Request Header Fields Too Large")
        elif stage in (Stage.READY, Stage.LARGE):
            self._carry_out(connection)
        elif stage is Stage.HEAD and before is Stage.IDLE:
            connection.deadline = now + self._limits.head_seconds
        elif stage is Stage.BODY:
            size = len(connection.request)
            if before is not Stage.BODY or size - connection.mark >= self._limits.pace_bytes:
                connection.deadline, connection.mark = now + self._limits.pace_seconds, size
            if connection.request.take_expectation():
                _send(connection, b"HTTP/1.1 100 Continue\r\n\r\n")

    def _look_after_all(self) -> None:
        """Ends what has waited too long, and starts the threads that could not be started."""
        self._lanes.start_missing()
        now, held = time.monotonic(), 0
        for connection in self.connections.waiting():
            held += len(connection.request)
            if connection.deadline <= now or held > _MOST_HELD_IN_ALL:
                self._guarded(partial(self._expire, connection))

    def _expire(self, connection: Connection) -> None:
        if connection.request.stage in (Stage.HEAD, Stage.BODY):
            _send(connection, b"HTTP/1.1 408 Request Timeout" + _NO_MORE)
        self._close(connection)

    # --- serving

    def _carry_out(self, connection: Connection) -> None:
        self.poller.unregister(connection.sock)
        self.connections.serve(connection)
        request = connection.request
        if not self._lanes.submit(request.path, request.stage is Stage.LARGE, partial(self._serve, connection)):
            self._refuse(connection, b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5")

    def _serve(self, connection: Connection) -> None:
        """Carries out a request; a thread of its lane calls it."""
        is_kept = False
        try:
            is_kept = bool(self.handle(connection))
        finally:
            self.method_queue.defer(partial(self._guarded, partial(self._after, connection, is_kept)))

    def _keepalive_after(self, conn: Connection, keepalive: bool) -> bool:
        """Returns whether another request may come; gunicorn asks when the answer is written."""
        if not keepalive:
            return False
        seconds = _LEFT_OF_LARGE if conn.request.stage is Stage.LARGE else self._limits.pace_seconds
        return bool(conn.parser.finish_body(deadline=time.monotonic() + seconds))

    def _after(self, connection: Connection, is_kept: bool) -> None:
        """Waits for the next request, or for the client to close."""
        if connection.sock.fileno() < 0:  # a WebSocket closes its own
            self._close(connection)
            return
        connection.sock.setblocking(False)
        if not is_kept:
            self._linger(connection)
            return
        connection.request = IncomingRequest()
        read_ahead = connection.parser.unreader.take_buffered()
        if read_ahead:
            connection.request.add(read_ahead)
        self.connections.wait(connection)
        self._await_request(connection)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Answers a request that raised; gunicorn calls it."""
        if not _is_shortage(exc):
            super().handle_error(req, client, addr, exc)
            return
        self._troubles.error("A request could not be answered", exc)
        util.write_error(client, 503, "Service Unavailable", "The server is short of threads or memory. Try again.")

    def _on_thread_shortage(self, error: BaseException) -> None:
        self._troubles.error("A thread for requests could not be started; those that run take its work", error)

    # --- ending

    def _refuse(self, connection: Connection, answer: bytes) -> None:
        _send(connection, answer + _NO_MORE)
        self._linger(connection)

    def _linger(self, connection: Connection) -> None:
        """Says that nothing more comes, and waits for the client to close (RFC 9112, section 9.6)."""
        try:
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:  # it has closed already
            self._close(connection)
            return
        connection.request = IncomingRequest()
        connection.deadline = time.monotonic() + _LINGER
        self.connections.wait(connection)
        self.poller.register(connection.sock, selectors.EVENT_READ, partial(self._throw_away, connection))

    def _throw_away(self, connection: Connection, _: Any) -> None:
        piece = self._received(connection)
        if piece is None:
            return
        connection.thrown_away += len(piece)
        if not piece or connection.thrown_away > _MOST_THROWN_AWAY:
            self._close(connection)

    def _close(self, connection: Connection) -> None:
        if connection not in self.connections:
            return
        self.connections.remove(connection)
        try:
            self.poller.unregister(connection.sock)
        except (KeyError, ValueError, OSError):
            log.debug("a connection is closed that was not waited for")
        connection.close()

    def _close_all(self) -> None:
        self._lanes.close()
        for connection in self.connections.waiting():
            connection.close()  # a thread that serves another one still uses its socket
        self.poller.close()
        self.method_queue.close()


def _send(connection: Connection, answer: bytes) -> None:
    """Sends a few bytes, for which there is room unless the client reads nothing."""
    try:
        connection.sock.send(answer)
    except OSError as error:
        log.debug("A client could not be sent %s: %s", answer, error)


def _is_shortage(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in _SHORT
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "new thread" in str(error))
