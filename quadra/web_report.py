"""Downloads of a saved state for the web: its report, and its complete history as CSV and JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flask import Flask, Response, jsonify

from quadra.errors import LoadError, NoSavedStateError, UnknownSourceError
from quadra.export import csv_pieces, file_name, json_pieces

if TYPE_CHECKING:
    from quadra.persistence import SavedState
    from quadra.records import Record


def add_report(app: Flask, open_state: Callable[[str], tuple[str, SavedState]]) -> None:
    """Register `GET /api/states/<id>/report`, `.../history.csv` and `.../history.json`.

    `open_state` gives the name and the content of the saved state with an id, and may be called on several threads at once.
    Where it raises UnknownSourceError or NoSavedStateError the answer is 404; other errors are left to the application.
    """

    @app.get("/api/states/<source>/report")
    def state_report(source: str) -> Response:
        from quadra.report import report  # brings torch and the template engine: only when somebody asks

        name, state = open_state(source)
        return _file([report(state, name, datetime.now(UTC))], "text/html", state.record, "html")

    @app.get("/api/states/<source>/history.csv")
    def state_history_csv(source: str) -> Response:
        _, state = open_state(source)
        return _file(csv_pieces(state.rows), "text/csv", state.record, "csv")

    @app.get("/api/states/<source>/history.json")
    def state_history_json(source: str) -> Response:
        name, state = open_state(source)
        record = state.record
        facts = {
            "name": name,
            "run": record.run,
            "seed": record.seed,
            "iterations": len(state.rows),
            "saved_at": record.saved_at,
        }
        return _file(json_pieces(state.rows, facts), "application/json", record, "json")

    app.register_error_handler(UnknownSourceError, _not_there)
    app.register_error_handler(NoSavedStateError, _not_there)


def _file(pieces: Iterable[str], kind: str, record: Record, ending: str) -> Response:
    name = file_name(record.run, record.iteration_count, ending)
    return Response(pieces, mimetype=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _not_there(error: LoadError) -> tuple[Response, int]:
    return jsonify({"error": {"code": error.code, "message": error.message}}), 404
