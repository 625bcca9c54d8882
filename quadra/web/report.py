"""Downloads of a saved state for the web: its report, and its complete history as CSV and JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flask import Blueprint, Flask, Response

from quadra.errors import QuadraError
from quadra.reports.history_export import csv_pieces, file_name, json_pieces
from quadra.web.error_answers import error_answer, status_of

if TYPE_CHECKING:
    from quadra.storage.save_record import SaveRecord
    from quadra.storage.saved_state import SavedState


def add_report(
    app: Flask, open_state: Callable[[str], tuple[str, SavedState]], note_of: Callable[[str], str] = lambda _: ""
) -> None:
    """Register `GET /api/states/<id>/report`, `.../history.csv` and `.../history.json`.

    `open_state` gives the name and the content of the saved state with an id, or raises a QuadraError, which is answered as
    JSON; `note_of` gives what somebody has noted of it. Both may be called on several threads at once.
    """

    pages = Blueprint("report", __name__)

    @pages.get("/api/states/<source>/report")
    def state_report(source: str) -> Response:
        name, state = open_state(source)
        return _report_of(state, name, note_of(source))

    @pages.get("/api/states/<source>/history.csv")
    def state_history_csv(source: str) -> Response:
        _, state = open_state(source)
        return _file(csv_pieces(state.rows), "text/csv", state.record, "csv")

    @pages.get("/api/states/<source>/history.json")
    def state_history_json(source: str) -> Response:
        name, state = open_state(source)
        record = state.record
        facts = {"name": name, "run": record.run, "seed": record.seed, "iterations": len(state.rows)}
        return _file(
            json_pieces(state.rows, {**facts, "saved_at": record.saved_at}), "application/json", record, "json"
        )

    @pages.errorhandler(QuadraError)
    def told(error: QuadraError) -> tuple[Response, int]:
        return error_answer(error.code, error.message), status_of(error)

    app.register_blueprint(pages)


def _report_of(state: SavedState, name: str, note: str) -> Response:
    from quadra.reports.html_report import (  # brings torch and the template engine: only when somebody asks
        policy,
        report,
    )

    answer = _file([report(state, name, datetime.now(UTC), note)], "text/html", state.record, "html")
    answer.headers["Content-Security-Policy"] = f"{policy(state.record)}; frame-ancestors 'none'"
    return answer


def _file(pieces: Iterable[str], kind: str, record: SaveRecord, ending: str) -> Response:
    name = file_name(record.run, record.iteration_count, ending)
    return Response(pieces, mimetype=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})
