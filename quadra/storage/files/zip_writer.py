"""Zip archives of uncompressed entries, as torch.load reads them, written by hand so that nothing is copied.

The content of an entry stays where it is in memory; only headers, checksums and the directory are made. zipfile would
hold the interpreter several times as long, and torch.save ten times (54 small tensors: about 1 ms).
Format: PKWARE, ".ZIP File Format Specification", version 6.3.10, with the 64-bit sizes of its section 4.5.3.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

from quadra.storage.files.durable import Piece

_SMALL = 1 << 16  # bytes; smaller pieces are joined
_ALIGNMENT = 64  # bytes; of every entry's content, as torch wants it for mapping files into memory
_VERSION = 45  # of the format, the first with 64-bit sizes
_DATE = 0x0021  # 1 January 1980: an archive is a function of its content alone
_IN_EXTRA = 0xFFFFFFFF  # stands for a size or an offset that the extra field gives
_LOCAL = struct.Struct("<IHHHHHIIIHH")
_LOCAL_EXTRA = struct.Struct("<HHQQHH")
_CENTRAL = struct.Struct("<IHHHHHHIIIHHHHHII")
_CENTRAL_EXTRA = struct.Struct("<HHQQQ")
_END_64 = struct.Struct("<IQHHIIQQQQ")
_LOCATOR = struct.Struct("<IIQI")
_END = struct.Struct("<IHHHHIIH")
_PADDING_TAG = 0x4246  # "FB", as torch marks its own padding


def archive_pieces(entries: Iterable[tuple[str, Piece]]) -> list[Piece]:
    """Returns the pieces of an archive, in order; its comment is empty, and its length field the last two bytes."""
    pieces: list[Piece] = []
    directory: list[bytes] = []
    offset = 0
    for name, content in entries:
        size, checksum, encoded = memoryview(content).nbytes, zlib.crc32(content), name.encode("ascii")
        before = _LOCAL.size + len(encoded) + _LOCAL_EXTRA.size
        padding = -(offset + before) % _ALIGNMENT
        extra = _LOCAL_EXTRA.pack(1, 16, size, size, _PADDING_TAG, padding) + bytes(padding)
        header = _LOCAL.pack(
            0x04034B50, _VERSION, 0, 0, 0, _DATE, checksum, _IN_EXTRA, _IN_EXTRA, len(encoded), len(extra)
        )  # fmt: skip
        directory.append(_entry(encoded, checksum, size, offset))
        pieces += [header + encoded + extra, content]
        offset += before + padding + size
    return [*_joined(pieces), _end(directory, offset)]


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Returns the same bytes in fewer pieces: a small piece costs as much of a call to write as a large one."""
    joined: list[Piece] = []
    small: list[Piece] = []
    for piece in pieces:
        if len(piece) < _SMALL:
            small.append(piece)
            continue
        joined += [b"".join(small), piece]
        small = []
    return [*joined, b"".join(small)]


def _entry(name: bytes, checksum: int, size: int, offset: int) -> bytes:
    extra = _CENTRAL_EXTRA.pack(1, 24, size, size, offset)
    return (
        _CENTRAL.pack(
            0x02014B50, _VERSION, _VERSION, 0, 0, 0, _DATE, checksum, _IN_EXTRA, _IN_EXTRA, len(name), len(extra),
            0, 0, 0, 0, _IN_EXTRA,
        )
        + name
        + extra
    )  # fmt: skip


def _end(directory: list[bytes], offset: int) -> bytes:
    central = b"".join(directory)
    count, size = len(directory), len(central)
    behind = offset + size
    return (
        central
        + _END_64.pack(0x06064B50, _END_64.size - 12, _VERSION, _VERSION, 0, 0, count, count, size, offset)
        + _LOCATOR.pack(0x07064B50, 0, behind, 1)
        + _END.pack(0x06054B50, 0, 0, count, count, _IN_EXTRA, _IN_EXTRA, 0)
    )
