"""Child processes end with their parent, whichever way that ends."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from quadra.child_process import run_child
from tests.helpers.server import ROOT
from tests.helpers.waiting import PATIENCE

pytestmark = pytest.mark.process
# The child says that it runs; it ends only if something ends it. Each way alone must do.
WAITS = (
    "import signal, time; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); "
    "print('runs', flush=True); time.sleep(3000)"
)
BY_THE_PIPE = f"""
from quadra.child_process import run_child
run_child("import ctypes; ctypes.CDLL(None).prctl(1, 0); {WAITS}")  # PR_SET_PDEATHSIG, off again
"""
BY_THE_SYSTEM = f"""
import os, subprocess, sys
ends = f"from quadra.child_process import kill_with_parent; kill_with_parent({{os.getpid()}}); "
subprocess.run([sys.executable, "-c", ends + "{WAITS}"])
"""


def test_what_it_prints_and_how_it_ends_is_answered() -> None:
    done = run_child("import sys; print(sys.argv[1:]); sys.exit(3)", "one", "two", capture=True)
    assert (done.returncode, done.stdout) == (3, "['one', 'two']\n")


def test_it_finds_what_this_process_finds_and_has_its_own_environment() -> None:
    code = "import os, tests.helpers.waiting; print(os.environ['OF_A_TEST'])"
    assert run_child(code, environment={"OF_A_TEST": "here"}, capture=True).stdout == "here\n"


@pytest.mark.parametrize("program", [BY_THE_PIPE, BY_THE_SYSTEM], ids=["by the pipe", "by the system"])
@pytest.mark.skipif(sys.platform != "linux", reason="on other systems there is one way only")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_ends_when_its_parent_is_killed(program: str, number: int) -> None:
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "runs\n"
        parent.send_signal(number)
        rest, _ = parent.communicate(timeout=PATIENCE)  # the child holds this pipe as long as it lives
        assert rest == ""
    finally:
        parent.kill()
        parent.wait()
