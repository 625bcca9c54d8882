"""`compiled`, which compiles a kernel for the CPU and stores it on disk, and the types of the arrays that kernels work on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

import numpy as np
from numba import njit
from numpy.typing import NDArray

from quadra.paths import ROOT

try:
    import fcntl
except ImportError:  # Windows: there each compiles for itself
    fcntl = None  # type: ignore[assignment]  # checked before every use

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]
Rows = NDArray[np.int32]  # numbers of neurons, or of rows
Kernel = TypeVar("Kernel", bound=Callable[..., Any])

_ONLY_COMPILE = "QUADRA_ONLY_COMPILE"  # set in the process that fills the cache
REGROUP = {"reassoc", "contract"}  # sums may be regrouped into vectors; NaN and infinity stay what they are
# numba stores a kernel by its name and file; the name must also change with the other files whose kernels it calls.
_FINGERPRINT = crc32(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))))
_jit: Any = njit  # its declared types do not know a signature and options together
ZERO, ONE, TWO = np.float32(0.0), np.float32(1.0), np.float32(2.0)


def compiled(*signature: str) -> Callable[[Kernel], Kernel]:
    """Compiles to code that runs without the interpreter lock: at once where a signature is given, else at the first call.

    The code is stored on disk where that is possible.
    """

    def compile_it(function: Kernel) -> Kernel:
        function.__qualname__ += f"_{_FINGERPRINT}"
        options: dict[str, Any] = {"nogil": True, "fastmath": REGROUP, "error_model": "numpy"}
        try:
            kernel = _jit(cache=True, **options)(function)
            if signature:
                _fill_cache(kernel)
                kernel.compile(*signature)
        except (RuntimeError, OSError):  # no folder that can be written: compile anew in every process
            return _jit(*signature, **options)(function)  # type: ignore[no-any-return]
        return kernel  # type: ignore[no-any-return]

    return compile_it


def _fill_cache(kernel: Any) -> None:
    """Has another process compile and store all kernels where this one is not on disk yet, so that this process loads it.

    The code that numba runs in the process that compiled it is not the code that it stores: sums are grouped otherwise, and
    a run would not have the same bits in its first process and in all later ones.
    """
    if _ONLY_COMPILE in os.environ or kernel._cache._cache_file._load_index():
        return
    command = "import quadra.model.compiled_backend"
    environment = {**os.environ, _ONLY_COMPILE: "1", "PYTHONPATH": os.pathsep.join(map(str, (ROOT, *sys.path)))}
    with _cache_lock(Path(kernel._cache._cache_path)):
        if not kernel._cache._cache_file._load_index():
            subprocess.run([sys.executable, "-c", command], env=environment, check=False, stdin=subprocess.DEVNULL)


@contextmanager
def _cache_lock(folder: Path) -> Iterator[None]:
    """Lets one process at a time fill an empty cache: the first does it for all."""
    with (folder / ".filling").open("w") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
