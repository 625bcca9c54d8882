"""FileCache: what was once found out about files, for as long as they are the same ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from quadra.errors import BadFileError, InaccessibleFileError

_MOST = 10_000  # results; older ones are dropped together
_Result = TypeVar("_Result")
_Identity = tuple[int, ...]  # of a file as it is now: where it is, its size, and when content and names last changed


class FileCache(Generic[_Result]):
    """Remembers what `read` returned of some files, or the BadFileError that it raised; reads again once one has changed.

    A file is known by device, inode, size and both its times. What is remembered is for lists: whoever loads a file reads it.
    """

    def __init__(self, read: Callable[..., _Result]) -> None:
        self._read = read
        self._known: dict[tuple[Path, ...], tuple[tuple[_Identity | None, ...], _Result | BadFileError]] = {}

    def get(self, *files: Path) -> _Result:
        """Returns what `read` returns of these files. Raises the BadFileError that it raises."""
        found = tuple(map(_identity_of, files))
        known = self._known.get(files)
        if known is None or known[0] != found:
            result = self._outcome(files)
            if isinstance(result, InaccessibleFileError):  # the next time it may be read
                raise result
            if len(self._known) >= _MOST:
                self._known.clear()
            known = self._known[files] = found, result
        if isinstance(known[1], BadFileError):
            raise known[1]
        return known[1]

    def _outcome(self, files: tuple[Path, ...]) -> _Result | BadFileError:
        try:
            return self._read(*files)
        except BadFileError as error:
            return error.with_traceback(None)


def _identity_of(file: Path) -> _Identity | None:
    try:
        found = os.lstat(file)
    except OSError:  # `read` says what is wrong with it
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
