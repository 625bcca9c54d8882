"""Read-only access to a saved state beside its owner: read and verified, never changed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from quadra.config import TrainingConfig
from quadra.errors import BadFileError
from quadra.states.listing import ListedState, StateListing
from quadra.states.own_texts import stored_files
from quadra.states.restore import read_any_format
from quadra.storage.files.durable import Piece, read_file
from quadra.storage.files.scratch import ScratchFolder
from quadra.storage.layout import FILES, WEIGHTS, StateLayout
from quadra.storage.save_record import verify
from quadra.storage.saved_state import SavedState, read_save
from quadra.storage.system_file import complete_files

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


def read_state(layout: StateLayout, state_id: str, defaults: TrainingConfig) -> tuple[ListedState, SavedState]:
    """Returns a state by its id. Raises UnknownSourceError or a BadFileError."""
    return retrying(lambda: _read_state(layout, state_id, defaults))


def read_files(
    layout: StateLayout, state_id: str, defaults: TrainingConfig
) -> tuple[ListedState, dict[str, list[Piece]]]:
    """Returns the three complete files of a state; those in the legacy format as they are. Raises what `read_state` raises."""
    return retrying(lambda: _files(layout, state_id, defaults))[:2]


def read_portable_files(
    layout: StateLayout, state_id: str, defaults: TrainingConfig
) -> tuple[ListedState, dict[str, list[Piece]]]:
    """Returns what a state needs to continue elsewhere, by the paths in a state directory: its three files, and its own text
    where it has one. Raises what `read_state` raises."""
    return retrying(lambda: _portable_files(layout, state_id, defaults))


def _portable_files(
    layout: StateLayout, state_id: str, defaults: TrainingConfig
) -> tuple[ListedState, dict[str, list[Piece]]]:
    entry, files, corpus = _files(layout, state_id, defaults)
    return entry, {**files, **stored_files(layout.path, corpus)}


def _files(
    layout: StateLayout, state_id: str, defaults: TrainingConfig
) -> tuple[ListedState, dict[str, list[Piece]], str | None]:
    """Returns the listed state, the three files, and the path of the corpus."""
    entry = StateListing(layout).find(state_id)
    weights = read_file(entry.file)
    if verify(weights, entry.file) is None:
        read_any_format(entry.file, entry.folder, defaults)
        return entry, {name: [read_file(entry.folder / name)] for name in FILES}, None
    with ScratchFolder() as temporary:  # what is read a second time may be the next save of a live server
        copy = Path(temporary) / WEIGHTS
        copy.write_bytes(weights)
        saved = read_save(copy, entry.folder)
        return entry, complete_files(saved, weights), saved.engine["corpus"]["path"]


def _read_state(layout: StateLayout, state_id: str, defaults: TrainingConfig) -> tuple[ListedState, SavedState]:
    entry = StateListing(layout).find(state_id)
    return entry, read_any_format(entry.file, entry.folder, defaults)
