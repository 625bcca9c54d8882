"""Opening a saved state beside its owner: read and verified, never changed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from quadra.config import TrainingConfig
from quadra.errors import BadFileError
from quadra.states.listing import ListedState, StateListing
from quadra.states.own_texts import files_with
from quadra.states.restore import read_any
from quadra.storage.files.durable import Piece, read_file
from quadra.storage.layout import FILES, WEIGHTS, StateLayout
from quadra.storage.save_record import verify
from quadra.storage.saved_state import SavedState, files_of, read_save

ATTEMPTS = 5  # at reading a state that a live server may be replacing, before it counts as bad

Result = TypeVar("Result")


def retrying(read: Callable[[], Result], attempts: int = ATTEMPTS) -> Result:
    """Returns what `read` returns. Raises a BadFileError only where all of so many attempts do.

    A live server may replace the files of a state one after the other while they are read.
    """
    for _ in range(attempts - 1):
        with contextlib.suppress(BadFileError):
            return read()
    return read()


def open_state(layout: StateLayout, state: str, defaults: TrainingConfig) -> tuple[ListedState, SavedState]:
    """One state by its id. Raises UnknownSourceError, or a BadFileError."""
    return retrying(lambda: _opened(layout, state, defaults))


def open_files(layout: StateLayout, state: str, defaults: TrainingConfig) -> tuple[ListedState, dict[str, list[Piece]]]:
    """The three complete files of a state; those of the earlier generation as they are. Raises what `open_state` raises."""
    return retrying(lambda: _files(layout, state, defaults))[:2]


def open_to_go(layout: StateLayout, state: str, defaults: TrainingConfig) -> tuple[ListedState, dict[str, list[Piece]]]:
    """What a state needs to continue elsewhere: the three files, and its own text where it has one, by their paths in a
    state directory. Raises what `open_state` raises."""
    return retrying(lambda: _to_go(layout, state, defaults))


def _to_go(layout: StateLayout, state: str, defaults: TrainingConfig) -> tuple[ListedState, dict[str, list[Piece]]]:
    entry, files, corpus = _files(layout, state, defaults)
    return entry, {**files, **files_with(layout.path, corpus)}


def _files(
    layout: StateLayout, state: str, defaults: TrainingConfig
) -> tuple[ListedState, dict[str, list[Piece]], str | None]:
    """The entry, the three files, and the path of the corpus."""
    entry = StateListing(layout).find(state)
    weights = read_file(entry.file)
    if verify(weights, entry.file) is None:
        read_any(entry.file, entry.folder, defaults)
        return entry, {name: [read_file(entry.folder / name)] for name in FILES}, None
    with TemporaryDirectory() as place:  # what is read a second time may be the next save of a live server
        copy = Path(place) / WEIGHTS
        copy.write_bytes(weights)
        saved = read_save(copy, entry.folder)
        return entry, files_of(saved, weights), saved.engine["corpus"]["path"]


def _opened(layout: StateLayout, state: str, defaults: TrainingConfig) -> tuple[ListedState, SavedState]:
    entry = StateListing(layout).find(state)
    return entry, read_any(entry.file, entry.folder, defaults)
