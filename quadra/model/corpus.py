"""The training text: corpus -> lines (the place is state), line -> feature vector."""

from __future__ import annotations

import hashlib
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from quadra.errors import CorpusError

BUILT_IN = Path(__file__).with_name("corpus.txt")
BUILT_IN_NAME = "built-in corpus"
LONGEST_LINE = 10_000  # characters; the rest of a longer line is skipped
_MOST_BYTES = 4 * LONGEST_LINE + 3  # a UTF-8 character has at most four bytes, a byte order mark three
_READ_SIZE = 1 << 20
_FULLY_HASHED = 256 << 20  # larger corpora are fingerprinted by samples, so that a start stays quick
_SAMPLES = 64

_WORD = re.compile(r"\w+")


def features(line: str, size: int) -> NDArray[np.float32]:
    """The feature vector of a line, shape (size,): word w adds 1 to cell crc32(w) mod size.

    The hashing trick (Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML 2009).
    """
    cells = [zlib.crc32(word.encode("utf-8", "replace")) % size for word in _WORD.findall(line.casefold())]
    return np.bincount(np.array(cells, dtype=np.intp), minlength=size).astype(np.float32)


class Corpus:
    """Lines of a text file or of a folder's files, one after the other, wrapping round.

    Streams: a corpus larger than memory works. `name`: what it is called, by default as its file is; `reference`: the path
    that a saved state names instead of the place on this machine; `content`: of the file at the path, which is then not
    looked at any more. Raises CorpusError where it cannot be read or has no line.
    """

    def __init__(
        self, path: str | Path | None = None, name: str | None = None, reference: str | None = None,
        content: bytes | None = None,
    ) -> None:  # fmt: skip
        self.path = None if path is None else Path(path).absolute()
        self.name = name or (BUILT_IN_NAME if self.path is None else self.path.name)
        self.reference = reference or (None if self.path is None else str(self.path))
        self.content = content
        self._files = [Path(self.name)] if content is not None else _files_of(self.path or BUILT_IN)
        self._file = 0  # index of the file that the next line comes from
        self._offset = 0  # bytes of it that are used up
        self._stream: BinaryIO | None = None
        self._require_a_line()
        self._sizes, self.fingerprint = _measured(self._files) if content is None else _measured_in_memory(content)

    def next_line(self) -> str:
        """The next line that is not blank, cut at 10,000 characters."""
        wraps = 0
        while wraps < 2:
            line = self._read_line()
            if line is None:
                wraps += self._next_file()
            elif line:
                return line
        raise CorpusError(f"The corpus {self.name} has no line of text left. Choose another file or folder.")

    def state_dict(self) -> dict[str, Any]:
        """The place in the text and what it is a place in."""
        return {
            "path": self.reference,
            "fingerprint": self.fingerprint,
            "file": self._file,
            "offset": self._offset,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a saved place; in a text with another fingerprint, to the beginning. Raises ValueError for no place of it."""
        file, offset = int(state["file"]), int(state["offset"])
        if state["fingerprint"] != self.fingerprint:
            file = offset = 0
        elif not (0 <= file < len(self._files) and 0 <= offset <= self._sizes[file]):
            raise ValueError(f"file {file}, byte {offset} is no place in the corpus {self.name}")
        self.close()
        self._file, self._offset = file, offset

    def close(self) -> None:
        """Release the open file; the place is kept."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _require_a_line(self) -> None:
        """Raise CorpusError unless there is a line; reads no further than the first one."""
        self.next_line()
        self.close()
        self._file = self._offset = 0

    def _read_line(self) -> str | None:
        """The rest of the present line without its end, "" for a blank one, None at the end of the file."""
        try:
            stream = self._open()
            raw = stream.readline(_MOST_BYTES)
            piece = raw
            while piece and not piece.endswith(b"\n"):
                piece = stream.readline(_READ_SIZE)
            self._offset = stream.tell()
        except OSError as error:
            raise CorpusError(f"The corpus file {self._files[self._file]} cannot be read: {error}.") from error
        if not raw:
            return None
        return raw.decode("utf-8", "replace").removeprefix("\ufeff")[:LONGEST_LINE].strip()

    def _open(self) -> BinaryIO:
        if self._stream is None:
            self._stream = self._files[self._file].open("rb") if self.content is None else io.BytesIO(self.content)
            self._stream.seek(self._offset)
        return self._stream

    def _next_file(self) -> int:
        """Go to the beginning of the next file; returns 1 if that wrapped round to the first."""
        self.close()
        self._file = (self._file + 1) % len(self._files)
        self._offset = 0
        return int(self._file == 0)


def _files_of(path: Path) -> list[Path]:
    try:
        if path.is_file():
            return [path]
        if not path.is_dir():
            raise CorpusError(f"The corpus {path} is not there. Name a text file or a folder of text files.")
        inner = [file.relative_to(path) for file in path.rglob("*") if file.is_file()]
    except OSError as error:  # a path of another machine may lead where this one lets nobody look
        raise CorpusError(f"The corpus {path} cannot be looked at: {error.strerror}.") from error
    # By their parts, since paths themselves are in another order on Windows, and a run would not find its text again.
    files = [path / file for file in sorted(inner, key=lambda file: file.parts) if not _hidden(file)]
    if not files:
        raise CorpusError(f"The corpus folder {path} holds no file. Name a text file or a folder of text files.")
    return files


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _measured(files: list[Path]) -> tuple[list[int], str]:
    """Sizes, and SHA-256 over all bytes, or over sizes and evenly spaced samples where there are more than 256 MiB."""
    digest = hashlib.sha256()
    try:
        sizes = [file.stat().st_size for file in files]
        for file, size in zip(files, sizes, strict=True):
            digest.update(f"{size}\n".encode())
            for block in _blocks(file, size, sum(sizes) <= _FULLY_HASHED):
                digest.update(block)
    except OSError as error:
        raise CorpusError(f"The corpus cannot be read: {error}.") from error
    return sizes, digest.hexdigest()


def _measured_in_memory(content: bytes) -> tuple[list[int], str]:
    """The same of a file with this content, which is small enough to be read as a whole."""
    return [len(content)], hashlib.sha256(b"%d\n" % len(content) + content).hexdigest()


def _blocks(file: Path, size: int, whole: bool) -> Iterator[bytes]:
    with file.open("rb") as stream:
        if whole:
            yield from iter(lambda: stream.read(_READ_SIZE), b"")
            return
        for sample in range(_SAMPLES):
            stream.seek(size * sample // _SAMPLES)
            yield stream.read(1 << 16)
