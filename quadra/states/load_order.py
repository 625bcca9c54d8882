"""Load order: which saved states a load tries one after the other, and the report of what it did."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from quadra.errors import (
    BadFileError,
    FolderError,
    InaccessibleFileError,
    LoadError,
    NewerFormatError,
    NoSavedStateError,
    UnknownSourceError,
)
from quadra.storage.catalog import Catalog, SavedSummary, summarize
from quadra.storage.files.durable import read_file
from quadra.storage.folder import StateFolder
from quadra.storage.layout import (
    METRICS,
    METRICS_COPY,
    RESTORE_POINTS,
    RUNS,
    SAVES,
    WEIGHTS,
    StateLayout,
    metrics_files,
)
from quadra.storage.metrics_file import MetricsLog
from quadra.storage.save_record import SaveRecord, verify


@dataclass(frozen=True)
class LoadReport:
    """What a load did: which state it restored, what was lost, and what a person should know."""

    record: SaveRecord
    warnings: tuple[str, ...]
    gave_up: tuple[str, ...]  # why each state that was tried before could not be loaded
    newer: SavedSummary | None  # a newer save of another run, which was cut off
    asked: SavedSummary  # the state that should have been loaded
    fell_back: bool  # whether another one was, or an earlier save because the newest one could not even be listed
    reached: int  # iterations that the run is known to have reached
    saved_first: SaveRecord | None  # of the run that was in memory, where it had unsaved iterations
    went_on_from: str | None = None  # the state that the run now in memory was begun from, by this load

    def remarks(self) -> list[str]:
        """Returns all that a person should know of this load, in sentences."""
        remarks = [*self.gave_up, *self.warnings]
        if self.went_on_from is not None:
            remarks.append(
                f"Went back to iteration {self.record.iteration_count}, as a new run. What was there stays an earlier run; "
                "load it to undo this."
            )
        if self.fell_back:
            remarks.append(f"Went back to the newest intact saved state: {self.record.iteration_count} iterations.")
            lost = self.reached - self.record.iteration_count
            if lost > 0:
                remarks.append(f"That gave up {lost} iterations.")
        if self.newer is not None:
            remarks.append(
                f"A newer run was cut off at {self.newer.iteration_count} iterations ({self.newer.saved_at}); "
                "it is kept and can be loaded too."
            )
        return remarks


def load_attempts(
    catalog: Catalog, first: SavedSummary | None, layout: StateLayout
) -> Iterator[tuple[SavedSummary, bool]]:
    """Yields the states to try in turn, and whether a damaged history is to be salvaged.

    Saves come first, then restore points, then saves whose history is not whole.
    """
    candidates = catalog.candidates(first) if first else ()
    yield from ((candidate, False) for candidate in candidates)
    for run in dict.fromkeys(candidate.id for candidate in candidates):
        home = layout.path / RUNS / run
        for file in reversed(layout.restore_points_of(run)):
            with contextlib.suppress(BadFileError):  # an older one is as good as this was
                yield summarize(file, home if home in layout.run_folders() else layout.path), False
    yield from ((candidate, True) for candidate in candidates)


def bytes_of_load(state: SavedSummary, layout: StateLayout, goes_back: bool) -> int:
    """Returns the bytes that are read and written when a state is loaded; a file counts once for each time.

    The state is read and checked, saved as the present one, which is read back, and the earlier saves are checked, unless the
    load goes back to a state that begins a run of its own. Where another run is the present one, that is copied first.
    """
    histories = [_size(file) for file in metrics_files(state.folder, state.id)]
    total = 5 * _size(state.file) + 3 * sum(histories) + max(histories)
    if not goes_back:
        total += 2 * sum(map(_size, layout.earlier_saves()))
    if state.folder != layout.path:
        kept = [_size(layout.path / METRICS), _size(layout.path / SAVES / METRICS_COPY)]
        total += 4 * _size(layout.path / WEIGHTS) + 3 * sum(kept) + max(kept) + 2 * max(histories)
    return total


def _size(file: Path) -> int:
    """Returns 0 where the file cannot be inspected: whoever reads it raises the error."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


Restored = TypeVar("Restored")


def first_loadable(
    attempts: Iterable[tuple[SavedSummary, bool]],
    failures: list[tuple[Path, BadFileError]],
    restore: Callable[[SavedSummary, bool], Restored],
) -> tuple[SavedSummary, Restored] | None:
    """Returns the first state that can be restored, with it restored; adds the errors before it to `failures`."""
    for candidate, salvage in attempts:
        try:
            return candidate, restore(candidate, salvage)
        except BadFileError as error:
            failures.append((candidate.file, error))
    return None


def iterations_reached(asked: SavedSummary, loaded: SavedSummary, logs: Mapping[str, MetricsLog]) -> int:
    """Returns the iterations that a loaded run is known to have reached: its metrics may be newer than the intact save."""
    return max(asked.iteration_count if asked.id == loaded.id else 0, *(log.rows for log in logs.values()), 0)


def damaged_saves(catalog: Catalog) -> Iterator[tuple[Path, BadFileError]]:
    """Yields the earlier saves whose seal is broken: found while the next ones are intact, not when they are needed."""
    for copy in catalog.copies:
        if copy.is_earlier_save:
            try:
                verify(read_file(copy.file), copy.file)
            except BadFileError as error:
                yield copy.file, error


def set_aside_damaged(folder: StateFolder, file: Path, error: BadFileError) -> str:
    """Sets a damaged state aside, now that another one is loaded. Returns the sentence for people."""
    is_earlier_save = file.parent == folder.path / SAVES  # a later one takes its place, whatever is wrong with it
    if isinstance(error, (NewerFormatError, InaccessibleFileError)) and not is_earlier_save:
        return load_failure(file, error)
    own = file.parent in (folder.path, folder.path / SAVES) or file.parent.parent == folder.path / RESTORE_POINTS
    if own and error.path not in (file, Path(WEIGHTS)):
        return load_failure(file, error)  # the weights are whole; a damaged history is set aside where it is replaced
    try:
        # Of the present run the bad file alone: its earlier saves count on the others.
        target = folder.set_aside([file]) if own else folder.set_aside_run(file.parent)
    except (OSError, FolderError) as failure:
        return f"{load_failure(file, error)} Its files could not be set aside: {failure}"
    return load_failure(file, error) + (f" Its files were set aside in {target}." if target else "")


def load_failure(file: Path, error: BadFileError) -> str:
    """Returns the sentence for people on a state that cannot be loaded."""
    return f"The saved state in {file.parent} cannot be loaded: {error}."


def requested_state(catalog: Catalog, source: str | None, newest: bool) -> SavedSummary:
    """Returns the state that a load asks for.

    Raises UnknownSourceError, NoSavedStateError, or LoadError where none can be read.
    """
    if source is not None:
        for listed in catalog.states:
            if listed.id == source:
                return listed
        raise UnknownSourceError(f"There is no saved state {source!r} in the state directory.")
    state = catalog.newest if newest else catalog.default
    if state is not None:
        return state
    if catalog.unreadable:
        raise LoadError(" ".join(load_failure(file, error) for file, error in catalog.unreadable))
    raise NoSavedStateError("No saved state found")
