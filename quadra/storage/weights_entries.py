"""Members: what a weights file is made of, from bytes and builtins alone, in whichever process writes it.

Training hands over its plain values as one marshalled piece, which is the quickest way to copy them; to describe them in a
pickle, which takes ten times as long, is left to who writes the file. This room imports neither torch nor numpy.
"""

from __future__ import annotations

import marshal
import pickle
import sys
from array import array
from collections.abc import Mapping
from typing import Any, NamedTuple

from quadra.config import ACTIONS
from quadra.storage.files.durable import Piece

PROTOCOL = 2  # of the pickle: the one that torch.load reads with weights only
OPENING = pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + pickle.BINPUT + b"\x00"  # how a dictionary's pickle begins
_WITHOUT_REFERENCES = 2  # version of marshal: equal values give equal bytes, whoever else refers to them


class Contents(NamedTuple):
    """What a weights file holds besides the large tensors' memory."""

    described: bytes  # entries of all tensors but the tail; they end within the generators' entries
    tail_described: bytes  # entry of the tail
    tail: bytes  # the history's newest rows
    plain: bytes  # everything else, by `packed`


def packed(values: dict[str, Any]) -> bytes:
    """A copy of builtins, as it comes back from `unpacked`."""
    return marshal.dumps(values, _WITHOUT_REFERENCES)


def unpacked(plain: bytes) -> dict[str, Any]:
    """The values, with the Q-table, which is packed as state -> values in the order of ACTIONS, by action."""
    values: dict[str, Any] = marshal.loads(plain)
    first, second, third = ACTIONS
    values["q_table"] = {state: {first: a, second: b, third: c} for state, (a, b, c) in values["q_table"].items()}
    return values


def members_of(tensors: Piece, contents: Contents) -> list[tuple[str, Piece]]:
    """The members of the archive by name, the large tensors' memory first."""
    rest = unpacked(contents.plain)
    numbers = array("q", [*rest.pop("wins"), rest.pop("optimizer_step")])
    generators = rest.pop("generators")
    samples = generators.pop("samples")
    description = [
        *(OPENING, contents.described, _entries(generators), pickle.SETITEM),
        *(contents.tail_described, _entries(rest), pickle.STOP),
    ]
    return [
        ("archive/data/0", tensors),
        ("archive/data/1", numbers.tobytes()),
        ("archive/data/2", samples),
        ("archive/data/3", contents.tail),
        ("archive/byteorder", sys.byteorder.encode()),
        ("archive/version", b"3\n"),
        ("archive/data.pkl", b"".join(description)),
    ]


def entries_in(pickled: bytes) -> bytes:
    """The part of a dictionary's pickle that sets its entries: many such parts in a row fill one dictionary."""
    return pickled.removeprefix(OPENING).removesuffix(pickle.STOP)


def _entries(values: Mapping[str, Any]) -> bytes:
    return entries_in(pickle.dumps(values, PROTOCOL))
