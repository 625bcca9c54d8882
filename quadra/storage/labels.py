"""Labels: what people say of saved states: names, notes, pins, and what they have deleted but may still want back.

They stand in `labels.json` and a second copy, written one after the other, so that one of them is whole at every instant.
They are free text and never become paths. Losing them loses no state.
"""

from __future__ import annotations

import json
import logging
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from quadra.errors import BadFileError, ConfigurationError, DamagedFileError, MissingFileError
from quadra.storage.files.durable import read_file, replace_file
from quadra.storage.layout import LABELS, LABELS_COPY

log = logging.getLogger("quadra")

LONGEST_NAME = 120  # characters
LONGEST_NOTE = 2000
_FORMAT = 1
_LARGEST = 64 << 20  # bytes of the file


@dataclass(frozen=True)
class Label:
    """What a person says of one saved state."""

    name: str = ""
    note: str = ""
    pinned: bool = False
    deleted_at: str | None = None  # ISO 8601, UTC: since when it waits to be removed; None: it does not


NO_LABEL = Label()


def read_labels(folder: Path) -> dict[str, Label]:
    """Returns the labels by state id, from the first file that is whole. Raises DamagedFileError where none is."""
    failures: list[BadFileError] = []
    for name in (LABELS, LABELS_COPY):
        try:
            return _parsed(read_file(folder / name), folder / name)
        except BadFileError as error:
            failures.append(error)
    bad = next((error for error in failures if not isinstance(error, MissingFileError)), None)
    if bad is not None:
        raise bad
    return {}


def write_labels(folder: Path, labels: Mapping[str, Label]) -> None:
    """Writes both files, durably. Raises OSError; one of them is then whole."""
    states = {state: asdict(label) for state, label in labels.items() if label != NO_LABEL}
    content = json.dumps({"format_version": _FORMAT, "states": states}, ensure_ascii=False, indent=1).encode()
    for name in (LABELS, LABELS_COPY):
        replace_file(folder / name, [content])


def checked_name(name: str) -> str:
    """Returns a name that people can read back. Raises ConfigurationError."""
    name = _printable(name.strip(), "name", LONGEST_NAME)
    if not name:
        raise ConfigurationError("name", "must not be empty")
    return name


def checked_note(note: str) -> str:
    """Returns a note, which may have several lines. Raises ConfigurationError."""
    return _printable(note.strip(), "note", LONGEST_NOTE)


def _printable(text: str, field: str, longest: int) -> str:
    text = unicodedata.normalize("NFC", text)
    if len(text) > longest:
        raise ConfigurationError(field, f"must have at most {longest:,} characters, not {len(text):,}")
    if any(unicodedata.category(sign) in ("Cc", "Cs") and sign != "\n" for sign in text):
        raise ConfigurationError(field, "must not hold control characters")
    return text


def _parsed(content: bytes, file: Path) -> dict[str, Label]:
    if len(content) > _LARGEST:
        raise DamagedFileError(file, "is far larger than any list of names")
    try:
        states: dict[str, dict[str, Any]] = json.loads(content)["states"]
        labels = {
            state: Label(**{field.name: label[field.name] for field in fields(Label)})
            for state, label in states.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedFileError(file, "is not a list of names as this program writes it") from error
    for label in labels.values():
        texts = isinstance(label.name, str) and isinstance(label.note, str) and isinstance(label.deleted_at, str | None)
        if not texts or not isinstance(label.pinned, bool):
            raise DamagedFileError(file, "is not a list of names as this program writes it")
    return labels
