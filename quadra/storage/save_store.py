"""SaveStore: the present run's files in a held folder, saved as one commit. `docs/reliability.md` tells the protocol.

The weights file is the commit. A save writes it beside the present one, gives the present one a second name among the
earlier saves, and renames the new one over it. A full save first extends the metrics file and its copy, and afterwards
replaces the system state; in between, the weights file itself carries the history's newest rows.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quadra.config import TrainingConfig
from quadra.errors import BadFileError, FolderUnusableError, SaveError
from quadra.model.run_buffers import Snapshot
from quadra.storage import metrics_file
from quadra.storage.catalog import Catalog, SavedSummary, read_catalog
from quadra.storage.commit import Committed, Order, carry_out, require_own_save
from quadra.storage.files.durable import (
    Identity,
    Piece,
    identity_of,
    is_plain_file,
    overwrite_byte,
    read_file,
    remove,
    replace_file,
    sync_folder,
    write_at,
)
from quadra.storage.folder import StateFolder
from quadra.storage.layout import FILES, HISTORY, METRICS, POINTS, SAVES, SYSTEM, WEIGHTS
from quadra.storage.metrics_file import MetricsLog
from quadra.storage.restore_points import NOTHING, RestorePoints, Retention
from quadra.storage.save_record import SaveRecord, peek, verify
from quadra.storage.saved_state import NotSealedError, SavedState, are_whole, files_of, read_save, system_file
from quadra.storage.weights_file import WeightsEncoder, bytes_of
from quadra.storage.writer_process import PendingCommit, WriterProcess

log = logging.getLogger("quadra")

_NOT_KNOWN = (-1,)
MOST_TAIL = 512  # rows that the metrics file may lack before it is extended
_VERIFY_EVERY = 32  # saves; one of them is read back


@dataclass(frozen=True)
class Save:
    """What one save writes: all of it copied, or never changed again, so that training may go on meanwhile."""

    record: SaveRecord  # its `metrics_rows` is set by the store, where it is not `SaveStore.counted_on` already
    config: TrainingConfig
    snapshot: Snapshot
    rows: NDArray[np.float32]  # the whole history, shape (iteration_count, 4)
    full: bool  # whether all three files shall agree afterwards


@dataclass(frozen=True)
class Receipt:
    """What a save that is durable has cost and proved."""

    record: SaveRecord
    size: int  # bytes of the weights file
    written: int  # bytes in all
    full: bool  # whether all three files agree
    verified: bool = False  # whether the weights file was read back, and its checksum fitted
    remark: str = ""  # what went wrong beside the save


@dataclass(frozen=True)
class Sent:
    """A save that the scribe is writing; like a future of its receipt, for one thread."""

    store: SaveStore
    record: SaveRecord
    reply: PendingCommit

    def done(self) -> bool:
        """Whether it has ended; does not wait."""
        return self.reply.done()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait; what went wrong, or None. Raises TimeoutError."""
        return self.reply.exception(timeout)

    def result(self, timeout: float | None = None) -> Receipt:
        """Wait, and take the outcome. Raises what went wrong, or TimeoutError."""
        self.reply.exception(timeout)
        return self.store.receive(self.record, self.reply)


class SaveStore:
    """Writes the saves of one held folder, one at a time: never use it from two threads at once."""

    def __init__(
        self, folder: StateFolder, scribe: WriterProcess | None = None, retention: Retention | None = None
    ) -> None:
        self.points = RestorePoints(folder, retention or Retention())
        self._plan = NOTHING  # for the restore points, of the save that is under way
        self._folder = folder
        self._scribe = scribe
        self._files = {name: folder.path / name for name in FILES}
        self._metrics = self._files[METRICS], folder.path / SAVES / HISTORY
        self.forget()

    def forget(self) -> None:
        """Nothing is known of what stands in the folder; the next save looks."""
        self._run: str | None = None  # whose newest save in the folder is known
        self._room_for: str | None = None  # the run for which other runs' files have been kept already
        self._logs: dict[Path, MetricsLog] = {}
        self._identities: dict[Path, Identity | None] = {}  # of the files that this object knows
        self._encoder: WeightsEncoder | None = None
        self._left: frozenset[Path] = frozenset()  # bad files that have a second name in `set-aside` already
        self._has_points: set[str] = set()  # runs whose folder of restore points is there
        self.points.forget()
        # Rows that the metrics files held before they were last extended. The weights file carries all later ones, so
        # that it is completed by a metrics file of that time too, as a `cp -r` beside training may have caught it.
        self.counted_on = 0

    def adopt(self, state: SavedState) -> None:
        """The folder's own files are those of this state, as `read_save` found them."""
        self.forget()
        self._run = state.record.run
        damaged = {str(error.path) for error in state.damaged}
        self._logs = {
            Path(path): log for path, log in state.logs.items() if log.rows <= len(state.rows) and path not in damaged
        }
        self._identities = {path: identity_of(path) for path in (*self._files.values(), *self._logs)}
        self.counted_on = min(state.record.metrics_rows, self._rows_in_metrics() or 0)

    def commit(self, save: Save) -> Receipt:
        """Save; durable on return. Raises FolderError, SaveError or OSError: the previous save is then intact, or this one is."""
        self._folder.require_own()
        _require_finite(save, self._tail_of(save))
        run, is_first = save.record.run, self._run != save.record.run
        if is_first and self._room_for != run:
            self.forget()
            self._folder.call_off_reset()
            self._make_room(run)
            self._room_for, self._identities = run, {self._files[WEIGHTS]: identity_of(self._files[WEIGHTS])}
        require_own_save(self._folder.path, self._folder.lock, self._identities.get(self._files[WEIGHTS]))
        self._folder.saves_folder()
        full = save.full or is_first or self._tail_of(save) >= MOST_TAIL
        written = self._extend_metrics(save) if full else 0
        order = self._order(save, keep_present=not is_first)
        self._make_place_for(order)
        committed = self._carry_out(order)
        self._run = self._room_for = run
        if full:
            written += self._write_system(save)
        if is_first:
            self._drop_other_saves(run)
        verified = full or save.record.sequence % _VERIFY_EVERY == 0
        if verified:  # an earlier save's second name need not be durable at once: it is there for a damaged newest one
            sync_folder(self._folder.path / SAVES)
            if run in self._has_points:
                sync_folder(self._folder.path / POINTS / run)
            verify(read_file(self._files[WEIGHTS]), self._files[WEIGHTS])
        return Receipt(order.record, committed.size, committed.size + written, full, verified, committed.remark)

    def send(self, save: Save) -> Sent | None:
        """Have the scribe commit a save beside training, from a copy; None where it is not one for the scribe.

        That are saves of the weights alone: whatever else may be due, `commit` sees to it. Each number of a step was found
        finite by the engine; a full save looks at all of them again.
        """
        run = save.record.run
        is_plain = not save.full and self._run == run and self._tail_of(save) < MOST_TAIL
        if self._scribe is None or not is_plain or save.record.sequence % _VERIFY_EVERY == 0:
            return None
        order = self._order(save, keep_present=True)
        if order.points and run not in self._has_points:
            return None
        reply = self._scribe.send(order)
        return None if reply is None else Sent(self, order.record, reply)

    def receive(self, record: SaveRecord, reply: PendingCommit) -> Receipt:
        """Take the outcome of a save that was sent. Raises what `commit` raises."""
        committed = self._taken(record, reply.result)
        return Receipt(record, committed.size, committed.size, full=False, remark=committed.remark)

    def _carry_out(self, order: Order) -> Committed:
        return self._taken(order.record, lambda: carry_out(order))

    def _taken(self, record: SaveRecord, outcome: Callable[[], Committed]) -> Committed:
        try:
            committed = outcome()
        except BaseException:
            self._recognize(record)
            raise
        self._identities[self._files[WEIGHTS]] = committed.identity
        if committed.remark:
            self.points.forget()
        else:
            self.points.done(record.run, self._plan, committed.size)
        return committed

    def _recognize(self, record: SaveRecord) -> None:
        """A commit that failed may have failed behind its rename: then what stands there is not somebody else's."""
        path = self._files[WEIGHTS]
        with contextlib.suppress(BadFileError):
            if peek(path) == record:
                self._identities[path] = identity_of(path)

    def _tail_of(self, save: Save) -> int:
        """Rows that are not in both metrics files yet."""
        return len(save.rows) - (self._rows_in_metrics() or 0)

    def _rows_in_metrics(self) -> int | None:
        """Rows that both metrics files hold; None where that is not known."""
        one, other = map(self._logs.get, self._metrics)
        return None if one is None or other is None else min(one.rows, other.rows)

    def _extend_metrics(self, save: Save) -> int:
        """Bring the metrics and their copy up to date, one after the other; returns the bytes written."""
        held = self._rows_in_metrics()
        written = sum(self._extend(path, save) for path in self._metrics)
        self.counted_on = len(save.rows) if held is None else held
        return written

    def _write_system(self, save: Save) -> int:
        """Replace the system state, after the commit: where it stands, there was a weights file. Returns the bytes."""
        system, content = self._files[SYSTEM], system_file(save.record, save.config, save.snapshot.rest)
        self._keep_foreign(system)
        replace_file(system, content)
        self._identities[system] = identity_of(system)
        return _size(content)

    def _extend(self, path: Path, save: Save) -> int:
        """Bring one metrics file to all rows; returns the bytes written.

        Until that is done nothing is known of the file: a failed append is not appended to.
        """
        foreign, log = self._keep_foreign(path), self._logs.pop(path, None)
        if foreign or log is None or log.is_fragmented or _length_of(path) != log.size:
            pieces, log = metrics_file.encode(save.record.run, save.rows)
            replace_file(path, pieces)
            written = _size(pieces)
        elif log.rows < len(save.rows):
            content, longer = metrics_file.append(log, save.rows[log.rows :])
            write_at(path, log.size, content)
            overwrite_byte(path, log.ending_at, metrics_file.SKIPPED)
            log, written = longer, len(content) + 1
        else:
            written = 0
        self._logs[path], self._identities[path] = log, identity_of(path)
        return written

    def _keep_foreign(self, path: Path) -> bool:
        """Set a file aside that is not as this object left it; whether it was not. Raises FolderChangedError."""
        self._folder.require_own()
        known = self._identities.pop(path, _NOT_KNOWN)  # until it is written: what a failed write leaves is our own
        if known is _NOT_KNOWN or identity_of(path) == known:
            return False
        target = self._folder.set_aside([path])
        log.warning("%s was changed or removed by somebody else; what stood there was set aside in %s", path, target)
        return True

    def _order(self, save: Save, keep_present: bool) -> Order:
        """The weights file of a save, to be committed, and what becomes of the restore points."""
        if self._encoder is None:
            self._encoder = WeightsEncoder(save.config, save.snapshot)
        record, tensors = self._told(save.record), bytes_of(save.snapshot.flat)
        contents = self._encoder.contents(save.snapshot, save.rows[self.counted_on :])
        self._plan = self.points.plan(save.record, save.rows, len(tensors) + sum(map(len, contents)))
        return Order(
            folder=str(self._folder.path),
            lock=self._folder.lock,
            present=self._identities.get(self._files[WEIGHTS]),
            keep_present=keep_present,
            record=record,
            tensors=tensors,
            contents=contents,
            points=tuple(map(str, self._plan.points)),
            expired=tuple(map(str, self._plan.expired)),
        )

    def _told(self, record: SaveRecord) -> SaveRecord:
        """The record with the rows that the metrics file is counted on for."""
        rows = self.counted_on
        return record if record.metrics_rows == rows else replace(record, metrics_rows=rows)

    def _make_place_for(self, order: Order) -> None:
        """The folder of the restore points; where it cannot be had, the commit says so when it has kept the state."""
        if order.points and order.record.run not in self._has_points:
            with contextlib.suppress(OSError, FolderUnusableError):
                self._folder.points_folder(order.record.run)
                self._has_points.add(order.record.run)

    def _make_room(self, run: str) -> None:
        """Before a run's first save here: another run's newest intact save becomes a run of its own, bad files go aside."""
        bad = [path for path in (*self._files.values(), self._metrics[1]) if os.path.lexists(path)]
        catalog = read_catalog(self._folder)
        failed = [file for file, _ in catalog.unreadable if file == self._files[WEIGHTS]]
        for copy in self._present_saves(catalog):
            if self._is_kept(copy, catalog):
                bad = failed
                break
            try:
                bad = [*failed, *self._keep(copy, copy.id == run)]
                break
            except BadFileError as error:
                failed.append(error.path if error.path.is_relative_to(self._folder.path) else copy.file)
        else:
            bad += [*failed, *self._folder.kept_saves()]
        self._left = frozenset(bad)
        target = self._folder.set_aside(dict.fromkeys(bad), leave=True)
        if target is not None:
            log.warning("Files that could not be used were set aside in %s: %s", target, ", ".join(map(str, bad)))

    def _present_saves(self, catalog: Catalog) -> Sequence[SavedSummary]:
        """The folder's own saves, newest first."""
        own = [copy for copy in catalog.copies if copy.folder == self._folder.path]
        return sorted(own, key=lambda copy: (copy.sequence, not copy.is_earlier_save), reverse=True)

    def _is_kept(self, save: SavedSummary, catalog: Catalog) -> bool:
        """Whether this save stands in `runs/` already: a copy made then is complete, the present files may not be."""
        return any(
            copy.id == save.id and copy.sequence >= save.sequence and copy.folder != self._folder.path
            for copy in catalog.copies
        )

    def _keep(self, save: SavedSummary, of_this_run: bool) -> list[Path]:
        """Keep a save of another run as three complete files; returns what was found bad on the way."""
        try:
            state = read_save(save.file, self._folder.path)
        except NotSealedError:  # of the earlier generation, which had no checksums: kept as it is
            names = [name for name in FILES if is_plain_file(self._files[name])]
            self._folder.add_run(save.id, {name: [read_file(self._files[name])] for name in names})
            return []
        if of_this_run:  # what is in memory follows it
            return [error.path for error in state.damaged]
        self._folder.add_run(save.id, files_of(state, read_file(save.file)))
        return [error.path for error in state.damaged]

    def _drop_other_saves(self, run: str) -> None:
        """Earlier saves of a run that now stands in `runs/` become its restore points; what cannot now, at another time."""
        for file in self._folder.kept_saves():
            try:
                self._drop(file, run)
            except (OSError, FolderUnusableError) as error:
                log.info("An earlier save of another run stays: %s", error)
        try:
            for point in self.points.surplus(run):
                remove(point)
        except OSError as error:
            log.info("A restore point stays: %s", error)

    def _drop(self, file: Path, run: str) -> None:
        try:
            record = verify(read_file(file), file)
        except BadFileError:
            if file not in self._left:
                self._folder.set_aside([file], leave=True)
            remove(file)
            return
        if record is None:
            remove(file)
        elif record.run != run:
            self._folder.keep_as_point(file, record.run, record.iteration_count)
            remove(file)


def _require_finite(save: Save, tail: int) -> None:
    """Raise SaveError for a number that is not finite, in what has changed since the last save."""
    rest = save.snapshot.rest
    values = [number for number in rest["neuroplasticity"].values() if number is not None]
    total = sum(values) + sum(map(sum, map(dict.values, rest["q_table"].values())))
    rows = save.rows[len(save.rows) - tail :]
    if not (math.isfinite(total) and np.isfinite(save.snapshot.flat).all() and are_whole(rows)):
        raise SaveError("The state holds numbers that are not finite. The last good state on disk was kept.")


def _size(pieces: Sequence[Piece]) -> int:
    return sum(memoryview(piece).nbytes for piece in pieces)


def _length_of(path: Path) -> int | None:
    """Bytes of a plain file; None where there is none."""
    return path.stat().st_size if is_plain_file(path) else None
