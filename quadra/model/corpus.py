"""The training text, line by line. The position in the text is state."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from quadra.errors import CorpusError
from quadra.model.text_lines import CARRIAGE_RETURN, LINE_FEED, LineEnds, encoding_fault, line_end_of, not_utf8
from quadra.paths import expanded

BUILT_IN = Path(__file__).with_name("corpus.txt")
BUILT_IN_NAME = "built-in corpus"
LONGEST_LINE = 10_000  # characters; the rest of a longer line is skipped
_MOST_BYTES = 4 * LONGEST_LINE + 3  # a UTF-8 character has at most four bytes, a byte order mark three
_READ_SIZE = 1 << 20
_FULLY_HASHED = 256 << 20  # larger corpora are fingerprinted by samples, so that a start stays quick
_SAMPLES = 64

_Found = TypeVar("_Found")


class Corpus:
    """Lines of a text file or of a folder's files, one after the other; the last is followed by the first.

    The text is streamed, so a corpus may be larger than memory. `name`: shown to people, by default the file's name;
    `reference`: the path in saved states, by default that on this machine; `content`: the bytes of the file at the path,
    which is then not read. Raises CorpusError where the text cannot be read or has no line.
    """

    def __init__(
        self, path: str | Path | None = None, name: str | None = None, reference: str | None = None,
        content: bytes | None = None,
    ) -> None:  # fmt: skip
        self.path = None if path is None else _absolute(expanded(path))
        self.name = name or (BUILT_IN_NAME if self.path is None else self.path.name)
        self.reference = reference or (None if self.path is None else str(self.path))
        self.content = content
        self._files = [Path(self.name)] if content is not None else _files_of(self.path or BUILT_IN)
        self._file = 0  # index of the file that the next line comes from
        self._offset = 0  # bytes of it that have been read
        self._any_end = True  # whether carriage returns alone end lines too: runs that began without go on without
        self._ends = [LineEnds() for _ in self._files]
        self._stream: BinaryIO | None = None
        self._end = LINE_FEED  # of the lines in the file that is open
        self._require_a_line()
        self._has_returns = any(end == CARRIAGE_RETURN for end in self._with_each_file(line_end_of))
        self._sizes, self.fingerprint = _sizes_and_fingerprint(self._files) if content is None else _of_content(content)

    def next_line(self) -> str:
        """Returns the next line that is not blank, cut at 10,000 characters."""
        wraps = 0
        while wraps < 2:
            line = self._read_line()
            if line is None:
                wraps += self._next_file()
            elif line:
                return line
        raise CorpusError(f"The corpus {self.name} has no line of text left. Choose another file or folder.")

    def state_dict(self) -> dict[str, Any]:
        """Returns the position in the text, and the fingerprint of the text."""
        return {
            "path": self.reference,
            "fingerprint": self.fingerprint,
            "file": self._file,
            "offset": self._offset,
            **({"any_line_end": True} if self._any_end and self._has_returns else {}),
        }

    def has_position(self, saved: Mapping[str, Any]) -> bool:
        """Whether a saved position is one in this text.

        It is not where the run was trained on another text, nor where this one was longer while it was read.
        """
        file, offset = int(saved["file"]), int(saved["offset"])
        is_within = 0 <= file < len(self._files) and 0 <= offset <= self._sizes[file]
        return is_within and saved["fingerprint"] == self.fingerprint

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Goes to a saved position, or to the beginning where it is none in this text."""
        self.close()
        self._file, self._offset = (int(saved["file"]), int(saved["offset"])) if self.has_position(saved) else (0, 0)
        self._any_end = saved["fingerprint"] != self.fingerprint or bool(saved.get("any_line_end"))

    def require_utf8(self) -> None:
        """Raises CorpusError, naming the file, where one shows that it is not text in UTF-8; for new runs only.

        A run that was begun on such a text goes on as it began.
        """
        for file, fault in zip(self._files, self._with_each_file(encoding_fault), strict=True):
            if fault is not None:
                raise CorpusError(not_utf8(str(file), fault))

    def close(self) -> None:
        """Closes the file; the position stays."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _require_a_line(self) -> None:
        """Raises CorpusError unless there is a line; reads no further than the first one."""
        self.next_line()
        self.close()
        self._file = self._offset = 0

    def _read_line(self) -> str | None:
        """Returns the next line of the file, "" for a blank one, None at the end of the file."""
        try:
            stream = self._open()
            raw = self._ends[self._file].read(stream, self._offset, self._end, _MOST_BYTES)
            self._offset = stream.tell()
        except OSError as error:
            raise CorpusError(f"The corpus file {self._files[self._file]} cannot be read: {error}.") from error
        if not raw:
            return None
        return raw.decode("utf-8", "replace").removeprefix("\ufeff")[:LONGEST_LINE].strip()

    def _open(self) -> BinaryIO:
        if self._stream is None:
            self._stream = self._opened(self._files[self._file])
            self._end = self._ends[self._file].look_at(self._stream, self._any_end)
            self._stream.seek(self._offset)
        return self._stream

    def _opened(self, file: Path) -> BinaryIO:
        return file.open("rb") if self.content is None else io.BytesIO(self.content)

    def _with_each_file(self, look: Callable[[BinaryIO], _Found]) -> Iterator[_Found]:
        """Yields what `look` finds in the files, one after the other. Raises CorpusError where one cannot be read."""
        for file in self._files:
            try:
                with self._opened(file) as stream:
                    found = look(stream)
            except OSError as error:
                raise CorpusError(f"The corpus file {file} cannot be read: {error}.") from error
            yield found

    def _next_file(self) -> int:
        """Goes to the beginning of the next file; returns 1 where that is the first one again, else 0."""
        self.close()
        self._file = (self._file + 1) % len(self._files)
        self._offset = 0
        return int(self._file == 0)


def _absolute(path: Path) -> Path:
    try:
        return path.absolute()
    except OSError as error:
        raise CorpusError(f"The corpus {path} cannot be looked for: the working folder is gone.") from error


def _files_of(path: Path) -> list[Path]:
    try:
        if path.is_file():
            return [path]
        if not path.is_dir():
            if path.exists():
                raise CorpusError(
                    f"The corpus {path} is not a regular file but a pipe, a device or the like. A text is read again and again: "
                    "write it into a file and name that."
                )
            raise CorpusError(f"The corpus {path} is not there. Name a text file or a folder of text files.")
        inner = [file.relative_to(path) for file in path.rglob("*") if file.is_file()]
    except OSError as error:  # a path of another machine may lead to a folder that cannot be read here
        raise CorpusError(f"The corpus {path} cannot be looked at: {error.strerror}.") from error
    # By their parts: paths themselves sort differently on Windows, and a run would not find its text again.
    files = [path / file for file in sorted(inner, key=lambda file: file.parts) if not _is_hidden(file)]
    if not files:
        raise CorpusError(f"The corpus folder {path} holds no file. Name a text file or a folder of text files.")
    return files


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _sizes_and_fingerprint(files: list[Path]) -> tuple[list[int], str]:
    """Returns sizes, and SHA-256 over sizes and all bytes, or evenly spaced samples where there are more than 256 MiB."""
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


def _of_content(content: bytes) -> tuple[list[int], str]:
    """Returns size and fingerprint of a file with this content, which is small enough to be hashed as a whole."""
    return [len(content)], hashlib.sha256(b"%d\n" % len(content) + content).hexdigest()


def _blocks(file: Path, size: int, whole: bool) -> Iterator[bytes]:
    with file.open("rb") as stream:
        if whole:
            yield from iter(lambda: stream.read(_READ_SIZE), b"")
            return
        for sample in range(_SAMPLES):
            stream.seek(size * sample // _SAMPLES)
            yield stream.read(1 << 16)
