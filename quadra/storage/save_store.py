"""SaveStore: the present run's files in a held directory, saved as one commit. `docs/reliability.md` explains the protocol.

A full save (the first one, Stop, Save, the end of the server, every few hundred iterations) writes, in this order:

1. `metrics_history.pkl`, the history, which grows in place, and then its copy `saves/history.pkl`;
2. `oscillator_weights.pth`, the commit, as module `commit` says: everything else, and the newest rows of the history;
3. `system_state.pkl`, which repeats what people and scripts ask for.

An auto-save writes the weights file alone, which then holds the rows that the metrics file lacks. The writer process
commits it from a copy in shared memory; where there is no such process, or the save is too large for it, the writer thread
does. Either way `begin` returns a PendingSave, whose receipt says that the save is durable.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quadra.config import TrainingConfig
from quadra.errors import BadFileError, FolderUnusableError, SaveError
from quadra.model.run_buffers import Snapshot
from quadra.storage import metrics_file
from quadra.storage.commit import CommitRequest, Committed, commit, require_own_save
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
from quadra.storage.layout import FILES, METRICS, METRICS_COPY, RESTORE_POINTS, SAVES, SYSTEM, WEIGHTS
from quadra.storage.metrics_file import MetricsLog
from quadra.storage.other_runs import OtherRuns
from quadra.storage.pending_save import Outcome, PendingSave, Receipt
from quadra.storage.reset import call_off
from quadra.storage.restore_points import Plan, RestorePoints, Retention
from quadra.storage.save_record import SaveRecord, peek, verify
from quadra.storage.saved_state import SavedState, are_whole
from quadra.storage.system_file import encode_system
from quadra.storage.weights_file import WeightsEncoder, bytes_of
from quadra.storage.writer_process import WriterProcess
from quadra.storage.writer_thread import WriterThread

log = logging.getLogger("quadra")

_NOT_KNOWN = (-1,)
MOST_TAIL = 512  # rows that the metrics file may lack before it is extended
_VERIFY_EVERY = 32  # saves; one of them is read back


@dataclass(frozen=True)
class Save:
    """What one save writes: all of it copied, or never changed again, so that training may go on meanwhile."""

    record: SaveRecord  # its `metrics_rows` is set by the store, where it is not `SaveStore.metrics_rows` already
    config: TrainingConfig
    snapshot: Snapshot
    rows: NDArray[np.float32]  # the whole history, shape (iteration_count, 4)
    full: bool  # whether all three files shall agree afterwards


class SaveStore:
    """Writes the saves of one held directory, one at a time; not for use from two threads at once."""

    def __init__(
        self, folder: StateFolder, process: WriterProcess | None = None, retention: Retention | None = None
    ) -> None:
        self.restore_points = RestorePoints(folder.layout, retention or Retention())
        self._folder = folder
        self._others = OtherRuns(folder)
        self._process, self._thread = process, WriterThread()
        self._files = {name: folder.path / name for name in FILES}
        self._metrics = self._files[METRICS], folder.path / SAVES / METRICS_COPY
        self.forget()

    def forget(self) -> None:
        """Forgets what stands in the directory; the next save checks."""
        self._run: str | None = None  # whose newest save in the folder is known
        self._room_for: str | None = None  # the run for which other runs' files have been kept already
        self._logs: dict[Path, MetricsLog] = {}
        self._identities: dict[Path, Identity | None] = {}  # of the files that this object knows
        self._encoder: WeightsEncoder | None = None
        self._has_restore_points: set[str] = set()  # runs whose folder of restore points is there
        self.restore_points.forget()
        # Rows that the metrics files held before they were last extended. The weights file carries all later ones, so
        # that it is completed by a metrics file of that time too, as a `cp -r` beside training may have caught it.
        self.metrics_rows = 0

    def adopt(self, state: SavedState) -> None:
        """Notes that the directory's own files are those of this state, as `read_save` found them."""
        self.forget()
        self._run = state.record.run
        damaged = {str(error.path) for error in state.damaged}
        self._logs = {
            Path(path): log for path, log in state.logs.items() if log.rows <= len(state.rows) and path not in damaged
        }
        self._identities = {path: identity_of(path) for path in (*self._files.values(), *self._logs)}
        self.metrics_rows = min(state.record.metrics_rows, self._rows_in_metrics() or 0)

    def begin(self, save: Save, on_end: Callable[[], None] | None = None) -> PendingSave:
        """Has a save written beside training: by the writer process where it is a small one, else on the writer thread.

        `on_end` is called on that thread, where it writes the save, once the save has ended. The snapshot is released as soon
        as its memory is not needed any more.
        """
        pending = self._begin_in_process(save)
        return pending or self._thread.begin(lambda: self._commit_and_release(save), on_end)

    def close(self, pending: PendingSave | None, then: Callable[[], None]) -> None:
        """Writes no more saves. `then` is called once this process does not write `pending` any more; what the writer process
        may still be writing ends with the process that holds the directory."""
        self._thread.close(pending, then)

    def commit(self, save: Save) -> Receipt:
        """Saves a state; durable on return.

        Raises FolderError, SaveError or OSError: the previous save is then intact, or this one is.
        """
        started = time.perf_counter()
        self._folder.require_own()
        _require_finite(save, self._tail_of(save))
        run, is_first = save.record.run, self._run != save.record.run
        if is_first and self._room_for != run:
            self.forget()
            call_off(self._folder.layout)
            self._others.make_room(run)
            self._room_for, self._identities = run, {self._files[WEIGHTS]: identity_of(self._files[WEIGHTS])}
        require_own_save(self._folder.path, self._folder.lock, self._identities.get(self._files[WEIGHTS]))
        self._folder.saves_folder()
        full = save.full or is_first or self._tail_of(save) >= MOST_TAIL
        written = self._extend_metrics(save) if full else 0
        request, plan = self._request(save, keep_present=not is_first)
        self._make_restore_points_folder(request)
        committed = self._commit_weights(request, plan)
        self._run = self._room_for = run
        if full:
            written += self._write_system(save)
        if is_first:
            self._others.drop_saves(run)
            self._drop_surplus(run)
        verified = full or save.record.sequence % _VERIFY_EVERY == 0
        if verified:
            self._verify(run)
        return _receipt(request.record, committed, started, written, full, verified)

    def _begin_in_process(self, save: Save) -> PendingSave | None:
        """Hands a copy of a save to the writer process. Returns None where it is not one for it.

        It takes saves of the weights alone: whatever else may be due, `commit` sees to it. Each number of a step was found
        finite by the engine; a full save checks all of them again.
        """
        run, started = save.record.run, time.perf_counter()
        is_plain = not save.full and self._run == run and self._tail_of(save) < MOST_TAIL
        if self._process is None or not is_plain or save.record.sequence % _VERIFY_EVERY == 0:
            return None
        request, plan = self._request(save, keep_present=True)
        if (request.names and run not in self._has_restore_points) or not self._process.send(request):
            return None
        save.snapshot.release()
        record, answer = request.record, self._process.answer
        return PendingSave(lambda timeout: self._outcome(record, plan, started, answer(timeout)), "process")

    def _outcome(
        self, record: SaveRecord, plan: Plan, started: float, answer: Committed | Exception | None
    ) -> Outcome | None:
        """Returns what came of a save that the writer process was handed; None while there is no answer."""
        if isinstance(answer, Committed):
            self._after_commit(record.run, plan, answer)
            return _receipt(record, answer, started)
        if answer is not None:
            self._recognize(record)
        return answer

    def _commit_and_release(self, save: Save) -> Receipt:
        try:
            return self.commit(save)
        finally:
            save.snapshot.release()

    def _commit_weights(self, request: CommitRequest, plan: Plan) -> Committed:
        try:
            committed = commit(request)
        except BaseException:
            self._recognize(request.record)
            raise
        self._after_commit(request.record.run, plan, committed)
        return committed

    def _after_commit(self, run: str, plan: Plan, committed: Committed) -> None:
        """Notes that a weights file has become durable."""
        self._identities[self._files[WEIGHTS]] = committed.identity
        if committed.remark:
            self.restore_points.forget()
        else:
            self.restore_points.apply(run, plan, committed.size)

    def _verify(self, run: str) -> None:
        """Reads the weights file back. Raises a BadFileError where it is not what was written."""
        sync_folder(self._folder.path / SAVES)  # an earlier save's name need be durable only for a damaged newest one
        if run in self._has_restore_points:
            sync_folder(self._folder.path / RESTORE_POINTS / run)
        verify(read_file(self._files[WEIGHTS]), self._files[WEIGHTS])

    def _recognize(self, record: SaveRecord) -> None:
        """Notes the weights file as ours where a commit failed after its rename."""
        path = self._files[WEIGHTS]
        with contextlib.suppress(BadFileError):
            if peek(path) == record:
                self._identities[path] = identity_of(path)

    def _tail_of(self, save: Save) -> int:
        """Returns the number of rows that are not in both metrics files yet."""
        return len(save.rows) - (self._rows_in_metrics() or 0)

    def _rows_in_metrics(self) -> int | None:
        """Returns the number of rows that both metrics files hold; None where that is not known."""
        one, other = map(self._logs.get, self._metrics)
        return None if one is None or other is None else min(one.rows, other.rows)

    def _extend_metrics(self, save: Save) -> int:
        """Brings the metrics and their copy up to date, one after the other. Returns the bytes written."""
        held = self._rows_in_metrics()
        written = sum(self._extend(path, save) for path in self._metrics)
        self.metrics_rows = len(save.rows) if held is None else held
        return written

    def _write_system(self, save: Save) -> int:
        """Replaces the system state, after the commit: where it stands, there was a weights file. Returns the bytes written."""
        system, content = self._files[SYSTEM], encode_system(save.record, save.config, save.snapshot.rest)
        self._set_aside_changed(system)
        replace_file(system, content)
        self._identities[system] = identity_of(system)
        return _size(content)

    def _extend(self, path: Path, save: Save) -> int:
        """Brings one metrics file to all rows. Returns the bytes written.

        Until that is done nothing is known of the file: a failed append is not appended to.
        """
        changed, log = self._set_aside_changed(path), self._logs.pop(path, None)
        if changed or log is None or log.is_fragmented or _length_of(path) != log.size:
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

    def _set_aside_changed(self, path: Path) -> bool:
        """Sets a file aside that is not as this object left it. Returns whether it was not; raises FolderChangedError."""
        self._folder.require_own()
        known = self._identities.pop(path, _NOT_KNOWN)  # until it is written: what a failed write leaves is our own
        if known is _NOT_KNOWN or identity_of(path) == known:
            return False
        target = self._folder.set_aside([path])
        log.warning("%s was changed or removed by somebody else; what stood there was set aside in %s", path, target)
        return True

    def _request(self, save: Save, keep_present: bool) -> tuple[CommitRequest, Plan]:
        """Returns the weights file of a save, to be committed, and what the save does to the restore points."""
        if self._encoder is None:
            self._encoder = WeightsEncoder(save.config, save.snapshot)
        record, tensors = self._with_metrics_rows(save.record), bytes_of(save.snapshot.flat)
        contents = self._encoder.contents(save.snapshot, save.rows[self.metrics_rows :])
        plan = self.restore_points.plan(save.record, save.rows, len(tensors) + sum(map(len, contents)))
        request = CommitRequest(
            folder=str(self._folder.path),
            lock=self._folder.lock,
            present=self._identities.get(self._files[WEIGHTS]),
            keep_present=keep_present,
            record=record,
            tensors=tensors,
            contents=contents,
            names=tuple(map(str, plan.names)),
            expired=tuple(map(str, plan.expired)),
        )
        return request, plan

    def _with_metrics_rows(self, record: SaveRecord) -> SaveRecord:
        """Returns the record with the number of rows that the metrics file is counted on for."""
        rows = self.metrics_rows
        return record if record.metrics_rows == rows else replace(record, metrics_rows=rows)

    def _make_restore_points_folder(self, request: CommitRequest) -> None:
        """Makes the folder of the restore points; where that fails, the commit says so once it has kept the state."""
        if request.names and request.record.run not in self._has_restore_points:
            with contextlib.suppress(OSError, FolderUnusableError):
                self._folder.restore_points_folder(request.record.run)
                self._has_restore_points.add(request.record.run)

    def _drop_surplus(self, run: str) -> None:
        """Removes restore points that are over the budget though no save has added one; what cannot go now stays."""
        try:
            for point in self.restore_points.surplus(run):
                remove(point)
        except OSError as error:
            log.info("A restore point stays: %s", error)


def _require_finite(save: Save, tail: int) -> None:
    """Raises SaveError for a number that is not finite, in what has changed since the last save."""
    rest = save.snapshot.rest
    values = [number for number in rest["neuroplasticity"].values() if number is not None]
    total = sum(values) + sum(map(sum, map(dict.values, rest["q_table"].values())))
    rows = save.rows[len(save.rows) - tail :]
    if not (math.isfinite(total) and np.isfinite(save.snapshot.flat).all() and are_whole(rows)):
        raise SaveError("The state holds numbers that are not finite. The last good state on disk was kept.")


def _receipt(
    record: SaveRecord,
    committed: Committed,
    started: float,
    written: int = 0,
    full: bool = False,
    verified: bool = False,
) -> Receipt:
    seconds = time.perf_counter() - started
    return Receipt(record, committed.size, committed.size + written, full, verified, committed.remark, seconds)


def _size(pieces: Sequence[Piece]) -> int:
    return sum(memoryview(piece).nbytes for piece in pieces)


def _length_of(path: Path) -> int | None:
    """Returns the bytes of a plain file; None where there is none."""
    return path.stat().st_size if is_plain_file(path) else None
