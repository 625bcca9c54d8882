"""FolderLock: one owner for a state directory. The system frees it when the owner's process ends, however it ends."""

from __future__ import annotations

import os
from pathlib import Path

from quadra.errors import FolderChangedError, FolderLockedError, FolderUnusableError
from quadra.storage.files.durable import AnyPath, Identity

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # there the lock is msvcrt's
    import msvcrt

LOCK = ".lock"
_LOCK_OFFSET = 1 << 30  # msvcrt locks bytes; far behind the process number, so that others can read that


def stands(folder: AnyPath, identity: Identity) -> bool:
    """Whether the lock file in a folder is this one."""
    try:
        found = os.stat(os.path.join(folder, LOCK))
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == identity


def require_lock(folder: AnyPath, lock: Identity) -> None:
    """Raises FolderChangedError unless this lock file still stands in the folder."""
    if stands(folder, lock):
        return
    what = "was exchanged for another one" if Path(folder).exists() else "is not there any more"
    raise FolderChangedError(
        f"The state directory {folder} {what}. Nothing is saved, so that nothing there is overwritten. "
        "Load what is there, or go on as a new saved run."
    )


class FolderLock:
    """The lock of a state directory, held from its creation until `release`.

    Raises FolderUnusableError or FolderLockedError when it cannot be had.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor = -1
        self._identity: Identity = ()
        try:
            self._descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
            self._acquire()
            held = os.fstat(self._descriptor)
            self._identity = held.st_dev, held.st_ino
        except OSError as error:
            self.release()
            raise FolderUnusableError(
                f"The state directory {folder} cannot be used: {error.strerror}. "
                "Check its permissions, or choose another one with --state-dir."
            ) from error

    @property
    def descriptor(self) -> int:
        """Descriptor of the lock file; a process that is handed it holds the lock as well, until both have ended."""
        return self._descriptor

    @property
    def is_held(self) -> bool:
        """Whether this object still holds the folder."""
        return self._descriptor >= 0

    def release(self) -> None:
        """Frees the directory for others."""
        if self._descriptor >= 0:
            if fcntl is not None:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)  # also where another process was handed it
            os.close(self._descriptor)
            self._descriptor, self._identity = -1, ()

    @property
    def identity(self) -> Identity:
        """Device and inode of the lock file that is held; empty where none is."""
        return self._identity

    def still_stands(self) -> bool:
        """Whether the lock file in the directory is the one that is held: not so once the directory was exchanged."""
        return stands(self._folder, self.identity)

    def _acquire(self) -> None:
        try:
            if fcntl is not None:
                # Where the owner is dead, only the process that wrote its saves can still hold the lock: in a last call to
                # the disk, after which it ends. Nobody may touch the folder before that.
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | (0 if self._owner_has_ended() else fcntl.LOCK_NB))
            else:
                os.lseek(self._descriptor, _LOCK_OFFSET, os.SEEK_SET)
                msvcrt.locking(self._descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            owner = self._owner()
            self.release()
            raise FolderLockedError(
                f"The state directory {self._folder} is in use by {owner}. "
                "Stop it first, or choose another --state-dir."
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, f"{os.getpid()}\n".encode())

    def _owner(self) -> str:
        number = self._owner_number()
        return "another process" if number is None else f"process {number}"

    def _owner_number(self) -> int | None:
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        number = os.read(self._descriptor, 32).decode("ascii", "replace").strip()
        return int(number) if number.isdigit() else None

    def _owner_has_ended(self) -> bool:
        number = self._owner_number()
        if not number:
            return False
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return True
        except (PermissionError, OverflowError):
            return False
        return False
