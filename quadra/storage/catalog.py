"""Which saved states a directory holds, which of them Load takes by default, and which is newer; needs no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from quadra.config import LARGEST_FIELD
from quadra.errors import BadFileError, DamagedFileError, InaccessibleFileError
from quadra.storage.files.durable import read_file
from quadra.storage.files.file_cache import FileCache
from quadra.storage.files.safe_pickle import loads
from quadra.storage.labels import read_labels
from quadra.storage.layout import METRICS, SYSTEM, WEIGHTS, StateLayout
from quadra.storage.save_record import LARGEST_NUMBER, SaveRecord, peek


@dataclass(frozen=True)
class SavedSummary:
    """One saved state as its record describes it; `id` is what Load takes as its source."""

    id: str
    iteration_count: int
    saved_at: str
    ended: str
    field_size: int
    seed: int | None  # None: not known (legacy format)
    load_rank: int
    sequence: int
    file: Path  # the weights file
    folder: Path  # where its metrics and system state stand
    loss: float | None = None
    reward: float | None = None
    parent: str | None = None  # the state that its run went on from
    save_number: int = 0  # as in its record

    @property
    def is_earlier_save(self) -> bool:
        """Whether a later save of its run stands in the directory."""
        return self.file.parent != self.folder

    def as_dict(self) -> dict[str, Any]:
        """Returns what pages and scripts get."""
        values = asdict(self)
        return {name: values[name] for name in ("id", "iteration_count", "saved_at", "ended", "field_size", "seed")}

    def brief(self) -> dict[str, Any]:
        """Returns what tells this state from others."""
        return {"id": self.id, "iteration_count": self.iteration_count, "saved_at": self.saved_at}


@dataclass(frozen=True)
class Catalog:
    """The saved states of a directory, and the files that stand where a state belongs but cannot be read."""

    copies: tuple[SavedSummary, ...]  # earlier runs by id, then the present files, then earlier saves of their run
    unreadable: tuple[tuple[Path, BadFileError], ...]

    @property
    def states(self) -> tuple[SavedSummary, ...]:
        """One state per run, at its newest save; newest first. Of the same save, a complete copy wins over an earlier save."""
        newest: dict[str, SavedSummary] = {}
        for copy in sorted(self.copies, key=lambda copy: (copy.sequence, not copy.is_earlier_save), reverse=True):
            newest.setdefault(copy.id, copy)
        return tuple(sorted(newest.values(), key=age_of, reverse=True))

    @property
    def default(self) -> SavedSummary | None:
        """The run that was last ended by stop or `until`, or was loaded; where there is none, the newest save of all."""
        return max(
            self.states, key=lambda state: (state.load_rank, state.ended == "stopped", age_of(state)), default=None
        )

    @property
    def newest(self) -> SavedSummary | None:
        """The newest save of all."""
        return max(self.states, key=age_of, default=None)

    def newer_than(self, state: SavedSummary | None) -> SavedSummary | None:
        """Returns a newer save that was cut off, of another run than the given one."""
        newest = self.newest
        if state is None or newest is None or newest.id == state.id or newest.ended != "cut off":
            return None
        return newest

    @property
    def largest_save_number(self) -> int:
        """The largest number of a save in the directory; named states and restore points are not counted."""
        return max((copy.save_number for copy in self.copies), default=0)

    @property
    def largest_load_rank(self) -> int:
        """The largest load rank in the directory; a stop or a load takes the next one."""
        return max((copy.load_rank for copy in self.copies), default=0)

    def with_copy(self, copy: SavedSummary) -> Catalog:
        """Returns this catalog after a save: the new copy replaces the one that stood in its file."""
        rest = tuple(other for other in self.copies if other.file != copy.file)
        return Catalog((*rest, copy), tuple(entry for entry in self.unreadable if entry[0] != copy.file))

    def without(self, files: Collection[Path]) -> Catalog:
        """Returns this catalog without some weights files."""
        return Catalog(
            tuple(copy for copy in self.copies if copy.file not in files),
            tuple(entry for entry in self.unreadable if entry[0] not in files),
        )

    def candidates(self, first: SavedSummary) -> Sequence[SavedSummary]:
        """Returns what a load tries in turn: the requested state, other copies of its run, then all others; newest first."""
        rest = sorted((copy for copy in self.copies if copy is not first), key=age_of, reverse=True)
        return [first, *sorted(rest, key=lambda copy: copy.id != first.id)]


def read_catalog(layout: StateLayout, with_deleted: bool = False) -> Catalog:
    """Lists a directory, by default without the earlier runs that wait to be removed.

    A run's own folder goes before the present files at the same save: a new run's first save may have been cut off after
    it replaced some of them.
    """
    copies: list[SavedSummary] = []
    unreadable: list[tuple[Path, BadFileError]] = []
    deleted = () if with_deleted else _deleted(layout.path)
    runs = [folder for folder in sorted(layout.run_folders()) if folder.name not in deleted]
    files = [(folder / WEIGHTS, folder) for folder in (*runs, layout.path)]
    files += [(file, layout.path) for file in layout.earlier_saves()]
    for file, folder in files:
        try:
            if file.parent != folder or _is_started(folder):
                copies.append(summarize(file, folder))
        except BadFileError as error:
            unreadable.append((file, error))
    return Catalog(tuple(_with_load_rank(copies, layout.path)), tuple(unreadable))


def _deleted(folder: Path) -> Collection[str]:
    """Returns the ids of states that a person has deleted but could still restore."""
    try:
        return {state for state, label in read_labels(folder).items() if label.deleted_at is not None}
    except BadFileError:  # reported where the names are needed
        return ()


def _with_load_rank(copies: Sequence[SavedSummary], folder: Path) -> Sequence[SavedSummary]:
    """Returns the copies; those of the present run get the load rank that the system state holds.

    The newest weights file, which says that the run was stopped or loaded, may be lost. Without this, the older saves would
    rank below another run, and Load would take that one.
    """
    try:
        system = loads(read_file(folder / SYSTEM), folder / SYSTEM, arrays=False)
    except BadFileError:  # reported by the load, which reads it
        return copies
    run, load_rank = system.get("run"), system.get("chosen")
    if not isinstance(load_rank, int):
        return copies
    return [
        replace(copy, load_rank=max(load_rank, copy.load_rank)) if copy.folder == folder and copy.id == run else copy
        for copy in copies
    ]


def _is_started(folder: Path) -> bool:
    """Whether a save was ever committed here; metrics alone are left by a first save that was cut off."""
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError as error:
        raise InaccessibleFileError(folder, f"cannot be read: {error.strerror}") from error
    return WEIGHTS in names or SYSTEM in names


def summarize(file: Path, folder: Path) -> SavedSummary:
    """Returns the saved state of one weights file, as its record says. Raises a BadFileError."""
    record = peek(file)
    return _legacy_summary(file, folder) if record is None else summary_of(record, file, folder)


def summary_of(record: SaveRecord, file: Path, folder: Path) -> SavedSummary:
    """Returns the summary of a record."""
    return SavedSummary(
        id=record.run, iteration_count=record.iteration_count, saved_at=record.saved_at, ended=record.ended,
        field_size=record.field_size, seed=record.seed, load_rank=record.load_rank, sequence=record.sequence,
        file=file, folder=folder, loss=record.loss, reward=record.reward, parent=record.parent,
        save_number=record.save_number,
    )  # fmt: skip


def legacy_id(content: bytes) -> str:
    """Returns a run id for a weights file in the legacy format, which has none."""
    return hashlib.sha256(content).hexdigest()[:16]


def _legacy_summary(file: Path, folder: Path) -> SavedSummary:
    """Returns the state of a directory in the legacy format: its files say less, and only the file's time says when."""
    return replace(_legacy_summaries.get(file, folder / METRICS, folder / SYSTEM), folder=folder)


def _read_legacy_summary(file: Path, metrics_file: Path, system_file: Path) -> SavedSummary:
    metrics = loads(read_file(metrics_file), metrics_file, arrays=True)
    system = loads(read_file(system_file), system_file, arrays=True)
    losses = metrics.get("loss_history")
    if not isinstance(losses, (list, np.ndarray)):
        raise DamagedFileError(metrics_file, "its loss history is not a list of numbers")
    size = system.get("field_size")
    return SavedSummary(
        id=legacy_id(read_file(file)), iteration_count=len(losses), saved_at=iso(_moment(_changed_at(file))),
        ended="stopped", field_size=size if type(size) is int and 0 <= size <= LARGEST_FIELD else 0,
        seed=None, load_rank=0, sequence=0, file=file, folder=file.parent, save_number=number_in(system),
    )  # fmt: skip


_legacy_summaries = FileCache(_read_legacy_summary)  # of a million iterations, reading one takes half a second


def number_in(system: Mapping[str, Any]) -> int:
    """Returns the number that a state in the legacy format, whose weights file has no record, was given when it was imported."""
    number = system.get("save_number")
    return number if type(number) is int and 0 < number <= LARGEST_NUMBER else 0


def _changed_at(file: Path) -> float:
    return file.stat().st_mtime


def _moment(seconds: float) -> datetime:
    """Returns the time of a file; the first one there is where a disk or an archive has set one that no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


def iso(moment: datetime) -> str:
    """Returns a time in ISO 8601, UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def age_of(state: SavedSummary) -> tuple[int, str, int]:
    """Returns by what saves of different runs are ordered: their number in this folder, since a clock may be set back.

    Saves without a number were made before all others; among them only the clock can tell.
    """
    return state.save_number, state.saved_at, state.sequence
