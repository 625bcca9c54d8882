"""SaveRecord: what a save says of itself, sealed into the weights file; reading one needs no torch.

The weights file is the commit record of a saved state: it is a zip archive, and the archive's comment carries the
record and, over all other bytes of the file and the record, a SHA-256. Stock tools open such a file like any other.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple

from quadra.byte_progress import digest_of
from quadra.errors import DamagedFileError, InaccessibleFileError, MissingFileError, NewerFormatError
from quadra.storage.files.durable import Piece, require_plain

FORMAT_VERSION = 2
Ended = Literal["stopped", "cut off"]

_RUN_ID = re.compile(r"[0-9a-f]{16}")
_MOMENT = re.compile(r"[0-9T:.+Z-]{1,40}")
_STATE = re.compile(r"[0-9a-f]{16}@\d{1,16}")
_PROGRAM = re.compile(r"[0-9A-Za-z.+-]{1,40}")
_CHECKSUM = re.compile(r"[0-9a-f]{64}")
_NAMES_IN_FILES = {"load_rank": "chosen", "imported": "foreign"}  # every other entry has its name from here
_LATER = ("loss", "reward", "parent", "program")  # what the first records of this format did not have
LARGEST_NUMBER = 10**15  # of a save: none is ever given, and a forged one leaves no room for its own successor
MOST_EVENTS = 50  # of a kind that a record holds; older ones are dropped
_EVENTS = ("loaded_at", "struck_at")  # nor these, which are lists in JSON
_END_OF_ARCHIVE = b"PK\x05\x06"
_END_SIZE = 22  # bytes of the end record before the comment
_LONGEST_COMMENT = 0xFFFF
_SEAL_SIZE = 64  # hexadecimal digits of a SHA-256, at the very end of the file


class RunEvents(NamedTuple):
    """What happened to a run besides training, as iterations: the newest MOST_EVENTS of a kind, the oldest first."""

    loaded_at: tuple[int, ...] = ()  # how many iterations the run had
    struck_at: tuple[int, ...] = ()  # what should have become this iteration was void

    def with_load(self, iteration: int) -> RunEvents:
        """Returns the events after the run was loaded; several loads at one iteration are one event."""
        return self._replace(loaded_at=_with(self.loaded_at, iteration))

    def with_void(self, iteration: int) -> RunEvents:
        """Returns the events after an iteration was void; several void ones in a row are one event."""
        return self._replace(struck_at=_with(self.struck_at, iteration))


def _with(events: tuple[int, ...], iteration: int) -> tuple[int, ...]:
    return (*(at for at in events if at != iteration), iteration)[-MOST_EVENTS:]


@dataclass(frozen=True)
class SaveRecord:
    """The identity of one saved state."""

    run: str  # id of the run, 16 hexadecimal digits
    sequence: int  # of this save within its run, counted from 1
    iteration_count: int
    saved_at: str  # ISO 8601, UTC
    ended: Ended  # by stop or `until`; everything else is "cut off"
    load_rank: int  # grows with each stop and load in this folder; the largest is what Load takes by default; 0: never
    field_size: int
    seed: int
    history_sha256: str  # of the history's rows up to iteration_count
    metrics_rows: int  # rows that the metrics file was known to hold; the later ones are in the weights file itself
    format_version: int = FORMAT_VERSION
    imported: bool = False  # uploaded, and not loaded since: its text is then taken for its content, not for its path
    loss: float | None = None  # of that iteration; None: there is none, or it is not known
    reward: float | None = None
    parent: str | None = None  # the state that this run went on from, `<run>@<iteration>`; None: from nothing
    program: str | None = None  # version of the program that saved it; None: it did not say so yet
    loaded_at: tuple[int, ...] = ()  # as in RunEvents
    struck_at: tuple[int, ...] = ()
    save_number: int = 0  # grows with each save in this folder, whichever run; 0: from before saves were numbered

    @property
    def state(self) -> str:
        """The id that tells this state from all others: `<run>@<iteration>`."""
        return f"{self.run}@{self.iteration_count}"

    @property
    def events(self) -> RunEvents:
        """What happened to the run until this save."""
        return RunEvents(self.loaded_at, self.struck_at)


def seal(archive: Sequence[Piece], record: SaveRecord) -> list[Piece]:
    """Returns the pieces of the archive with the record and its checksum as its comment; it must have no comment yet."""
    text = dump(record)
    pieces = [*archive[:-1], bytes(archive[-1])[:-2] + struct.pack("<H", len(text) + _SEAL_SIZE) + text]
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return [*pieces, digest.hexdigest().encode("ascii")]


def resealed(content: bytes, record: SaveRecord) -> list[Piece]:
    """Returns the pieces of a weights file that was sealed already, with another record."""
    start = content.rfind(_END_OF_ARCHIVE)
    return seal([memoryview(content)[:start], content[start : start + _END_SIZE]], record)


def verify(content: bytes, file: str | Path) -> SaveRecord | None:
    """Returns the record of a whole weights file whose checksum fits; None where it was never sealed (legacy format)."""
    text = _comment(content[-_LONGEST_COMMENT - _END_SIZE :], file)
    if text and digest_of(memoryview(content)[:-_SEAL_SIZE]).hexdigest().encode() != content[-_SEAL_SIZE:]:
        raise DamagedFileError(file, "its checksum does not fit its content: it was altered or damaged")
    return parse(text, file) if text else None


def peek(path: Path) -> SaveRecord | None:
    """Returns the record of a weights file without reading or verifying the rest; None where it was never sealed."""
    try:
        require_plain(path)
        with path.open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - _LONGEST_COMMENT - _END_SIZE))
            text = _comment(stream.read(), path)
            return parse(text, path) if text else None
    except FileNotFoundError as error:
        raise MissingFileError(path, "is not there") from error
    except OSError as error:
        raise InaccessibleFileError(path, f"cannot be read: {error.strerror}") from error


def newer_format(version: int | str) -> str:
    """Returns what is wrong with a file of a newer format, in words."""
    return f"has format {version}, this program reads up to {FORMAT_VERSION}. Update the program to load it."


def dump(record: SaveRecord) -> bytes:
    """Returns the record as JSON."""
    values = {_NAMES_IN_FILES.get(name, name): value for name, value in vars(record).items()}
    return json.dumps(values, sort_keys=True).encode("ascii")


def _comment(end: bytes, file: str | Path) -> bytes:
    """Returns the text of the record; empty where the file was never sealed."""
    start = end.rfind(_END_OF_ARCHIVE)
    if start < 0 or len(end) < start + _END_SIZE:
        raise DamagedFileError(file, "is not a complete weights file (empty or cut short)")
    (length,) = struct.unpack_from("<H", end, start + _END_SIZE - 2)
    comment = end[start + _END_SIZE :]
    if length != len(comment):
        raise DamagedFileError(file, "is cut short or has something behind its end")
    if comment and len(comment) <= _SEAL_SIZE:
        raise DamagedFileError(file, "its record of the save cannot be read")
    return comment[:-_SEAL_SIZE]


def parse(text: bytes, file: str | Path) -> SaveRecord:
    """Returns the record that this JSON holds. Raises DamagedFileError or NewerFormatError, which name the file."""
    try:
        values: dict[str, Any] = json.loads(text)
        if _is_whole(values["format_version"], 1) and values["format_version"] > FORMAT_VERSION:
            raise NewerFormatError(file, newer_format(values["format_version"]))
        values.setdefault("metrics_rows", values["iteration_count"])  # format 1 had all rows in the metrics file
        values = {**dict.fromkeys(_LATER), **values}
        values |= {name: _tuple(values.get(name, [])) for name in _EVENTS}
        values.setdefault("save_number", 0)
        values.setdefault("foreign", False)  # what was saved before states could be uploaded is the folder's own
        names = [field.name for field in fields(SaveRecord)]
        record = SaveRecord(**{name: values[_NAMES_IN_FILES.get(name, name)] for name in names})
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedFileError(file, "its record of the save cannot be read") from error
    if not _is_possible(record):
        raise DamagedFileError(file, "its record of the save holds a value that is not possible")
    return record


def _is_possible(record: SaveRecord) -> bool:
    counts = {"field_size": 1, "format_version": 1}
    counts |= dict.fromkeys(("sequence", "iteration_count", "load_rank", "seed", "metrics_rows", "save_number"), 0)
    texts = {"run": _RUN_ID, "saved_at": _MOMENT, "history_sha256": _CHECKSUM}
    return (
        record.ended in ("stopped", "cut off")
        and all(_is_whole(getattr(record, name), least) for name, least in counts.items())
        and all(
            isinstance(getattr(record, name), str) and pattern.fullmatch(getattr(record, name)) is not None
            for name, pattern in texts.items()
        )
        and record.metrics_rows <= record.iteration_count
        and record.save_number <= LARGEST_NUMBER
        and all(value is None or _is_finite(value) for value in (record.loss, record.reward))
        and all(
            value is None or (isinstance(value, str) and pattern.fullmatch(value) is not None)
            for value, pattern in ((record.parent, _STATE), (record.program, _PROGRAM))
        )
        and isinstance(record.imported, bool)
        and all(_are_events(getattr(record, name)) for name in _EVENTS)
    )


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _are_events(value: object) -> bool:
    return (
        isinstance(value, tuple) and len(value) <= MOST_EVENTS and all(_is_whole(iteration, 0) for iteration in value)
    )


def _is_finite(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]  # one of these two


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
