"""The loop that accepts and reads: what strangers do to it, and what a system that is short of everything does."""

from __future__ import annotations

import errno
import http.client
import logging
import selectors
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger

from quadra.web.server import listen
from quadra.web.serving.event_loop import EventLoop
from quadra.web.serving.limits import Limits
from tests.helpers.waiting import PATIENCE, wait_until

LONG = 3600.0  # seconds that no test lasts
PATIENT = Limits(connections=100, of_an_address=80, idle_seconds=LONG, head_seconds=LONG, pace_seconds=LONG)
BODY = b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\nab"
HEAD = b"GET /slow HTTP/1.1\r\nHost: here\r\n"
CHUNKED = {"Transfer-Encoding": "chunked"}
GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answers with what it was sent."""
    if environ["PATH_INFO"] == "/ignored":
        body = b"not read"
    elif environ["PATH_INFO"] == "/no-thread":
        raise RuntimeError("can't start new thread")
    else:
        body = environ["wsgi.input"].read() or b"well"
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


class Serving:
    """A loop on a thread of the test."""

    def __init__(self, limits: Limits = PATIENT, app: Any = application) -> None:
        config = Config()
        config.set("keepalive", int(limits.idle_seconds))
        config.set("worker_connections", limits.connections)
        self.listener = listen("127.0.0.1", 0)
        self.address = self.listener.getsockname()
        self.loop = EventLoop(app, self.listener, config, Logger(config), limits)
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        try:
            self.loop.serve_forever()
        except OSError as error:
            self.error = error

    def __enter__(self) -> Serving:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.end()
        self._thread.join(PATIENCE)
        self.listener.close()

    def join(self) -> None:
        self._thread.join(PATIENCE)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, PATIENCE)

    @contextmanager
    def connections(self, count: int, first: bytes = b"") -> Iterator[list[socket.socket]]:
        """So many strangers, each of which has sent something."""
        with ExitStack() as stack:
            strangers = [stack.enter_context(self.connect()) for _ in range(count)]
            for stranger in strangers:
                stranger.sendall(first)
            yield strangers

    def ask(self, path: str = "/", body: Any = None, **options: Any) -> tuple[int, bytes]:
        """The status and the body of one answer."""
        connection = http.client.HTTPConnection(*self.address, timeout=PATIENCE)
        try:
            connection.request("GET" if body is None else "POST", path, body, **options)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@pytest.fixture
def serving() -> Iterator[Serving]:
    with Serving() as serving:
        yield serving


def all_of(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    received = b""
    try:
        while piece := connection.recv(65_536):
            received += piece
    except ConnectionResetError:
        return received
    return received


# --- what honest clients do


def test_a_request_is_answered_and_the_connection_kept(serving: Serving) -> None:
    connection = http.client.HTTPConnection(*serving.address, timeout=PATIENCE)
    for body in (None, b"five!", None):
        connection.request("GET" if body is None else "POST", "/", body)
        assert connection.getresponse().read() == body or b"well"
    assert len(serving.loop.connections) == 1
    connection.close()
    wait_until(lambda: len(serving.loop.connections) == 0)


@pytest.mark.parametrize("size", [1, 65_536, 131_072, 131_073, 3_000_000])
def test_a_body_of_any_size_arrives_whole(serving: Serving, size: int) -> None:
    body = bytes(index % 251 for index in range(1000)) * (size // 1000 + 1)
    assert serving.ask(body=body[:size]) == (200, body[:size])


def test_a_body_in_chunks_arrives_whole(serving: Serving) -> None:
    for count in (3, 40):
        pieces = [bytes([index]) * 10_000 for index in range(count)]
        assert serving.ask(body=iter(pieces), encode_chunked=True, headers=CHUNKED) == (200, b"".join(pieces))


def test_who_waits_to_be_told_to_go_on_is_told(serving: Serving) -> None:
    with serving.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"token")
        connection.shutdown(socket.SHUT_WR)
        answer = all_of(connection)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"token")


def test_requests_that_come_together_are_answered_in_their_order(serving: Serving) -> None:
    with serving.connect() as connection:
        bodies = [b"first", b"second", b"third"]
        head = "POST / HTTP/1.1\r\nHost: here\r\nContent-Length: {}\r\n\r\n"
        connection.sendall(b"".join(head.format(len(body)).encode() + body for body in bodies))
        connection.shutdown(socket.SHUT_WR)
        answers = all_of(connection)
        assert [answers.index(body) for body in bodies] == sorted(answers.index(body) for body in bodies)


def test_an_answer_is_read_also_where_its_request_was_not(serving: Serving) -> None:
    assert serving.ask("/ignored", body=bytes(3_000_000)) == (200, b"not read")
    wait_until(lambda: len(serving.loop.connections) == 0)


@pytest.mark.parametrize(
    ("request_", "status"),
    [(b"GET / HTTP/1.1\n\n", 400), (b"nonsense\r\n\r\n", 400), (b"GET /" + 70_000 * b"a", 431)],
    ids=["bare LF", "nonsense", "long"],
)
def test_what_is_no_request_is_refused_at_once(serving: Serving, request_: bytes, status: int) -> None:
    with serving.connect() as connection:
        connection.sendall(request_)
        assert all_of(connection).startswith(f"HTTP/1.1 {status} ".encode())


# --- what strangers do


@pytest.mark.parametrize(
    "first", [b"", HEAD, b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\nab"], ids=["idle", "head", "body"]
)
def test_an_address_with_too_many_slow_connections_loses_the_oldest_and_is_answered(first: bytes) -> None:
    limits = Limits(20, 10, idle_seconds=LONG, head_seconds=LONG, pace_seconds=LONG)
    with Serving(limits) as serving, serving.connections(30, first) as strangers:
        assert serving.ask("/health") == (200, b"well")
        assert all_of(strangers[0]) == b""
        wait_until(lambda: len(serving.loop.connections) < 10)
        strangers[-1].setblocking(False)
        with pytest.raises(BlockingIOError):
            strangers[-1].recv(1)


def test_slow_requests_take_no_thread(serving: Serving) -> None:
    before = threading.active_count()
    with serving.connections(60, HEAD):
        assert serving.ask() == (200, b"well")
        assert threading.active_count() <= before + 1


@pytest.mark.parametrize(
    ("limits", "first", "answer"),
    [
        (Limits(idle_seconds=0.05, head_seconds=LONG, pace_seconds=LONG), b"", b""),
        (Limits(idle_seconds=LONG, head_seconds=0.05, pace_seconds=LONG), HEAD, b"HTTP/1.1 408 "),
        (Limits(idle_seconds=LONG, head_seconds=LONG, pace_seconds=0.05), BODY, b"HTTP/1.1 408 "),
        (Limits(idle_seconds=LONG, head_seconds=LONG, pace_seconds=0.05), BODY.replace(b"100", b"1000000"), b""),
    ],
    ids=["idle", "head", "body", "large body"],
)
def test_a_deadline_ends_what_does_not_come(limits: Limits, first: bytes, answer: bytes) -> None:
    with Serving(limits) as serving, serving.connect() as slow:
        slow.sendall(first)
        assert all_of(slow).startswith(answer)


def test_a_deadline_ends_answers_that_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quadra.web.serving.event_loop._LINGER", 0.05)
    begun = threading.Event()

    def large_answer(_: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        begun.set()
        start_response("200 OK", [("Content-Length", "30000000")])
        return [bytes(30_000_000)]

    limits = Limits(idle_seconds=0.2, head_seconds=LONG, pace_seconds=0.05)
    with Serving(limits, large_answer) as serving, serving.connect() as slow:
        slow.sendall(GET)
        assert begun.wait(PATIENCE)
        wait_until(lambda: len(serving.loop.connections) == 0)


class Clock:
    """Stands still until it is put on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


def test_a_body_that_keeps_its_pace_may_take_longer_than_any_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quadra.web.serving.event_loop.time", clock := Clock())
    limits = Limits(idle_seconds=LONG, head_seconds=0.4, pace_bytes=10, pace_seconds=0.4)
    with Serving(limits) as serving, serving.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 200\r\n\r\n")
        for count in range(1, 20):
            connection.sendall(bytes(10))
            wait_until(lambda count=count: received(serving) == 10 * count)
            clock.now += 0.3
        connection.sendall(bytes(10))
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


def received(serving: Serving) -> int:
    """Bytes of the body that is coming in on the only connection."""
    waiting = serving.loop.connections.waiting()
    return len(bytes(waiting[0].request._data).partition(b"\r\n\r\n")[2]) if waiting else 0


# --- what a short system does


class BadListener:
    """A listener whose `accept` fails so often."""

    def __init__(self, listener: socket.socket, number: int, times: float) -> None:
        self._listener, self._number = listener, number
        self.left = times

    def accept(self) -> tuple[socket.socket, Any]:
        if self.left > 0:
            self.left -= 1
            raise OSError(self._number, "injected")
        return self._listener.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listener, name)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPERM])
def test_where_nothing_can_be_accepted_that_is_said_once_and_tried_again(
    number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("quadra.web.serving.event_loop._PAUSE", 0.01)
    serving = Serving()
    bad = BadListener(serving.listener, number, times=5)
    serving.loop.sockets = [bad]
    with serving:
        assert serving.ask() == (200, b"well")
    assert bad.left == 0
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "injected" in caplog.text


def test_while_nothing_can_be_accepted_the_processor_is_left_alone() -> None:
    serving = Serving()
    bad = BadListener(serving.listener, errno.EMFILE, times=float("inf"))
    calls = 0

    class Counting(selectors.DefaultSelector):
        def select(self, timeout: float | None = None) -> Any:
            nonlocal calls
            calls += 1
            return super().select(timeout)

    serving.loop.sockets = [bad]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selectors, "DefaultSelector", Counting)
        with serving, serving.connect():
            threading.Event().wait(0.7)
    assert calls < 20


def test_a_listener_that_somebody_closed_ends_the_loop_with_its_error() -> None:
    serving = Serving()
    serving.loop.sockets = [BadListener(serving.listener, errno.EBADF, times=1)]
    with serving, serving.connect():
        serving.join()
    assert isinstance(serving.error, OSError)


def test_where_no_thread_can_be_started_requests_are_answered_by_those_that_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with Serving() as serving:
        monkeypatch.setattr(threading.Thread, "start", none_can_be_started)
        with serving.connections(20, GET) as strangers:
            for stranger in strangers:
                assert stranger.recv(100).startswith(b"HTTP/1.1 200 ")
    assert len([record for record in caplog.records if "thread" in record.message]) <= 1


def none_can_be_started(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_a_request_that_lacks_a_thread_is_refused_and_that_is_said_once(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    assert [serving.ask("/no-thread")[0] for _ in range(3)] == [503, 503, 503]
    assert len(caplog.records) == 1
    assert serving.ask() == (200, b"well")


def test_an_error_of_the_loop_costs_its_connection_alone(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise MemoryError

    with serving.connect() as other:
        wait_until(lambda: len(serving.loop.connections) == 1)
        with monkeypatch.context() as patch, serving.connect() as connection:
            patch.setattr("quadra.web.serving.incoming_request.IncomingRequest.add", fail)
            connection.sendall(GET)
            assert all_of(connection) == b""
        other.sendall(GET)
        assert other.recv(100).startswith(b"HTTP/1.1 200 ")
    assert len(caplog.records) == 1
