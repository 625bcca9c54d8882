"""create_app(worker): the page, the HTTP interface and the Socket.IO events. Validates, submits, answers; nothing more."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from flask import Flask, Response, request
from flask_socketio import SocketIO
from numpy.typing import NDArray
from werkzeug.exceptions import HTTPException

from quadra.backup.service import Backup
from quadra.config import LARGEST_FIELD, LARGEST_SEED, SMALLEST_FIELD
from quadra.errors import QuadraError
from quadra.live.alert_watch import AlertMonitor
from quadra.live.feed import MOST_POINTS, Feed, describe
from quadra.live.inside_feed import InsideFeed
from quadra.live.log_lines import TerminalLines
from quadra.model.history import SERIES
from quadra.paths import ROOT, STATIC, TEMPLATES
from quadra.reports.history_export import csv_pieces, file_name, json_pieces
from quadra.training.commands import Commands
from quadra.training.view import View
from quadra.training.worker import Worker
from quadra.web.access_gate import GuardedSocketIO, add_access, role
from quadra.web.access_rules import ON_THIS_MACHINE, Access, Rules
from quadra.web.alerts import add_alerts, alert_events
from quadra.web.corpora import add_corpora, choice_events
from quadra.web.error_answers import LARGEST_ANSWER, LARGEST_ITERATION, error_answer, status_of, whole_argument
from quadra.web.events import backup_events
from quadra.web.http_limits import HttpLimits, add_limits
from quadra.web.message_gate import MessageGate
from quadra.web.openapi import add_openapi
from quadra.web.pages import JOINED, add_pages
from quadra.web.payloads import fields, pace, switch, text, whole, whole_or_infinity
from quadra.web.picture_sender import PictureSender, inside_events
from quadra.web.rate_limits import CommandLimits
from quadra.web.routes_run import add_metrics
from quadra.web.routes_states import Command, add_states, state_events
from quadra.web.security_headers import add_headers
from quadra.web.static_files import StaticFiles, add_files
from quadra.web.websocket_delivery import SocketSender, use_plain_websockets

log = logging.getLogger("quadra.web")

NEWEST_POINTS = 50  # of the history in /api/status
_Fresh = tuple[dict[str, Any], dict[str, str]]
_NEVER_KEPT = {"Cache-Control": "no-store"}  # the page asks for it before a script could say so
LARGEST_MESSAGE = 100_000  # bytes that a client may send in one message
FOR_WATCHERS = ("watch_inside",)  # events that change nothing, which watchers may send; every other one is refused


def create_app(
    worker: Worker,
    secret_key: bytes,
    backup: Backup | None = None,
    journal: TerminalLines | None = None,
    rules: Rules = ON_THIS_MACHINE,
    http_limits: HttpLimits | None = None,
) -> tuple[Flask, SocketIO, Feed]:
    """The Flask application, its Socket.IO server and the feed (not started) for a worker, its backups and its terminal.

    `rules`: who may come in; left out, everybody on this machine.
    """
    app = Flask("quadra", root_path=str(ROOT), static_folder=None, template_folder=str(TEMPLATES))
    app.config.update(SECRET_KEY=secret_key, MAX_CONTENT_LENGTH=LARGEST_MESSAGE)
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of the default provider, which this is
    access = Access(rules, secret_key)
    socketio = _socketio(app, access)
    sender, journal = SocketSender(socketio), journal or TerminalLines()
    watchman, pictures = AlertMonitor(worker.view, worker.publisher.publish), PictureSender(sender)
    feed, inside = Feed(worker.view, sender, watchman.round), InsideFeed(worker, pictures.send)
    for listener in (watchman.on_event, feed.on_event, inside.on_event):  # in this order: the feed wakes the watchman
        worker.listen(listener)
    journal.listen(feed.on_event)
    states = Commands(worker)
    limits, files = http_limits or HttpLimits(), StaticFiles(STATIC, JOINED)
    add_limits(app, limits)
    _add_routes(app, worker, states, files)
    add_metrics(app, socketio, worker)
    add_alerts(app, worker, watchman, journal)
    add_corpora(app, states.keep_text, worker.uploads_folder)
    others = {
        **state_events(worker, states),
        **backup_events(backup, states, worker.layout, worker.publisher.publish),
        **alert_events(states),
        **inside_events(inside),
        **choice_events(states),
    }
    _add_events(socketio, worker, feed, (inside, pictures), others)
    _wrap(app, access, files, limits)
    return app, socketio, feed


def _wrap(app: Flask, access: Access, files: StaticFiles, limits: HttpLimits) -> None:
    """What every request passes before it comes to the routes and to Socket.IO, from the inside out."""
    add_files(app, files, limits)
    add_access(app, access, files.address)
    add_headers(app)


def _socketio(app: Flask, access: Access) -> SocketIO:
    socketio = GuardedSocketIO(
        app,
        access,
        FOR_WATCHERS,
        async_mode="threading",
        manage_session=False,
        serve_client=False,
        max_http_buffer_size=LARGEST_MESSAGE,
        json=_Json,
    )
    use_plain_websockets(socketio, LARGEST_MESSAGE)
    return socketio


def _add_routes(app: Flask, worker: Worker, states: Commands, files: StaticFiles) -> None:
    """Pages and data."""
    add_openapi(app)
    add_pages(app, files)
    _add_interface(app, worker)
    _add_errors(app)
    add_states(app, worker, states, files.address)


class _Json:
    """JSON for Socket.IO: a number with hundreds of digits becomes infinity, which is then refused by its field's name."""

    @staticmethod
    def dumps(value: Any, **options: Any) -> str:
        return json.dumps(value, **options)

    @staticmethod
    def loads(text: str | bytes, **options: Any) -> Any:
        return json.loads(text, **{**options, "parse_int": whole_or_infinity})


def _add_interface(app: Flask, worker: Worker) -> None:
    @app.get("/api/status")
    def api_status() -> _Fresh:
        view = worker.view()
        newest = view.history.slice(
            view.iteration_count - NEWEST_POINTS + 1, view.iteration_count, NEWEST_POINTS
        ).as_lists()
        return {**describe(view), "role": role(), "history": {name: newest[name] for name in SERIES}}, _NEVER_KEPT

    @app.get("/api/history")
    def api_history() -> _Fresh:
        view = worker.view()
        start, end = _range(view)
        points = view.history.slice(start, end, whole_argument("points", MOST_POINTS, 1, LARGEST_ANSWER))
        told = {"total": points.total, "thinned": points.thinned, "run": view.status.run}
        return {**points.as_lists(), **told}, _NEVER_KEPT

    @app.get("/api/history.csv")
    def api_history_csv() -> Response:
        view = worker.view()
        start, end = _range(view)
        which = f"{start}-{end}" if {"start", "end"} & set(request.args) else end
        name = file_name(view.status.run, which, "csv")
        return _file(csv_pieces(_shown_rows(view)[start - 1 : end], start), "text/csv", name)

    @app.get("/api/history.json")
    def api_history_json() -> Response:
        view = worker.view()
        facts = {"run": view.status.run, "seed": view.status.seed, "iterations": view.iteration_count}
        name = file_name(view.status.run, view.iteration_count, "json")
        return _file(json_pieces(_shown_rows(view), facts), "application/json", name)


def _shown_rows(view: View) -> NDArray[np.float32]:
    return view.history.rows()[: view.iteration_count]


def _range(view: View) -> tuple[int, int]:
    """The first and the last iteration that were asked for, by default all; raises ConfigurationError."""
    start = whole_argument("start", 1, 1, LARGEST_ITERATION)
    return start, min(whole_argument("end", view.iteration_count, 0, LARGEST_ITERATION), view.iteration_count)


def _file(pieces: Iterator[str], kind: str, name: str) -> Response:
    return Response(pieces, mimetype=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _add_errors(app: Flask) -> None:
    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> tuple[Response, int]:
        code = (error.name or "error").lower().replace(" ", "_")
        return error_answer(code, error.description or "The request failed."), error.code or 500

    @app.errorhandler(QuadraError)
    def our_error(error: QuadraError) -> tuple[Response, int]:
        return error_answer(error.code, error.message), status_of(error)

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> tuple[Response, int]:
        log.error("A request failed unexpectedly", exc_info=error)
        return error_answer("internal_error", "The request failed unexpectedly; the terminal says why."), 500


def _add_events(
    socketio: SocketIO,
    worker: Worker,
    feed: Feed,
    inside: tuple[InsideFeed, PictureSender],
    others: Mapping[str, Command],
) -> None:
    limits = CommandLimits()

    def leave(*_: Any) -> None:
        for part in (feed, *inside, limits):
            part.leave(_client())

    def acknowledge(client: str, number: int) -> None:
        for part in (feed, inside[1]):
            part.acknowledge(client, number)

    socketio.on_event("connect", lambda *_: feed.join(_client()))
    socketio.on_event("disconnect", leave)
    MessageGate(socketio, acknowledge, lambda client, error: _refused(socketio, client, error.code, error.message))
    commands: dict[str, Command] = {
        "initialize_system": lambda given: worker.initialize(
            whole(given, "field_size", SMALLEST_FIELD, LARGEST_FIELD),
            whole(given, "seed", 0, LARGEST_SEED),
            text(given, "corpus"),
        ),
        "start_training": lambda given: worker.start_training(whole(given, "until", 1, LARGEST_ITERATION)),
        "stop_training": lambda _: worker.stop_training(),
        "load_state": lambda given: worker.load(text(given, "source"), switch(given, "discard_unsaved")),
        "save_as_new_run": lambda _: worker.save_as_new_run(),
        "reset_system": lambda _: worker.reset(),
        "set_pace": lambda given: worker.set_pace(pace(given)),
    }
    for name, command in {**commands, **others}.items():
        socketio.on_event(name, _handler(socketio, command, limits))


def _handler(socketio: SocketIO, command: Command, limits: CommandLimits) -> Callable[..., dict[str, Any]]:
    """An event handler whose return value is the acknowledgement; nothing that a client sends makes it raise."""

    def handle(*payload: Any) -> dict[str, Any]:
        try:
            with limits.command(_client()):
                return {"ok": True, **command(fields(payload)).result()}
        except QuadraError as error:
            return _refused(socketio, _client(), error.code, error.message)
        except Exception:
            log.exception("A command failed unexpectedly")
            said = "The command failed unexpectedly; the terminal says why."
            return _refused(socketio, _client(), "internal_error", said)

    return handle


def _refused(socketio: SocketIO, client: str, code: str, message: str) -> dict[str, Any]:
    socketio.emit("status_message", {"message": message, "type": "error"}, to=client)
    return {"ok": False, "error": {"code": code, "message": message}}


def _client() -> str:
    return request.sid  # type: ignore[attr-defined,no-any-return]  # Flask-SocketIO adds it to the request
