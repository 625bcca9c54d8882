"""QuadraMatrix: `python app.py` trains in the background, serves the dashboard and never forgets.

Edit the constants below, set QUADRA_<NAME> in the environment, or give options; the later of these wins.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from quadra.config import TrainingConfig
from quadra.errors import ConfigurationError, QuadraError
from quadra.live.log_setup import FORMS, Logs, LogSettings

if TYPE_CHECKING:
    from quadra.backup.service import Backup
    from quadra.live.console import Console
    from quadra.live.feed import Feed
    from quadra.storage.folder import StateFolder
    from quadra.storage.restore_points import Retention
    from quadra.storage.writer_process import WriterProcess
    from quadra.training.state import TrainingState
    from quadra.training.view import Event
    from quadra.training.worker import Worker
    from quadra.web.access_rules import Rules

HOST = "127.0.0.1"  # address that is listened on; this one is reached from this machine only
PORT = 5000
TOKEN = None  # what somebody must bring to come in; None: generated where others than this machine can reach the server
WATCH_TOKEN = None  # what lets somebody in to see everything and change nothing; None: there are no watchers
ALLOW_HOST = None  # names, with commas between them, by which the server is reached beside its own addresses
PROXY = False  # whether the server stands behind one reverse proxy, whose X-Forwarded-* headers are believed
STATE_DIR = "dashboard_state"  # folder of the saved states
SAVE_EVERY = 10  # iterations between two saves; 0: no auto-save
PACE = 10.0  # iterations a second, so that a person can follow; None: no limit
FIELD_SIZE = 100  # cells of a new run's field
SEED = None  # of new runs; None: a fresh one each time
CORPUS = None  # text file or folder that new runs train on; None: the built-in corpus
DEVICE = "cpu"
BACKUP_URL = None  # place that saved states are mirrored to: s3://..., file://..., any that fsspec knows; None: nowhere
BACKUP_EVERY = 100  # saves between two backups while training; 0: only on Stop, on demand and at the end
POINTS_BUDGET = 500  # megabytes that restore points may take together; older ones are thinned first
BEST_WINDOW = 100  # iterations over which the reward is smoothed that makes a state the best one
RESCUE = False  # whether training that ended by integrity strikes goes back to the last good state by itself
LOG_FORMAT = "text"  # of the log, or json: then the terminal's lines are JSON as well
LOG_FILE = None  # keeps the terminal's lines and the log
LOG_BUDGET = 50  # megabytes that the log file and its older ones may take together
THREADS = None  # of one training step; None: those of a loaded run, 1 for a new one

log = logging.getLogger("quadra")

BAD_START = 2  # exit code of a start that was refused: nothing was touched
INTERRUPTED = 130  # exit code after a second Ctrl-C
SECRET_KEY_FILE = Path(__file__).resolve().parent / "instance" / "secret_key"


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        _refuse(message)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Check everything that was asked for, take the port and the folder, then serve until a signal."""
    options = parse(arguments, os.environ)
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
        listener = _listen(options.host, options.port)
        run(options, config, logs, listener, _rules(options, listener))
    except ConfigurationError as error:
        _refuse(f"--{error.field.replace('_', '-')}: {error}")
    except QuadraError as error:
        _refuse(str(error))


def parse(arguments: list[str] | None, environment: Mapping[str, str]) -> argparse.Namespace:
    """The options; the command line wins over the environment, that over the constants above."""
    parser = _Parser(prog="app.py", description=__doc__.splitlines()[0] if __doc__ else None, allow_abbrev=False)

    def add(name: str, default: object, kind: Callable[[str], object], text: str) -> None:
        value = environment.get("QUADRA_" + name.upper().replace("-", "_"), default)
        parser.add_argument(f"--{name}", default=value, type=kind, help=f"{text} (default: {default})")

    add("host", HOST, str, "address to listen on")
    add("port", PORT, _whole(0, 65_535), "port to listen on; 0: any free one")
    add("token", TOKEN, str, "what lets somebody in; QUADRA_TOKEN keeps it out of the list of processes")
    add("watch-token", WATCH_TOKEN, str, "what lets somebody in to see everything and change nothing")
    add("state-dir", STATE_DIR, str, "folder of the saved states")
    add("save-every", SAVE_EVERY, _whole(0, 1_000_000_000), "iterations between two saves; 0: no auto-save")
    add("pace", PACE, _pace, "iterations a second, or max")
    add("field-size", FIELD_SIZE, int, "cells of a new run's field")
    add("threads", THREADS, int, "threads of one training step")
    add("seed", SEED, int, "seed of new runs")
    add("corpus", CORPUS, str, "text file or folder that new runs train on")
    add("device", DEVICE, str, "cpu, cuda or cuda:<number>")
    add("backup-url", BACKUP_URL, str, "place that saved states are mirrored to")
    add("backup-every", BACKUP_EVERY, _whole(0, 1_000_000_000), "saves between two backups while training")
    add("points-budget", POINTS_BUDGET, _whole(0, 1_000_000_000), "megabytes for restore points")
    add("log-format", LOG_FORMAT, _one_of(FORMS), "text or json")
    add("log-file", LOG_FILE, Path, "file that keeps the terminal's lines and the log")
    add("log-budget", LOG_BUDGET, _whole(1, 1_000_000), "megabytes for the log file and its older ones")
    add("best-window", BEST_WINDOW, _whole(1, 1_000_000), "iterations of smoothing for the best state")

    def add_switch(name: str, default: bool, text: str) -> None:
        variable = "QUADRA_" + name.upper()
        value = _switch(variable, environment.get(variable, "")) or default
        parser.add_argument(f"--{name}", action="store_true", default=value, help=text)

    add_switch("resume", False, "load the newest intact save and start training at once")
    add_switch("rescue", RESCUE, "after integrity strikes, go back to the last good state and train on")
    add_switch("proxy", PROXY, "believe the X-Forwarded-* headers of the one reverse proxy in front")
    parser.add_argument("--allow-host", action="append", help="a further name that the server is reached by")
    options = parser.parse_args(arguments)
    options.allow_host = options.allow_host or [environment.get("QUADRA_ALLOW_HOST", ALLOW_HOST or "")]
    return options


def run(
    options: argparse.Namespace, config: TrainingConfig, logs: LogSettings, listener: socket.socket, rules: Rules
) -> NoReturn:
    """Compose the parts and serve. torch is imported on the training thread, behind the page."""
    from quadra.backup.service import beside
    from quadra.live.console import Console
    from quadra.storage.folder import StateFolder
    from quadra.storage.writer_process import IS_POSSIBLE, WriterProcess
    from quadra.training.view import Event
    from quadra.web.app import create_app
    from quadra.web.server import serve

    folder = StateFolder(options.state_dir)
    scribe = WriterProcess(folder.lock_descriptor) if IS_POSSIBLE else None
    console = Console(sys.stdout, Logs(logs).line)
    worker = _worker(options, config, folder, scribe)
    worker.listen(console.take)
    backup = beside(worker, options.backup_url, options.backup_every) if options.backup_url else None
    app, _, feed = create_app(worker, _secret_key(), backup, console.journal, rules)
    ending = _Ending(worker, feed, console, backup)
    worker.listen(ending.with_training)
    _handle_signals(ending.now)
    if scribe is not None:
        threading.Thread(target=ending.with_scribe, args=(scribe,), name="scribe", daemon=True).start()
    for part in (console, worker, feed):
        part.start()
    if backup is not None:
        backup.start()

    def say(text: str) -> None:
        console.take(Event("message", {"text": text, "type": "info"}))

    for event in _greeting(rules, listener):
        console.take(event)
    if options.resume:
        worker.resume()
    serve(app, listener, say)
    raise SystemExit


def _worker(
    options: argparse.Namespace, config: TrainingConfig, folder: StateFolder, scribe: WriterProcess | None
) -> Worker:
    from quadra.storage.restore_points import Retention
    from quadra.training.view import Settings
    from quadra.training.worker import Worker

    retention = Retention(options.points_budget * 1_000_000, options.best_window)
    settings = Settings(options.save_every, options.pace, retention, options.rescue)
    return Worker(folder, config, settings, lambda: _open_state(folder, config, scribe, retention))


class _Ending:
    """Saves and ends the process, for whatever reason it must end."""

    def __init__(self, worker: Worker, feed: Feed, console: Console, backup: Backup | None) -> None:
        self._worker = worker
        self._feed, self._console, self._backup = feed, console, backup

    def now(self, code_if_saved: int = 0) -> None:
        """Does not return."""
        code = 1
        try:
            code = max(code_if_saved, _close(self._worker))
            self._end_backup()
            for part in (self._feed, self._console):
                part.close()
        finally:
            os._exit(code)  # threads that hold a browser's connection would keep the process alive

    def _end_backup(self) -> None:
        from quadra.training.view import Event

        missed = self._backup.close() if self._backup else None
        if missed is not None:
            self._console.take(Event("message", {"text": missed, "type": "warning"}))

    def with_training(self, event: Event) -> None:
        """A page without training behind it would be a lie."""
        if event.kind == "died":
            threading.Thread(target=self.now, args=(1,), name="shutdown").start()

    def with_scribe(self, scribe: WriterProcess) -> None:
        """It ends by itself only with this process: somebody has killed it, and this one saves and ends too."""
        scribe.wait()
        log.error("The process that writes saves was killed; this one saves and ends too.")
        self.now(1)


def _open_state(
    folder: StateFolder, config: TrainingConfig, scribe: WriterProcess | None, retention: Retention
) -> TrainingState:
    """Called on the training thread: this import brings torch."""
    from quadra.training.state import TrainingState

    gc.freeze()  # what was imported stays for ever; to look at all of it again holds training up for a tenth of a second
    state = TrainingState(folder, config, scribe, retention)
    state.shelf.look()
    return state


def _check(config: TrainingConfig, backup_url: str | None) -> None:
    """Refuse a corpus that cannot be read, a device that is not there and a place for backups that nothing here serves,
    before anything is touched."""
    from quadra.model.corpus import Corpus

    if config.corpus is not None:
        Corpus(config.corpus).close()
    if config.device != "cpu":
        from quadra.model.flat_tensors import require_device

        require_device(config.device)
    if backup_url:
        from quadra.backup.remote import Remote

        Remote(backup_url)


def _listen(host: str, port: int) -> socket.socket:
    from quadra.web.server import listen

    try:
        return listen(host, port)
    except OSError as error:
        _refuse(f"{host}:{port} cannot be listened on: {error.strerror}. Choose another --port or --host.")


def _handle_signals(shut_down: Callable[[], None]) -> None:
    """SIGTERM, a closed terminal and Ctrl-C finish the iteration, save and end; a second Ctrl-C ends at once."""
    closing = threading.Event()

    def handle(number: int, _frame: object) -> None:
        if closing.is_set():
            if number == signal.SIGINT:
                os._exit(INTERRUPTED)
            return
        closing.set()
        threading.Thread(target=shut_down, name="shutdown").start()

    for name in ("SIGTERM", "SIGINT", "SIGHUP"):
        if hasattr(signal, name):  # Windows has no SIGHUP
            signal.signal(getattr(signal, name), handle)


def _close(worker: Worker) -> int:
    """Save and release the folder; the exit code."""
    try:
        worker.close().result()
    except QuadraError as error:
        log.error("The state could not be saved: %s", error)  # noqa: TRY400  # the reason is for people
        return 1
    return 0


def _secret_key() -> bytes:
    """One per installation, made at its first start; where it cannot be kept, one per start."""
    try:
        SECRET_KEY_FILE.parent.mkdir(exist_ok=True)
        descriptor = os.open(SECRET_KEY_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_hex(32).encode())
    except OSError:  # it is there already, or cannot be made
        pass
    try:
        return SECRET_KEY_FILE.read_bytes() or secrets.token_bytes(32)
    except OSError:
        return secrets.token_bytes(32)


def _rules(options: argparse.Namespace, listener: socket.socket) -> Rules:
    from quadra.web.access_rules import rules_for

    names = [name.strip() for text in options.allow_host for name in text.split(",") if name.strip()]
    address = listener.getsockname()[0]
    return rules_for(address, options.token or None, options.watch_token or None, names, options.proxy, options.host)


def _greeting(rules: Rules, listener: socket.socket) -> list[Event]:
    """Where it is and how to come in; a token that was given is known to whoever gave it, and stays out of the terminal."""
    from quadra.live.log_setup import SECRET
    from quadra.training.view import Event
    from quadra.web.access_rules import links

    def said(text: str, kind: str = "message") -> Event:
        return Event(kind, {"text": text, "type": "info"})

    address = said(f"QuadraMatrix is on http://{_address(listener)}  (Ctrl-C saves and ends)")
    if rules.token is None:
        return [address]
    if not rules.was_generated:
        return [address, said("Whoever opens it is asked for the token.")]
    found = links(rules, *listener.getsockname()[:2])
    return [address, *(said(f"Open it with its token: {link}", SECRET) for link in found)]


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _whole(least: int, most: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"must be from {least} to {most:,}, not {value}")
        return value

    convert.__name__ = "whole number"
    return convert


def _one_of(names: Sequence[str]) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"must be {' or '.join(names)}, not {text}")
        return text

    return convert


def _pace(text: str) -> float | None:
    from quadra.training.view import FASTEST_PACE, SLOWEST_PACE

    if text == "max":
        return None
    try:
        pace = float(text)
    except ValueError:
        pace = float("nan")
    if not SLOWEST_PACE <= pace <= FASTEST_PACE:
        raise argparse.ArgumentTypeError(
            f"must be max or a number from {SLOWEST_PACE} to {FASTEST_PACE:,.0f}, not {text}"
        )
    return pace


def _switch(name: str, text: str) -> bool:
    if text.lower() not in ("", "0", "no", "false", "off", "1", "yes", "true", "on"):
        _refuse(f"{name} must be 1 or 0, not {text!r}")
    return text.lower() in ("1", "yes", "true", "on")


def _refuse(reason: str) -> NoReturn:
    _complain(f"app.py: {reason}")
    raise SystemExit(BAD_START)


def _complain(line: str) -> None:
    with contextlib.suppress(OSError):  # the terminal is gone: there is nobody left to tell
        sys.stderr.write(" ".join(line.split()) + "\n")
        sys.stderr.flush()


if __name__ == "__main__":
    main()
