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

from quadra import __version__
from quadra.access import ON_THIS_MACHINE, Access, Rules
from quadra.answers import error_answer, status_of
from quadra.backup import Backup
from quadra.config import LARGEST_FIELD, LARGEST_SEED, SMALLEST_FIELD
from quadra.errors import ConfigurationError, QuadraError
from quadra.export import csv_pieces, json_pieces
from quadra.feed import MOST_POINTS, Feed, describe
from quadra.fields import fields, pace, shown, switch, text, whole, whole_or_infinity
from quadra.history import SERIES
from quadra.lifecycle import SystemState
from quadra.states import StateCommands
from quadra.view import View
from quadra.web_access import GuardedSocketIO, add_access, role
from quadra.web_backup import backup_events
from quadra.web_pages import ROOT, add_pages
from quadra.web_states import Command, add_states, state_events
from quadra.worker import Worker

log = logging.getLogger("quadra.web")

NEWEST_POINTS = 50  # of the history in /api/status
LARGEST_ANSWER = 20_000  # points of /api/history
LARGEST_MESSAGE = 100_000  # bytes that a client may send in one message
LARGEST_ITERATION = 2**53 - 1
FOR_WATCHERS: tuple[str, ...] = ()  # events that change nothing, which watchers may send; every other one is refused


def create_app(
    worker: Worker, secret_key: bytes, backup: Backup | None = None, rules: Rules = ON_THIS_MACHINE
) -> tuple[Flask, SocketIO, Feed]:
    """The Flask application, its Socket.IO server and the feed (not started) for a worker and its backups.

    `rules`: who may come in; left out, everybody on this machine.
    """
    app = Flask("quadra", root_path=str(ROOT), static_folder=None, template_folder="templates")
    app.config.update(SECRET_KEY=secret_key, MAX_CONTENT_LENGTH=LARGEST_MESSAGE)
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of the default provider, which this is
    access = Access(rules, secret_key)
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
    feed = Feed(worker.view, _Sender(socketio))
    worker.listen(feed.take)
    asset = add_pages(app)
    _add_health(app, worker)
    _add_interface(app, worker)
    _add_errors(app)
    states = StateCommands(worker)
    add_states(app, worker, states, asset)
    _add_events(
        socketio, worker, feed, {**state_events(worker, states), **backup_events(backup, states, worker.places)}
    )
    add_access(app, access, asset)
    return app, socketio, feed


class _Json:
    """JSON for Socket.IO: a number with hundreds of digits becomes infinity, which is then refused by its field's name."""

    @staticmethod
    def dumps(value: Any, **options: Any) -> str:
        return json.dumps(value, **options)

    @staticmethod
    def loads(text: str | bytes, **options: Any) -> Any:
        return json.loads(text, **{**options, "parse_int": whole_or_infinity})


class _Sender:
    """The feed's way to browsers."""

    def __init__(self, socketio: SocketIO) -> None:
        self._socketio = socketio

    def send(self, event: str, payload: dict[str, Any], client: str | None = None) -> None:
        self._socketio.emit(event, payload, to=client)

    def is_busy(self, client: str) -> bool:
        """Whether messages wait in the client's queue: its connection is slower than what it is sent."""
        server = self._socketio.server
        transport = server.manager.eio_sid_from_sid(client, "/")
        connection = server.eio.sockets.get(transport)
        return connection is not None and not connection.queue.empty()


def _add_health(app: Flask, worker: Worker) -> None:
    @app.get("/health")
    def health() -> dict[str, Any]:
        status = worker.view().status
        health = "degraded" if status.trouble else "healthy"
        if role() is None:  # a container's health check brings no token
            return {"status": health}
        return {
            "status": health,
            "initialized": status.state is not SystemState.UNINITIALIZED,
            "running": status.state is SystemState.TRAINING,
            "version": __version__,
        }


def _add_interface(app: Flask, worker: Worker) -> None:
    @app.get("/api/status")
    def api_status() -> dict[str, Any]:
        view = worker.view()
        newest = view.history.slice(
            view.iteration_count - NEWEST_POINTS + 1, view.iteration_count, NEWEST_POINTS
        ).as_lists()
        return {**describe(view), "role": role(), "history": {name: newest[name] for name in SERIES}}

    @app.get("/api/history")
    def api_history() -> dict[str, Any]:
        view = worker.view()
        start, end = _range(view)
        points = view.history.slice(start, end, _argument("points", MOST_POINTS, 1, LARGEST_ANSWER))
        return {**points.as_lists(), "total": points.total, "thinned": points.thinned, "run": view.status.run}

    @app.get("/api/history.csv")
    def api_history_csv() -> Response:
        view = worker.view()
        start, end = _range(view)
        name = _name_of(view, f"{start}-{end}.csv" if {"start", "end"} & set(request.args) else f"{end}.csv")
        return _file(csv_pieces(_shown_rows(view)[start - 1 : end], start), "text/csv", name)

    @app.get("/api/history.json")
    def api_history_json() -> Response:
        view = worker.view()
        facts = {"run": view.status.run, "seed": view.status.seed, "iterations": view.iteration_count}
        return _file(
            json_pieces(_shown_rows(view), facts), "application/json", _name_of(view, f"{view.iteration_count}.json")
        )


def _shown_rows(view: View) -> NDArray[np.float32]:
    return view.history.rows()[: view.iteration_count]


def _range(view: View) -> tuple[int, int]:
    """The first and the last iteration that were asked for, by default all; raises ConfigurationError."""
    start = _argument("start", 1, 1, LARGEST_ITERATION)
    return start, min(_argument("end", view.iteration_count, 0, LARGEST_ITERATION), view.iteration_count)


def _name_of(view: View, ending: str) -> str:
    return f"quadramatrix-{(view.status.run or 'no-run')[:8]}-{ending}"


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


def _add_events(socketio: SocketIO, worker: Worker, feed: Feed, others: Mapping[str, Command]) -> None:
    socketio.on_event("connect", lambda *_: feed.join(_client()))
    socketio.on_event("disconnect", lambda *_: feed.leave(_client()))
    commands: dict[str, Command] = {
        "initialize_system": lambda given: worker.initialize(
            whole(given, "field_size", SMALLEST_FIELD, LARGEST_FIELD), whole(given, "seed", 0, LARGEST_SEED)
        ),
        "start_training": lambda given: worker.start_training(whole(given, "until", 1, LARGEST_ITERATION)),
        "stop_training": lambda _: worker.stop_training(),
        "load_state": lambda given: worker.load(text(given, "source"), switch(given, "discard_unsaved")),
        "save_as_new_run": lambda _: worker.save_as_new_run(),
        "reset_system": lambda _: worker.reset(),
        "set_pace": lambda given: worker.set_pace(pace(given)),
    }
    for name, command in {**commands, **others}.items():
        socketio.on_event(name, _handler(socketio, command))


def _handler(socketio: SocketIO, command: Command) -> Callable[..., dict[str, Any]]:
    """An event handler whose return value is the acknowledgement; nothing that a client sends makes it raise."""

    def handle(*payload: Any) -> dict[str, Any]:
        try:
            return {"ok": True, **command(fields(payload)).result()}
        except QuadraError as error:
            told = {"code": error.code, "message": error.message}
        except Exception:
            log.exception("A command failed unexpectedly")
            told = {"code": "internal_error", "message": "The command failed unexpectedly; the terminal says why."}
        socketio.emit("status_message", {"message": told["message"], "type": "error"}, to=_client())
        return {"ok": False, "error": told}

    return handle


def _client() -> str:
    return request.sid  # type: ignore[attr-defined,no-any-return]  # Flask-SocketIO adds it to the request


def _argument(name: str, default: int, least: int, most: int) -> int:
    """A whole number of the query string; raises ConfigurationError."""
    text = request.args.get(name, "")
    if text == "":
        return default
    if text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most:
        return int(text)
    raise ConfigurationError(name, f"must be a whole number from {least} to {most:,}, not {shown(text)}")
