"""StateListing: every saved state of a state directory under one id, to be listed and read; nothing is changed here.

<run>              a run at its newest save: the present files, or `runs/<run>/`
<run>@<iteration>  a restore point, the best state or one of the last saves of a run
slot-<id>          a named state, `slots/<id>/`
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quadra.errors import BadFileError, UnknownSourceError
from quadra.storage.catalog import Catalog, SavedSummary, read_catalog, summarize
from quadra.storage.files.file_cache import FileCache
from quadra.storage.labels import NO_LABEL, Label, read_labels
from quadra.storage.layout import BEST_FILE, FILES, RESTORE_POINTS, WEIGHTS, StateLayout
from quadra.storage.save_record import SaveRecord, peek

log = logging.getLogger("quadra.worker")

SLOT_PREFIX = "slot-"
CURRENT, RUN, SLOT, POINT, BEST_STATE, SAVE = "current", "run", "slot", "point", "best", "save"
_RETENTION = {
    CURRENT: "The newest save of the run on the page; each save replaces it.",
    RUN: "An earlier run at its newest save. Kept until you delete it.",
    SLOT: "Saved by name. Kept until you delete it.",
    POINT: "A restore point. Kept until the space for them is used up; older ones are thinned first.",
    BEST_STATE: "The best smoothed reward of its run. Kept until a better one comes.",
    SAVE: "One of the last ten saves. Kept until ten newer ones are there.",
}


@dataclass(frozen=True)
class ListedState:
    """A saved state as it is listed."""

    id: str
    kinds: tuple[str, ...]  # what it is; the first says most
    run: str
    iteration_count: int
    saved_at: str
    ended: str
    field_size: int
    seed: int | None
    loss: float | None  # of that iteration, where it is known
    reward: float | None
    parent: str | None  # the state that its run went on from
    save_number: int  # of the save within the folder, by which states are ordered; 0: from before saves were numbered
    size: int  # bytes on the disk
    file: Path  # the weights file
    folder: Path  # where its metrics stand
    label: Label = NO_LABEL

    def as_dict(self) -> dict[str, Any]:
        """Returns the state as pages and scripts have it."""
        names = (
            "id",
            "run",
            "iteration_count",
            "saved_at",
            "ended",
            "field_size",
            "seed",
            "loss",
            "reward",
            "parent",
            "save_number",
            "size",
        )
        kept = "Pinned. Kept until you unpin or delete it." if self.label.pinned else _RETENTION[self.kinds[0]]
        return {
            **{name: getattr(self, name) for name in names},
            "kinds": list(self.kinds),
            **vars(self.label),
            "kept": kept,
        }


def branch_of(catalog: Catalog, entry: ListedState) -> str | None:
    """Returns the run that is at this state to the bit: its own, or one that went on from it and was not trained since."""
    state = f"{entry.run}@{entry.iteration_count}"
    for run in catalog.states:
        if run.iteration_count == entry.iteration_count and (run.id == entry.run or run.parent == state):
            return run.id
    return None


class StateListing:
    """Lists the saved states of a state directory as they are now; each call reads the directory anew."""

    def __init__(self, layout: StateLayout) -> None:
        self._layout = layout
        self._records = FileCache(peek)

    def entries(self) -> list[ListedState]:
        """Returns every state that can be listed, newest first; deleted ones are among them, with their time.

        Raises BadFileError where the labels cannot be read.
        """
        labels = read_labels(self._layout.path)
        found: dict[str, ListedState] = {}
        for entry in self._states():
            run = found.get(entry.run)  # comes first: what is at its newest save is no state of its own
            name = entry.run if run and entry.id == f"{entry.run}@{run.iteration_count}" else entry.id
            known = found.get(name)
            found[name] = _with_kind(known, entry.kinds) if known else entry
        named = [_labelled(entry, labels) for entry in found.values()]
        return sorted(named, key=lambda entry: (entry.save_number, entry.saved_at, entry.iteration_count), reverse=True)

    def find(self, state_id: str) -> ListedState:
        """Returns a state by its id. Raises UnknownSourceError."""
        for entry in self._states():
            if entry.id == state_id:
                return entry
        raise UnknownSourceError(f"There is no saved state {state_id!r} in the state directory.")

    def label(self, state_id: str) -> Label:
        """Returns the label of a state; an empty one where the labels cannot be read: `entries` raises then."""
        try:
            return read_labels(self._layout.path).get(state_id, NO_LABEL)
        except BadFileError:
            return NO_LABEL

    def title(self, entry: ListedState) -> str:
        """Returns what people call a state: the name that they gave it, or its run and iteration."""
        return self.label(entry.id).name or f"run {entry.run[:8]}, iteration {entry.iteration_count}"

    def _states(self) -> Iterator[ListedState]:
        catalog = read_catalog(self._layout, with_deleted=True)
        newest = {state.id: state for state in catalog.states}
        for state in newest.values():
            yield _of_run(state, CURRENT if state.folder == self._layout.path else RUN)
        for copy in catalog.copies:
            if copy.is_earlier_save and copy.iteration_count < newest[copy.id].iteration_count:
                yield from self._point(copy.file, copy.folder, SAVE)
        yield from self._points({run: state.folder for run, state in newest.items()})
        for folder in self._layout.slot_folders():
            with contextlib.suppress(BadFileError):  # `check` names it
                yield _of_slot(summarize(folder / WEIGHTS, folder), folder)

    def _points(self, homes: Mapping[str, Path]) -> Iterator[ListedState]:
        for folder in self._layout.restore_point_folders():
            home = homes.get(folder.name)
            if home is None:  # its history is gone
                continue
            yield from self._point(self._layout.path / RESTORE_POINTS / folder.name / BEST_FILE, home, BEST_STATE)
            for file in self._layout.restore_points_of(folder.name):
                yield from self._point(file, home, POINT)

    def _point(self, file: Path, home: Path, kind: str) -> Iterator[ListedState]:
        record = self._record(file)
        if record is not None:
            yield ListedState(
                id=record.state, kinds=(kind,), run=record.run, iteration_count=record.iteration_count,
                saved_at=record.saved_at, ended=record.ended, field_size=record.field_size, seed=record.seed,
                loss=record.loss, reward=record.reward, parent=record.parent, save_number=record.save_number,
                size=_size(file), file=file, folder=home,
            )  # fmt: skip

    def _record(self, file: Path) -> SaveRecord | None:
        """Returns the record of a file; None for a file that is not ours."""
        try:
            return self._records.get(file)
        except BadFileError:  # replaced meanwhile, or damaged: `check` names it
            return None


def last_good(listing: StateListing, run: str | None, struck_at: int) -> ListedState | None:
    """Returns the newest saved state of a run from before the iteration at which it was struck; None where there is none.

    A fault of the machine does not come again from there. One of the run itself does, at the same iteration, because a
    restored state continues to the bit: then an older state, or the best one, has to be chosen by a person.
    """
    try:
        listed = listing.entries()
    except (BadFileError, OSError) as error:  # training has ended and is saved: the server must live on
        log.warning("The last good state could not be looked for: %s", error)
        return None
    states = [state for state in listed if state.run == run and state.label.deleted_at is None]
    older = [state for state in states if state.iteration_count < struck_at]
    return max(older, key=lambda state: state.iteration_count, default=None)


def _of_run(state: SavedSummary, kind: str) -> ListedState:
    return ListedState(
        id=state.id, kinds=(kind,), run=state.id, iteration_count=state.iteration_count, saved_at=state.saved_at,
        ended=state.ended, field_size=state.field_size, seed=state.seed, loss=state.loss, reward=state.reward,
        parent=state.parent, save_number=state.save_number,
        size=sum(_size(state.folder / name) for name in FILES), file=state.file, folder=state.folder,
    )  # fmt: skip


def _of_slot(state: SavedSummary, folder: Path) -> ListedState:
    entry = _of_run(state, SLOT)
    return replace(entry, id=SLOT_PREFIX + folder.name)


def _with_kind(entry: ListedState, kinds: tuple[str, ...]) -> ListedState:
    return replace(entry, kinds=tuple(dict.fromkeys((*entry.kinds, *kinds))))


def _labelled(entry: ListedState, labels: Mapping[str, Label]) -> ListedState:
    return replace(entry, label=labels.get(entry.id, NO_LABEL))


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
