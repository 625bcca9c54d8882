"""SavedRun: the run in memory and how it is saved, at once or beside training."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from quadra.config import TrainingConfig
from quadra.errors import FolderChangedError, RefusedError, SaveError
from quadra.storage.catalog import Catalog, iso, read_catalog
from quadra.storage.folder import StateFolder
from quadra.storage.pending_save import PendingSave, Receipt
from quadra.storage.restore_points import Best, Retention
from quadra.storage.save_record import Ended, SaveRecord
from quadra.storage.save_store import Save, SaveStore
from quadra.storage.writer_process import WriterProcess
from quadra.training.run import RunInMemory
from quadra.version import __version__

log = logging.getLogger("quadra")


class SavedRun(RunInMemory):
    """What is saved of a run, and what is not yet."""

    def __init__(
        self, folder: StateFolder, defaults: TrainingConfig, writer: WriterProcess | None, retention: Retention | None
    ) -> None:
        super().__init__(defaults)
        self.folder = folder
        self._store = SaveStore(folder, writer, retention)
        self._pending: PendingSave | None = None  # the save that is under way, until its receipt is collected
        self._forget()

    def _forget(self) -> None:
        """No run is in memory."""
        self._empty()
        self._sequence = 0  # of the run's newest save
        self._load_rank = 0
        self._ended: Ended = "cut off"
        self._saved_iteration = 0
        self.newest_receipt: Receipt | None = None  # of the newest save of this run since it is in memory
        self._files_agree = True  # whether the newest save was one of all three files
        self._store.forget()

    @property
    def unsaved_iterations(self) -> int:
        """Iterations that only memory holds, as far as outcomes of saves have been collected."""
        return self.iteration_count - self._saved_iteration

    @property
    def is_unsaved(self) -> bool:
        """Whether the three files on disk are not, or not all, those of this iteration."""
        return self._engine is not None and (self.unsaved_iterations > 0 or not self._files_agree)

    @property
    def must_wait_for_save(self) -> bool:
        """Whether the next step needs the memory from which a save is being written."""
        return self._engine is not None and self._engine.snapshot_in_use and self.is_saving

    @property
    def is_saving(self) -> bool:
        """Whether a save is being written beside training."""
        return self._pending is not None and not self._pending.has_ended

    @property
    def saving_seconds(self) -> float:
        """For how long the save that is under way has been; 0.0 where none is."""
        return 0.0 if self._pending is None else time.perf_counter() - self._pending.began_at

    @property
    def best(self) -> Best | None:
        """The saved state of this run with the best smoothed reward."""
        return None if self.run is None else self._store.points.best_of(self.run, self.history.rows())

    def catalog(self) -> Catalog:
        """The saved states in the folder."""
        return read_catalog(self.folder.layout)

    def save_state(self) -> bool:
        """Save; durable when it returns True. False, with the reason logged, when it failed."""
        try:
            self.save()
        except (SaveError, RefusedError) as error:
            log.error("Failed to save state: %s", error)  # noqa: TRY400  # the reason, not a traceback, is for people
            return False
        return True

    def save(self, ended: Ended | None = None) -> Receipt:
        """Save all three files at this iteration, durably. Raises SaveError; the previous saved state is then intact.

        `ended`: "stopped" makes this run the one that Load takes by default.
        """
        self._settle()
        self.begin_save(ended, full=True)
        self.wait_for_save()
        return self._finish_save()

    def begin_save(
        self, ended: Ended | None = None, full: bool = False, wake: Callable[[], None] | None = None
    ) -> PendingSave:
        """Begin to save the state as it is now, beside training; `collect_save` gives the outcome.

        `wake` is called from the writer thread, where that writes the save, when it has ended. Raises SaveTimeoutError while an
        earlier save is still being written.
        """
        if self._pending is not None:
            self._pending.require_ended()
        self._settle()  # what the last save proved must be known before the next one looks at the folder
        self._sequence += 1
        load_rank = self._next_load_rank() if ended == "stopped" else self._load_rank
        save = self._snapshot(ended or self._ended, load_rank, full)
        self._pending = self._store.begin(save, on_end=wake)
        return self._pending

    def collect_save(self) -> Receipt | None:
        """The outcome of a save that has ended since the last call; None where there is none.

        Raises SaveError where it failed.
        """
        return self._finish_save() if self._pending is not None and self._pending.has_ended else None

    def wait_for_save(self) -> None:
        """Until no save is being written. Raises SaveTimeoutError where the disk does not answer."""
        if self._pending is not None:
            self._pending.wait()

    def _finish_save(self) -> Receipt:
        pending, self._pending = self._pending, None
        assert pending is not None, "a save has ended"
        try:
            receipt = pending.receipt()
        except FolderChangedError:
            self._saved_iteration = 0  # what was saved stood in the folder that is not ours any more
            raise
        self.newest_receipt = receipt
        record = receipt.record
        self._load_rank, self._ended = record.load_rank, record.ended
        self._saved_iteration = record.iteration_count
        self._files_agree = receipt.full
        return receipt

    def _settle(self) -> None:
        """Wait for a save that is under way; whether it failed is known from what is unsaved afterwards."""
        try:
            self.wait_for_save()
            self.collect_save()
        except SaveError as error:
            log.warning("The last save failed: %s", error)

    def _next_load_rank(self) -> int:
        return self.catalog().largest_load_rank + 1

    def _snapshot(self, ended: Ended, load_rank: int, full: bool) -> Save:
        engine = self.engine
        record = SaveRecord(
            run=self.run or "", sequence=self._sequence, iteration_count=self.iteration_count,
            saved_at=iso(datetime.now(UTC)), ended=ended, load_rank=load_rank, field_size=engine.config.field_size,
            seed=engine.config.seed or 0, history_sha256=self.history.checksum(), metrics_rows=self._store.counted_on,
            loss=self.newest("loss"), reward=self.newest("reward"), parent=self.parent,
            program=__version__,
            **self.happened._asdict(),
        )  # fmt: skip
        return Save(record, engine.config, engine.snapshot(), self.history.rows(), full)
