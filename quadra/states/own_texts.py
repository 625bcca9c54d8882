"""Own texts: what people gave as the corpus of a run, `corpora/<SHA-256>.txt` in the state directory.

A run refers to its own text by that path within the directory, so that a copied directory finds it on any machine. The name
of a text stands in a note beside it, `corpora/<SHA-256>.json`; without the note the text is still whole. A state directory
is only read here; `manage` writes into it.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quadra.errors import BadFileError, ConfigurationError, CorpusError
from quadra.model.corpus import LONGEST_LINE, Corpus
from quadra.model.text_lines import encoding_fault, lines_of, not_utf8
from quadra.storage.files.durable import Piece, is_plain_file, is_plain_folder, read_file, write_file
from quadra.storage.layout import CORPORA, TEXT_ID

LARGEST_TEXT = 20_000_000  # bytes
LONGEST_TEXT_NAME = 120  # characters of a text's name
BUILT_IN_CHOICE = "built-in"  # chooses the built-in corpus where the server was started with another one
LARGEST_NOTE = 10_000  # bytes of the file that says what a text is called
_REFERENCE = re.compile(rf"{CORPORA}/({TEXT_ID.pattern})\.txt")
_PIECE = 1 << 18  # bytes


@dataclass(frozen=True)
class UploadedText:
    """A text that somebody gave."""

    id: str  # SHA-256 of its bytes
    name: str
    lines: int  # that are not blank
    size: int  # bytes
    cut: int = 0  # lines longer than what a run reads of a line

    def as_dict(self) -> dict[str, Any]:
        """Returns the text as pages and scripts have it."""
        return {**{name: value for name, value in vars(self).items() if name != "size"}, "bytes": self.size}

    def note(self) -> bytes:
        """Returns the content of the note beside the text."""
        values = {name: value for name, value in vars(self).items() if name not in ("id", "size")}
        return json.dumps(values, ensure_ascii=False, sort_keys=True).encode()


def reference_of(text_id: str) -> str:
    """Returns the path by which a run refers to an own text."""
    return f"{CORPORA}/{text_id}.txt"


def id_of(path: object) -> str | None:
    """Returns the id of the own text that a run's corpus path refers to; None for another kind of path."""
    found = _REFERENCE.fullmatch(path) if isinstance(path, str) else None
    return None if found is None else found[1]


def text_file(folder: Path, text_id: str) -> Path:
    """Returns the path of an own text in a state directory."""
    return folder / CORPORA / f"{text_id}.txt"


def note_file(folder: Path, text_id: str) -> Path:
    """Returns the path of the note that has the name of an own text."""
    return folder / CORPORA / f"{text_id}.json"


def corpus_path(choice: str | None, default: str | None, folder: Path) -> str | None:
    """Returns the corpus path of a new run: None for the built-in corpus.

    `choice`: None for the default, `BUILT_IN_CHOICE`, or the id of an own text. Raises ConfigurationError where there is no
    such text.
    """
    if choice is None:
        return default
    if choice == BUILT_IN_CHOICE:
        return None
    if TEXT_ID.fullmatch(choice) and is_stored(folder, choice):
        return reference_of(choice)
    raise ConfigurationError("corpus", "is no text that is kept in the state directory. Give the text again.")


def open_corpus(path: str | None, folder: Path | None) -> Corpus:
    """Returns the corpus at a run's path. Raises CorpusError.

    An own text is read from the state directory `folder` into memory: it outlives a directory that is exchanged under the run.
    """
    text_id = id_of(path)
    if text_id is None:
        return Corpus(path)
    if folder is None or not is_stored(folder, text_id):
        raise CorpusError(f"The text {path} is not in the state directory. Copy it there, or give the text again.")
    file = text_file(folder, text_id)
    try:
        content = read_file(file) if file.stat().st_size <= LARGEST_TEXT else None
    except (BadFileError, OSError) as error:
        raise CorpusError(f"The text {path} cannot be read: {error}.") from error
    return Corpus(file, name_of(folder, text_id), path, content)


def is_stored(folder: Path, text_id: str) -> bool:
    """Returns whether an own text is in a state directory; no link is followed."""
    return is_plain_folder(folder / CORPORA) and is_plain_file(text_file(folder, text_id))


def is_stored_intact(folder: Path, text_id: str) -> bool:
    """Returns whether an own text is in a state directory with the content that its id names. Raises OSError."""
    return is_stored(folder, text_id) and is_intact(text_file(folder, text_id), text_id)


def own_texts(folder: Path) -> tuple[UploadedText, ...]:
    """Returns all own texts of a state directory, sorted by name."""
    if not is_plain_folder(folder / CORPORA):
        return ()
    ids = [file.stem for file in (folder / CORPORA).glob("*.txt") if TEXT_ID.fullmatch(file.stem)]
    texts: list[UploadedText] = []
    for text_id in ids:
        with suppress(OSError):  # somebody removed it just then
            texts += [describe(text_file(folder, text_id))] if is_stored(folder, text_id) else []
    return tuple(sorted(texts, key=lambda text: (text.name.casefold(), text.id)))


def name_of(folder: Path, text_id: str) -> str:
    """Returns the name of an own text."""
    return _name_in(_read_note(note_file(folder, text_id)), text_id)


def tidy_name(name: str) -> str:
    """Returns free text as a name that fits on one line and is not too long."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in name).split())[:LONGEST_TEXT_NAME].strip()


def write_received(pieces: Iterable[bytes], target: Path, name: str, limit: int = LARGEST_TEXT) -> UploadedText:
    """Writes a text that somebody sends, durably. Raises CorpusError for what cannot be trained on, or OSError."""
    digest = hashlib.sha256()
    write_file(target, _checked_pieces(pieces, digest, limit))
    with target.open("rb") as stream:
        fault = encoding_fault(stream)
    if fault is not None:
        raise CorpusError(not_utf8("This", fault))
    lines, cut = count_lines(target)
    text_id = digest.hexdigest()
    return UploadedText(text_id, tidy_name(name) or f"own text {text_id[:8]}", lines, target.stat().st_size, cut)


def count_lines(file: Path) -> tuple[int, int]:
    """Returns how many lines of a text are not blank, and how many are longer than what is read. Raises CorpusError for none."""
    lines = cut = 0
    with file.open("rb") as stream:
        for raw in lines_of(stream):
            line = raw.decode("utf-8", "replace").removeprefix("\ufeff").rstrip()
            lines += bool(line[:LONGEST_LINE].strip())
            cut += len(line) > LONGEST_LINE
    if not lines:
        raise CorpusError("There is no line in this text. Give one with at least one line that is not blank.")
    return lines, cut


def is_intact(file: Path, text_id: str) -> bool:
    """Returns whether a file has the content that this id names. Raises OSError."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        for piece in iter(lambda: stream.read(_PIECE), b""):
            digest.update(piece)
    return digest.hexdigest() == text_id


def stored_files(folder: Path, path: object) -> dict[str, list[Piece]]:
    """Returns the files of a run's own text by their paths in the state directory; none where it has another corpus, or its
    text is gone. Raises a BadFileError where the text cannot be read."""
    text_id = id_of(path)
    if text_id is None or not is_stored(folder, text_id):
        return {}
    found: dict[str, list[Piece]] = {reference_of(text_id): [read_file(text_file(folder, text_id))]}
    with suppress(BadFileError):  # the note has no more than the name of the text
        found[f"{CORPORA}/{text_id}.json"] = [read_file(note_file(folder, text_id))]
    return found


def _checked_pieces(pieces: Iterable[bytes], digest: Any, limit: int) -> Iterator[bytes]:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > limit:
            raise CorpusError(f"The text is larger than {limit / 1e6:g} MB. Start with --corpus and its place instead.")
        if b"\0" in piece:
            raise CorpusError(not_utf8("This", encoding_fault(io.BytesIO(piece)) or "something else"))
        digest.update(piece)
        yield piece


def describe(file: Path) -> UploadedText:
    """Returns what is known of a text whose file has its id as its name; without a note its lines are counted."""
    note = _read_note(file.with_suffix(".json"))
    lines, cut = (note.get(name) for name in ("lines", "cut"))
    if type(lines) is not int or type(cut) is not int:
        try:
            lines, cut = count_lines(file)
        except (CorpusError, OSError):  # whoever opens it raises the error
            lines, cut = 0, 0
    return UploadedText(file.stem, _name_in(note, file.stem), lines, file.stat().st_size, cut)


def _name_in(note: Mapping[str, Any], text_id: str) -> str:
    name = note.get("name")
    return (tidy_name(name) if isinstance(name, str) else "") or f"own text {text_id[:8]}"


def _read_note(file: Path) -> Mapping[str, Any]:
    """Returns the content of the note beside a text; an empty mapping where there is none, or it is not ours."""
    try:
        content = read_file(file) if is_plain_file(file) and file.stat().st_size <= LARGEST_NOTE else b""
        found = json.loads(content)
    except (BadFileError, OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
