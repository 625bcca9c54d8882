"""The few file operations that a save is made of, each durable or undone when it returns.

Everything goes through functions of module `os`, one call each, so that a test can fail, cut off or skip any of them.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from quadra.byte_progress import passed
from quadra.errors import DamagedFileError, InaccessibleFileError, MissingFileError

Piece = bytes | bytearray | memoryview
AnyPath = str | os.PathLike[str]
Identity = tuple[int, ...]  # tells a file from one that was put in its place, or written into

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)  # Windows translates line ends without it
_NO_LINKS = (errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV)
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)  # CIFS, vboxsf, some FUSE
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_LARGEST_WRITE = 1 << 26  # bytes in one call: Linux takes no more than 2 GiB, and progress is counted between two calls
_LARGEST_READ = 1 << 26  # bytes in one call, for the same reason


def temporary_of(path: Path) -> Path:
    """Returns the name under which a file is written before it is renamed."""
    return Path(temporary_name(path))


def temporary_name(path: AnyPath) -> str:
    """Returns the same as text."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.tmp")


def write_file(path: AnyPath, pieces: Iterable[Piece]) -> None:
    """Writes a new file, or over one of ours, durably; its name is durable only after `sync_folder`. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _NO_FOLLOW | _BINARY, 0o644)
    try:
        for piece in pieces:
            _write(descriptor, piece)
        sync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, pieces: Iterable[Piece]) -> None:
    """Replaces a file so that at every instant it is the old or the new one; the new one is durable on return.

    Raises OSError; the old file is then unchanged, or the new one is complete.
    """
    temporary = temporary_of(path)
    try:
        write_file(temporary, pieces)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # the first failure is the one to report
            remove(temporary)
        raise
    sync_folder(path.parent)


def write_at(path: Path, offset: int, content: Piece) -> None:
    """Writes into an existing file from an offset, and cuts off what stood behind; durable on return. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | _NO_FOLLOW | _BINARY)
    try:
        os.lseek(descriptor, offset, os.SEEK_SET)
        _write(descriptor, content)
        os.ftruncate(descriptor, offset + len(content))
        sync(descriptor)
    finally:
        os.close(descriptor)


def overwrite_byte(path: Path, offset: int, byte: bytes) -> None:
    """Changes one byte of a file; durable on return. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | _NO_FOLLOW | _BINARY)
    try:
        os.lseek(descriptor, offset, os.SEEK_SET)
        _write(descriptor, byte)
        sync(descriptor)
    finally:
        os.close(descriptor)


def link_or_copy(source: AnyPath, target: AnyPath) -> None:
    """Gives a file a second name, replacing what has it; on disks without hard links, a copy. Durable after `sync_folder`.

    The second name first stands under a temporary one: to rename one name of a file onto another of its names does
    nothing, and would leave the temporary one behind.
    """
    temporary = temporary_name(target)
    remove(temporary)
    try:
        try:
            os.link(source, temporary, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            write_file(temporary, [read_file(Path(source))])
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):  # the first failure is the one to report
            remove(temporary)
        raise


def read_file(path: Path) -> bytes:
    """Returns the content of a plain file; links are not followed. Raises a BadFileError."""
    try:
        require_plain(path)
        return _content(path)
    except FileNotFoundError as error:
        raise MissingFileError(path, "is not there") from error
    except OSError as error:
        raise InaccessibleFileError(path, f"cannot be read: {error.strerror}") from error


def _content(path: Path) -> bytes:
    with path.open("rb", buffering=0) as stream:
        first = stream.read(_LARGEST_READ) if os.fstat(stream.fileno()).st_size > _LARGEST_READ else None
        if first is None:
            content = stream.readall()
            passed(len(content))
            return content
        whole = io.BytesIO()  # which hands out what it has grown to without another copy
        piece = first
        while piece:
            whole.write(piece)
            passed(len(piece))
            piece = stream.read(_LARGEST_READ)
        return whole.getvalue()


def require_plain(path: Path) -> None:
    """Raises DamagedFileError for what is neither a file nor nothing: a link would lead out, a pipe would not end."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise DamagedFileError(path, "is a link or a folder, not a file; links are not followed")


def sync(descriptor: int) -> None:
    """Makes the content of an open file durable."""
    getattr(os, "fdatasync", os.fsync)(descriptor)  # neither Windows nor macOS has fdatasync


def sync_folder(path: AnyPath) -> bool:
    """Makes the names in a folder durable (on Windows the system does so by itself). Returns False where the disk cannot."""
    if os.name == "nt":
        return True
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
        return False
    finally:
        os.close(descriptor)
    return True


def remove(path: AnyPath) -> None:
    """Deletes a file or a link, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def is_plain_file(path: AnyPath) -> bool:
    """Whether this is a file and no link."""
    return stat.S_ISREG(_mode_of(path))


def is_plain_folder(path: AnyPath) -> bool:
    """Whether this is a folder and no link."""
    return stat.S_ISDIR(_mode_of(path))


def _mode_of(path: AnyPath) -> int:
    """Returns the mode bits of a path, links not followed; 0 where nothing is."""
    try:
        return os.lstat(path).st_mode
    except ValueError:  # no path could be so
        return 0
    except OSError as error:
        if error.errno in _NOT_THERE:
            return 0
        raise


def _write(descriptor: int, content: Piece) -> None:
    rest = memoryview(content).cast("B")
    while len(rest):
        written = os.write(descriptor, rest[:_LARGEST_WRITE])
        rest = rest[written:]
        passed(written)


def identity_of(path: AnyPath) -> Identity | None:
    """Returns what tells a file from any other, and from itself once it is written to; None where it is not there."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
