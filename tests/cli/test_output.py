"""The terminal's streams, and what is done where there are none."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

from tests.helpers.server import ROOT
from tests.helpers.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.process
STREAMS = {"stdin": 0, "stdout": 1, "stderr": 2}
REPORT = """
import os, sys
from pathlib import Path
from quadra.cli.output import complain, complete_standard_streams, say
complete_standard_streams()
opened = os.open(os.devnull, os.O_RDONLY)
say("said", "✓")
complain("complained")
for number in (0, 1, 2):
    os.fstat(number)
Path(sys.argv[1]).write_text(f"{opened} {sys.stdin.read()!r}")
"""


@pytest.mark.parametrize("closed", ["stdout", "stdin", "stderr", "all"])
def test_a_stream_that_is_closed_is_nothing_and_its_number_goes_to_no_file(closed: str, tmp_path: Path) -> None:
    def begin() -> None:
        for name, number in STREAMS.items():
            if closed in (name, "all"):
                os.close(number)

    done = subprocess.run(
        [sys.executable, "-c", REPORT, str(tmp_path / "report")],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False, preexec_fn=begin,
    )  # fmt: skip
    assert done.returncode == 0
    opened, *rest = (tmp_path / "report").read_text().split()
    assert int(opened) > 2
    assert rest == ["''"]


def test_a_command_works_without_a_terminal(tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -m quadra states list >&-', sys.executable],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert b"There is no folder" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.all
def test_a_server_without_a_terminal_serves(tmp_path: Path) -> None:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        ["sh", "-c", 'exec "$0" "$@" >&- 2>&- <&-', sys.executable, str(ROOT / "app.py"), "--port", str(port), "--resume"],
        cwd=tmp_path,
    )  # fmt: skip
    try:

        def trains() -> bool:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/status") as answer:
                    return bool(json.load(answer)["saved"])
            except OSError:
                return False

        wait_until(trains)
        server.terminate()
        assert server.wait(PATIENCE) == 0
    finally:
        server.kill()
        server.wait(PATIENCE)
