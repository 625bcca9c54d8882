"""Backup: saved states are mirrored to a remote place by a thread of its own; training never waits for it.

It is told of saves and takes wishes. For each run at most one wish waits, so a slow network queues up nothing: what is
sent next is the run's newest save at that moment. A state that is under way is finished before another one is begun, and
tried again, with growing pauses, until it has arrived or the server ends.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from quadra.backup.manifest import Manifest, manifest_of
from quadra.backup.remote import Remote
from quadra.config import TrainingConfig
from quadra.errors import BackupError, BadFileError, QuadraError, RefusedError, WorkerClosedError
from quadra.states.alert_rules import exported_rules
from quadra.storage.catalog import iso
from quadra.storage.layout import WEIGHTS, StateLayout
from quadra.storage.save_record import SaveRecord, peek
from quadra.training.command_queue import Reply
from quadra.training.commands import Commands
from quadra.training.events import Event, Message, StateSaved, TrainingStopped
from quadra.training.view import BackupHealth
from quadra.training.worker import Worker

log = logging.getLogger("quadra.backup")

Shown = Future[Any]  # done once everybody can see what was to be shown, or never will
Read = Callable[[str, Path], SaveRecord]  # writes what belongs to a run's newest save into a folder


@dataclass(frozen=True)
class Timing:
    """The pauses, in seconds."""

    first_retry: float = 2.0  # after the first failure; each further one doubles it
    longest_retry: float = 300.0
    rest: float = 30.0  # at least, between two backups while training
    closing: float = 5.0  # for what is pending when the server ends
    chance: Callable[[], float] = random.random  # from 0 to 1, spreads the attempts of several servers
    clock: Callable[[], float] = time.monotonic
    wait: Callable[[threading.Event, float | None], object] = threading.Event.wait

    def before_retry(self, failures: int) -> float:
        """The pause after so many failures in a row, from 1: between half of it and all of it, by chance."""
        whole = min(self.longest_retry, self.first_retry * 2.0 ** min(failures - 1, 64))
        return whole * (0.5 + 0.5 * self.chance())


TIMING = Timing()


@dataclass
class _Wish:
    """That the newest save of a run be backed up, and who waits for the first attempt's outcome."""

    run: str
    answers: list[Reply] = field(default_factory=list)

    def refuse(self, error: QuadraError, shown: Shown) -> None:
        """Tell those who wait, once it is shown too; the wish may still come true later."""
        self._once(shown, lambda answer: answer.set_exception(error))

    def fulfil(self, outcome: dict[str, Any], shown: Shown) -> None:
        """Tell those who wait, once it is shown too: who asks right after the answer must see it."""
        self._once(shown, lambda answer: answer.set_result(outcome))

    def _once(self, shown: Shown, tell: Callable[[Reply], None]) -> None:
        answers, self.answers = self.answers, []

        def told(_: Shown) -> None:
            for answer in answers:
                tell(answer)

        shown.add_done_callback(told)


@dataclass
class _Parcel:
    """A state on its way: its files stand in a folder of their own until they have arrived."""

    wish: _Wish
    folder: TemporaryDirectory[str]
    manifest: Manifest

    @property
    def is_whole(self) -> bool:
        """Whether its files still stand there: systems clear their folder of temporary files now and then."""
        return all((Path(self.folder.name) / name).is_file() for name in (*self.manifest.files, *self.manifest.along))


class Backup:
    """`on_event`, `now` and `close` may be called from any thread.

    `run` gives the run in memory; `read` is called on this object's thread; `show` and `say` are told what is to be
    shown, and return at once; the future that `show` returns is done when it is seen.
    """

    def __init__(
        self, place: Remote, every: int, run: Callable[[], str | None], read: Read,
        show: Callable[[BackupHealth], Shown], say: Callable[[Message], object], timing: Timing = TIMING,
    ) -> None:  # fmt: skip
        self.place = place
        self._run_in_memory, self._read, self._show, self._say, self._timing = run, read, show, say, timing
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._wishes: dict[str, _Wish] = {}
        self._saves = 0  # that no wish was made for
        self._rests_until = 0.0
        self._try_at = 0.0
        self._is_closing = False
        self._parcel: _Parcel | None = None  # this and what follows belong to the thread
        self._failures = 0
        self._health = BackupHealth(place.shown_url, every)
        self._shown: Shown  # the newest health, from `start` on
        self._thread = threading.Thread(target=self._work, name="backup", daemon=True)

    @property
    def health(self) -> BackupHealth:
        """How it goes."""
        return self._health

    def start(self) -> None:
        """Start the thread."""
        self._shown = self._show(self._health)
        self._thread.start()

    def on_event(self, event: Event) -> None:
        """Hear of a save, or that training has ended; returns at once."""
        if isinstance(event, StateSaved):
            self._saves += 1
            is_due = 0 < self._health.every <= self._saves
            if is_due and self._timing.clock() >= self._rests_until:
                self._wish(self._run_in_memory())
        elif isinstance(event, TrainingStopped):
            self._wish(self._run_in_memory())

    def now(self) -> Reply:
        """Back up the newest save of the run in memory; the future gives the outcome of the first attempt."""
        run, answer = self._run_in_memory(), Reply()
        if self._is_closing:
            answer.set_exception(WorkerClosedError("The server is shutting down."))
        elif run is None:
            answer.set_exception(RefusedError("There is no run to back up. Initialize or load first."))
        else:
            self._wish(run, answer)
        return answer

    def close(self) -> str | None:
        """End the thread after a few seconds at most; returns what could not be backed up, in words, or None."""
        if self._saves and not self._failures:
            self._wish(self._run_in_memory())
        self._is_closing = True
        self._try_at = 0.0
        self._wake.set()
        self._thread.join(self._timing.closing)
        if not (self._health.pending or self._wishes):
            return None
        parcel = self._parcel
        if parcel is not None:
            parcel.folder.cleanup()  # the process ends without tidying up after itself
        why = self._health.reason or "there was no time left"
        return f"The newest saved state is not at {self.place.shown_url}: {why}. It is safe in the state directory."

    def _wish(self, run: str | None, answer: Reply | None = None) -> None:
        if run is None:
            return
        with self._lock:
            self._saves = 0
            wish = self._wishes.setdefault(run, _Wish(run))
            if answer is not None:  # somebody waits: not for the next attempt's time to come
                wish.answers.append(answer)
                self._try_at = 0.0
        self._wake.set()

    def _work(self) -> None:
        while True:
            self._wake.clear()
            due_in = self._due_in()
            if due_in is None and self._is_closing:
                return
            if due_in is None or due_in > 0.0:
                self._timing.wait(self._wake, due_in)
            elif not self._turn() and self._is_closing:
                return

    def _due_in(self) -> float | None:
        """Seconds until there is something to do; None: nothing is wished for."""
        with self._lock:
            if self._parcel is None and not self._wishes:
                return None
            return self._try_at - self._timing.clock()

    def _turn(self) -> bool:
        """One attempt; whether it went well."""
        self._tell(pending=True)
        try:
            if self._parcel is not None and not self._parcel.is_whole:
                self._wish_again(self._parcel.wish)
                self._parcel = None
            if self._parcel is None:
                self._parcel = self._packed()
            if self._parcel is not None:
                self._deliver(self._parcel)
        except BackupError as error:
            self._failed(error)
            return False
        except Exception as error:
            log.exception("A backup failed unexpectedly")
            self._failed(BackupError(f"{type(error).__name__}: {error}"))
            return False
        self._tell(pending=bool(self._wishes))
        return True

    def _packed(self) -> _Parcel | None:
        """The state of the oldest wish; None where it cannot be had any more, which is told."""
        with self._lock:
            wish = self._wishes.pop(next(iter(self._wishes)))
        try:
            return self._parcel_for(wish)
        except Exception as error:
            mends_itself = isinstance(error, BadFileError) and wish.run == self._run_in_memory()  # with its next save
            if isinstance(error, QuadraError) and not mends_itself:
                self._say(Message(f"A state was not backed up: {error}", "warning"))
                wish.refuse(error, self._shown)
                return None
            self._wish_again(wish)
            if isinstance(error, (BadFileError, OSError)):
                raise BackupError(f"The state could not be copied: {error}") from error
            raise

    def _parcel_for(self, wish: _Wish) -> _Parcel:
        folder = TemporaryDirectory(prefix="quadra-backup-")
        try:
            record = self._read(wish.run, Path(folder.name))
            return _Parcel(wish, folder, manifest_of(Path(folder.name), record, iso(datetime.now(UTC))))
        except BaseException:
            folder.cleanup()
            raise

    def _wish_again(self, wish: _Wish) -> None:
        with self._lock:  # one that came meanwhile says the same
            self._wishes.setdefault(wish.run, _Wish(wish.run)).answers.extend(wish.answers)

    def _deliver(self, parcel: _Parcel) -> None:
        sent = self.place.put(Path(parcel.folder.name), parcel.manifest)
        record = parcel.manifest.record
        self._parcel = None
        parcel.folder.cleanup()
        if self._failures:
            text = f"Backups work again: iteration {record.iteration_count} is at {self.place.shown_url}."
            self._say(Message(text, "success"))
        self._failures = 0
        self._rests_until = self._timing.clock() + self._timing.rest
        self._tell(
            run=record.run, iteration_count=record.iteration_count, at=iso(datetime.now(UTC)),
            bytes_sent=self._health.bytes_sent + sent, failing_since=None, reason=None, next_try=None,
            pending=bool(self._wishes),
        )  # fmt: skip
        told = {"name": parcel.manifest.name, "run": record.run, "iteration_count": record.iteration_count}
        parcel.wish.fulfil({**told, "bytes_sent": sent}, self._shown)

    def _failed(self, error: BackupError) -> None:
        self._failures += 1
        pause, now = self._timing.before_retry(self._failures), datetime.now(UTC)
        if self._failures == 1:
            self._say(Message(f"A backup failed and is tried again by itself: {error}", "warning"))
        self._tell(
            failing_since=self._health.failing_since or iso(now),
            reason=str(error),
            next_try=iso(now + timedelta(seconds=pause)),
        )
        with self._lock:
            self._try_at = self._timing.clock() + pause
            waiting = [*self._wishes.values(), *([self._parcel.wish] if self._parcel else [])]
            for wish in waiting:
                wish.refuse(error, self._shown)

    def _tell(self, **changes: Any) -> None:
        health = replace(self._health, **changes)
        if health != self._health:
            self._health = health
            self._shown = self._show(health)


def written_out(layout: StateLayout, run: str, defaults: TrainingConfig, folder: Path) -> SaveRecord:
    """Write the three complete files of a run's newest save into a folder, beside the worker, and its own text and alert
    rules where it has any; returns its record.

    Raises UnknownSourceError, RefusedError, a BadFileError, or OSError.
    """
    from quadra.states.read_only import (
        read_portable_files,  # here, since it takes torch along: a server must not wait for that
    )

    entry, files = read_portable_files(layout, run, defaults)
    for name, pieces in {**files, **exported_rules(layout.path, entry.run, entry.id, entry.run)}.items():
        with (folder / Path(name).name).open("wb") as stream:
            stream.writelines(pieces)
    record = peek(folder / WEIGHTS)
    if record is None:
        raise RefusedError("A state of the earlier generation is backed up once it has been loaded and saved.")
    return record


def beside(worker: Worker, url: str, every: int, timing: Timing = TIMING) -> Backup:
    """The backups of a worker's saved states, listening to it already; not started. Raises ConfigurationError."""
    commands, layout, defaults = Commands(worker), worker.layout, worker.defaults

    def read(run: str, folder: Path) -> SaveRecord:
        return written_out(layout, run, defaults, folder)

    backup = Backup(
        Remote(url), every, lambda: worker.view().status.run, read, commands.show_backups, commands.say, timing
    )
    worker.listen(backup.on_event)
    return backup
