"""create_app(worker): puts the web application together, its routes, events and what every request passes first."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Flask
from flask_socketio import SocketIO
from werkzeug.middleware.proxy_fix import ProxyFix

from quadra.backup.remote import Remote
from quadra.backup.remote_commands import RemoteCommands
from quadra.backup.service import BackupService
from quadra.live.activity_feed import ActivityFeed
from quadra.live.alert_monitor import AlertMonitor
from quadra.live.feed import Feed
from quadra.live.prometheus import PrometheusExporter
from quadra.live.terminal_lines import TerminalLines
from quadra.paths import ROOT, STATIC, TEMPLATES
from quadra.reports.proof_queue import ProofQueue
from quadra.training.commands import Commands
from quadra.training.worker import Worker
from quadra.web.access_gate import AccessGate, GuardedSocketIO
from quadra.web.access_rules import ON_THIS_MACHINE, Access, AccessRules
from quadra.web.error_answers import client, error_handlers, refuse_event
from quadra.web.events import FOR_WATCHERS, add_events
from quadra.web.frame_sender import FrameSender
from quadra.web.login import login_routes
from quadra.web.message_gate import MessageGate
from quadra.web.pages import JOINED, page_routes
from quadra.web.payloads import integer_of_json
from quadra.web.polling import PollingGate
from quadra.web.rate_limits import CommandLimits, HttpLimits, count_request
from quadra.web.routes_run import run_routes
from quadra.web.routes_states import state_routes
from quadra.web.security_headers import SecurityHeaders
from quadra.web.services import NAME, Backups, Services, StateReader
from quadra.web.static_files import FilesFirst, StaticFiles
from quadra.web.uploads import upload_routes
from quadra.web.websocket_delivery import SocketSender, use_plain_websockets

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

LARGEST_MESSAGE = 100_000  # bytes that a client may send in one message
BLUEPRINTS = (error_handlers, page_routes, login_routes, run_routes, state_routes, upload_routes)


def create_app(
    worker: Worker,
    secret_key: bytes,
    backup: BackupService | None = None,
    terminal: TerminalLines | None = None,
    access_rules: AccessRules = ON_THIS_MACHINE,
    http_limits: HttpLimits | None = None,
) -> tuple[Flask, SocketIO, Feed]:
    """Returns the Flask application, its Socket.IO server and the feed (not started) for a worker, its backups and the
    lines of its terminal.

    `access_rules`: who may come in; left out, everybody on this machine.
    """
    app = Flask("quadra", root_path=str(ROOT), static_folder=None, template_folder=str(TEMPLATES))
    app.config.update(SECRET_KEY=secret_key, MAX_CONTENT_LENGTH=LARGEST_MESSAGE)
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of the default provider, which this is
    access, limits, terminal = (
        Access(access_rules, secret_key),
        http_limits or HttpLimits(),
        terminal or TerminalLines(),
    )
    socketio = _socketio(app, access)
    sender = SocketSender(socketio)
    frames, alerts = FrameSender(sender), AlertMonitor(worker.view, worker.publisher.publish)
    feed, activity = Feed(worker.view, sender, alerts.check), ActivityFeed(worker, frames.send)
    for listener in (
        alerts.on_event,
        feed.on_event,
        activity.on_event,
    ):  # in this order: the feed has the alerts looked at
        worker.listen(listener)
    terminal.listen(feed.on_event)
    app.extensions[NAME] = services = _services(worker, socketio, backup, activity, alerts, terminal, access)
    app.before_request(partial(count_request, limits))
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    _add_events(socketio, services, feed, frames)
    _wrap(app, services, limits, socketio)
    return app, socketio, feed


def _services(
    worker: Worker,
    socketio: SocketIO,
    backup: BackupService | None,
    activity: ActivityFeed,
    alerts: AlertMonitor,
    terminal: TerminalLines,
    access: Access,
) -> Services:
    commands, manager = Commands(worker), socketio.server.manager
    backups = None
    if backup is not None:
        remote = RemoteCommands(Remote(backup.remote.url), commands, worker.layout, worker.publisher.publish)
        backups = Backups(backup, remote)
    prometheus = PrometheusExporter(worker.view, lambda: sum(1 for _ in manager.get_participants("/", None)))
    worker.listen(prometheus.on_event)
    return Services(
        worker=worker,
        commands=commands,
        states=StateReader(worker.layout, worker.defaults),
        proofs=ProofQueue(worker.layout, worker.defaults),
        backups_or_none=backups,
        activity=activity,
        alerts=alerts,
        terminal=terminal,
        prometheus=prometheus,
        access=access,
        files=StaticFiles(STATIC, JOINED),
    )


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


class _Json:
    """JSON for Socket.IO: a number with hundreds of digits becomes infinity, which is then refused by its field's name."""

    @staticmethod
    def dumps(value: Any, **options: Any) -> str:
        return json.dumps(value, **options)

    @staticmethod
    def loads(text: str | bytes, **options: Any) -> Any:
        return json.loads(text, **{**options, "parse_int": integer_of_json})


def _add_events(socketio: SocketIO, services: Services, feed: Feed, frames: FrameSender) -> None:
    limits = CommandLimits()

    def leave(*_: Any) -> None:
        for part in (feed, services.activity, frames, limits):
            part.leave(client())

    def acknowledge(client: str, number: int) -> None:
        for part in (feed, frames):
            part.acknowledge(client, number)

    socketio.on_event("connect", lambda *_: feed.join(client()))
    socketio.on_event("disconnect", leave)
    add_events(socketio, services, limits)
    MessageGate(socketio, acknowledge, lambda to, error: refuse_event(socketio, to, error.code, error.message))


def _wrap(app: Flask, services: Services, limits: HttpLimits, socketio: SocketIO) -> None:
    """Put around the application, Socket.IO included, what every request passes first, from the inside out.

    To be called when nothing else will wrap it any more.
    """
    polled = PollingGate(app.wsgi_app, socketio, LARGEST_MESSAGE)
    wsgi: WSGIApplication = AccessGate(FilesFirst(polled, services.files, limits), services.access)
    if services.access.rules.behind_proxy:
        wsgi = ProxyFix(wsgi, x_for=1, x_proto=1, x_host=1, x_prefix=1)
    app.wsgi_app = SecurityHeaders(wsgi)  # type: ignore[method-assign]
