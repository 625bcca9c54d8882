"""A server in a process and folder of its own, with a port of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.measuring import ONE_THREAD, REPOSITORY

_PROBE_EVERY = 0.05  # seconds between two requests


class Server:
    """`python app.py` with some options, from entering to leaving the block; `prepare` may fill its folder before."""

    def __init__(self, *options: str, prepare: Callable[[Path], None] | None = None) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._options, self._prepare = options, prepare

    def __enter__(self) -> Server:
        self._folder = tempfile.TemporaryDirectory()
        if self._prepare is not None:
            self._prepare(Path(self._folder.name))
        environment = {name: value for name, value in os.environ.items() if name not in ONE_THREAD}
        command = [sys.executable, "app.py", "--port", str(self.port), "--state-dir", self._folder.name, *self._options]
        self._started = time.perf_counter()
        self._process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait(60)
        self._folder.cleanup()

    @property
    def folder(self) -> Path:
        """Its state directory."""
        return Path(self._folder.name)

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def seconds_to_page(self) -> float:
        """Wait until the page is served."""
        while True:
            try:
                with urllib.request.urlopen(self.address, timeout=30) as answer:
                    answer.read()
                return time.perf_counter() - self._started
            except (urllib.error.URLError, OSError):
                time.sleep(0.01)

    @property
    def number(self) -> int:
        """Of its process."""
        return self._process.pid

    def queued_seconds(self) -> float:
        """How long its busiest thread, which is the one that trains, has waited for a processor that others had."""
        tasks = Path(f"/proc/{self.number}/task").iterdir()
        times = [tuple(map(int, (task / "schedstat").read_text().split()[:2])) for task in tasks]
        return max(times)[1] / 1e9

    def status(self) -> dict[str, Any]:
        """What it says of itself."""
        with urllib.request.urlopen(f"{self.address}/api/status", timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def seconds_to_iteration(self, number: int) -> float:
        """Wait until so many iterations are done."""
        while self.status()["iteration_count"] < number:
            time.sleep(0.01)
        return time.perf_counter() - self._started


def probe(url: str, seconds: float) -> list[float]:
    """Asks for an address every so often; returns the seconds that each answer took."""
    waits, pause = [], threading.Event()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        with urllib.request.urlopen(url, timeout=60) as answer:
            answer.read()
        waits.append(time.perf_counter() - started)
        pause.wait(_PROBE_EVERY)
    return waits
