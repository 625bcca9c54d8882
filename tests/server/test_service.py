"""QuadraMatrix as a service: killed under a supervisor it comes back by itself; unit and container say what they must."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import socketio
from playwright.sync_api import Browser, Page

from tests.helpers.pages import NEEDS_BROWSER, charts, opened, wait_for_iteration
from tests.helpers.server import ROOT, Server, warm_server
from tests.helpers.waiting import PATIENCE

UNIT = ROOT / "deploy" / "quadramatrix.service"
DOCKERFILE = ROOT / "Dockerfile"
SAVE_EVERY = 10
PAUSE = 0.2  # seconds before a restart


class Supervisor:
    """Starts the same command again whenever it ends, as `Restart=always` does."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder, self._options = folder, ("--port", str(free_port()), *options)
        self._changed = threading.Condition()
        self._is_over = False
        self.servers: list[Server] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._is_over:
            try:
                server = warm_server(self._folder, *self._options)
            except AssertionError:  # it ended at once: the process that writes saves held the folder to its last write
                time.sleep(PAUSE)
                continue
            with self._changed:
                self.servers.append(server)
                self._changed.notify_all()
            server.process.wait()
            time.sleep(PAUSE)

    def server(self, number: int) -> Server:
        """The n-th server that could be started, from 0."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.servers) > number, PATIENCE)
        return self.servers[number]

    def close(self) -> None:
        """End the last server and start no further one."""
        self._is_over = True
        for server in self.servers:
            if server.process.poll() is None:
                assert server.end() == 0, server.lines
        self._thread.join(PATIENCE)


class Listener:
    """A Socket.IO client that comes back by itself."""

    def __init__(self, url: str) -> None:
        self.iterations: list[int] = []  # in the order in which they were shown
        self.first_shown = 0  # the newest on the first connection; the next one's server trains on at once
        self.runs: set[str] = set()
        self.connections = 0
        self._changed = threading.Condition()
        self._client = socketio.Client(reconnection=True, reconnection_delay=0.2, reconnection_delay_max=0.5)
        self._client.on("connect", self._connected)
        self._client.on("metrics_update", self._take)
        self._client.connect(url, transports=["websocket"], wait_timeout=PATIENCE)

    def _connected(self) -> None:
        with self._changed:
            self.connections += 1
            self._changed.notify_all()

    def _take(self, told: dict[str, object]) -> None:
        with self._changed:
            self.iterations.append(int(str(told["iteration"])))
            if self.connections == 1:
                self.first_shown = self.iterations[-1]
            self.runs.add(str(told["run"]))
            self._changed.notify_all()

    def wait_for(self, iteration: int, connections: int) -> None:
        """Until it was shown this iteration, on its n-th connection."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: self.connections >= connections and self.iterations[-1:] >= [iteration], PATIENCE
            ), (self.connections, self.iterations[-5:])

    def close(self) -> None:
        """For good."""
        self._client.disconnect()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def supervised(folder: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(
        folder, "--pace", "100", "--field-size", "8", "--resume", "--save-every", str(SAVE_EVERY), "--seed", "1"
    )
    try:
        yield supervisor
    finally:
        supervisor.close()


def iteration_on(page: Page) -> int:
    """The newest iteration that the page draws."""
    return int(charts(page)["iteration"][-1])


@pytest.mark.long
@pytest.mark.process
@NEEDS_BROWSER
@pytest.mark.complaints("ERR_CONNECTION_REFUSED|WebSocket")
def test_killed_under_a_supervisor_it_comes_back_trains_on_and_browsers_with_it(
    browser: Browser, tmp_path: Path
) -> None:
    with supervised(tmp_path / "state") as supervisor:
        first = supervisor.server(0)
        page, listener = opened(browser, first.url), Listener(first.url)
        page.evaluate("() => { globalThis.isStillTheSamePage = true; }")
        wait_for_iteration(page, 40)
        listener.wait_for(40, connections=1)
        first.process.send_signal(signal.SIGKILL)
        assert first.process.wait(PATIENCE) == -signal.SIGKILL
        on_page = iteration_on(page)
        second = supervisor.server(1)
        shown = max(on_page, listener.first_shown)
        restored = int(second.wait_for("State loaded: ").split()[3])
        assert second.url == first.url
        assert shown >= 40
        assert shown - SAVE_EVERY <= restored

        listener.wait_for(shown + 50, connections=2)
        wait_for_iteration(page, shown + 50)
        assert page.evaluate("() => globalThis.isStillTheSamePage")  # it was not loaded anew
        iterations = charts(page)["iteration"]
        assert iterations == list(range(1, int(iterations[-1]) + 1))  # what was taken back is drawn once, as it is now
        assert len(listener.runs) == 1
        health = second.get("/health")
        assert (health["status"], health["running"]) == ("healthy", True)
        listener.close()
        page.context.close()


# --- systemd


def settings() -> dict[str, list[str]]:
    """The unit's settings by name."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


@pytest.mark.process
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text(encoding="utf-8").replace("/opt/quadramatrix/.venv/bin/python", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_unit_restarts_without_end_and_resumes() -> None:
    found = settings()
    assert found["Restart"] == ["always"]
    assert found["StartLimitIntervalSec"] == ["0"]
    assert "QUADRA_RESUME=1" in found["Environment"]
    assert found["KillMode"] == ["mixed"]  # SIGTERM to the server alone, which saves
    assert found["User"] != ["root"]


def test_what_unit_and_container_set_are_options_of_the_program() -> None:
    from quadra.cli.serve_options import parse

    options = vars(parse([], {}))
    unit = [value.split("=")[0] for value in settings()["Environment"]]
    container = re.findall(r"\b(QUADRA_[A-Z_]+)=", DOCKERFILE.read_text(encoding="utf-8"))
    names = [name for name in (*unit, *container) if name.startswith("QUADRA_")]
    assert len(names) >= 6
    assert {name.removeprefix("QUADRA_").lower() for name in names} <= set(options)


# --- the container


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, continued lines joined, comments left out."""
    lines = [line for line in DOCKERFILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in joined.splitlines() if line]


def test_the_container_runs_as_nobody_special_and_ends_gracefully() -> None:
    found = dict(instructions())
    assert found["USER"].split(":")[0].isdigit()
    assert found["USER"] != "0"
    assert found["VOLUME"] == "/data"
    assert found["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(found["ENTRYPOINT"])[0] == "python"  # not by a shell, which would keep the signal to itself
    order = [name for name, _ in instructions()]
    assert order[0] == "FROM"
    assert order.index("USER") < order.index("ENTRYPOINT")


def test_all_that_the_container_copies_is_there_and_let_through() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {path for name, words in instructions() if name == "COPY" for path in words.split()[:-1]}
    assert copied == allowed
    assert all((ROOT / path).exists() for path in copied)


@pytest.mark.process
def test_the_program_finds_all_it_needs_among_what_is_copied(tmp_path: Path) -> None:
    copied = [path for name, words in instructions() if name == "COPY" for path in words.split()[:-1]]
    for path in copied:
        source, target = ROOT / path, tmp_path / "app" / path
        target.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    check = next(words for name, words in instructions() if name == "HEALTHCHECK").partition("CMD ")[2]
    environment = {"QUADRA_STATE_DIR": str(tmp_path / "data" / "state"), "QUADRA_PORT": str(free_port())}
    process = subprocess.Popen(
        [sys.executable, "app.py"],
        cwd=tmp_path / "app",
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert environment["QUADRA_PORT"] in process.stdout.readline()
        command = [sys.executable, *json.loads(check)[1:]]
        assert subprocess.run(command, env={**os.environ, **environment}, check=False, timeout=PATIENCE).returncode == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        failed = subprocess.run(
            command, env={**os.environ, **environment}, check=False, timeout=PATIENCE, capture_output=True
        )
        assert failed.returncode != 0
    finally:
        process.kill()
