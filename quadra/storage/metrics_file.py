"""The metrics file: a pickle that grows in place and is complete after every append.

A pickle is a program that ends in STOP. This one builds a list of arrays, block by block; each block is followed by an
ending, which joins the list, names the series and stops:

    HEADER block ending                      one block
    HEADER block skipped-ending block ending two blocks

An ending begins with BININT1, which takes one byte, the ending's length, as a number that is then dropped. To append,
the next block and its ending are written behind it and synced; then its first byte alone is changed to SHORT_BINBYTES,
whose string is the whole ending: the program now runs on into the new block. At every instant the file is either the
old program or the new one. That one byte can be changed without harm to its neighbours on a power cut is what SQLite
calls powersafe overwrite; the second copy of the file covers the disk that cannot.

Stock tools run the program with pickle.load. This module reads it by its form alone and runs nothing.
"""

from __future__ import annotations

import pickle
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quadra.byte_progress import passed
from quadra.errors import DamagedFileError
from quadra.model.history import SERIES

HISTORY_KEYS = dict(
    zip(("loss_history", "reward_history", "variance_history", "field_mean_history"), SERIES, strict=True)
)
_FORMAT = 2  # of this file, as stock tools see it under `format_version`
_RUN_LENGTH = 16  # characters of a run's id
_ROW_BYTES = 4 * len(SERIES)
_LOOSE = 512  # bytes besides the rows, and 3 % of them, from which a file is worth writing anew
_COMPLETE, SKIPPED = pickle.BININT1, pickle.SHORT_BINBYTES  # the first byte of an ending


@dataclass(frozen=True)
class MetricsLog:
    """What is known of a metrics file on disk: where it ends, and so where it can grow."""

    run: str
    rows: int
    ending_at: int  # offset of the byte that is overwritten by the next append
    size: int  # bytes up to the end of the program; what stands behind them is left from an append that was cut off

    @property
    def is_fragmented(self) -> bool:
        """Whether many small blocks make the file larger than it need be."""
        return self.size > _LOOSE + self.rows * _ROW_BYTES * 1.03


@dataclass(frozen=True)
class ParsedMetrics:
    """The rows of a metrics file as far as its blocks are intact."""

    log: MetricsLog
    rows: NDArray[np.float32]  # shape (rows, 4); those of a damaged block are not a number
    intact: bool  # whether the file is one of ours to its end


def encode(run: str, rows: NDArray[np.float32]) -> tuple[list[bytes], MetricsLog]:
    """Returns a whole file with all rows, shape (rows, 4), in one block."""
    parts = [_header(run), _block(rows), _ending(len(rows))]
    size = sum(map(len, parts))
    return parts, MetricsLog(run, len(rows), size - len(parts[-1]), size)


def append(log: MetricsLog, rows: NDArray[np.float32]) -> tuple[bytes, MetricsLog]:
    """Returns what to write at `log.size`, and the log once the byte at `log.ending_at` is changed to SKIPPED."""
    count = log.rows + len(rows)
    ending = _ending(count)
    content = pickle.POP + _block(rows) + ending
    size = log.size + len(content)
    return content, MetricsLog(log.run, count, size - len(ending), size)


def is_log(content: bytes) -> bool:
    """Whether a file begins as those of this module do."""
    return content.startswith(_START)


def parse(content: bytes, file: str | Path) -> ParsedMetrics:
    """Returns the rows of a file, as far as its blocks can be told apart.

    Raises DamagedFileError where not even the beginning is that of a metrics file.
    """
    run = content[len(_START) : len(_START) + _RUN_LENGTH].decode("latin-1")
    header = _header(run)
    if not content.startswith(header):
        raise DamagedFileError(file, "does not begin as a metrics file does")
    blocks: list[NDArray[np.float32]] = []
    offset, ending_at, count, intact = len(header), len(header), 0, True
    while (block := _read_block(content, offset)) is not None:
        blocks.append(block.rows)
        passed(block.end - ending_at)
        count += len(block.rows)
        intact = intact and block.intact
        ending, ending_at = _ending(count), block.end
        offset = ending_at + len(ending)
        if content[ending_at + 1 : offset] != ending[1:]:
            break
        first = content[ending_at : ending_at + 1]
        if first == _COMPLETE:
            return _parsed(run, blocks, ending_at, offset, intact)
        if first + content[offset : offset + 1] != SKIPPED + pickle.POP:
            break
        offset += 1
    return _parsed(run, blocks, ending_at, offset, intact=False)


@dataclass(frozen=True)
class _Block:
    rows: NDArray[np.float32]
    end: int
    intact: bool


def _parsed(run: str, blocks: list[NDArray[np.float32]], ending_at: int, size: int, intact: bool) -> ParsedMetrics:
    rows = np.empty((sum(map(len, blocks)), len(SERIES)), np.float32)
    np.concatenate([rows[:0], *blocks], out=rows)
    return ParsedMetrics(MetricsLog(run, len(rows), ending_at, size), rows, intact)


def _block(rows: NDArray[np.float32]) -> bytes:
    """Returns the code of one block: ndarray((4, k), "<f4", bytes) is appended to the list; the bytes' checksum is dropped."""
    content = np.ascontiguousarray(rows.T, "<f4").tobytes()
    (checksum,) = struct.unpack("<i", struct.pack("<I", zlib.crc32(content)))
    return b"".join(
        [_BLOCK_START, struct.pack("<i", len(rows)), _BLOCK_SHAPED, struct.pack("<Q", len(content)), content,
         _BLOCK_MADE, struct.pack("<i", checksum), pickle.POP]
    )  # fmt: skip


def _read_block(content: bytes, offset: int) -> _Block | None:
    """Returns the block at an offset; None where there is none. A block whose checksum does not fit has rows of NaN."""
    shaped = offset + len(_BLOCK_START) + 4
    begin = shaped + len(_BLOCK_SHAPED) + 8
    if len(content) < begin or content[offset : offset + len(_BLOCK_START)] != _BLOCK_START:
        return None
    (count,) = struct.unpack_from("<i", content, shaped - 4)
    (size,) = struct.unpack_from("<Q", content, begin - 8)
    end = begin + size
    behind = end + len(_BLOCK_MADE)
    if (
        content[shaped : begin - 8] != _BLOCK_SHAPED
        or not count >= 0
        or size != count * _ROW_BYTES
        or len(content) < behind + 5
        or content[end:behind] != _BLOCK_MADE
    ):
        return None
    (checksum,) = struct.unpack_from("<I", content, behind)
    if zlib.crc32(memoryview(content)[begin:end]) != checksum or content[behind + 4 : behind + 5] != pickle.POP:
        return _Block(np.full((count, len(SERIES)), np.nan, np.float32), behind + 5, intact=False)
    rows = np.frombuffer(content, "<f4", count * len(SERIES), begin).reshape(len(SERIES), count).T
    return _Block(rows, behind + 5, intact=True)


def _ending(count: int) -> bytes:
    """Returns the code of an ending: dict(zip(keys, concatenate(list, 1))), the entries that are no series, then STOP."""
    body = _JOIN + struct.pack("<i", count) + _NAMED
    return _COMPLETE + bytes([len(body)]) + body


def _header(run: str) -> bytes:
    return _START + run.encode("latin-1") + _MEMORIES


def _text(value: str) -> bytes:
    return pickle.BINUNICODE + struct.pack("<I", len(value)) + value.encode("ascii")


def _name(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode("ascii")


_RUN, _RUN_KEY, _COUNT_KEY, _VERSION_KEY, _KEYS, _TYPE, _ARRAY, _CONCATENATE, _ZIP, _DICT, _LIST = (
    pickle.BINGET + bytes([index]) for index in range(11)
)
_MEMORIZED = (  # in the order of their memo indices, after the run's id
    _text("run"),
    _text("iteration_count"),
    _text("format_version"),
    pickle.MARK + b"".join(_text(key) for key in HISTORY_KEYS) + pickle.TUPLE,
    _text("<f4"),
    _name("numpy", "ndarray"),
    _name("numpy", "concatenate"),
    _name("builtins", "zip"),
    _name("builtins", "dict"),
)


def _memorized(value: bytes, index: int) -> bytes:
    return value + pickle.BINPUT + bytes([index]) + pickle.POP


_START = pickle.PROTO + b"\x04" + pickle.BINUNICODE + struct.pack("<I", _RUN_LENGTH)
_MEMORIES = (
    _memorized(b"", 0)
    + b"".join(_memorized(value, index) for index, value in enumerate(_MEMORIZED, start=1))
    + pickle.EMPTY_LIST + pickle.BINPUT + _LIST[1:]
)  # fmt: skip
_BLOCK_START = _ARRAY + pickle.BININT1 + bytes([len(SERIES)]) + pickle.BININT
_BLOCK_SHAPED = pickle.TUPLE2 + _TYPE + pickle.BINBYTES8
_BLOCK_MADE = pickle.TUPLE3 + pickle.REDUCE + pickle.APPEND + pickle.BININT
_JOINED = _LIST + pickle.BININT1 + b"\x01" + pickle.TUPLE2 + pickle.REDUCE  # concatenate(list, 1)
_JOIN = (
    pickle.POP + _DICT + _ZIP + _KEYS + _CONCATENATE + _JOINED
    + pickle.TUPLE2 + pickle.REDUCE + pickle.TUPLE1 + pickle.REDUCE + pickle.MARK + _COUNT_KEY + pickle.BININT
)  # fmt: skip
_NAMED = (
    _RUN_KEY + _RUN + _VERSION_KEY + pickle.BININT1 + bytes([_FORMAT]) + pickle.SETITEMS + pickle.STOP
)  # fmt: skip
