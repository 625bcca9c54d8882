"""Zip archives from outside, read entry by entry: nothing in them is believed, and no name in them becomes a path.

`zipfile` finds the entries and inflates them, some kilobytes at a time. What it would believe is checked first: how many
entries there are, where they lie, what their names and kinds are. Declared sizes count for nothing.
"""

from __future__ import annotations

import io
import re
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO, cast

from quadra.errors import BadArchiveError

MOST_ENTRIES = 10_000
_LARGEST_READ = 4 << 20  # bytes; zipfile takes the whole directory at once
_LOCAL_HEADER = 30  # bytes before an entry's name
_PIECE = 1 << 18  # bytes
_FREE = 16 << 20  # bytes that an entry may inflate to whatever its ratio
_MOST_RATIO = 100  # a state's numbers hardly shrink; only zeros do, and a fresh run's file holds two thirds of them
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000  # the entry, strongly, or the directory as well
_WINDOWS_SPECIAL = 0x0040 | 0x0400  # a device, a link
_DRIVE = re.compile(r"[A-Za-z]:")
_DEEPEST = 100  # folders within folders
_LONGEST_SHOWN = 80  # characters of a name in a message


@dataclass(frozen=True)
class ArchiveEntry:
    """One file of an archive, or one uploaded by itself."""

    name: str
    parts: tuple[str, ...]  # of its name: what leads to it, then the file itself
    pieces: Callable[[], Iterator[bytes]]  # its content; raises BadArchiveError


def entries_of(stream: BinaryIO) -> list[ArchiveEntry]:
    """Returns the files of an archive, without folders. Raises BadArchiveError for one that is damaged or made to do harm."""
    source = _Source(stream)
    with _damage_told("What was uploaded is not a zip archive, or a damaged one"):
        archive = zipfile.ZipFile(cast("BinaryIO", source))
    infos = archive.infolist()
    if len(infos) > MOST_ENTRIES:
        raise BadArchiveError(f"The archive has {len(infos):,} entries; {MOST_ENTRIES:,} are the most that are taken.")
    for info in infos:
        _require_harmless(info)
    _require_apart(infos, archive.start_dir)
    _require_once(infos)
    return [
        ArchiveEntry(info.orig_filename, parts_of(info.orig_filename), _reader(archive, info))
        for info in infos
        if not info.orig_filename.endswith("/")
    ]


def parts_of(name: str) -> tuple[str, ...]:
    """Returns the folders that lead to a file, then its name; nothing for the folder that all is in.

    Raises BadArchiveError for a name that leads out of it, or deeper than any state lies.
    """
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    leads_out = name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or _DRIVE.match(name)
    if leads_out or len(parts) > _DEEPEST or not (parts or name.endswith("/")):
        raise BadArchiveError(f"The name {short_repr(name)} is not one within a folder; nothing was taken.")
    return parts


def short_repr(name: str) -> str:
    """Returns a name from outside, quoted and cut short, for messages."""
    return repr(name if len(name) <= _LONGEST_SHOWN else name[:_LONGEST_SHOWN] + "…")


class _OutsideError(OSError):
    """A position outside the archive: what a file would raise too, and no fault of the disk."""


class _Source(io.RawIOBase):
    """The stream that zipfile reads: it never returns more at once than a directory of modest size, and never seeks outside."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._size = stream.seek(0, io.SEEK_END)

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._stream.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._stream.tell(), io.SEEK_END: self._size}[whence]
        if not 0 <= start + offset <= self._size:
            raise _OutsideError("it is cut short, or points out of itself")
        return self._stream.seek(start + offset)

    def read(self, size: int | None = -1, /) -> bytes:
        most = self._size - self._stream.tell() if size is None or size < 0 else size
        if most > _LARGEST_READ:
            raise zipfile.BadZipFile("its directory is larger than that of any archive that is taken")
        return self._stream.read(most)


def _require_harmless(info: zipfile.ZipInfo) -> None:
    name = info.orig_filename
    parts_of(name)
    kind = stat.S_IFMT(info.external_attr >> 16)
    plain = stat.S_IFDIR if name.endswith("/") else stat.S_IFREG
    if kind not in (0, plain) or info.external_attr & _WINDOWS_SPECIAL:
        raise BadArchiveError(
            f"The entry {short_repr(name)} is a link or a device, not a plain file; nothing was taken."
        )
    if info.flag_bits & _ENCRYPTED:
        raise BadArchiveError(f"The entry {short_repr(name)} is encrypted. Make an archive without a password.")


def _require_apart(infos: Iterable[zipfile.ZipInfo], directory: int) -> None:
    """Raises BadArchiveError where the same bytes would be read as several entries: a small archive could then be huge."""
    spans = sorted(
        (info.header_offset, info.header_offset + _LOCAL_HEADER + len(info.orig_filename) + info.compress_size)
        for info in infos
    )
    for (_, end), (start, _) in pairwise([*spans, (directory, directory)]):
        if end > start:
            raise BadArchiveError("Entries of the archive overlap; nothing was taken.")


def _require_once(infos: Sequence[zipfile.ZipInfo]) -> None:
    seen: set[tuple[str, ...]] = set()
    for info in infos:
        parts = parts_of(info.orig_filename)
        if parts in seen:
            raise BadArchiveError(f"The archive has {short_repr(info.orig_filename)} twice; nothing was taken.")
        seen.add(parts)


def _reader(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], Iterator[bytes]]:
    def pieces() -> Iterator[bytes]:
        name = short_repr(info.orig_filename)
        if info.compress_type not in _METHODS:
            raise BadArchiveError(f"The entry {name} is packed in a way that is not taken; use deflate, or none.")
        most, taken = _FREE + _MOST_RATIO * info.compress_size, 0
        with _damage_told(f"The entry {name} cannot be read"):
            with archive.open(info) as stream:
                while piece := stream.read(_PIECE):
                    taken += len(piece)
                    if taken > most:
                        raise zipfile.BadZipFile("it unpacks to far more than any file of a state")
                    yield piece
            if taken != info.file_size:
                raise zipfile.BadZipFile("it has not the size that the archive says")

    return pieces


@contextmanager
def _damage_told(what: str) -> Iterator[None]:
    """Raises BadArchiveError for whatever is wrong with the content; a disk that cannot be read stays an OSError."""
    try:
        yield
    except Exception as error:  # a forged or damaged archive can raise anything at all
        if isinstance(error, OSError) and not isinstance(error, _OutsideError):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0].removesuffix(".")
        raise BadArchiveError(f"{what}: {reason}.") from error
