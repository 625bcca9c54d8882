"""The complete history of a run as CSV or JSON, piece by piece: a million iterations need no memory of their own.

Numbers have nine digits, which give every float32 back exactly. A number that is not finite is an empty cell, or null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadra.model.history import SERIES
from quadra.version import __version__

_ROWS = 10_000  # of one piece


def file_name(run: str | None, iterations: int | str, ending: str) -> str:
    """Returns the name of a file about a run; None: there is no run yet. `iterations`: how many, or which."""
    return f"quadramatrix-{(run or 'no-run')[:8]}-{iterations}.{ending}"


def csv_pieces(rows: NDArray[np.float32], first: int = 1) -> Iterator[str]:
    """Yields a header line, then a line for each row; `rows`: shape (iterations, 4), the first is iteration `first`."""
    yield ",".join(("iteration", *SERIES)) + "\r\n"
    for start in range(0, len(rows), _ROWS):
        lines = enumerate(rows[start : start + _ROWS].tolist(), start=start + first)
        yield "".join(f"{iteration},{','.join(map(_cell, row))}\r\n" for iteration, row in lines)


def json_pieces(rows: NDArray[np.float32], metadata: Mapping[str, Any]) -> Iterator[str]:
    """Yields one object: metadata, the program's version, then each series as a list that begins with iteration 1."""
    head = {**metadata, "program": __version__}
    yield "{" + "".join(f"{json.dumps(name)}: {json.dumps(value)}, " for name, value in head.items())
    for column, name in enumerate(SERIES):
        yield (", " if column else "") + f'"{name}": ['
        for start in range(0, len(rows), _ROWS):
            values = rows[start : start + _ROWS, column].tolist()
            yield (", " if start else "") + ", ".join(_cell(value) or "null" for value in values)
        yield "]"
    yield "}\n"


def _cell(value: float) -> str:
    return f"{value:.9g}" if math.isfinite(value) else ""
