"""What comes in over a socket and what goes out: nothing malformed raises, no flood piles up, and who never reads is cut."""

from __future__ import annotations

import contextlib
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest
import websocket

from tests.helpers.fuzzing import Fuzzer
from tests.helpers.server import Client, Server, warm_server
from tests.helpers.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.process

_PING = "2"  # of Engine.IO


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("sockets") / "state"
    with warm_server(folder, "--field-size", "8", "--seed", "3", "--pace", "max") as server:
        yield server
        server.end()
        place = next((number for number, line in enumerate(server.lines) if "Traceback" in line), None)
        assert place is None, "\n".join(server.lines[place - 2 : place + 40])


@pytest.fixture
def training(server: Server) -> Iterator[Server]:
    with Client(server.url) as client:
        client.ask("stop_training")
        client.ask("initialize_system", {"field_size": 8, "seed": 3})
        assert client.ask("start_training")["ok"]
    yield server
    with Client(server.url) as client:
        client.ask("stop_training")


class Raw:
    """A WebSocket that does only what a test says."""

    def __init__(self, server: Server, *headers: str) -> None:
        address = server.url.replace("http", "ws")
        self.socket = websocket.create_connection(
            f"{address}/socket.io/?EIO=4&transport=websocket", timeout=PATIENCE, header=list(headers)
        )
        self.socket.send("40")

    def updates(self, number: int) -> list[tuple[int, dict[str, Any]]]:
        """The next `metrics_update`s, with the number to acknowledge; the rest is passed over."""
        found: list[tuple[int, dict[str, Any]]] = []
        while len(found) < number:
            message = self.socket.recv()
            match = re.match(r'42(\d+)\["metrics_update",', message)
            if match:
                found.append((int(match[1]), json.loads(message[match.end(1) :])[1]))
        return found

    def is_ended(self) -> bool:
        """Whether the server ends the connection at once: not only when its next ping is left unanswered."""
        try:
            while (message := self.socket.recv()) != "":
                if message == _PING:
                    return False
        except (OSError, websocket.WebSocketException) as error:
            return not isinstance(error, websocket.WebSocketTimeoutException)
        return True


def test_a_client_that_acknowledges_gets_one_update_for_each_acknowledgement(training: Server) -> None:
    client = Raw(training)
    ((number, _),) = client.updates(1)
    client.socket.send(f"43{number}[]")
    ((number, first),) = client.updates(1)
    rounds = 0
    while rounds < 20:  # of what it is told besides
        message = client.socket.recv()
        assert '"metrics_update"' not in message[:30]
        rounds += message.startswith('42["training_status"')
    client.socket.send(f"43{number}[]")
    ((_, second),) = client.updates(1)
    assert second["points"]["iteration"][0] == first["points"]["iteration"][-1] + 1
    client.socket.close()


def test_a_client_that_never_acknowledges_gets_every_iteration_too(training: Server) -> None:
    client = Raw(training)
    points = [update["points"]["iteration"] for _, update in client.updates(4)]
    assert list(chain.from_iterable(points)) == list(range(points[0][0], points[-1][-1] + 1))
    client.socket.close()


def test_a_client_of_the_official_library_acknowledges_by_itself(training: Server) -> None:
    with Client(training.url) as client:
        wait_until(lambda: len(client.payloads("metrics_update")) > 8)
        points = [update["points"]["iteration"] for update in client.payloads("metrics_update")]
    assert list(chain.from_iterable(points)) == list(range(points[0][0], points[-1][-1] + 1))


def test_a_websocket_is_not_compressed(server: Server) -> None:
    client = Raw(server, "Sec-WebSocket-Extensions: permessage-deflate")
    assert "sec-websocket-extensions" not in client.socket.headers
    client.socket.close()


@pytest.mark.parametrize(
    "message",
    [
        "",
        "x",
        "42[",
        "42[]",
        "42{}",
        "42[1]",
        '42[["x"]]',
        "44",
        "46",
        "4" + "[" * 5000,
        "42" + "[" * 90_000,
        "x" * 100_001,
        '42["disconnect"]',
        '42/other,["x"]',
    ],
    ids=range(14),
)
def test_what_is_no_message_ends_the_connection_and_nothing_else(server: Server, message: str) -> None:
    client = Raw(server)
    client.socket.send(message)
    assert client.is_ended()
    assert server.get("/health")["version"]


def test_binary_data_that_nothing_announced_is_passed_over(server: Server) -> None:
    client = Raw(server)
    client.socket.send("b!")
    client.socket.send_binary(b"\x00\x01")
    client.socket.send('427["stop_training"]')
    while not (message := client.socket.recv()).startswith("437["):
        assert message
    client.socket.close()


def test_nonsense_in_the_body_of_a_request_is_answered_and_said_in_a_line(server: Server) -> None:
    with urllib.request.urlopen(f"{server.url}/socket.io/?EIO=4&transport=polling", timeout=PATIENCE) as answer:
        session = json.loads(answer.read()[1:])["sid"]
    for body in (b"x", b"4[[[", b"b!", b"\xff", b"4" + b"[" * 50_000):
        address = f"{server.url}/socket.io/?EIO=4&transport=polling&sid={session}"
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(address, data=body, timeout=PATIENCE).close()
    server.wait_for("A client sent what cannot be read")


def test_binary_data_is_refused_by_an_answer(server: Server) -> None:
    client = Raw(server)
    client.socket.send('451-7["initialize_system",{"_placeholder":true,"num":0}]')
    client.socket.send_binary(b"\x00\x01")
    while not (message := client.socket.recv()).startswith("437["):
        pass
    assert json.loads(message[3:])[0]["error"]["code"] == "invalid_value"
    client.socket.close()


def test_too_many_commands_are_refused_and_another_client_is_not_affected(server: Server) -> None:
    flood = Raw(server)
    for number in range(150):
        flood.socket.send(f'42{number}["stop_training"]')
    codes: dict[int, str] = {}
    while len(codes) < 150:
        if match := re.match(r"43(\d+)(\[.*)", flood.socket.recv()):
            codes[int(match[1])] = json.loads(match[2])[0]["error"]["code"]
    assert {"refused", "too_many_requests"} == set(codes.values())
    with Client(server.url) as other:
        assert other.ask("set_pace", {"iterations_per_second": None})["ok"]
    flood.socket.close()


def test_a_flood_of_messages_ends_its_connection(server: Server) -> None:
    client = Raw(server)
    try:
        for number in range(2000):
            client.socket.send(f'42["no_such_event",{number}]')
    except (OSError, websocket.WebSocketException):
        pass
    assert client.is_ended()
    with Client(server.url) as other:
        assert other.ask("set_pace", {"iterations_per_second": None})["ok"]


def test_nothing_that_a_fuzzer_sends_leads_out_of_the_table(server: Server) -> None:
    fuzzer = Fuzzer(server, seed=2026)
    fuzzer.run(150)
    assert len(fuzzer.transitions) > 5
