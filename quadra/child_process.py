"""Child processes: Python processes that end with the one that started them, whichever way that ends.

Each holds one end of a pipe whose other end its parent alone holds: where the parent is gone, the pipe says so. On Linux the
system also ends the child at once, whatever it is doing.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping

from quadra.paths import ROOT

_BEGIN = "from quadra.child_process import end_with_parent; end_with_parent({parent}); "


def run_child(
    code: str, *arguments: str, environment: Mapping[str, str] | None = None, capture: bool = False
) -> subprocess.CompletedProcess[str]:
    """Blocks until a Python process has run `code` with `arguments`; it finds every module that this process finds.

    `capture`: the answer holds what it printed, which else goes where this process prints.
    """
    held_by_child, held_by_parent = os.pipe()
    try:
        return subprocess.run(
            [sys.executable, "-c", _BEGIN.format(parent=os.getpid()) + code, *arguments],
            env={**os.environ, **search_path(), **(environment or {})},
            stdin=held_by_child, capture_output=capture, text=True, check=False,
        )  # fmt: skip
    finally:
        os.close(held_by_child)
        os.close(held_by_parent)


def search_path() -> dict[str, str]:
    """Returns the environment variable by which a process finds every module that this one finds."""
    return {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, *sys.path)))}


def end_with_parent(parent: int) -> None:
    """Ends this process once its parent has ended; called in the child, whose standard input is the pipe to the parent.

    Ctrl-C is for the parent alone, which then ends, and this process with it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    kill_with_parent(parent)
    threading.Thread(target=_end_at_end_of_pipe, name="parent watch", daemon=True).start()


def kill_with_parent(parent: int) -> None:
    """Has the system kill this process as soon as its parent has ended, where it can; ends at once where that is so already."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


def _end_at_end_of_pipe() -> None:
    os.read(0, 1)  # nothing is ever written there
    os._exit(1)
