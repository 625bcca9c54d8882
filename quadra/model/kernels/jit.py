"""`compiled`, which compiles a kernel for the CPU and stores it on disk, and the types of the arrays that kernels work on.

What is stored carries its checksum: a file that a power cut left empty or half is compiled anew, as one that is not there.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import IO, Any, TypeVar
from zlib import crc32

import numpy as np
from numba import njit
from numba.core.caching import IndexDataCacheFile
from numpy.typing import NDArray

from quadra.child_process import run_child

try:
    import fcntl
except ImportError:  # Windows: there each compiles for itself
    fcntl = None  # type: ignore[assignment]  # checked before every use

log = logging.getLogger("quadra")

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]
Rows = NDArray[np.int32]  # numbers of neurons, or of rows
Kernel = TypeVar("Kernel", bound=Callable[..., Any])

_ONLY_COMPILE = "QUADRA_ONLY_COMPILE"  # set in the process that fills the cache
REGROUP = {"reassoc", "contract"}  # sums may be regrouped into vectors; NaN and infinity stay what they are
# numba stores a kernel by its name and file; the name must also change with the other files whose kernels it calls.
_FINGERPRINT = crc32(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))))
_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": REGROUP, "error_model": "numpy"}
_jit: Any = njit  # its declared types do not know a signature and options together
_CacheFiles: Any = IndexDataCacheFile  # it declares no types
ZERO, ONE, TWO = np.float32(0.0), np.float32(1.0), np.float32(2.0)


def compiled(*signature: str) -> Callable[[Kernel], Kernel]:
    """Compiles to code that runs without the interpreter lock: at once where a signature is given, else at the first call.

    The code is stored on disk where that is possible.
    """

    def compile_it(function: Kernel) -> Kernel:
        function.__qualname__ += f"_{_FINGERPRINT}"
        try:
            return _stored(function, signature)  # type: ignore[no-any-return]
        except Exception:  # whatever hinders storing or loading, compiling is still possible
            log.debug("%s is neither loaded nor stored", function.__name__, exc_info=True)
            _say_that_nothing_is_stored()
            return _jit(*signature, **_OPTIONS)(function)  # type: ignore[no-any-return]

    return compile_it


@cache  # once in a process, not for each kernel
def _say_that_nothing_is_stored() -> None:
    log.warning("Compiled code cannot be stored or loaded here; every start compiles it anew, which takes a minute.")


class _SealedFiles(_CacheFiles):  # type: ignore[misc]
    """The files of one kernel, each with a checksum behind what numba reads; one that is not whole counts as not there."""

    @property
    def is_whole(self) -> bool:
        """Whether the kernel is stored, every file of it whole."""
        stored = self._load_index().values()
        return bool(stored) and all(_is_sealed(self._data_path(name)) for name in stored)

    def _load_index(self) -> dict[Any, str]:
        found: dict[Any, str] = super()._load_index() if _is_sealed(self._index_path) else {}
        return found

    def _load_data(self, name: str) -> Any:
        path = self._data_path(name)
        if not _is_sealed(path):
            raise FileNotFoundError(path)
        return super()._load_data(name)

    @contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[IO[bytes]]:
        with super()._open_for_write(filepath) as file:
            content = BytesIO()
            yield content
            file.write(content.getvalue() + sha256(content.getvalue()).digest())


def _is_sealed(path: str) -> bool:
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        return False
    size = sha256().digest_size
    return content[-size:] == sha256(content[:-size]).digest()


def _stored(function: Kernel, signature: tuple[str, ...]) -> Any:
    """Returns a kernel that is stored when it is first called, or, with a signature, is loaded from disk now."""
    kernel = _jit(cache=True, **_OPTIONS)(function)
    stored = kernel._cache._cache_file
    files = _SealedFiles(stored._cache_path, kernel._cache._impl.filename_base, stored._source_stamp)
    kernel._cache._cache_file = files
    if signature:
        _load(kernel, files, signature)
    return kernel


def _load(kernel: Any, files: _SealedFiles, signature: tuple[str, ...]) -> None:
    if _ONLY_COMPILE not in os.environ:
        _fill_cache(files)
        try:
            kernel.compile(*signature)
            return
        except Exception as error:  # noqa: BLE001  # whatever numba raises for code that it cannot take
            log.warning("The compiled code of %s cannot be loaded; it is compiled anew: %s", kernel.__name__, error)
            _forget_stored(Path(files._cache_path))
            _fill_cache(files)
    kernel.compile(*signature)


def _fill_cache(files: _SealedFiles) -> None:
    """Has another process compile and store all kernels where this one is not on disk whole, so that this process loads it.

    The code that numba runs in the process that compiled it is not the code that it stores: sums are grouped otherwise, and
    a run would not have the same bits in its first process and in all later ones. For the same reason nothing that is stored
    already is built upon.
    """
    if files.is_whole:
        return
    folder = Path(files._cache_path)
    with _cache_lock(folder):
        if not files.is_whole:
            _compile_all(folder)


@cache  # once in a process: where nothing can be stored, trying again would take as long for each kernel
def _compile_all(folder: Path) -> None:
    _forget_stored(folder)
    run_child("import quadra.model.compiled_backend", environment={_ONLY_COMPILE: "1"})


def _forget_stored(folder: Path) -> None:
    """Deletes every kernel that is stored under the present fingerprint."""
    for path in folder.glob(f"*_{_FINGERPRINT}-*.nb?"):
        path.unlink(missing_ok=True)


@contextmanager
def _cache_lock(folder: Path) -> Iterator[None]:
    """Lets one process at a time fill an empty cache: the first does it for all."""
    with (folder / ".filling").open("w") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
