"""Messages in plain requests: every one up to the limit is answered, more are refused in words, and so is what cannot be read."""

from __future__ import annotations

import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
import socketio
from hypothesis import given
from hypothesis import strategies as st

from quadra.web.polling import MOST_IN_ANSWER, MOST_IN_REQUEST, problem_with
from tests.helpers.server import Client, Server, warm_server
from tests.helpers.waiting import PATIENCE

pytestmark = pytest.mark.process
SEPARATOR = "\x1e"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with warm_server(tmp_path_factory.mktemp("polling") / "state", "--field-size", "8", "--seed", "3") as server:
        yield server
        server.end()
        assert not [line for line in server.lines if "Traceback" in line]


class Polling:
    """A client that only polls, and does what a test says."""

    def __init__(self, server: Server) -> None:
        self._address = f"{server.url}/socket.io/?EIO=4&transport=polling"
        self._address += f"&sid={json.loads(self.get()[0][1:])['sid']}"
        assert self.post("40") == (200, "OK")

    def get(self) -> list[str]:
        """The messages of the next answer."""
        with urllib.request.urlopen(self._address, timeout=PATIENCE) as answer:
            return str(answer.read().decode()).split(SEPARATOR)

    def post(self, *messages: str) -> tuple[int, str]:
        """Status and body of the answer to a request with these messages."""
        body = SEPARATOR.join(messages).encode()
        try:
            with urllib.request.urlopen(self._address, data=body, timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def acknowledgements(self, number: int) -> dict[int, dict[str, object]]:
        """So many answers to commands, by their number; no request brings more messages than any client reads."""
        found: dict[int, dict[str, object]] = {}
        while len(found) < number:
            messages = self.get()
            assert len(messages) <= MOST_IN_ANSWER
            for message in messages:
                if match := re.match(r"43(\d+)(\[.*)", message):
                    found[int(match[1])] = json.loads(match[2])[0]
        return found


@pytest.mark.parametrize("count", [17, 20, MOST_IN_REQUEST - 1])
def test_every_command_of_one_request_is_answered_up_to_the_limit_of_messages(server: Server, count: int) -> None:
    client = Polling(server)
    assert client.post(*(f'42{number}["stop_training"]' for number in range(count))) == (200, "OK")
    answers = client.acknowledgements(count)
    assert set(answers) == set(range(count))
    assert {answer["error"]["code"] for answer in answers.values()} <= {"refused", "too_many_requests"}  # type: ignore[index]


def test_one_message_more_than_the_limit_is_refused_in_words_and_ends_the_session(server: Server) -> None:
    client = Polling(server)
    status, body = client.post(*(f'42{number}["stop_training"]' for number in range(MOST_IN_REQUEST + 1)))
    assert status == 429
    error = json.loads(body)["error"]
    assert error["code"] == "too_many_requests"
    assert f"{MOST_IN_REQUEST + 1} messages, {MOST_IN_REQUEST} are the most" in error["message"]
    assert client.post('421["stop_training"]')[0] == 400  # there is no such session any more
    with Client(server.url) as other:
        assert other.ask("set_pace", {"iterations_per_second": None})["ok"]


@pytest.mark.parametrize("body", ["x", "4ok\x1ex", "\x1e9"])
def test_what_cannot_be_read_is_refused_not_answered_with_ok(server: Server, body: str) -> None:
    client = Polling(server)
    status, answer = client.post(body)
    assert status == 400
    assert "cannot be read" in json.loads(answer)["error"]["message"]


def test_a_client_of_the_official_library_that_only_polls_gets_twenty_answers_to_twenty_commands(
    server: Server,
) -> None:
    client = socketio.Client(reconnection=False, request_timeout=int(PATIENCE))
    client.connect(server.url, transports=["polling"], wait_timeout=PATIENCE)
    answers = threading.Semaphore(0)
    for _ in range(20):
        client.emit("stop_training", callback=lambda _: answers.release())
    assert all(answers.acquire(timeout=PATIENCE) for _ in range(20))
    client.disconnect()


@given(st.binary(max_size=200))
def test_any_body_is_taken_or_refused_and_nothing_raises(body: bytes) -> None:
    problem = problem_with(body)
    assert problem is None or "None was taken" in str(problem)
