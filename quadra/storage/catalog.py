"""Which saved states a folder holds, which of them Load takes by default, and which is newer; needs no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from quadra.errors import BadFileError, DamagedFileError, InaccessibleFileError
from quadra.storage.files.durable import read_file
from quadra.storage.files.safe_pickle import loads
from quadra.storage.labels import read_labels
from quadra.storage.layout import METRICS, SYSTEM, WEIGHTS, StateLayout
from quadra.storage.save_record import SaveRecord, peek


@dataclass(frozen=True)
class SavedSummary:
    """One saved state as it is listed; `id` is what Load takes as its source."""

    id: str
    iteration_count: int
    saved_at: str
    ended: str
    field_size: int
    seed: int | None  # None: not known (earlier generation)
    load_rank: int
    sequence: int
    file: Path  # the weights file
    folder: Path  # where its metrics and system state stand
    loss: float | None = None
    reward: float | None = None
    parent: str | None = None  # the state that its run went on from

    @property
    def is_earlier_save(self) -> bool:
        """Whether this is a save that the present one of its run has followed."""
        return self.file.parent != self.folder

    def as_dict(self) -> dict[str, Any]:
        """What pages and scripts are told."""
        told = asdict(self)
        return {name: told[name] for name in ("id", "iteration_count", "saved_at", "ended", "field_size", "seed")}

    def brief(self) -> dict[str, Any]:
        """What says which one it is."""
        return {"id": self.id, "iteration_count": self.iteration_count, "saved_at": self.saved_at}


@dataclass(frozen=True)
class Catalog:
    """The saved states of a folder, and what stands in their places but could not be read."""

    copies: tuple[
        SavedSummary, ...
    ]  # earlier runs by id, then the present files, then earlier saves of the present run
    unreadable: tuple[tuple[Path, BadFileError], ...]

    @property
    def states(self) -> tuple[SavedSummary, ...]:
        """One per run, at its newest save; newest first. At the same save what is complete goes before an earlier save."""
        newest: dict[str, SavedSummary] = {}
        for copy in sorted(self.copies, key=lambda copy: (copy.sequence, not copy.is_earlier_save), reverse=True):
            newest.setdefault(copy.id, copy)
        return tuple(sorted(newest.values(), key=_age, reverse=True))

    @property
    def default(self) -> SavedSummary | None:
        """The run that was last ended by stop or `until`, or was loaded; where there is none, the newest save of all."""
        return max(
            self.states, key=lambda state: (state.load_rank, state.ended == "stopped", _age(state)), default=None
        )

    @property
    def newest(self) -> SavedSummary | None:
        """The newest save of all."""
        return max(self.states, key=_age, default=None)

    def newer_than(self, state: SavedSummary | None) -> SavedSummary | None:
        """A newer save that was cut off, of another run than the given one."""
        newest = self.newest
        if state is None or newest is None or newest.id == state.id or newest.ended != "cut off":
            return None
        return newest

    @property
    def largest_load_rank(self) -> int:
        """The largest load rank in the folder; a stop or a load takes the next one."""
        return max((copy.load_rank for copy in self.copies), default=0)

    def with_copy(self, copy: SavedSummary) -> Catalog:
        """This catalog after a save: the new copy in place of the one that stood in its file."""
        rest = tuple(other for other in self.copies if other.file != copy.file)
        return Catalog((*rest, copy), tuple(entry for entry in self.unreadable if entry[0] != copy.file))

    def without(self, files: Collection[Path]) -> Catalog:
        """This catalog without some weights files."""
        return Catalog(
            tuple(copy for copy in self.copies if copy.file not in files),
            tuple(entry for entry in self.unreadable if entry[0] not in files),
        )

    def candidates(self, first: SavedSummary) -> Sequence[SavedSummary]:
        """What to try in turn: the asked-for state, other copies of its run, then every other copy; newest first."""
        rest = sorted((copy for copy in self.copies if copy is not first), key=_age, reverse=True)
        return [first, *sorted(rest, key=lambda copy: copy.id != first.id)]


def read_catalog(folder: StateLayout, with_deleted: bool = False) -> Catalog:
    """List a folder, without the earlier runs that wait to be removed.

    A run's own folder goes before the present files at the same save: a new run's first save may have been cut off after
    it replaced some of them.
    """
    copies: list[SavedSummary] = []
    unreadable: list[tuple[Path, BadFileError]] = []
    deleted = () if with_deleted else _deleted(folder.path)
    runs = [place for place in sorted(folder.run_folders()) if place.name not in deleted]
    places = [(place / WEIGHTS, place) for place in (*runs, folder.path)]
    for file, place in (*places, *((file, folder.path) for file in folder.earlier_saves())):
        try:
            if file.parent != place or _is_started(place):
                copies.append(summarize(file, place))
        except BadFileError as error:
            unreadable.append((file, error))
    return Catalog(tuple(_with_load_rank(copies, folder.path)), tuple(unreadable))


def _deleted(folder: Path) -> Collection[str]:
    """What a person has deleted but could still take back."""
    try:
        return {state for state, label in read_labels(folder).items() if label.deleted_at is not None}
    except BadFileError:  # told where the names are needed
        return ()


def _with_load_rank(copies: Sequence[SavedSummary], folder: Path) -> Sequence[SavedSummary]:
    """The system state says too whether the present run was stopped or loaded: where the weights file is lost, the
    earlier saves, from before that, do not, and Load would turn to another run."""
    try:
        system = loads(read_file(folder / SYSTEM), folder / SYSTEM, arrays=False)
    except BadFileError:  # told by the load, where it is looked at
        return copies
    run, load_rank = system.get("run"), system.get("chosen")
    if not isinstance(load_rank, int):
        return copies
    return [
        replace(copy, load_rank=max(load_rank, copy.load_rank)) if copy.folder == folder and copy.id == run else copy
        for copy in copies
    ]


def _is_started(place: Path) -> bool:
    """Whether a save was ever committed here; metrics alone are left by a first save that was cut off."""
    try:
        names = [entry.name for entry in place.iterdir()]
    except OSError as error:
        raise InaccessibleFileError(place, f"cannot be read: {error.strerror}") from error
    return WEIGHTS in names or SYSTEM in names


def summarize(file: Path, folder: Path) -> SavedSummary:
    """The saved state of one weights file, as its record says; raises a BadFileError."""
    record = peek(file)
    return _earlier(file, folder) if record is None else summary_of(record, file, folder)


def summary_of(record: SaveRecord, file: Path, folder: Path) -> SavedSummary:
    """A record as it is listed."""
    return SavedSummary(
        id=record.run, iteration_count=record.iteration_count, saved_at=record.saved_at, ended=record.ended,
        field_size=record.field_size, seed=record.seed, load_rank=record.load_rank, sequence=record.sequence,
        file=file, folder=folder, loss=record.loss, reward=record.reward, parent=record.parent,
    )  # fmt: skip


def earlier_id(content: bytes) -> str:
    """The run id of a weights file of the earlier generation, which had none."""
    return hashlib.sha256(content).hexdigest()[:16]


def _earlier(file: Path, folder: Path) -> SavedSummary:
    """A folder of the earlier generation: its files say less, and only the file's time says when."""
    metrics = loads(read_file(folder / METRICS), folder / METRICS, arrays=True)
    system = loads(read_file(folder / SYSTEM), folder / SYSTEM, arrays=True)
    size = system.get("field_size")
    losses = metrics.get("loss_history")
    if not isinstance(losses, (list, np.ndarray)):
        raise DamagedFileError(folder / METRICS, "its loss history is not a list of numbers")
    changed = file.stat().st_mtime
    return SavedSummary(
        id=earlier_id(read_file(file)), iteration_count=len(losses),
        saved_at=iso(datetime.fromtimestamp(changed, UTC)), ended="stopped", field_size=size if isinstance(size, int) else 0,
        seed=None, load_rank=0, sequence=0, file=file, folder=folder,
    )  # fmt: skip


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _age(state: SavedSummary) -> tuple[str, int]:
    return state.saved_at, state.sequence
