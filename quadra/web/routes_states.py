"""Routes of saved states: the list, and what is read of one or of several of them beside training."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request

from quadra.errors import BadFileError, ConfigurationError, LoadError
from quadra.model.history import History
from quadra.reports.history_export import csv_pieces, file_name, json_pieces
from quadra.web.downloads import download
from quadra.web.payloads import Points, read_query
from quadra.web.services import services

if TYPE_CHECKING:
    from quadra.storage.save_record import SaveRecord
    from quadra.storage.saved_state import SavedState

FEWEST, MOST = 2, 8  # saved states that are compared at once
_LONGEST_ID = 200  # characters

state_routes = Blueprint("states", __name__)


@state_routes.get("/api/states")
def states() -> dict[str, Any]:
    """Answers every saved state, and how many are kept."""
    entries = services().states.listing.entries()
    return {
        "states": [entry.as_dict() for entry in entries],
        "kept": vars(services().worker.view().status.retention),
    }


@state_routes.get("/api/states/<state>/history")
def history(state: str) -> dict[str, Any]:
    """Answers a range of a state's history, thinned so that every extreme stays."""
    title, saved = services().states.open(state)
    asked = read_query(Points, request.args)
    end = len(saved.rows) if asked.end is None else asked.end
    points = History(saved.rows).slice(asked.start, end, asked.points)
    facts = {"total": points.total, "thinned": points.thinned, "run": saved.record.run, "name": title}
    return {**points.as_lists(), **facts}


@state_routes.get("/api/states/<state>/history.csv")
def history_csv(state: str) -> Response:
    """Answers every iteration of a state as a file."""
    _, saved = services().states.open(state)
    return _download(csv_pieces(saved.rows), "text/csv", saved.record, "csv")


@state_routes.get("/api/states/<state>/history.json")
def history_json(state: str) -> Response:
    """Answers every iteration of a state as a file."""
    title, saved = services().states.open(state)
    record = saved.record
    facts = {"name": title, "run": record.run, "seed": record.seed, "iterations": len(saved.rows)}
    pieces = json_pieces(saved.rows, {**facts, "saved_at": record.saved_at})
    return _download(pieces, "application/json", record, "json")


@state_routes.get("/api/states/<state>/report")
def report(state: str) -> Response:
    """Answers a state's report: one HTML file under a policy of its own."""
    from quadra.reports import html_report  # brings torch and the template engine: only when somebody asks

    title, saved = services().states.open(state)
    page = html_report.report(saved, title, datetime.now(UTC), services().states.note(state))
    answer = _download([page], "text/html", saved.record, "html")
    answer.headers["Content-Security-Policy"] = f"{html_report.policy(saved.record)}; frame-ancestors 'none'"
    return answer


@state_routes.get("/api/compare")
def compare() -> dict[str, Any]:
    """Answers two to eight states beside each other."""
    ids = _ids(request.args.get("ids", ""))
    from quadra.reports import compare  # here, since it takes torch along: a server must not wait for that to start

    return {"ids": ids, **compare.compare([_opened(name) for name in ids])}


def _download(pieces: Iterable[str], kind: str, record: SaveRecord, ending: str) -> Response:
    return download(pieces, kind, file_name(record.run, record.iteration_count, ending))


def _ids(text: str) -> list[str]:
    """Returns the ids of the query string. Raises ConfigurationError."""
    ids = [name.strip() for name in text.split(",") if name.strip()]
    if not FEWEST <= len(ids) <= MOST:
        raise ConfigurationError(
            "ids", f"must name {FEWEST} to {MOST} saved states, with a comma between them, not {len(ids)}"
        )
    if any(len(name) > _LONGEST_ID for name in ids):
        raise ConfigurationError("ids", f"must be ids of saved states, of at most {_LONGEST_ID} characters each")
    return ids


def _opened(state: str) -> tuple[str, SavedState]:
    try:
        return services().states.open(state)
    except BadFileError as error:
        unreadable = LoadError(f"The saved state {state!r} cannot be read. {error.message}.")
        unreadable.code = error.code  # what is wrong with it stays known to scripts
        raise unreadable from error
