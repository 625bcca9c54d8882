"""The check of a state directory, beside a live server too: which of its saved states are whole. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from quadra.config import TrainingConfig
from quadra.errors import BadFileError, MissingFileError
from quadra.model.corpus import Corpus
from quadra.states.alert_rules import read_rules
from quadra.states.own_texts import id_of, is_intact, is_stored, own_texts, reference_of, text_file
from quadra.states.read_only import retrying
from quadra.storage import legacy
from quadra.storage.catalog import Catalog, SavedSummary, read_catalog, summarize
from quadra.storage.files.durable import is_plain_file
from quadra.storage.labels import read_labels
from quadra.storage.layout import BEST_FILE, RESET_MARKER, SET_ASIDE, WEIGHTS, StateLayout
from quadra.storage.saved_state import NotSealedError, SavedState, read_save, require_finite

_ATTEMPTS = 2  # at a file before it counts as bad: a live server may have replaced it between its parts


@dataclass(frozen=True)
class Finding:
    """One sentence about a folder, and whether it is good news."""

    is_good: bool
    text: str


def check(folder: Path) -> list[Finding]:
    """Returns every finding on a state directory. Raises OSError where it cannot be read."""
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder")
    return list(_findings(StateLayout(folder)))


def _findings(layout: StateLayout) -> Iterator[Finding]:
    catalog = read_catalog(layout, with_deleted=True)
    for copy in catalog.copies:
        yield from _check_save(copy, layout.path)
    for file, error in catalog.unreadable:
        yield Finding(is_good=False, text=f"{_path_in(file, layout.path)}: {error}.")
    yield from _check_others(layout, catalog)
    if not catalog.copies and not catalog.unreadable and not layout.slot_folders():
        yield Finding(is_good=True, text="There is no saved state here.")
    if (layout.path / RESET_MARKER).exists():
        yield Finding(is_good=False, text="A reset was cut off; the next start of the server finishes it.")
    aside = layout.path / SET_ASIDE
    if aside.is_dir() and not aside.is_symlink():
        yield Finding(
            is_good=True, text=f"{SET_ASIDE}/ keeps damaged files of {len(list(aside.iterdir()))} earlier loads."
        )


def _check_others(layout: StateLayout, catalog: Catalog) -> Iterator[Finding]:
    """Yields the findings on named states, restore points, labels, own texts and alert rules."""
    homes = {copy.id: copy.folder for copy in catalog.copies if not copy.is_earlier_save}
    files = [(folder / WEIGHTS, folder) for folder in layout.slot_folders()]
    for folder in layout.restore_point_folders():
        best = [folder / BEST_FILE] if is_plain_file(folder / BEST_FILE) else []
        files += [
            (file, homes[folder.name])
            for file in (*layout.restore_points_of(folder.name), *best)
            if folder.name in homes
        ]
    for file, home in files:
        try:
            copy = summarize(file, home)
        except BadFileError as error:
            yield Finding(is_good=False, text=f"{_path_in(file, layout.path)}: {error}.")
        else:
            yield from _check_save(copy, layout.path)
    yield from _check_texts(layout.path)
    try:
        read_labels(layout.path)
    except BadFileError as error:
        yield Finding(is_good=False, text=f"The names and notes of saved states are lost: {error}.")
    try:
        read_rules(layout.path)
    except MissingFileError:
        pass
    except BadFileError as error:
        yield Finding(is_good=False, text=f"The alert rules are lost: {error}.")


def _check_texts(folder: Path) -> Iterator[Finding]:
    for text in own_texts(folder):
        name = f"{reference_of(text.id)}: the text {text.name!r}"
        try:
            is_good = is_intact(text_file(folder, text.id), text.id)
        except OSError as error:
            yield Finding(is_good=False, text=f"{name}: cannot be read: {error.strerror}.")
        else:
            altered = "was altered or damaged; runs that were trained on it do not continue to the bit"
            yield Finding(is_good, text=f"{name}: {'whole' if is_good else altered}")


def _check_save(copy: SavedSummary, folder: Path) -> Iterator[Finding]:
    name = _path_in(copy.file, folder)
    what = f"{name}: run {copy.id}, {copy.iteration_count} iterations, saved {copy.saved_at}"
    try:
        state = _read(copy)
    except NotSealedError as unsealed:
        yield _check_legacy(copy, unsealed, what)
        return
    except BadFileError as error:
        yield Finding(is_good=False, text=f"{what}: cannot be loaded: {error}.")
        return
    yield Finding(is_good=True, text=f"{what}: whole")
    text = id_of(state.engine["corpus"]["path"])
    if text is not None and not is_stored(folder, text):
        yield Finding(is_good=False, text=f"{what}: its text {reference_of(text)} is not there.")
    if not copy.is_earlier_save:  # those share the present state's other files
        for damage in state.damaged:
            yield Finding(is_good=False, text=f"{_path_in(damage.path, folder)}: {damage}. Nothing is lost by it.")


def _check_legacy(copy: SavedSummary, unsealed: NotSealedError, what: str) -> Finding:
    try:
        require_finite(legacy.convert(copy.folder, unsealed.weights, TrainingConfig(seed=0), Corpus()))
    except BadFileError as error:
        return Finding(is_good=False, text=f"{what}: cannot be loaded: {error}.")
    return Finding(is_good=True, text=f"{what}: of the earlier generation, which had no checksums")


def _read(copy: SavedSummary) -> SavedState:
    return retrying(lambda: read_save(copy.file, copy.folder), _ATTEMPTS)


def _path_in(file: Path, folder: Path) -> str:
    return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else str(file)
