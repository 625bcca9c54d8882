"""Shutdown signals: SIGTERM, Ctrl-C and a closed terminal end the server, from its first instant on.

This module imports little, so that it can be asked before anything that takes long is imported: process 1, as a container's
first one is, never gets a signal that it does not handle.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

_ALWAYS = ("SIGTERM", "SIGINT")
_UNLESS_IGNORED = "SIGHUP"  # Windows has none; `nohup` ignores it for a program that shall outlive its terminal
INTERRUPTED = 130  # exit code after Ctrl-C

_shut_down: Callable[[], None] | None = None
_is_closing = False


def take() -> None:
    """Has the signals end this process from now on: at once, with code 0, as long as nothing is there to be shut down.

    SIGTERM and SIGINT do so even where they were ignored or held back when the process began.
    """
    names = list(_ALWAYS)
    if hasattr(signal, _UNLESS_IGNORED) and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        names.append(_UNLESS_IGNORED)
    numbers = [getattr(signal, name) for name in names]
    for number in numbers:
        signal.signal(number, _handle)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)


def shut_down_by(act: Callable[[], None]) -> None:
    """Has the first signal call `act` from now on, which returns at once; a second Ctrl-C ends the process.

    No thread is begun for it: when the signal comes, none can be, perhaps.
    """
    global _shut_down
    _shut_down = act


def _handle(number: int, _frame: object) -> None:
    global _is_closing
    if _shut_down is None:
        os._exit(0)
    if _is_closing:
        if number == signal.SIGINT:
            os._exit(INTERRUPTED)
        return
    _is_closing = True
    _shut_down()
