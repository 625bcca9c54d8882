"""How kernels are compiled for the CPU, and the names of the arrays that they work on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]
Rows = NDArray[np.int32]  # numbers of neurons, or of rows
Kernel = TypeVar("Kernel", bound=Callable[..., Any])

REGROUP = {"reassoc", "contract"}  # sums may be regrouped into vectors; NaN and infinity stay what they are
# numba keeps what it compiled by a kernel's name and file; a change of another file whose kernels it calls must count too.
_FINGERPRINT = crc32(
    b"".join(path.read_bytes() for path in (Path(__file__).with_name(name) for name in ("forward.py", "backward.py")))
)
_jit: Any = njit  # its declared types do not know a signature and options together
ZERO, ONE, TWO = np.float32(0.0), np.float32(1.0), np.float32(2.0)


def compiled(*signature: str) -> Callable[[Kernel], Kernel]:
    """Compile without the interpreter lock: at once where a signature is given, kept on disk where that is possible."""

    def compile_it(function: Kernel) -> Kernel:
        function.__qualname__ += f"_{_FINGERPRINT}"
        options: dict[str, Any] = {"nogil": True, "fastmath": REGROUP, "error_model": "numpy"}
        try:
            return _jit(*signature, cache=True, **options)(function)  # type: ignore[no-any-return]
        except (RuntimeError, OSError):  # no folder that can be written: compile anew in every process
            return _jit(*signature, **options)(function)  # type: ignore[no-any-return]

    return compile_it
