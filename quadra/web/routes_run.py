"""Routes of the run on the page and of the server: status, history, timeline, alerts, log, health and metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
from flask import Blueprint, Response, request
from numpy.typing import NDArray

from quadra.live.feed import status_payload
from quadra.live.prometheus import CONTENT_TYPE, problems
from quadra.model.history import SERIES
from quadra.reports.history_export import csv_pieces, file_name, json_pieces
from quadra.states.alert_rules import as_list
from quadra.states.timeline import timeline_of
from quadra.training.lifecycle import Phase
from quadra.training.view import View
from quadra.version import __version__
from quadra.web.access_gate import role
from quadra.web.downloads import download
from quadra.web.payloads import Points, Range, read_query
from quadra.web.services import services

NEWEST_POINTS = 50  # of the history in /api/status
_NEVER_KEPT = {"Cache-Control": "no-store"}  # the page asks for it before a script could say so

run_routes = Blueprint("run", __name__)


@run_routes.get("/api/status")
def status() -> tuple[dict[str, Any], dict[str, str]]:
    """Answers how the system is now."""
    view = services().worker.view()
    count = view.iteration_count
    newest = view.history.slice(count - NEWEST_POINTS + 1, count, NEWEST_POINTS).as_lists()
    return {**status_payload(view), "role": role(), "history": {name: newest[name] for name in SERIES}}, _NEVER_KEPT


@run_routes.get("/api/history")
def history() -> tuple[dict[str, Any], dict[str, str]]:
    """Answers a range of the history, thinned so that every extreme stays."""
    view = services().worker.view()
    asked = read_query(Points, request.args)
    points = view.history.slice(asked.start, _end(asked, view), asked.points)
    facts = {"total": points.total, "thinned": points.thinned, "run": view.status.run}
    return {**points.as_lists(), **facts}, _NEVER_KEPT


@run_routes.get("/api/history.csv")
def history_csv() -> Response:
    """Answers every iteration of a range as a file."""
    view = services().worker.view()
    asked = read_query(Range, request.args)
    end = _end(asked, view)
    which = f"{asked.start}-{end}" if {"start", "end"} & set(request.args) else end
    pieces = csv_pieces(_rows(view)[asked.start - 1 : end], asked.start)
    return download(pieces, "text/csv", file_name(view.status.run, which, "csv"))


@run_routes.get("/api/history.json")
def history_json() -> Response:
    """Answers every iteration as a file."""
    view = services().worker.view()
    facts = {"run": view.status.run, "seed": view.status.seed, "iterations": view.iteration_count}
    name = file_name(view.status.run, view.iteration_count, "json")
    return download(json_pieces(_rows(view), facts), "application/json", name)


@run_routes.get("/api/marks")
def marks() -> dict[str, Any]:
    """Answers what lies along the curve of the run."""
    worker = services().worker
    view = worker.view()
    lying = timeline_of(worker.layout, view.status.run, view.status.parent, view.iteration_count)
    return {**lying, **view.status.run_events._asdict()}


@run_routes.get("/api/alerts")
def alerts() -> dict[str, Any]:
    """Answers the alert rules of the run, and the newest alerts."""
    status = services().worker.view().status
    return {"run": status.run, "rules": as_list(status.alert_rules), "fired": services().alerts.alerts()}


@run_routes.get("/api/log")
def log() -> dict[str, Any]:
    """Answers the newest lines of the terminal."""
    return {"start": services().terminal.start, "lines": services().terminal.lines()}


@run_routes.get("/health")
def health() -> tuple[dict[str, Any], int]:
    """Answers whether the server is well, for people and probes; whoever brings no token is told nothing else.

    A server that answers is alive, so the code is 200; only who asks whether it is `ready` is answered 503 while it is not well.
    """
    status = services().worker.view().status
    found = problems(status)
    code = 503 if found and "ready" in request.args else 200
    health = {"status": "degraded" if found else "healthy"}
    if role() is None:  # a container's health check brings no token
        return health, code
    return {
        **health,
        "problems": found,
        "initialized": status.phase is not Phase.UNINITIALIZED,
        "running": status.phase is Phase.TRAINING,
        "version": __version__,
    }, code


@run_routes.get("/metrics")
def metrics() -> Response:
    """Answers figures for Prometheus."""
    return Response(services().prometheus.exposition(), content_type=CONTENT_TYPE)


def _end(asked: Range, view: View) -> int:
    return view.iteration_count if asked.end is None else min(asked.end, view.iteration_count)


def _rows(view: View) -> NDArray[np.float32]:
    """Returns the rows up to the view; training may have added more to its history since."""
    return view.history.rows()[: view.iteration_count]
