"""Own texts: what people gave as the corpus of a run, `corpora/<SHA-256>.txt` in the state directory; for looking only.

A run refers to its own text by that path within the directory, so that a copied directory finds it on any machine. What a
text is called stands beside it, `corpora/<SHA-256>.json`; without it the text is still whole.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quadra.errors import BadFileError, ConfigurationError, CorpusError
from quadra.model.corpus import LONGEST_LINE, Corpus
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
    """One text that somebody gave."""

    id: str  # SHA-256 of its bytes
    name: str
    lines: int  # that are not blank
    size: int  # bytes
    cut: int = 0  # lines longer than what a run reads of a line

    def as_dict(self) -> dict[str, Any]:
        """What pages and scripts are told."""
        facts = {name: value for name, value in vars(self).items() if name != "size"}
        return {**facts, "bytes": self.size}

    def note(self) -> bytes:
        """The content of the file beside it."""
        facts = {name: value for name, value in vars(self).items() if name not in ("id", "size")}
        return json.dumps(facts, ensure_ascii=False, sort_keys=True).encode()


def reference_of(text: str) -> str:
    """How a run refers to the own text of this id."""
    return f"{CORPORA}/{text}.txt"


def id_of(path: object) -> str | None:
    """The id of the own text that a run's corpus path refers to; None where it is another kind of path."""
    found = _REFERENCE.fullmatch(path) if isinstance(path, str) else None
    return None if found is None else found[1]


def text_file(folder: Path, text: str) -> Path:
    """Where an own text stands in a state directory."""
    return folder / CORPORA / f"{text}.txt"


def note_file(folder: Path, text: str) -> Path:
    """Where it stands what the text is called."""
    return folder / CORPORA / f"{text}.json"


def corpus_path(choice: str | None, default: str | None, folder: Path) -> str | None:
    """The corpus path of a new run: None takes the default, `BUILT_IN_CHOICE` the built-in corpus, an id that own text.

    Raises ConfigurationError where there is no such text.
    """
    if choice is None:
        return default
    if choice == BUILT_IN_CHOICE:
        return None
    if TEXT_ID.fullmatch(choice) and is_stored(folder, choice):
        return reference_of(choice)
    raise ConfigurationError("corpus", "is no text that is kept in the state directory. Give the text again.")


def open_corpus(path: str | None, folder: Path | None) -> Corpus:
    """The corpus at a run's path; an own text is looked for in the state directory `folder`, and kept in memory: it outlives
    a directory that is exchanged under the run. Raises CorpusError."""
    text = id_of(path)
    if text is None:
        return Corpus(path)
    if folder is None or not is_stored(folder, text):
        raise CorpusError(f"The text {path} is not in the state directory. Copy it there, or give the text again.")
    file = text_file(folder, text)
    try:
        content = read_file(file) if file.stat().st_size <= LARGEST_TEXT else None
    except (BadFileError, OSError) as error:
        raise CorpusError(f"The text {path} cannot be read: {error}.") from error
    return Corpus(file, name_of(folder, text), path, content)


def is_stored(folder: Path, text: str) -> bool:
    """Whether an own text stands in a state directory; no link is followed."""
    return is_plain_folder(folder / CORPORA) and is_plain_file(text_file(folder, text))


def is_stored_intact(folder: Path, text: str) -> bool:
    """Whether an own text stands in a state directory with the content that its name says. Raises OSError."""
    return is_stored(folder, text) and is_intact(text_file(folder, text), text)


def own_texts(folder: Path) -> tuple[UploadedText, ...]:
    """All own texts of a state directory, by name."""
    if not is_plain_folder(folder / CORPORA):
        return ()
    ids = [file.stem for file in (folder / CORPORA).glob("*.txt") if TEXT_ID.fullmatch(file.stem)]
    texts: list[UploadedText] = []
    for text in ids:
        with suppress(OSError):  # somebody took it away just then
            texts += [describe(text_file(folder, text))] if is_stored(folder, text) else []
    return tuple(sorted(texts, key=lambda text: (text.name.casefold(), text.id)))


def name_of(folder: Path, text: str) -> str:
    """What an own text is called."""
    return _name_in(_noted(note_file(folder, text)), text)


def tidy_name(name: str) -> str:
    """A name of free text as it is kept: one line, not too long."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in name).split())[:LONGEST_TEXT_NAME].strip()


def write_received(pieces: Iterable[bytes], target: Path, name: str, limit: int = LARGEST_TEXT) -> UploadedText:
    """Write a text that somebody sends, durably; what it is. Raises CorpusError for what cannot be trained on, and OSError."""
    digest = hashlib.sha256()
    write_file(target, _taken(pieces, digest, limit))
    lines, cut = count_lines(target)
    text = digest.hexdigest()
    return UploadedText(text, tidy_name(name) or f"own text {text[:8]}", lines, target.stat().st_size, cut)


def count_lines(file: Path) -> tuple[int, int]:
    """Lines of a text that are not blank, and how many are longer than what is read. Raises CorpusError for no line."""
    lines = cut = 0
    with file.open("rb") as stream:
        for raw in stream:
            line = raw.decode("utf-8", "replace").removeprefix("\ufeff").rstrip()
            lines += bool(line[:LONGEST_LINE].strip())
            cut += len(line) > LONGEST_LINE
    if not lines:
        raise CorpusError("There is no line in this text. Give one with at least one line that is not blank.")
    return lines, cut


def is_intact(file: Path, text: str) -> bool:
    """Whether a file has the content that its name says. Raises OSError."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        for piece in iter(lambda: stream.read(_PIECE), b""):
            digest.update(piece)
    return digest.hexdigest() == text


def stored_files(folder: Path, path: object) -> dict[str, list[Piece]]:
    """The files of a run's own text by their paths in the state directory; none where it has another corpus, or its text is gone.

    Raises a BadFileError where the text cannot be read.
    """
    text = id_of(path)
    if text is None or not is_stored(folder, text):
        return {}
    found: dict[str, list[Piece]] = {reference_of(text): [read_file(text_file(folder, text))]}
    with suppress(BadFileError):  # it only says what the text is called
        found[f"{CORPORA}/{text}.json"] = [read_file(note_file(folder, text))]
    return found


def _taken(pieces: Iterable[bytes], digest: Any, limit: int) -> Iterator[bytes]:
    taken = 0
    for piece in pieces:
        taken += len(piece)
        if taken > limit:
            raise CorpusError(f"The text is larger than {limit / 1e6:g} MB. Start with --corpus and its place instead.")
        if b"\0" in piece:
            raise CorpusError("This is not plain text in UTF-8. Save it as a text file in UTF-8 and give that.")
        digest.update(piece)
        yield piece


def describe(file: Path) -> UploadedText:
    """What is known of a text whose file has its id as its name; counted anew where nothing beside it says it."""
    noted = _noted(file.with_suffix(".json"))
    lines, cut = (noted.get(name) for name in ("lines", "cut"))
    if type(lines) is not int or type(cut) is not int:
        try:
            lines, cut = count_lines(file)
        except (CorpusError, OSError):  # told by whoever opens it
            lines, cut = 0, 0
    return UploadedText(file.stem, _name_in(noted, file.stem), lines, file.stat().st_size, cut)


def _name_in(noted: Mapping[str, Any], text: str) -> str:
    name = noted.get("name")
    return (tidy_name(name) if isinstance(name, str) else "") or f"own text {text[:8]}"


def _noted(note: Path) -> Mapping[str, Any]:
    """What the file beside a text says; nothing where it is not there or not ours."""
    try:
        content = read_file(note) if is_plain_file(note) and note.stat().st_size <= LARGEST_NOTE else b""
        found = json.loads(content)
    except (BadFileError, OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
