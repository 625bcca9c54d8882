"""BackupService: copies saved states to a remote on a thread of its own; training never waits for it.

Saves and people make requests. For each run at most one request waits, so a slow network queues up nothing: the next upload
is the run's newest save at that moment. An upload is finished before the next one begins, and is tried again, with growing
pauses, until it has arrived or the server ends.
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
from typing import Any

from quadra.backup.manifest import Manifest, manifest_of
from quadra.backup.remote import Remote
from quadra.config import TrainingConfig
from quadra.errors import BackupError, BadFileError, QuadraError, RefusedError, WorkerClosedError
from quadra.states.alert_rules import exported_rules
from quadra.storage.catalog import iso
from quadra.storage.files.scratch import ScratchFolder
from quadra.storage.layout import WEIGHTS, StateLayout
from quadra.storage.save_record import SaveRecord, peek
from quadra.training.command_queue import Reply
from quadra.training.commands import Commands
from quadra.training.events import Event, Message, StateSaved, TrainingStopped
from quadra.training.view import BackupHealth
from quadra.training.worker import Worker

log = logging.getLogger("quadra.backup")

Shown = Future[Any]  # done once everybody can see what was to be shown, or never will
CopyNewest = Callable[[str, Path], SaveRecord]  # writes the files of a run's newest save into a folder


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
        """Returns the pause after so many failures in a row, from 1: half of the full pause or more, at random."""
        whole = min(self.longest_retry, self.first_retry * 2.0 ** min(failures - 1, 64))
        return whole * (0.5 + 0.5 * self.chance())


TIMING = Timing()


@dataclass
class _Request:
    """A request to back up the newest save of a run, and the replies that wait for the first attempt's outcome."""

    run: str
    replies: list[Reply] = field(default_factory=list)

    def refuse(self, error: QuadraError, shown: Shown) -> None:
        """Fails the replies that wait, once the error is shown too; a later attempt may still succeed."""
        self._when_shown(shown, lambda reply: reply.set_exception(error))

    def fulfil(self, outcome: dict[str, Any], shown: Shown) -> None:
        """Completes the replies that wait, once the outcome is shown too: who asks right after a reply must see it."""
        self._when_shown(shown, lambda reply: reply.set_result(outcome))

    def _when_shown(self, shown: Shown, complete: Callable[[Reply], None]) -> None:
        replies, self.replies = self.replies, []

        def complete_all(_: Shown) -> None:
            for reply in replies:
                complete(reply)

        shown.add_done_callback(complete_all)


@dataclass
class _Upload:
    """A state that is sent: its files stand in a folder of their own until they have arrived."""

    request: _Request
    folder: ScratchFolder
    manifest: Manifest

    @property
    def is_whole(self) -> bool:
        """Returns whether its files are still there: systems clear their folder of temporary files now and then."""
        return all((Path(self.folder.name) / name).is_file() for name in (*self.manifest.files, *self.manifest.along))


class BackupService:
    """`on_event`, `now` and `close` may be called from any thread.

    `run` returns the run in memory; `copy` is called on this object's thread; `show` publishes the health of the backups, and
    `say` a message: both return at once. The future that `show` returns is done when everybody can see it.
    """

    def __init__(
        self, remote: Remote, every: int, run: Callable[[], str | None], copy: CopyNewest,
        show: Callable[[BackupHealth], Shown], say: Callable[[Message], object], timing: Timing = TIMING,
    ) -> None:  # fmt: skip
        self.remote = remote
        self._run_in_memory, self._copy, self._show, self._say, self._timing = run, copy, show, say, timing
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._requests: dict[str, _Request] = {}
        self._saves = 0  # since the newest request
        self._idle_until = 0.0
        self._try_at = 0.0
        self._is_closing = False
        self._upload: _Upload | None = None  # this and what follows belong to the thread
        self._failures = 0
        self._health = BackupHealth(remote.shown_url, every)
        self._shown: Shown  # the newest health, from `start` on
        self._thread = threading.Thread(target=self._work, name="backup", daemon=True)

    @property
    def health(self) -> BackupHealth:
        """Returns how the backups go."""
        return self._health

    def start(self) -> None:
        """Starts the thread."""
        self._shown = self._show(self._health)
        self._thread.start()

    def on_event(self, event: Event) -> None:
        """Requests a backup where a save makes it due, or training has ended; returns at once."""
        if isinstance(event, StateSaved):
            self._saves += 1
            is_due = 0 < self._health.every <= self._saves
            if is_due and self._timing.clock() >= self._idle_until:
                self._request(self._run_in_memory())
        elif isinstance(event, TrainingStopped):
            self._request(self._run_in_memory())

    def now(self) -> Reply:
        """Requests a backup of the newest save of the run in memory; the future has the outcome of the first attempt."""
        run, reply = self._run_in_memory(), Reply()
        if self._is_closing:
            reply.set_exception(WorkerClosedError("The server is shutting down."))
        elif run is None:
            reply.set_exception(RefusedError("There is no run to back up. Initialize or load first."))
        else:
            self._request(run, reply)
        return reply

    def close(self) -> str | None:
        """Ends the thread within a few seconds. Returns a sentence on what could not be backed up, or None."""
        if self._saves and not self._failures:
            self._request(self._run_in_memory())
        self._is_closing = True
        self._try_at = 0.0
        self._wake.set()
        self._thread.join(self._timing.closing)
        if not (self._health.pending or self._requests):
            return None
        upload = self._upload
        if upload is not None:
            upload.folder.cleanup()  # the thread cannot do it any more: the process ends
        why = self._health.reason or "there was no time left"
        return f"The newest saved state is not at {self.remote.shown_url}: {why}. It is safe in the state directory."

    def _request(self, run: str | None, reply: Reply | None = None) -> None:
        if run is None:
            return
        with self._lock:
            self._saves = 0
            request = self._requests.setdefault(run, _Request(run))
            if reply is not None:  # somebody waits: not for the next attempt's time to come
                request.replies.append(reply)
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
            elif not self._attempt() and self._is_closing:
                return

    def _due_in(self) -> float | None:
        """Returns the seconds until the next attempt; None: nothing was requested."""
        with self._lock:
            if self._upload is None and not self._requests:
                return None
            return self._try_at - self._timing.clock()

    def _attempt(self) -> bool:
        """Makes one attempt. Returns whether it succeeded."""
        self._report(pending=True)
        try:
            if self._upload is not None and not self._upload.is_whole:
                self._requeue(self._upload.request)
                self._upload = None
            if self._upload is None:
                self._upload = self._copy_oldest()
            if self._upload is not None:
                self._send(self._upload)
        except BackupError as error:
            self._note_failure(error)
            return False
        except Exception as error:
            log.exception("A backup failed unexpectedly")
            self._note_failure(BackupError(f"{type(error).__name__}: {error}"))
            return False
        self._report(pending=bool(self._requests))
        return True

    def _copy_oldest(self) -> _Upload | None:
        """Copies the state of the oldest request. Returns None where it is gone, with a message to people."""
        with self._lock:
            request = self._requests.pop(next(iter(self._requests)))
        try:
            return self._copy_for(request)
        except Exception as error:
            # A bad file of the run in memory is replaced by its next save.
            is_transient = isinstance(error, BadFileError) and request.run == self._run_in_memory()
            if isinstance(error, QuadraError) and not is_transient:
                self._say(Message(f"A state was not backed up: {error}", "warning"))
                request.refuse(error, self._shown)
                return None
            self._requeue(request)
            if isinstance(error, (BadFileError, OSError)):
                raise BackupError(f"The state could not be copied: {error}") from error
            raise

    def _copy_for(self, request: _Request) -> _Upload:
        folder = ScratchFolder()
        try:
            record = self._copy(request.run, Path(folder.name))
            return _Upload(request, folder, manifest_of(Path(folder.name), record, iso(datetime.now(UTC))))
        except BaseException:
            folder.cleanup()
            raise

    def _requeue(self, request: _Request) -> None:
        with self._lock:  # one that came meanwhile says the same
            self._requests.setdefault(request.run, _Request(request.run)).replies.extend(request.replies)

    def _send(self, upload: _Upload) -> None:
        sent = self.remote.put(Path(upload.folder.name), upload.manifest)
        record = upload.manifest.record
        self._upload = None
        upload.folder.cleanup()
        if self._failures:
            text = f"Backups work again: iteration {record.iteration_count} is at {self.remote.shown_url}."
            self._say(Message(text, "success"))
        self._failures = 0
        self._idle_until = self._timing.clock() + self._timing.rest
        self._report(
            run=record.run, iteration_count=record.iteration_count, at=iso(datetime.now(UTC)),
            bytes_sent=self._health.bytes_sent + sent, failing_since=None, reason=None, next_try=None,
            pending=bool(self._requests),
        )  # fmt: skip
        outcome = {"name": upload.manifest.name, "run": record.run, "iteration_count": record.iteration_count}
        upload.request.fulfil({**outcome, "bytes_sent": sent}, self._shown)

    def _note_failure(self, error: BackupError) -> None:
        self._failures += 1
        pause, now = self._timing.before_retry(self._failures), datetime.now(UTC)
        if self._failures == 1:
            self._say(Message(f"A backup failed and is tried again by itself: {error}", "warning"))
        self._report(
            failing_since=self._health.failing_since or iso(now),
            reason=str(error),
            next_try=iso(now + timedelta(seconds=pause)),
        )
        with self._lock:
            self._try_at = self._timing.clock() + pause
            waiting = [*self._requests.values(), *([self._upload.request] if self._upload else [])]
            for request in waiting:
                request.refuse(error, self._shown)

    def _report(self, **changes: Any) -> None:
        health = replace(self._health, **changes)
        if health != self._health:
            self._health = health
            self._shown = self._show(health)


def write_newest_save(layout: StateLayout, run: str, defaults: TrainingConfig, folder: Path) -> SaveRecord:
    """Writes the three complete files of a run's newest save into a folder, and its own text and alert rules where it has any.
    Returns its record. The worker may save meanwhile.

    Raises UnknownSourceError, RefusedError, a BadFileError, or OSError.
    """
    # Imported here: it brings torch along, and a server must not wait for that.
    from quadra.states.read_only import read_portable_files

    entry, files = read_portable_files(layout, run, defaults)
    for name, pieces in {**files, **exported_rules(layout.path, entry.run, entry.id, entry.run)}.items():
        with (folder / Path(name).name).open("wb") as stream:
            stream.writelines(pieces)
    record = peek(folder / WEIGHTS)
    if record is None:
        raise RefusedError("A state of the earlier generation is backed up once it has been loaded and saved.")
    return record


def service_for(worker: Worker, url: str, every: int, timing: Timing = TIMING) -> BackupService:
    """Returns the backup service of a worker, which already listens to it but is not started. Raises ConfigurationError."""
    commands, layout, defaults = Commands(worker), worker.layout, worker.defaults

    def copy(run: str, folder: Path) -> SaveRecord:
        return write_newest_save(layout, run, defaults, folder)

    backup = BackupService(
        Remote(url), every, lambda: worker.view().status.run, copy, commands.show_backups, commands.say, timing
    )
    worker.listen(backup.on_event)
    return backup
