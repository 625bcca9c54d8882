"""How tests wait: for a condition, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 300.0  # seconds after which a test gives up, on the slowest machine too
_PAUSE = 0.01  # seconds between two looks


def wait_until(condition: Callable[[], object], what: str = "") -> None:
    """Blocks until the condition holds; fails with `what` where it does not come to hold."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what or "it did not come to be so"
        time.sleep(_PAUSE)
