"""The entries of a weights file, made from bytes and builtins alone, in whichever process writes it.

Training hands over its plain values packed (`model.packing`), which is the quickest way to copy them; to describe them in a
pickle, which takes ten times as long, is left to who writes the file. This module imports neither torch nor numpy.
"""

from __future__ import annotations

import pickle
import sys
from array import array
from collections.abc import Mapping
from typing import Any, NamedTuple

from quadra.model.packing import unpacked
from quadra.storage.files.durable import Piece

PROTOCOL = 2  # of the pickle: the one that torch.load reads with weights only
OPENING = pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + pickle.BINPUT + b"\x00"  # how a dictionary's pickle begins


class Contents(NamedTuple):
    """What a weights file holds besides the large tensors' memory."""

    described: bytes  # entries of all tensors but the tail; they end within the generators' entries
    tail_described: bytes  # entry of the tail
    tail: bytes  # the history's newest rows
    plain: bytes  # everything else, by `model.packing.packed`


def archive_entries(tensors: Piece, contents: Contents) -> list[tuple[str, Piece]]:
    """Returns the entries of the archive with their names, the large tensors' memory first."""
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
    """Returns the part of a dictionary's pickle that sets its entries: many such parts in a row fill one dictionary."""
    return pickled.removeprefix(OPENING).removesuffix(pickle.STOP)


def _entries(values: Mapping[str, Any]) -> bytes:
    return entries_in(pickle.dumps(values, PROTOCOL))
