"""Lines of a text file as bytes, and whether such a file is text in UTF-8 at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

LINE_FEED, CARRIAGE_RETURN = b"\n", b"\r"
_READ_SIZE = 1 << 20
_FIRST_READ = 1 << 13  # mostly enough to meet a line feed
_REMEMBERED = 1 << 20  # bytes behind what is read of a line, from which its end is remembered
_MOST_REMEMBERED = 10_000  # lines
_MARKS = ((b"\xff\xfe\0\0", "UTF-32"), (b"\0\0\xfe\xff", "UTF-32"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))
_MOST_REPLACED = 0.25  # of the characters, blanks left out; a text in Latin-1 of a European language has some 0.05
_LONGEST_CHARACTER = 4  # bytes in UTF-8


def line_end_of(stream: BinaryIO) -> bytes:
    """Returns what the lines of a file end with: a carriage return where there is no line feed in it at all."""
    stream.seek(0)
    has_return, size = False, _FIRST_READ
    while piece := stream.read(size):
        if LINE_FEED in piece:
            return LINE_FEED
        has_return, size = has_return or CARRIAGE_RETURN in piece, _READ_SIZE
    return CARRIAGE_RETURN if has_return else LINE_FEED


def lines_of(stream: BinaryIO) -> Iterator[bytes]:
    """Yields all lines of a file that fits into memory, with their ends."""
    end = line_end_of(stream)
    stream.seek(0)
    if end == LINE_FEED:
        yield from stream
        return
    for line in stream.read().split(CARRIAGE_RETURN):
        yield line + CARRIAGE_RETURN


class LineEnds:
    """What was found out about the lines of a file: what they end with, and where the very long ones do.

    A file of one endless line is then not read anew for every line that is asked for.
    """

    def __init__(self) -> None:
        self._file: tuple[int, ...] | None = None  # the size and time of the file that this was found out about
        self._end: bytes | None = None
        self._long: dict[int, int] = {}  # where a line begins -> where the next one does

    def look_at(self, stream: BinaryIO, any_end: bool) -> bytes:
        """Returns what the lines end with; forgets all where the file has changed since."""
        try:
            found = os.fstat(stream.fileno())
            file: tuple[int, ...] = (found.st_ino, found.st_size, found.st_mtime_ns)
        except OSError:  # it is in memory, and never changes
            file = ()
        if file != self._file:
            self._file, self._end = file, None
            self._long.clear()
        if not any_end:
            return LINE_FEED
        self._end = self._end or line_end_of(stream)
        return self._end

    def read(self, stream: BinaryIO, start: int, end: bytes, size: int) -> bytes:
        """Returns the first `size` bytes of the line that begins at `start`; the stream then stands behind the line."""
        raw = stream.readline(size) if end == LINE_FEED else _up_to_return(stream, start, size)
        if raw and not raw.endswith(end):
            self._skip_rest(stream, start, end)
        return raw

    def _skip_rest(self, stream: BinaryIO, start: int, end: bytes) -> None:
        """Goes to the next line from within this one."""
        if start in self._long:
            stream.seek(self._long[start])
            return
        begin = stream.tell()
        while piece := stream.read(_READ_SIZE):
            at = piece.find(end)
            if at >= 0:
                stream.seek(at + len(end) - len(piece), os.SEEK_CUR)
                break
        if stream.tell() - begin >= _REMEMBERED:
            if len(self._long) >= _MOST_REMEMBERED:
                self._long.clear()
            self._long[start] = stream.tell()


def _up_to_return(stream: BinaryIO, start: int, size: int) -> bytes:
    raw = stream.read(size)
    at = raw.find(CARRIAGE_RETURN)
    if at < 0:
        return raw
    stream.seek(start + at + 1)
    return raw[: at + 1]


def encoding_fault(stream: BinaryIO) -> str | None:
    """Returns in which other encoding than UTF-8 a text is, as its beginning shows; None where it may be in UTF-8.

    In another encoding all words of a text would be lost.
    """
    head = stream.read(_READ_SIZE)
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return f"in {encoding}"
    if b"\0" in head:
        return "in UTF-16, or no text at all: there are zero bytes in it"
    if _share_replaced(head) > _MOST_REPLACED:
        return "in another encoding: most of it cannot be read"
    return None


def not_utf8(name: str, fault: str) -> str:
    """Returns the sentence for people on a text in another encoding."""
    return f"{name} is not plain text in UTF-8 but {fault}. Save it as a text file in UTF-8 and give that."


def _share_replaced(head: bytes) -> float:
    """Returns which share of the characters could not be read; the last one may be cut."""
    whole = head[: -(_LONGEST_CHARACTER - 1)] if len(head) == _READ_SIZE else head
    text = whole.decode("utf-8", "replace")
    replaced = text.count("\ufffd") - whole.count("\ufffd".encode())
    return replaced / max(1, len(text) - sum(map(str.isspace, text)))
