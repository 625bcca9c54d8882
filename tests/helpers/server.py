"""A real server process for tests: started on a free port, watched line by line, stopped by its process number."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import socketio

from tests.helpers.waiting import PATIENCE
from tests.helpers.warm import IS_POSSIBLE, WarmProcess

ROOT = Path(__file__).resolve().parents[2]


class Server:
    """`python app.py` on a state folder; `lines` are what its terminal showed.

    `program`: another command, which is given the options alone, in the folder that holds the state folder.
    """

    def __init__(
        self,
        state_dir: Path,
        *options: str,
        environment: dict[str, str] | None = None,
        is_warm: bool = False,
        program: Sequence[str] = (),
    ) -> None:
        arguments = ["--port", "0", "--state-dir", str(state_dir), *options]
        self.process: Any
        if is_warm and IS_POSSIBLE:
            self.process = WarmProcess(arguments, state_dir.parent, environment)
        else:
            self.process = subprocess.Popen(
                [*program, *options] if program else [sys.executable, str(ROOT / "app.py"), *arguments],
                cwd=state_dir.parent,
                env={**os.environ, "PYTHONIOENCODING": "utf-8", **(environment or {})},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
            )
        self.lines: list[str] = []
        self._new: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = self.wait_for("QuadraMatrix is on ").partition(" is on ")[2].split()[0]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            self._new.put(line.rstrip("\n"))
        self._new.put(None)

    def wait_for(self, text: str) -> str:
        """The first line from here on that contains `text`."""
        deadline = time.monotonic() + PATIENCE
        while True:
            line = self._new.get(timeout=max(0.0, deadline - time.monotonic()))
            if line is None:
                raise AssertionError(f"the server ended without {text!r}: {self.lines}")
            if text in line:
                return line

    def get(self, path: str) -> Any:
        """The JSON answer to a GET; errors too."""
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=PATIENCE) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait; the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)


def warm_server(state_dir: Path, *options: str, environment: dict[str, str] | None = None) -> Server:
    """One for a test of the page; see `tests.warm`."""
    return Server(state_dir, *options, environment=environment, is_warm=True)


class Client:
    """A Socket.IO client that keeps what it was sent."""

    def __init__(self, url: str, auth: dict[str, str] | None = None) -> None:
        self.received: list[tuple[str, Any]] = []
        self._arrived = threading.Condition()
        self._client = socketio.Client(reconnection=False, request_timeout=int(PATIENCE))
        self._client.on("*", self._take)
        self._client.connect(url, auth=auth, transports=["websocket"], wait_timeout=PATIENCE)

    def _take(self, event: str, payload: Any = None) -> None:
        with self._arrived:
            self.received.append((event, payload))
            self._arrived.notify_all()

    def ask(self, event: str, payload: Any = None) -> dict[str, Any]:
        """Send a command; its acknowledgement."""
        answer = self._client.call(event, payload, timeout=PATIENCE)
        assert isinstance(answer, dict)
        return answer

    def tell(self, event: str, payload: Any = None) -> None:
        """Send without asking for an acknowledgement."""
        self._client.emit(event, payload)

    def wait_for(self, event: str, accept: Any = lambda payload: True) -> Any:
        """The first payload of an event, already here or still to come, that `accept` takes."""
        with self._arrived:
            found = self._arrived.wait_for(lambda: self._find(event, accept), PATIENCE)
        assert found, f"no {event} came: {[name for name, _ in self.received]}"
        return found[0]

    def _find(self, event: str, accept: Any) -> list[Any]:
        return [payload for name, payload in self.received if name == event and accept(payload)]

    def payloads(self, event: str) -> list[Any]:
        """All payloads of an event so far."""
        return self._find(event, lambda payload: True)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()


def refused_start(tmp_path: Path, *options: str, environment: dict[str, str] | None = None) -> str:
    """The one line on stderr of a start that must be refused with exit code 2, having touched nothing."""
    folder = tmp_path / "untouched"
    result = subprocess.run(
        [sys.executable, str(ROOT / "app.py"), "--state-dir", str(folder), *options],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 2, result
    assert not folder.exists()
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    return result.stderr
