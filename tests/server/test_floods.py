"""What strangers do to a whole server that trains: it answers, goes on, and never ends without saving."""

from __future__ import annotations

import errno
import resource
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.helpers.server import Client, Server, warm_server
from tests.helpers.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.process

HEAD = b"GET / HTTP/1.1\r\nHost: here\r\n"
BODY = b"POST /login HTTP/1.1\r\nHost: here\r\nContent-Length: 90\r\n\r\ntoken="
LARGE_BODY = BODY.replace(b"90", b"200000")
CHUNKS = b"POST /login HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ntoken="
UPGRADE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
KINDS = {"idle": b"", "slow head": HEAD, "slow body": BODY, "slow large body": LARGE_BODY, "slow chunks": CHUNKS}


def customized(folder: Path, code: str) -> dict[str, str]:
    """The environment of a server that runs some code when it starts."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(code, encoding="utf-8")
    return {"PYTHONPATH": str(folder)}


def with_open_files(folder: Path, count: int) -> dict[str, str]:
    return customized(folder, f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({count}, {count}))")


@contextmanager
def strangers(server: Server, count: int, kinds: Sequence[bytes]) -> Iterator[None]:
    """So many connections from this machine, which send the beginning of a request and then a byte now and then."""
    done = threading.Event()
    with ExitStack() as stack:
        found = []
        for number in range(count):
            connection = stack.enter_context(connected(server))
            send(connection, kinds[number % len(kinds)])
            found.append((connection, kinds[number % len(kinds)]))

        def drip() -> None:
            while not done.wait(1.0):
                for connection, first in found:
                    if first:
                        send(connection, b"a")

        dripping = threading.Thread(target=drip)
        dripping.start()
        stack.callback(dripping.join)
        stack.callback(done.set)
        yield


def connected(server: Server) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), PATIENCE)


def send(connection: socket.socket, data: bytes) -> None:
    try:
        connection.sendall(data)
    except OSError as error:  # the server has given it up
        assert error.errno in (errno.EPIPE, errno.ECONNRESET)


def seconds_of(server: Server, path: str) -> float:
    started = time.monotonic()
    with urllib.request.urlopen(f"{server.url}{path}", timeout=PATIENCE) as answer:
        assert answer.status == 200
        answer.read()
    return time.monotonic() - started


def trains_on(server: Server, client: Client) -> None:
    """Blocks until training has gone on, been saved, and been told to an open page."""
    count = server.get("/api/status")["iteration_count"]
    client.wait_for("state_saved", lambda payload: payload["iteration_count"] > count)


def flooded(tmp_path: Path, open_files: int, count: int, kinds: Sequence[bytes], at_most: float) -> None:
    environment = with_open_files(tmp_path / "code", open_files)
    options = ("--resume", "--seed", "1", "--pace", "50")
    with warm_server(tmp_path / "state", *options, environment=environment) as server, Client(server.url) as client:
        with strangers(server, count, kinds):
            assert max(seconds_of(server, path) for path in 3 * ("/health", "/", "/api/status")) < at_most
            trains_on(server, client)
            assert client.ask("stop_training")["ok"]
        assert seconds_of(server, "/health") < at_most
        assert server.end() == 0


def test_130_idle_connections_under_256_open_files_cost_nothing_but_themselves(tmp_path: Path) -> None:
    flooded(tmp_path, 256, 130, [b""], at_most=PATIENCE)


@pytest.mark.all
@pytest.mark.parametrize(
    ("open_files", "count", "kinds"),
    [
        (1024, 1100, [b""]),
        (1024, 260, [HEAD]),
        (1024, 260, [BODY]),
        (1024, 260, [LARGE_BODY]),
        (1024, 260, [CHUNKS]),
        (256, 260, list(KINDS.values())),
        (1024, 1100, list(KINDS.values())),
    ],
)
def test_no_flood_holds_an_answer_up(tmp_path: Path, open_files: int, count: int, kinds: Sequence[bytes]) -> None:
    flooded(tmp_path, open_files, count, kinds, at_most=30.0)


ENDS = """
from gunicorn.workers.gthread import ThreadWorker
from quadra.web.serving.event_loop import EventLoop
import threading, time
def run(self):
    self.poller.register(self.method_queue.fileno(), 1, self.method_queue.run_callbacks)
    self.set_accept_enabled(True)
    while {how} or self.nr < 3:
        for key, _ in self.poller.select(0.1):
            key.data(key.fileobj)
EventLoop.run = run
"""


@pytest.mark.parametrize("how", ["[][self.nr > 2]", "False"], ids=["raises", "returns"])
def test_where_serving_ends_the_state_is_saved_first_and_the_exit_code_is_one(tmp_path: Path, how: str) -> None:
    environment = customized(tmp_path / "code", ENDS.format(how="[True][self.nr > 2]" if "[" in how else how))
    options = ("--resume", "--seed", "1", "--pace", "50", "--save-every", "0")
    with warm_server(tmp_path / "state", *options, environment=environment) as server:
        wait_until(lambda: asked(server) is None)
        assert server.process.wait(PATIENCE) == 1
        server._reader.join(PATIENCE)
    assert any("State saved: " in line for line in server.lines), server.lines
    assert "after shutdown" not in "\n".join(server.lines)


def asked(server: Server) -> object:
    """The status; None once nobody answers any more."""
    try:
        return server.get("/api/status")
    except OSError:
        return None


NO_THREADS = """
import os, threading
start = threading.Thread.start
def refused(self):
    if os.path.exists({flag!r}):
        raise RuntimeError("can't start new thread")
    start(self)
threading.Thread.start = refused
"""


@pytest.mark.long
def test_where_no_thread_can_be_started_it_answers_trains_saves_and_ends_in_order(tmp_path: Path) -> None:
    flag = tmp_path / "no-threads"
    environment = customized(tmp_path / "code", NO_THREADS.format(flag=str(flag)))
    options = ("--resume", "--seed", "1", "--pace", "50")
    with warm_server(tmp_path / "state", *options, environment=environment) as server, Client(server.url) as client:
        flag.touch()
        with strangers(server, 40, [b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n"]):
            seconds_of(server, "/health")
            trains_on(server, client)
        with connected(server) as page:
            page.sendall(UPGRADE)
            trains_on(server, client)
            assert client.ask("stop_training")["ok"]
            assert client.ask("start_training")["ok"]
            flag.unlink()
            assert page.recv(100).startswith(b"HTTP/1.1 101 ")
            flag.touch()
        assert server.end(signal.SIGTERM) == 0
    assert sum("thread" in line for line in server.lines) < 20, server.lines


def test_the_soft_limit_of_open_files_is_raised_to_the_hard_one(tmp_path: Path) -> None:
    code = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300))"
    with warm_server(tmp_path / "state", environment=customized(tmp_path / "code", code)) as server:
        wait_until(lambda: resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE) == (300, 300))
