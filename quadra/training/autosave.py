"""AutoSave: when the worker saves, what of training may be shown, and how the saves have gone.

A save is written beside training. What a browser is shown then waits for what is durable, never the other way round:
at most `save_every` iterations more than the newest durable save. Where the disk is slower than training, training waits.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from quadra.errors import SaveError, SaveTimeoutError
from quadra.storage import pending_save
from quadra.storage.catalog import Catalog, read_catalog, summary_of
from quadra.storage.folder import StateFolder
from quadra.storage.layout import WEIGHTS
from quadra.storage.reset import describe_deletable
from quadra.storage.save_record import RunEvents
from quadra.training.events import MeasuredSave, Message, RunEventsChanged, SaveEveryChanged, SaveFailed, StateSaved
from quadra.training.publisher import Publisher
from quadra.training.view import SaveHealth, SaveOutcome, SaveTrouble, WorkerSettings

if TYPE_CHECKING:
    from quadra.storage.pending_save import Receipt
    from quadra.storage.save_record import Ended, SaveRecord
    from quadra.training.saving import Saving

log = logging.getLogger("quadra.worker")

NOTICEABLE = 0.1  # seconds that training may wait for the disk before the page says so
CHECK_OFTEN = 0.001  # seconds between two checks of a save that training waits for
CHECK_EVERY = 0.05  # seconds between two checks of any other that is under way
SHOWN_EVERY = 0.1  # seconds between two auto-saves that are shown; of more, the newest is enough
RETRY = 5.0  # seconds between two attempts while training rests
_STALLS = 101  # that the median is taken over
_SAVES_WORTH = 20  # of free space, below which a warning comes while there is still room
_LITTLE_SPACE = 100_000_000  # bytes of free space, likewise


class AutoSave:
    """Decides when one worker saves; used on its thread alone.

    `wake` is called from another thread when a save ends.
    """

    def __init__(
        self, folder: StateFolder, settings: WorkerSettings, publisher: Publisher, wake: Callable[[], None]
    ) -> None:
        self._folder = folder
        self._every, self._answer_within = settings.save_every, settings.answer_within
        self._publisher, self._wake = publisher, wake
        self._due_at: float | None = None  # when the save that is due came due
        self._catalog: Catalog | None = None
        self.start_over()

    def start_over(self) -> None:
        """Forgets all saves: another run, or none, is in memory."""
        self._due_at = None
        self._durable = 0  # iterations of the newest save
        self._must_retry = False  # whether the last save that was asked for at a rest of training failed
        self._retry_ended: Ended | None = None
        self._trouble: SaveTrouble | None = None
        self._answer_by: float | None = None  # where the folder was exchanged: when the run goes on by itself
        self._stalls: deque[float] = deque(maxlen=_STALLS)
        self._worst = 0.0
        self._remark = ""  # the newest one beside a save, so that it is told once
        self._health = SaveHealth()
        self._unshown: Receipt | None = None  # of the newest auto-save, where it came too soon after another
        self._shown_at = 0.0
        self._run_events: RunEvents | None = None  # what has happened to the run, as it was last shown
        self._listed_run: str | None = None  # the run whose place in the folder the catalog knows

    def after_step(self, count: int) -> None:
        """Notes that an iteration is done: a save may be due."""
        if self._every and count % self._every == 0:
            self._due_at = time.perf_counter()

    def set_interval(self, saving: Saving, save_every: int) -> None:
        """Sets the iterations between two saves. Where they are fewer, more may be unsaved than is then promised: it is saved
        first, so that the promise holds as soon as the change is shown."""
        if saving.is_unsaved and save_every and not 0 < self._every <= save_every:
            self.save(saving, None)
        self._every = save_every
        self._publisher.show(save_every=save_every)
        self._publisher.publish(SaveEveryChanged(save_every))

    def before_step(self, saving: Saving) -> float | None:
        """Collects a save that has ended, and begins one that is due.

        Returns for how many seconds training must wait; None: it may go on.
        """
        self._show_run_events(saving)
        has_ended = not saving.is_under_way  # asked once: one that ends from here on is collected next time
        if has_ended:
            self.collect(saving)
        if self._unshown is not None and time.perf_counter() >= self._shown_at + SHOWN_EVERY:
            self._show(saving, self._unshown)
        if self._due_at is not None and has_ended:
            self._begin(saving)
        if self._due_at is None and not saving.must_wait:
            return None
        waited = saving.seconds_under_way
        if waited >= pending_save.TIMEOUT:
            self._due_at = None
            self._on_failure(saving, SaveTimeoutError(f"The disk has not answered for {waited:.0f} seconds."))
            return RETRY if saving.must_wait else None
        if waited >= NOTICEABLE and not self._health.waiting:
            self._health = replace(self._health, waiting=True)
            self._publisher.show(save_health=self._health)
        return CHECK_OFTEN

    def collect(self, saving: Saving) -> None:
        """Publishes the outcome of a save that has ended, where there is one."""
        try:
            receipt = saving.collect()
        except SaveError as error:
            self._on_failure(saving, error)
            return
        if receipt is not None:
            self._on_success(saving, receipt)

    def save(self, saving: Saving, ended: Ended | None) -> SaveOutcome | None:
        """Saves all three files, publishes the outcome and returns it; None when it failed, which stops nothing."""
        self._due_at = None
        self._show_run_events(saving)
        try:
            saving.wait()
            self.collect(saving)
            receipt = saving.save(ended)
        except SaveError as error:
            self._must_retry, self._retry_ended = True, ended
            self._on_failure(saving, error)
            return None
        self._must_retry = False
        return self._on_success(saving, receipt)

    def retry_in(self, saving: Saving) -> float | None:
        """Returns in how many seconds a save that failed is to be tried again while training rests; None: there is none."""
        return RETRY if self._must_retry and saving.is_unsaved else None

    def retry(self, saving: Saving) -> None:
        """Tries a save that failed again while training rests, once the disk has answered."""
        if self._must_retry and saving.is_unsaved and not saving.is_under_way:
            self.save(saving, self._retry_ended)

    @property
    def trouble(self) -> str:
        """Why the newest save failed."""
        return self._trouble.message if self._trouble else "the save failed"

    @property
    def is_folder_changed(self) -> bool:
        """Whether saving stopped because the folder is not ours any more."""
        return self._trouble is not None and self._trouble.code == "folder_changed"

    @property
    def answer_in(self) -> float | None:
        """The seconds left in which a person can say what becomes of a run whose folder was exchanged; None: it was not."""
        return None if self._answer_by is None else max(0.0, self._answer_by - time.monotonic())

    def wait_for_answer(self) -> None:
        """Gives a person as much time again."""
        self._answer_by = time.monotonic() + self._answer_within

    def publish_saved_first(self, record: SaveRecord | None) -> None:
        """Publishes that the run in memory was saved before another took its place, where it was."""
        if record is not None:
            self._publisher.publish(StateSaved(record.iteration_count, record.saved_at, 0.0))

    def _begin(self, saving: Saving) -> None:
        assert self._due_at is not None, "a save is due"
        try:
            saving.begin(wake=self._wake)
        except SaveError as error:
            self._on_failure(saving, error)
        stall = (time.perf_counter() - self._due_at) * 1000.0
        self._stalls.append(stall)
        self._worst = max(self._worst, stall)
        self._due_at = None

    def show_newest(self, saving: Saving) -> None:
        """Shows what has happened to the run in memory, and the save that made it the present one, where there was one."""
        self._show_run_events(saving)
        self._durable = saving.saved_iteration
        if saving.newest_receipt is not None:
            self._show(saving, saving.newest_receipt)

    def _on_success(self, saving: Saving, receipt: Receipt) -> SaveOutcome:
        self._durable = receipt.record.iteration_count
        outcome = _outcome(receipt)
        if receipt.remark and receipt.remark != self._remark:
            self._publisher.publish(Message(receipt.remark, "warning"))
        self._remark = receipt.remark or self._remark
        self._unshown = receipt
        if receipt.verified or self._trouble is not None:
            self._show(saving, receipt)
        self._publisher.publish(MeasuredSave(**vars(outcome)))  # last: who hears of it may ask at once what is shown
        return outcome

    def _show(self, saving: Saving, receipt: Receipt) -> None:
        self._unshown, self._shown_at = None, time.perf_counter()
        record = receipt.record
        free = self._free_bytes()
        low = free is not None and free < max(_LITTLE_SPACE, _SAVES_WORTH * receipt.written)
        if free is not None and low and self._health.free_bytes is None:
            self._publisher.publish(Message(f"Only {free / 1e6:.0f} MB are free on the disk.", "warning"))
        verified = record if receipt.verified else None
        self._trouble, self._answer_by = None, None
        self._health = SaveHealth(
            stalls=tuple(self._stalls),
            stall_worst_ms=round(self._worst, 3),
            verified_iteration=verified.iteration_count if verified else self._health.verified_iteration,
            verified_at=verified.saved_at if verified else self._health.verified_at,
            free_bytes=free if low else None,
        )
        shown = {"last_save": _outcome(receipt), "trouble": None, "save_health": self._health, "best": saving.best}
        self._publisher.show(**shown, **self._listed(record))

    def _show_run_events(self, saving: Saving) -> None:
        events = saving.run.events if saving.run else RunEvents()
        if events is not self._run_events:
            self._run_events = events
            self._publisher.show(run_events=events)
            self._publisher.publish(RunEventsChanged())

    def _free_bytes(self) -> int | None:
        """Returns the free bytes of the disk; None where the folder is gone, which the next save reports."""
        try:
            return self._folder.free_bytes()
        except OSError:
            return None

    def _on_failure(self, saving: Saving, error: SaveError) -> None:
        if self._unshown is not None:  # shown later, it would hide this
            self._show(saving, self._unshown)
        since = self._trouble.since if self._trouble else self._durable
        self._trouble = SaveTrouble(saving.iteration_count, str(error), since, error.code)
        if not self.is_folder_changed:
            self._answer_by = None
        elif self._answer_by is None:
            self.wait_for_answer()
        self._health = replace(self._health, waiting=False)
        self._publisher.show(trouble=self._trouble, save_health=self._health)
        self._publisher.publish(SaveFailed(saving.iteration_count, str(error)))

    def _listed(self, record: SaveRecord) -> dict[str, Any]:
        """Returns the catalog after a save; it is only shown, so a failure here is no failure of the save."""
        if self._listed_run == record.run and self._catalog is not None:
            path = self._folder.path
            self._catalog = self._catalog.with_copy(summary_of(record, path / WEIGHTS, path))
            return {"catalog": self._catalog}
        try:  # the run's first save: another one may have been set aside for it
            self._catalog, self._listed_run = read_catalog(self._folder.layout), record.run
            return {"catalog": self._catalog, "deletes": describe_deletable(self._folder.layout)}
        except OSError:
            log.exception("The saved states could not be listed")
            return {}


def _outcome(receipt: Receipt) -> SaveOutcome:
    record, took = receipt.record, round(receipt.seconds * 1000.0, 3)
    return SaveOutcome(record.iteration_count, record.saved_at, took, receipt.size, receipt.written)
