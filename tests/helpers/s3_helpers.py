"""A real S3 protocol server on loopback, and a proxy before it that cuts connections in the midst of an upload."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import threading
import time
from types import TracebackType

from tests.helpers.waiting import PATIENCE

BUCKET = "backups"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing", "AWS_DEFAULT_REGION": "us-east-1"}
_BLOCK = 4096  # bytes that are passed on at once


class S3Server:
    """moto's server in a process of its own."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            env={**os.environ, **CREDENTIALS},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            assert self._process.poll() is None, "the S3 server ended at once"
            assert time.monotonic() < deadline, "the S3 server did not listen"
            time.sleep(0.05)

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait(PATIENCE)


class CuttingProxy:
    """Passes bytes on to a port, and cuts every connection once so many of them went there; None: never."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._left: int | None = None
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def allow(self, count: int | None) -> None:
        """Let so many more bytes pass to the server, over all connections together."""
        self._left = count

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port)) as server:
            while True:
                readable, _, _ = select.select([client, server], [], [])
                for source in readable:
                    content = source.recv(_BLOCK)
                    if not content:
                        return
                    if source is client:
                        content = self._allowed(content)
                        server.sendall(content)
                    else:
                        client.sendall(content)
                if self._left == 0:
                    self.cuts += 1
                    return

    def _allowed(self, content: bytes) -> bytes:
        if self._left is None:
            return content
        passed = content[: self._left]
        self._left -= len(passed)
        return passed

    def __enter__(self) -> CuttingProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
