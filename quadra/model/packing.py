"""Packs the plain values of a run's state into bytes: the quickest copy of them, readable in any process.

A state also holds large tensors, which are copied apart (`run_buffers`). The process that writes files imports this module,
so it imports neither torch nor numpy.
"""

from __future__ import annotations

import marshal
from typing import Any

from quadra.config import ACTIONS

_WITHOUT_REFERENCES = 2  # version of marshal: equal values give equal bytes, whoever else refers to them


def packed(values: dict[str, Any]) -> bytes:
    """Returns a copy of builtins as bytes that `unpacked` reads."""
    return marshal.dumps(values, _WITHOUT_REFERENCES)


def unpacked(plain: bytes) -> dict[str, Any]:
    """Returns the values; the Q-table, packed as state -> values in the order of ACTIONS, becomes state -> {action: value}.

    Raises ValueError where a state of the table has another number of values.
    """
    values: dict[str, Any] = marshal.loads(plain)
    first, second, third = ACTIONS
    values["q_table"] = {state: {first: a, second: b, third: c} for state, (a, b, c) in values["q_table"].items()}
    return values
