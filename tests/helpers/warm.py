"""Servers without the wait: one process imports everything once, and forks a server for each test of the page.

What a start itself does is tested with real ones, in test_app.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TextIO

from quadra.child_process import kill_with_parent

IS_POSSIBLE = hasattr(os, "fork")
_ROOT = Path(__file__).resolve().parents[2]
# What the program imports only once its page is up; the kernels are loaded with them.
_IMPORTED_LATE = (
    "engineio.async_drivers.threading", "gunicorn.workers.gthread", "quadra.backup.service", "quadra.live.console",
    "quadra.model.compiled_backend", "quadra.storage.writer_process", "quadra.training.state", "quadra.training.worker",
    "quadra.web.app", "quadra.web.server",
)  # fmt: skip
_LONGEST_REQUEST = 65_536  # bytes


class WarmProcess:
    """Like a Popen of `app.py`; its output is `stdout`, errors included."""

    def __init__(self, arguments: list[str], folder: Path, environment: dict[str, str] | None = None) -> None:
        output, its_output = os.pipe()
        status, its_status = os.pipe()
        request = json.dumps({"arguments": arguments, "folder": str(folder), "environment": environment or {}}).encode()
        socket.send_fds(_nursery(), [request], [its_output, its_status])
        for descriptor in (its_output, its_status):
            os.close(descriptor)
        self.stdout: TextIO = os.fdopen(output, encoding="utf-8")
        self._status = os.fdopen(status, encoding="ascii")
        self.pid = int(self._status.readline())
        self.returncode: int | None = None
        self._lock = threading.Lock()

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, negative for a signal; raises TimeoutExpired. Several threads may wait."""
        if self.returncode is None and not _is_readable(self._status, timeout):
            raise subprocess.TimeoutExpired("app.py", timeout or 0.0)
        with self._lock:
            if self.returncode is None:
                self.returncode = int(self._status.readline())
        return self.returncode

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0.0)
        return None

    def send_signal(self, number: int) -> None:
        """To a process that still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _is_readable(stream: TextIO, timeout: float | None) -> bool:
    return bool(select.select([stream], [], [], timeout)[0])


@cache
def _nursery() -> socket.socket:
    """The process that forks; it ends with this one."""
    ours, its = socket.socketpair()
    command = f"from tests.helpers.warm import serve; serve({its.fileno()})"
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    subprocess.Popen([sys.executable, "-c", command], cwd=_ROOT, env=environment, pass_fds=[its.fileno()])
    its.close()
    return ours


def serve(descriptor: int) -> None:
    """The nursery: fork a server for each request until the other side closes."""
    import app

    for module in _IMPORTED_LATE:
        importlib.import_module(module)
    requests = socket.socket(fileno=descriptor)
    while True:
        request, descriptors, _, _ = socket.recv_fds(requests, _LONGEST_REQUEST, 2)
        if not request:
            return
        nursery = os.getpid()
        if os.fork() == 0:
            kill_with_parent(nursery)
            requests.close()
            _keep(json.loads(request), *descriptors, app.main)
        for descriptor in descriptors:
            os.close(descriptor)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _keep(request: dict[str, Any], output: int, status: int, main: Callable[[list[str]], object]) -> None:
    """Fork the server, tell its number, wait for it and tell its exit code."""
    keeper = os.getpid()
    server = os.fork()
    if server == 0:
        kill_with_parent(keeper)
        os.close(status)
        for target in (1, 2):
            os.dup2(output, target)
        os.close(output)
        os.chdir(request["folder"])
        os.environ.update(request["environment"])
        customized = Path(os.environ.get("PYTHONPATH", ""), "sitecustomize.py")
        if customized.is_file():  # as Python itself does at a start
            exec(compile(customized.read_text(), customized, "exec"), {})
        code = 1
        try:
            main(request["arguments"])
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            sys.stdout.flush()
            os._exit(code)
    os.close(output)
    os.write(status, f"{server}\n".encode())
    _, outcome = os.waitpid(server, 0)
    os.write(status, f"{os.waitstatus_to_exitcode(outcome)}\n".encode())
    os._exit(0)
