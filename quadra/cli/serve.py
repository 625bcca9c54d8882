"""Runs the server with the page, behind `python app.py` and `quadramatrix serve` alike."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import queue
import socket
import sys
import threading
from typing import TYPE_CHECKING, NoReturn

from quadra.cli import shutdown_signals
from quadra.cli.output import complete_standard_streams, refuse
from quadra.cli.secret_key import secret_key
from quadra.cli.serve_options import DESCRIPTION, PROGRAM, name_of, parse, refusal_of
from quadra.config import TrainingConfig
from quadra.defaults import ServerDefaults
from quadra.errors import QuadraError
from quadra.live.log_setup import Logs, LogSettings

if TYPE_CHECKING:
    from quadra.backup.service import BackupService
    from quadra.live.console import Console
    from quadra.live.feed import Feed
    from quadra.storage.folder import StateFolder
    from quadra.storage.restore_points import Retention
    from quadra.storage.writer_process import WriterProcess
    from quadra.training.events import Event
    from quadra.training.state import TrainingState
    from quadra.training.worker import Worker
    from quadra.web.access_rules import AccessRules

log = logging.getLogger("quadra")


def main(
    arguments: list[str] | None = None,
    program: str = PROGRAM,
    defaults: ServerDefaults | None = None,
    description: str = DESCRIPTION,
) -> NoReturn:
    """Checks everything that was asked for, takes the port and the folder, then serves until a signal."""
    shutdown_signals.take()
    complete_standard_streams()
    options = parse(arguments, os.environ, program, defaults, description)
    os.environ.setdefault("OMP_NUM_THREADS", str(options.threads or 1))  # read once, when numpy and torch are imported
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        config = TrainingConfig(
            field_size=options.field_size,
            seed=options.seed,
            corpus=options.corpus,
            device=options.device,
            threads=options.threads,
        )
        logs = LogSettings(options.log_format, options.log_file, options.log_budget * 1_000_000)
        _check(config, options.backup_url)
        logs.check()
        listener = _listen(program, options)
        run(options, config, logs, listener, _rules(options, listener))
    except QuadraError as error:
        refuse(program, refusal_of(options, error))


def run(
    options: argparse.Namespace, config: TrainingConfig, logs: LogSettings, listener: socket.socket, rules: AccessRules
) -> NoReturn:
    """Composes the parts and serves. The training thread imports torch, behind the page."""
    from quadra.backup.service import service_for
    from quadra.live.console import Console
    from quadra.storage.folder import StateFolder
    from quadra.storage.writer_process import IS_POSSIBLE, WriterProcess
    from quadra.training.events import Message
    from quadra.web.app import create_app
    from quadra.web.server import serve

    folder = StateFolder(options.state_dir)
    writer = WriterProcess(folder.lock_descriptor) if IS_POSSIBLE else None
    console = Console(sys.stdout, Logs(logs).line)
    worker = _worker(options, config, folder, writer)
    worker.listen(console.on_event)
    backup = service_for(worker, options.backup_url, options.backup_every) if options.backup_url else None
    app, _, feed = create_app(worker, secret_key(), backup, console.lines, rules)
    ending = _Ending(worker, feed, console, backup)
    worker.listen(ending.with_training)
    ending.start()
    shutdown_signals.shut_down_by(ending.ask)
    if writer is not None:
        threading.Thread(target=ending.with_writer, args=(writer,), name="writer watch", daemon=True).start()
    for part in (console, worker, feed):
        part.start()
    try:
        if backup is not None:
            backup.start()
        for event in (*_greeting(rules, listener), *_doubts(folder)):
            console.on_event(event)
        if options.resume:
            worker.resume()
        serve(app, listener, lambda text: console.on_event(Message(text)), rules.behind_proxy)
    except Exception:
        log.exception("Nothing is served any more; this process saves and ends too")
    finally:
        ending.now(1)  # here, before the interpreter shuts down the threads that a save needs


def _worker(
    options: argparse.Namespace, config: TrainingConfig, folder: StateFolder, writer: WriterProcess | None
) -> Worker:
    from quadra.storage.restore_points import Retention
    from quadra.training.view import WorkerSettings
    from quadra.training.worker import Worker

    retention = Retention(options.points_budget * 1_000_000, options.best_window)
    settings = WorkerSettings(options.save_every, options.pace, retention, options.rescue, options.resume)
    return Worker(folder, config, settings, lambda: _open_state(folder, config, writer, retention))


class _Ending:
    """The end of the process, for whatever reason: it saves first."""

    def __init__(self, worker: Worker, feed: Feed, console: Console, backup: BackupService | None) -> None:
        self._worker = worker
        self._feed, self._console, self._backup = feed, console, backup
        self._asked: queue.SimpleQueue[int] = queue.SimpleQueue()  # its `put` may interrupt itself, as signals do
        self._once = threading.Lock()

    def start(self) -> None:
        """Starts the thread that ends the process when it is asked to: by then none could be started, perhaps."""
        threading.Thread(target=lambda: self.now(self._asked.get()), name="shutdown", daemon=True).start()

    def ask(self, code_if_saved: int = 0) -> None:
        """Has the process end; returns at once."""
        self._asked.put(code_if_saved)

    def now(self, code_if_saved: int = 0) -> NoReturn:
        """Saves, closes every part and ends the process. Whoever calls it second waits for the end."""
        self._once.acquire()
        code = 1
        try:
            code = max(code_if_saved, _close(self._worker))
            self._end_backup()
            for part in (self._feed, self._console):
                part.close()
        finally:
            os._exit(code)  # threads that hold a browser's connection would keep the process alive

    def _end_backup(self) -> None:
        from quadra.training.events import Message

        missed = self._backup.close() if self._backup else None
        if missed is not None:
            self._console.on_event(Message(missed, "warning"))

    def with_training(self, event: Event) -> None:
        """Ends the process where training has died: a page without training behind it would be a lie."""
        from quadra.training.events import WorkerDied

        if isinstance(event, WorkerDied):
            self.ask(1)

    def with_writer(self, writer: WriterProcess) -> None:
        """Blocks until the writer process has ended. Somebody has killed it then, and this process saves and ends too."""
        writer.wait()
        log.error("The process that writes saves was killed; this one saves and ends too.")
        self.now(1)


def _open_state(
    folder: StateFolder, config: TrainingConfig, writer: WriterProcess | None, retention: Retention
) -> TrainingState:
    """Returns the run's state. The training thread calls this: the import brings torch."""
    from quadra.storage.files.scratch import clear_leftovers
    from quadra.training.state import TrainingState

    clear_leftovers()
    gc.freeze()  # what was imported stays for ever; to look at all of it again holds training up for a tenth of a second
    state = TrainingState(folder, config, writer, retention)
    state.saved_states.repair_labels()
    return state


def _check(config: TrainingConfig, backup_url: str | None) -> None:
    """Raises QuadraError for a corpus that cannot be read, a device that is missing and an address that no backup can use."""
    from quadra.model.corpus import Corpus

    if config.corpus is not None:
        Corpus(config.corpus).require_utf8()
    if config.device != "cpu":
        from quadra.model.flat_tensors import require_device

        require_device(config.device)
    if backup_url:
        from quadra.backup.remote import Remote

        Remote(backup_url)


def _listen(program: str, options: argparse.Namespace) -> socket.socket:
    from quadra.web.server import listen

    host, port = options.host, options.port
    try:
        return listen(host, port)
    except OSError as error:
        names = f"{name_of(options, 'port')} or {name_of(options, 'host')}"
        refuse(program, f"{host}:{port} cannot be listened on: {error.strerror}. Choose another {names}.")


def _close(worker: Worker) -> int:
    """Saves and releases the folder; returns the exit code."""
    try:
        worker.close().result()
    except QuadraError as error:
        log.error("The state could not be saved: %s", error)  # noqa: TRY400  # the reason is for people
        return 1
    return 0


def _rules(options: argparse.Namespace, listener: socket.socket) -> AccessRules:
    from quadra.web.access_rules import access_rules_for

    names = [name.strip() for text in options.allow_host for name in text.split(",") if name.strip()]
    address = listener.getsockname()[0]
    return access_rules_for(
        address, options.token or None, options.watch_token or None, names, options.proxy, options.host
    )


def _greeting(rules: AccessRules, listener: socket.socket) -> list[Event]:
    """Returns the lines that say where the server is and how to come in. A token that somebody set is never printed."""
    from quadra.training.events import Message, Secret
    from quadra.web.access_rules import links

    address = Message(f"QuadraMatrix is on http://{_address(listener)}  (Ctrl-C saves and ends)")
    if rules.token is None:
        return [address]
    if not rules.was_generated:
        return [address, Message("Whoever opens it is asked for the token.")]
    found = links(rules, *listener.getsockname()[:2])
    return [address, *(Secret(f"Open it with its token: {link}") for link in found)]


def _doubts(folder: StateFolder) -> list[Event]:
    """Returns what a person should know of the disk."""
    from quadra.training.events import Message

    if folder.keeps_names:
        return []
    text = (
        f"The disk of {folder.path} cannot promise that names of files outlive a power cut (it does not know fsync of a folder): "
        "after one the newest save may be an older one. Everything else works."
    )
    return [Message(text, "warning")]


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
