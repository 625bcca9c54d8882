"""Saving: the run in memory, what of it is durable, and the one save that is under way."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from quadra.errors import FolderChangedError, SaveError
from quadra.storage.catalog import iso, read_catalog
from quadra.storage.folder import StateFolder
from quadra.storage.pending_save import PendingSave, Receipt
from quadra.storage.restore_points import Best, Retention
from quadra.storage.save_record import Ended, SaveRecord
from quadra.storage.save_store import Save, SaveStore
from quadra.storage.saved_state import SavedState
from quadra.storage.writer_process import WriterProcess
from quadra.training.run import Run, require_run
from quadra.version import __version__

log = logging.getLogger("quadra")


class Saving:
    """Saves the run in memory, at once or beside training; not for use from two threads at once."""

    def __init__(self, folder: StateFolder, writer: WriterProcess | None, retention: Retention | None) -> None:
        self.folder = folder
        self._store = SaveStore(folder, writer, retention)
        self.restore_points = self._store.restore_points  # restore points of all runs
        self._pending: PendingSave | None = None  # the save that is under way, until its receipt is collected
        self.hold(None)

    def hold(self, run: Run | None, record: SaveRecord | None = None) -> None:
        """Puts another run in memory, or none; `record`: of the save that it was restored from."""
        self.run = run
        self._sequence = 0 if record is None else record.sequence  # of the run's newest save
        self._load_rank = 0 if record is None else record.load_rank
        self.saved_iteration = 0 if record is None else record.iteration_count
        self.newest_receipt: Receipt | None = None  # of the newest save of this run since it is in memory
        self._files_agree = True  # whether the newest save was one of all three files
        self._store.forget()

    @property
    def iteration_count(self) -> int:
        """The good iterations of the run in memory."""
        return 0 if self.run is None else self.run.iteration_count

    @property
    def unsaved_iterations(self) -> int:
        """The iterations that only memory holds, as far as outcomes of saves have been collected."""
        return self.iteration_count - self.saved_iteration

    @property
    def is_unsaved(self) -> bool:
        """Whether the three files on disk are not, or not all, those of this iteration."""
        return self.run is not None and (self.unsaved_iterations > 0 or not self._files_agree)

    @property
    def is_under_way(self) -> bool:
        """Whether a save is being written beside training."""
        return self._pending is not None and not self._pending.has_ended

    @property
    def seconds_under_way(self) -> float:
        """The seconds that the save that is under way has taken so far, as it was last looked at; 0.0 where none is."""
        return 0.0 if self._pending is None else self._pending.seconds

    @property
    def must_wait(self) -> bool:
        """Whether the next step needs the memory from which a save is being written."""
        return self.run is not None and self.run.engine.snapshot_in_use and self.is_under_way

    @property
    def best(self) -> Best | None:
        """The saved state of this run with the best smoothed reward."""
        return None if self.run is None else self.restore_points.best_of(self.run.id, self.run.history.rows())

    def save(self, ended: Ended | None = None) -> Receipt:
        """Saves all three files at this iteration, durably. Raises SaveError; the previous saved state is then intact.

        `ended`: "stopped" makes this run the one that Load takes by default.
        """
        self.finish_pending()
        self.begin(ended, full=True)
        self.wait()
        return self._finish()

    def begin(
        self, ended: Ended | None = None, full: bool = False, wake: Callable[[], None] | None = None
    ) -> PendingSave:
        """Begins to save the state as it is now, beside training; `collect` gives the outcome.

        `wake` is called from the writer thread, where that writes the save, when it has ended. Raises SaveTimeoutError while an
        earlier save is still being written.
        """
        run = require_run(self.run)
        if self._pending is not None:
            self._pending.require_ended()
        self.finish_pending()  # what the last save proved must be known before the next one looks at the folder
        number = self.folder.save_numbers.next()
        self._sequence += 1
        load_rank = self._next_load_rank() if ended == "stopped" else self._load_rank
        save = self._snapshot(run, ended or run.ended, load_rank, number, full)
        self._pending = self._store.begin(save, on_end=wake)
        return self._pending

    def collect(self) -> Receipt | None:
        """Returns the receipt of a save that has ended since the last call; None where there is none.

        Raises SaveError where it failed.
        """
        return self._finish() if self._pending is not None and self._pending.has_ended else None

    def wait(self) -> None:
        """Blocks until no save is being written. Raises SaveTimeoutError where the disk does not answer."""
        if self._pending is not None:
            self._pending.wait()

    def finish_pending(self) -> None:
        """Blocks until a save that is under way has ended; whether it failed is known from what is unsaved afterwards."""
        try:
            self.wait()
            self.collect()
        except SaveError as error:
            log.warning("The last save failed: %s", error)

    def make_present(self, saved: SavedState | None) -> None:
        """Saves the run that was just loaded as the one that Load takes by default; `saved`: what the three files hold, where
        they are this run's already. Raises SaveError or OSError."""
        if saved is not None:
            self._store.adopt(saved)
        self._load_rank = self._next_load_rank()
        self.save()

    def forget_folder(self) -> None:
        """Forgets what stands in the folder; the next save inspects it."""
        self._store.forget()

    def close(self) -> None:
        """Releases the folder; a write that the disk has not finished holds it until it has."""
        self._store.close(self._pending, self.folder.close)

    def _finish(self) -> Receipt:
        pending, self._pending = self._pending, None
        assert pending is not None, "a save has ended"
        try:
            receipt = pending.receipt()
        except FolderChangedError:
            self.saved_iteration = 0  # what was saved stood in the folder that is not ours any more
            raise
        self.newest_receipt = receipt
        record = receipt.record
        self._load_rank = record.load_rank
        require_run(self.run).ended = record.ended
        self.saved_iteration = record.iteration_count
        self._files_agree = receipt.full
        return receipt

    def _next_load_rank(self) -> int:
        catalog = read_catalog(self.folder.layout)
        self.folder.save_numbers.note(catalog.largest_save_number)
        return catalog.largest_load_rank + 1

    def _snapshot(self, run: Run, ended: Ended, load_rank: int, number: int, full: bool) -> Save:
        config = run.config
        record = SaveRecord(
            run=run.id, sequence=self._sequence, iteration_count=run.iteration_count,
            saved_at=iso(datetime.now(UTC)), ended=ended, load_rank=load_rank, field_size=config.field_size,
            seed=config.seed or 0, history_sha256=run.history.checksum(), metrics_rows=self._store.metrics_rows,
            loss=run.newest("loss"), reward=run.newest("reward"), parent=run.parent,
            program=__version__, save_number=number,
            **run.events._asdict(),
        )  # fmt: skip
        return Save(record, config, run.engine.snapshot(), run.history.rows(), full)
