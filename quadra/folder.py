"""StateFolder: the state directory, who holds it, and the only code that writes, moves or deletes in it.

Every name that this program ever writes there is listed here; nothing else is touched, and no link is followed out.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

from quadra.errors import (
    DamagedFileError,
    FolderLockedError,
    FolderUnusableError,
    InaccessibleFileError,
    MissingFileError,
)

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # there the lock is msvcrt's
    import msvcrt

WEIGHTS = "oscillator_weights.pth"
METRICS = "metrics_history.pkl"
SYSTEM = "system_state.pkl"
FILES = (METRICS, WEIGHTS, SYSTEM)  # in the order in which a save replaces them
RUNS = "runs"
SET_ASIDE = "set-aside"
LOCK = ".lock"
RESET_MARKER = ".reset"
WRITE_TEST = ".write-test"
_RUN_ID = re.compile(r"[0-9a-f]{16}")
_SET_ASIDE_ID = re.compile(r"\d{8}T\d{6}Z(-\d+)?")
_LOCK_OFFSET = 1 << 30  # msvcrt locks bytes; far behind the process number, so that others can read that


class StateFolder:
    """A state directory, held by this object until `close` or the end of its process.

    Raises FolderUnusableError or FolderLockedError when it cannot be had.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        existed = self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        except OSError as error:
            raise FolderUnusableError(
                f"The state directory {self.path} cannot be used: {error.strerror}. "
                "Check its permissions, or choose another one with --state-dir."
            ) from error
        if not existed:
            sync_folder(self.path.absolute().parent)
        self._take_lock()
        self._clear_leftovers()

    def close(self) -> None:
        """Release the folder for others."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> StateFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_held(self) -> bool:
        """Whether this object still holds the folder."""
        return self._lock >= 0

    def run_folders(self) -> list[Path]:
        """The folders of earlier runs, in no promised order."""
        return _own_folders(self.path / RUNS, _RUN_ID)

    def set_aside_run(self, run: str) -> None:
        """Copy the three present files into `runs/<run>/`, complete or not at all; an older copy there is replaced."""
        self._require_no_link(RUNS)
        temporary, target = self.path / RUNS / f".{run}.tmp", self.path / RUNS / run
        _remove_folder(temporary)
        temporary.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            if _is_plain_file(self.path / name):
                shutil.copyfile(self.path / name, temporary / name)
                _sync_file(temporary / name)
        sync_folder(temporary)
        _remove_folder(target)
        if target.exists():  # something of the user's is in it: it stays, and the weights come last
            for name in (METRICS, SYSTEM, WEIGHTS):
                if (temporary / name).exists():
                    (temporary / name).rename(target / name)
            sync_folder(target)
            temporary.rmdir()
        else:
            temporary.rename(target)
        sync_folder(self.path / RUNS)
        sync_folder(self.path)

    def remove_run(self, run: str) -> None:
        """Delete the copy of a run that the present files have superseded."""
        _remove_folder(self.path / RUNS / run)

    def set_aside_damaged(self, folder: Path) -> Path | None:
        """Move the files of a state that could not be read to `set-aside/<time>/`; returns that folder."""
        present = [name for name in FILES if os.path.lexists(folder / name)]
        if not present:
            return None
        self._require_no_link(SET_ASIDE)
        target = self._new_set_aside_folder()
        for name in present:
            (folder / name).rename(target / name)
        sync_folder(target)
        sync_folder(folder)
        if folder != self.path:
            with contextlib.suppress(OSError):  # something of the user's is in there: it stays
                folder.rmdir()
        return target

    def deletable(self) -> list[Path]:
        """Every file that a reset deletes, relative to the folder: only names that this program writes."""
        folders = [self.path, *self.run_folders(), *_own_folders(self.path / SET_ASIDE, _SET_ASIDE_ID)]
        return [
            (folder / name).relative_to(self.path)
            for folder in folders
            for name in FILES
            if _is_file_or_link(folder / name)
        ]

    def describe_deletable(self) -> tuple[str, ...]:
        """What a reset deletes, in words: a folder's files are counted, not named one by one."""
        files = self.deletable()
        single = [file.name for file in files if file.parent == Path()]
        folders = sorted({file.parent.as_posix() for file in files if file.parent != Path()})
        counts = {folder: sum(file.parent.as_posix() == folder for file in files) for folder in folders}
        return (*single, *(f"{folder}/ ({count} files)" for folder, count in counts.items()))

    def reset(self) -> None:
        """Delete every saved state and set-aside file; a marker makes a cut-off reset finish at the next start."""
        (self.path / RESET_MARKER).touch()
        sync_folder(self.path)
        try:
            self._delete_states()
        except OSError:
            _unlink(self.path / RESET_MARKER)  # the caller is told; a later start must not delete what comes next
            raise

    def _require_no_link(self, name: str) -> None:
        if (self.path / name).is_symlink():
            raise FolderUnusableError(
                f"{self.path / name} is a link, and links are not followed. Put a folder in its place."
            )

    def _delete_states(self) -> None:
        self._remove_temporaries()
        for file in self.deletable():
            _unlink(self.path / file)
        for parent, pattern in ((RUNS, _RUN_ID), (SET_ASIDE, _SET_ASIDE_ID)):
            for folder in _own_folders(self.path / parent, pattern):
                _remove_folder(folder)
            with contextlib.suppress(OSError):  # not there, or something of the user's is in it
                (self.path / parent).rmdir()
        sync_folder(self.path)
        _unlink(self.path / RESET_MARKER)
        sync_folder(self.path)

    def _clear_leftovers(self) -> None:
        """Finish a reset that was cut off; remove temporary files of a save that was."""
        try:
            if os.path.lexists(self.path / RESET_MARKER):
                self._delete_states()
            self._remove_temporaries()
            (self.path / WRITE_TEST).touch()
            _unlink(self.path / WRITE_TEST)
        except OSError as error:
            self.close()
            raise FolderUnusableError(
                f"The state directory {self.path} cannot be written: {error.strerror}."
            ) from error

    def _remove_temporaries(self) -> None:
        for name in FILES:
            _unlink(_temporary(self.path / name))
        for folder in _own_folders(self.path / RUNS, re.compile(rf"\.{_RUN_ID.pattern}\.tmp")):
            _remove_folder(folder)

    def _new_set_aside_folder(self) -> Path:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        for number in range(10_000):
            target = self.path / SET_ASIDE / (f"{stamp}-{number}" if number else stamp)
            with contextlib.suppress(FileExistsError):
                target.mkdir(parents=True)
                sync_folder(target.parent)
                sync_folder(self.path)
                return target
        raise FolderUnusableError(f"No free name is left in {self.path / SET_ASIDE}.")

    def _take_lock(self) -> None:
        try:
            if fcntl is not None:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            else:
                os.lseek(self._lock, _LOCK_OFFSET, os.SEEK_SET)
                msvcrt.locking(self._lock, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            owner = self._owner()
            self.close()
            raise FolderLockedError(
                f"The state directory {self.path} is in use by {owner}. Stop it first, or choose another --state-dir."
            ) from error
        os.ftruncate(self._lock, 0)
        os.lseek(self._lock, 0, os.SEEK_SET)
        os.write(self._lock, f"{os.getpid()}\n".encode())

    def _owner(self) -> str:
        os.lseek(self._lock, 0, os.SEEK_SET)
        number = os.read(self._lock, 32).decode("ascii", "replace").strip()
        return f"process {number}" if number.isdigit() else "another process"


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that at every instant it is either the old or the new one, and the new one is durable on return.

    Raises OSError; the old file is then unchanged.
    """
    temporary = _temporary(path)
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # the first failure is the one to report
            _unlink(temporary)
        raise
    sync_folder(path.parent)


def read_file(path: Path) -> bytes:
    """The content of a plain file; links are not followed. Raises MissingFileError or DamagedFileError."""
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise DamagedFileError(path.name, "is a link or a folder, not a file; links are not followed")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise MissingFileError(path.name, "is not there") from error
    except OSError as error:
        raise InaccessibleFileError(path.name, f"cannot be read: {error.strerror}") from error


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable (on Windows the system does so by itself)."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp")


def _is_plain_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _is_file_or_link(path: Path) -> bool:
    """A folder under one of our names was not made by us."""
    return path.is_symlink() or path.is_file()


def _own_folders(parent: Path, pattern: re.Pattern[str]) -> list[Path]:
    if parent.is_symlink() or not parent.is_dir():
        return []
    return [
        entry
        for entry in parent.iterdir()
        if pattern.fullmatch(entry.name) and entry.is_dir() and not entry.is_symlink()
    ]


def _remove_folder(folder: Path) -> None:
    """Delete the files of a state and the folder, unless something of the user's is in it."""
    if folder.is_symlink() or not folder.is_dir():
        return
    for name in (SYSTEM, WEIGHTS, METRICS):  # cut off in between, what is left is a whole state or none
        _unlink(folder / name)
        _unlink(_temporary(folder / name))
    with contextlib.suppress(OSError):  # something of the user's is in there: it stays
        folder.rmdir()


def _unlink(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def _sync_file(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
