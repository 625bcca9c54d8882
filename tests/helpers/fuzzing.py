"""A client of the socket that sends what nobody should: seeded, and checked against the life-cycle table after each command."""

from __future__ import annotations

import json
import random
from typing import Any

import websocket

from quadra.errors import RefusedError
from quadra.training.lifecycle import LifecycleCommand, Phase, next_phase
from tests.helpers.server import Server
from tests.helpers.waiting import PATIENCE

COMMANDS = {
    "initialize_system": LifecycleCommand.INITIALIZE,
    "start_training": LifecycleCommand.START,
    "stop_training": LifecycleCommand.STOP,
    "load_state": LifecycleCommand.LOAD,
    "reset_system": LifecycleCommand.RESET,
}
OTHERS = (
    *("set_pace", "save_as_new_run", "save_slot", "label_state", "delete_state", "undelete_state", "prove_state"),
    *(
        "backup_now",
        "list_backups",
        "restore_backup",
        "delete_backup",
        "no_such_event",
        "connect",
        "disconnect",
        "message",
    ),
)
FIELDS = (
    *("field_size", "seed", "until", "source", "discard_unsaved", "iterations_per_second", "name", "overwrite", "id"),
    *("note", "pinned", "iterations", "", "__class__"),
)
# Sizes of a field stay small: one of a million cells is allowed, and would take the memory of the machine.
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, 2, 6, 8, 40, -1, 2**31, 2**53, 2**63, -(2**63), 10**40, 0.5, -0.0, 1e308),
    *(
        "",
        "x",
        "a" * 5000,
        "../../etc/passwd",
        "\u0000",
        "\ud83d\ude00",
        "\u202e",
        "null",
        "1e3",
        "'; --",
        "%s%n",
        "{}",
    ),
    *([], [[]], {}, {"a": {"b": []}}, {"_placeholder": True, "num": 0}, [None] * 300),
)
MALFORMED = (
    *(
        "",
        "2",
        "20",
        "4",
        "42",
        "42[",
        "42[]",
        "42{}",
        '42"x"',
        "42[1]",
        "42[[1]]",
        '42[{"a":1}]',
        "42[null]",
        "4" * 500,
    ),
    *(
        "43",
        "430[]",
        "431",
        '43999999999999999999["x"]',
        "43[]",
        "44",
        '44{"message":"x"}',
        "45",
        "46",
        "47",
        "48",
        "49",
    ),
    *('451-["start_training",{"_placeholder":true,"num":0}]', '4599999-["x"]', '45999999999999-["x"]', '461-1["x"]'),
    *(
        "40",
        "40/other,",
        '40{"token":1}',
        '40"text"',
        "40[1]",
        "41/other,",
        '42/other,["start_training"]',
        "42/",
        '42/,["x"]',
    ),
    *(
        "3",
        "3probe",
        "2probe",
        "5",
        "6",
        "b",
        "bAAAA",
        "b4",
        "7",
        "\u0000",
        "🙂",
        "4🙂",
        '42["start_training",' + "[" * 5000,
    ),
    *('42["' + "e" * 20_000 + '"]', "42" + "9" * 99 + '["stop_training"]', "42" + "9" * 101 + '["stop_training"]'),
    *(
        '42["set_pace",{"iterations_per_second":NaN}]',
        '42["set_pace",{"iterations_per_second":-Infinity}]',
        '42["set_pace"',
    ),
    '42["initialize_system",{"field_size":' + "9" * 5000 + "}]",
)
_PER_CONNECTION = 60  # messages, so that the limits for floods are not what is tested


class Fuzzer:
    """Sends messages; anything that the table does not allow raises an AssertionError."""

    def __init__(self, server: Server, seed: int) -> None:
        self._server = server
        self._random = random.Random(seed)
        self._number = 0
        self._sent_here = 0
        self._connection: Any = None
        self.sent = 0
        self.connections = 0
        self.transitions: set[tuple[str, str, str]] = set()  # state before, event, state after

    def run(self, messages: int) -> None:
        """Send so many."""
        while self.sent < messages:
            if self._connection is None or self._sent_here >= _PER_CONNECTION:
                self._connect()
            self._send_one()

    def _connect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        address = self._server.url.replace("http", "ws")
        self._connection = websocket.create_connection(
            f"{address}/socket.io/?EIO=4&transport=websocket", timeout=PATIENCE
        )
        self._connection.send("40")
        while not self._connection.recv().startswith("40{"):
            pass
        self._sent_here = 0
        self.connections += 1

    def _send_one(self) -> None:
        self.sent += 1
        self._sent_here += 1
        kind = self._random.random()
        try:
            if kind < 0.45:
                self._command()
            elif kind < 0.75:
                self._tell(self._random.choice((*COMMANDS, *OTHERS)), self._payload())
            elif kind < 0.85:
                self._connection.send(self._mangled())
            elif kind < 0.9:
                self._connection.send_binary(self._random.randbytes(self._random.choice((0, 1, 100, 20_000))))
            else:
                self._connection.send(self._random.choice(MALFORMED))
        except (OSError, websocket.WebSocketException):  # the server has ended this connection, as it may
            self._connection = None

    def _command(self) -> None:
        """One of the life cycle, whose answer and outcome are checked."""
        event = self._random.choice(tuple(COMMANDS))
        before = self._state()
        answer = self._ask(event, self._payload())
        after = self._state()
        self.transitions.add((before, event, after))
        try:
            target = next_phase(Phase(before), COMMANDS[event])
        except RefusedError:
            target = Phase(before)
        allowed = {before, target}
        if Phase.TRAINING in allowed:  # which may end by itself, at `until`
            allowed.add(Phase.READY)
        if event == "load_state":  # what fails begins a fresh run where there is none
            allowed.add(Phase.READY)
        assert after in allowed, (before, event, after, answer)
        assert answer["ok"] is True or set(answer["error"]) == {"code", "message"}, answer
        assert answer["ok"] or answer["error"]["code"] != "internal_error", answer

    def _state(self) -> str:
        """Once nothing that was sent before is under way: the worker answers in order."""
        self._ask("set_pace", {"iterations_per_second": None})
        state: str = self._server.get("/api/status")["state"]
        return state

    def _ask(self, event: str, *payload: Any) -> dict[str, Any]:
        self._number += 1
        self._connection.send(f"42{self._number}{json.dumps([event, *payload])}")
        while True:
            message = self._connection.recv()
            if message == "2":
                self._connection.send("3")
            if message == "":
                raise websocket.WebSocketConnectionClosedException("ended")
            if message.startswith(f"43{self._number}["):
                answer: dict[str, Any] = json.loads(message[message.index("[") :])[0]
                return answer

    def _tell(self, event: str, *payload: Any) -> None:
        self._connection.send(f"42{json.dumps([event, *payload])}")

    def _payload(self) -> Any:
        kind = self._random.random()
        if kind < 0.25:
            return {}
        if kind < 0.35:
            return self._random.choice(VALUES)
        names = self._random.sample(FIELDS, self._random.randint(1, 4))
        return {name: self._random.choice(VALUES) for name in names}

    def _mangled(self) -> str:
        """A message with some of its characters changed, lost or doubled."""
        text = list(f"421{json.dumps([self._random.choice((*COMMANDS, *OTHERS)), self._payload()])}")
        for _ in range(self._random.randint(1, 5)):
            place = self._random.randrange(len(text))
            text[place] = self._random.choice(("", '"', "[", "]", "{", "}", "9", ",", "\u0000", text[place] * 2))
        return "".join(text)
