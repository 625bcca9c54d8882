"""Signals end the server from its first instant on, whatever was done with them before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.server import ROOT
from tests.helpers.waiting import PATIENCE

pytestmark = pytest.mark.process
TAKE = "from quadra.cli import shutdown_signals as s; import os, signal, threading, time; s.take(); "
KILL = "os.kill(os.getpid(), signal.{}); time.sleep(300)"
# At the import of what takes long, which begins when this file is run, a signal comes.
SIGNAL_AT_IMPORT = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "quadra.cli.serve":
            os.kill(os.getpid(), signal.SIGTERM)
sys.meta_path.insert(0, Finder())
"""


def run(code: str, ignored: tuple[signal.Signals, ...] = (), blocked: tuple[signal.Signals, ...] = ()) -> int:
    def begin() -> None:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, blocked)

    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, timeout=PATIENCE, check=False, preexec_fn=begin
    ).returncode


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_as_long_as_there_is_nothing_to_save_a_signal_ends_at_once(name: str) -> None:
    assert run(TAKE + KILL.format(name)) == 0


def test_a_closed_terminal_that_was_ignored_at_the_start_stays_ignored() -> None:
    ends = "os.kill(os.getpid(), signal.SIGHUP); os._exit(7)"
    assert run(TAKE + ends, ignored=(signal.SIGHUP,)) == 7
    assert run(TAKE + "s.take(); " + ends, ignored=(signal.SIGHUP,)) == 7


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_these_end_the_server_even_where_they_were_ignored_or_held_back(name: str) -> None:
    number = signal.Signals[name]
    assert run(TAKE + KILL.format(name), ignored=(number,), blocked=(number,)) == 0


def test_what_shuts_down_is_called_once_and_a_second_ctrl_c_does_not_wait_for_it() -> None:
    calls = "calls = []; act = lambda: (calls.append(1), time.sleep(300)); "
    calls += "s.shut_down_by(lambda: threading.Thread(target=act).start()); "
    kill = "os.kill(os.getpid(), signal.{}); "
    ends = "exec('while not calls: time.sleep(0.01)'); assert calls == [1]; "
    twice = kill.format("SIGTERM") + ends + kill.format("SIGTERM") + "assert calls == [1]; "
    assert run(TAKE + calls + twice + kill.format("SIGINT") + "os._exit(1)") == 130


@pytest.mark.parametrize("command", [["app.py"], ["-m", "quadra", "serve"]], ids=" ".join)
def test_a_signal_that_comes_before_anything_long_is_imported_is_not_lost(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SIGNAL_AT_IMPORT)
    done = subprocess.run(
        [sys.executable, *command, "--state-dir", str(tmp_path / "state")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0
    assert not (tmp_path / "state").exists()
