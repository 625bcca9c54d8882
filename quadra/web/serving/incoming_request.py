"""IncomingRequest: the bytes of a request as they come in, until there is enough of it for a thread to carry it out.

It looks for the end of a request and nothing else. gunicorn's parser reads the same bytes again and decides what they mean;
whatever it would refuse at once is handed to it at once.
"""

from __future__ import annotations

import enum
import re
from urllib.parse import unquote_to_bytes

MOST_HELD = 131_072  # bytes of a body; more than what comes without having been let in, and than a message of a page
LONGEST_HEAD = 65_536  # bytes
_LONGEST_CHUNK_LINE = 1000  # bytes, of which the size of a chunk takes a few
_MOST_DIGITS = 15
_TARGET = re.compile(rb"(?:\r\n)?\S+ (?:https?://[^/?# ]*)?([^?# ]*)", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([^\r\n]*)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_EXPECTS = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*(?=\r\n)", re.IGNORECASE)


class Stage(enum.Enum):
    """How far a request has come."""

    IDLE = "nothing of it is here"
    HEAD = "a part of its head is here"
    BODY = "its head and a part of a small body are here"
    READY = "all of it is here, or enough to know that it is none"
    LARGE = "its head is here; its body is too large to be held"
    OVERLONG = "its head is too long"


class IncomingRequest:
    """One request."""

    def __init__(self) -> None:
        self.stage = Stage.IDLE
        self._data = bytearray()
        self._looked = 0  # bytes of the head in which its end is not
        self._body = 0  # where it begins
        self._end = 0  # of the request, or of what is known of it: the next chunk begins there
        self._is_chunked = False

    def __len__(self) -> int:
        return len(self._data)

    def add(self, piece: bytes) -> None:
        """Adds what has come in."""
        self._data += piece
        if self.stage in (Stage.IDLE, Stage.HEAD):
            self.stage = self._stage_of_head()
        if self.stage is Stage.BODY:
            self.stage = self._stage_of_body()

    def take(self) -> bytes:
        """Returns all bytes, and keeps none."""
        data, self._data = bytes(self._data), bytearray()
        return data

    @property
    def path(self) -> str:
        """What is asked for, without its query; empty where there is no head."""
        found = _TARGET.match(self._data)
        return unquote_to_bytes(found[1]).decode("latin-1") if found else ""

    def take_expectation(self) -> bool:
        """Returns whether the client waits for a "100 Continue" before it sends the body that is waited for here; once."""
        found = _EXPECTS.search(self._data, 0, self._body) if self.stage is Stage.BODY else None
        if found is None:
            return False
        del self._data[found.start() : found.end()]
        length = found.end() - found.start()
        self._body -= length
        self._end -= length
        return True

    def _stage_of_head(self) -> Stage:
        end = self._data.find(b"\r\n\r\n", max(0, self._looked - 3))
        if end >= 0:
            self._body = end + 4
            return self._measured(bytes(self._data[: end + 2]))
        # The end of a line that is no CRLF is refused as soon as the parser sees it.
        news = self._data[max(0, self._looked - 1) :].removeprefix(b"\n")
        self._looked = len(self._data)
        if news.count(b"\n") != news.count(b"\r\n"):
            return Stage.READY
        return Stage.OVERLONG if len(self._data) > LONGEST_HEAD else Stage.HEAD

    def _measured(self, head: bytes) -> Stage:
        if _CHUNKED.search(head):
            self._is_chunked, self._end = True, self._body
            return Stage.BODY
        lengths = _LENGTH.findall(head)
        if not lengths or not lengths[0].isdigit():
            return Stage.READY
        length = int(lengths[0]) if len(lengths[0]) <= _MOST_DIGITS else MOST_HELD + 1
        self._end = self._body + length
        return Stage.BODY if length <= MOST_HELD else Stage.LARGE

    def _stage_of_body(self) -> Stage:
        if self._is_chunked:
            return self._stage_of_chunks()
        return Stage.READY if len(self._data) >= self._end else Stage.BODY

    def _stage_of_chunks(self) -> Stage:
        """Goes from chunk to chunk (RFC 9112, section 7.1)."""
        while self._end <= min(len(self._data), self._body + MOST_HELD):
            line_end = self._data.find(b"\r\n", self._end)
            if line_end < 0:
                is_line = len(self._data) - self._end <= _LONGEST_CHUNK_LINE
                return Stage.BODY if is_line else Stage.READY
            try:
                size = int(self._data[self._end : line_end].partition(b";")[0], 16)
            except ValueError:
                return Stage.READY
            if size <= 0:
                return self._stage_of_trailers(line_end)
            self._end = line_end + 2 + size + 2
        return Stage.BODY if self._end - self._body <= MOST_HELD else Stage.LARGE

    def _stage_of_trailers(self, line_end: int) -> Stage:
        if self._data.find(b"\r\n\r\n", line_end) >= 0:
            return Stage.READY
        return Stage.BODY if len(self._data) - self._body <= MOST_HELD else Stage.READY
