"""FolderLock: one owner for a state directory. The system frees it when the owner's process ends, however it ends."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

from quadra.errors import FolderChangedError, FolderLockedError, FolderUnusableError
from quadra.storage.files.durable import AnyPath, Identity

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # there the lock is msvcrt's
    import msvcrt

LOCK = ".lock"
LAST_WRITE = 10.0  # seconds that the last write of a dead owner is waited for
_CHECK_EVERY = 0.02  # seconds between two attempts meanwhile
_HELD = (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)  # what the systems say of a lock that another process holds
_LONGEST_NOTE = 256  # bytes that a lock file is read up to
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
                with contextlib.suppress(OSError):  # of a disk without locks; it is closed in any case
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
            self._lock()
        except OSError as error:
            owner = _owner(self._descriptor)
            self.release()
            raise self._refusal(error, owner) from error
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, f"{os.getpid()}\n{_place()}\n".encode())

    def _lock(self) -> None:
        """Takes the lock. Raises OSError where it is held, or is not to be had.

        Where the owner is dead, only the process that wrote its saves can still hold the lock: in a last call to the disk, after
        which it ends. Nobody may touch the folder before that.
        """
        deadline = time.monotonic() + LAST_WRITE
        while True:
            try:
                self._try_lock()
                return
            except OSError as error:
                if error.errno not in _HELD or not _owner(self._descriptor).has_ended or time.monotonic() > deadline:
                    raise
            time.sleep(_CHECK_EVERY)

    def _try_lock(self) -> None:
        if fcntl is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            os.lseek(self._descriptor, _LOCK_OFFSET, os.SEEK_SET)
            msvcrt.locking(self._descriptor, msvcrt.LK_NBLCK, 1)

    def _refusal(self, error: OSError, owner: _Owner) -> FolderUnusableError | FolderLockedError:
        if error.errno in _HELD:
            return FolderLockedError(
                f"The state directory {self._folder} is in use by {owner.description}. "
                "Stop it first, or choose another --state-dir."
            )
        return FolderUnusableError(
            f"The state directory {self._folder} cannot be locked: {error.strerror}. Its disk gives out no locks, and without "
            "one two servers could write over each other. Switch its locks on (for NFS: rpc.statd, and no `nolock`), or choose "
            "another --state-dir."
        )


class _Owner(NamedTuple):
    """Who has written into a lock file that it holds the lock."""

    number: int | None  # of the process; None: it is not readable
    place: str  # of it, as `_place` has it; empty: an earlier version has not written it down

    @property
    def has_ended(self) -> bool:
        """Whether there is certainly no such process any more."""
        if not self.number or self.place != _place():
            return False
        try:
            os.kill(self.number, 0)
        except ProcessLookupError:
            return True
        except (PermissionError, OverflowError):
            return False
        return False

    @property
    def description(self) -> str:
        """What a person looks for to end it."""
        if self.number is None:
            return "another process"
        if self.place not in ("", _place()):
            return f"process {self.number} of another container or machine"
        ended = ", which has ended, but whose last write the disk has not finished" if self.has_ended else ""
        return f"process {self.number}{ended}"


def _owner(descriptor: int) -> _Owner:
    os.lseek(descriptor, 0, os.SEEK_SET)
    number, _, place = os.read(descriptor, _LONGEST_NOTE).decode("utf-8", "replace").strip().partition("\n")
    return _Owner(int(number) if number.isascii() and number.isdigit() else None, place)


@cache
def _place() -> str:
    """Returns what tells from each other the places in which the same process number means another process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:  # no Linux
        return platform.node()
