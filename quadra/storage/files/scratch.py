"""ScratchFolder: a temporary folder that is cleared away in any case, by the next one where its own process was killed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from pathlib import Path

from quadra.storage.files.durable import is_plain_folder

try:
    import fcntl
except ImportError:  # Windows: there what a killed process leaves is the system's to clear away
    fcntl = None  # type: ignore[assignment]  # checked before every use

_PREFIX = "quadra-scratch-"
_NAME = re.compile(rf"{_PREFIX}\w{{8}}")


class ScratchFolder(tempfile.TemporaryDirectory[str]):
    """A temporary folder, there until `cleanup` or the end of the `with` block; a lock on it says that its process lives."""

    def __init__(self) -> None:
        clear_leftovers()
        self._descriptor: int | None = None
        while self._descriptor is None:  # again where another process took the new folder for a leftover
            super().__init__(prefix=_PREFIX)
            self._descriptor = _locked(self.name)

    def cleanup(self) -> None:
        """Deletes the folder."""
        super().cleanup()
        if self._descriptor is not None and self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


def ensure_temporary_folder(fallback: Path) -> None:
    """Has this process and its children keep temporary files in `fallback` where the system has no place for them.

    So it is in a container whose own files cannot be written.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        with contextlib.suppress(OSError):  # whatever needs a temporary file then says that there is no place for it
            if not is_plain_folder(fallback):
                fallback.mkdir(0o700)
            os.environ["TMPDIR"] = str(fallback.absolute())  # where module tempfile looks first, also in a child


def clear_leftovers() -> None:
    """Deletes the scratch folders of processes that have ended; what cannot be deleted stays."""
    if fcntl is None:
        return
    try:
        leftovers = [entry for entry in Path(tempfile.gettempdir()).iterdir() if _NAME.fullmatch(entry.name)]
    except OSError:
        return
    for folder in leftovers:
        with contextlib.suppress(OSError):  # another process may have cleared it away
            if is_plain_folder(folder) and folder.stat().st_uid == os.geteuid():
                _clear(folder)


def _clear(folder: Path) -> None:
    """Deletes a folder. Raises OSError where its process lives."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    finally:
        os.close(descriptor)


def _locked(folder: str) -> int | None:
    """Returns a descriptor that holds the lock of a folder until it is closed; -1 where there are no locks, None where the
    folder is not there any more."""
    if fcntl is None:
        return -1
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    with contextlib.suppress(OSError):  # of a disk without locks, where nothing is ever cleared
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    if Path(folder).exists():
        return descriptor
    os.close(descriptor)
    return None
