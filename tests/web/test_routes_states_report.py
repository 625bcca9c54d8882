"""Downloads of a saved state: the right file under the right name, and errors as JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from werkzeug.exceptions import NotFound

from quadra.errors import DamagedFileError, NoSavedStateError, QuadraError, UnknownSourceError
from quadra.storage.saved_state import SavedState
from quadra.web import services
from quadra.web.error_answers import error_handlers
from quadra.web.routes_states import state_routes
from tests.helpers.state_helpers import RUN_A, saved_states

(STATE,) = saved_states(12)
HOSTILE = '<script>alert("name")</script>'
REASONS: dict[str, QuadraError] = {
    "none": NoSavedStateError("No saved state found"),
    "damaged": DamagedFileError("oscillator_weights.pth", "is damaged"),
}


def open_state(source: str) -> tuple[str, SavedState]:
    if source in REASONS:
        raise REASONS[source]
    if source != RUN_A:
        raise UnknownSourceError(f"There is no saved state {source!r}.")
    return HOSTILE, STATE


@pytest.fixture
def http() -> Iterator[FlaskClient]:
    app = Flask("test")
    app.extensions[services.NAME] = SimpleNamespace(
        states=SimpleNamespace(open=open_state, note=lambda _: ""),
    )
    app.register_blueprint(error_handlers)
    app.register_blueprint(state_routes)
    with app.test_client() as client:
        yield client


def named(answer: Response) -> str:
    return answer.headers["Content-Disposition"]


def test_the_report_is_an_attachment_named_after_run_and_iteration(http: FlaskClient) -> None:
    answer = http.get(f"/api/states/{RUN_A}/report")
    assert (answer.status_code, answer.content_type) == (200, "text/html; charset=utf-8")
    assert named(answer) == 'attachment; filename="quadramatrix-aaaaaaaa-12.html"'
    assert answer.text.startswith("<!DOCTYPE html>")
    assert HOSTILE not in answer.text
    assert "&lt;script&gt;alert(&#34;name&#34;)" in answer.text


def test_the_complete_history_comes_as_csv(http: FlaskClient) -> None:
    answer = http.get(f"/api/states/{RUN_A}/history.csv")
    assert (answer.status_code, answer.mimetype) == (200, "text/csv")
    assert named(answer) == 'attachment; filename="quadramatrix-aaaaaaaa-12.csv"'
    _, *lines = csv.reader(io.StringIO(answer.text, newline=""))
    assert (np.array([line[1:] for line in lines], np.float32) == STATE.rows).all()


def test_the_complete_history_comes_as_json_with_the_state_that_it_belongs_to(http: FlaskClient) -> None:
    answer = http.get(f"/api/states/{RUN_A}/history.json")
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert named(answer) == 'attachment; filename="quadramatrix-aaaaaaaa-12.json"'
    found = json.loads(answer.text)
    facts = {"name": HOSTILE, "run": RUN_A, "seed": 1, "iterations": 12, "saved_at": STATE.record.saved_at}
    assert {name: found[name] for name in facts} == facts
    assert (np.array(found["reward"], np.float32) == STATE.rows[:, 1]).all()


@pytest.mark.parametrize("what", ["report", "history.csv", "history.json"])
@pytest.mark.parametrize(
    ("source", "status", "code"),
    [("0" * 16, 404, "unknown_source"), ("none", 404, "no_saved_state"), ("damaged", 409, "damaged_file")],
)
def test_errors_are_json_with_their_status(http: FlaskClient, what: str, source: str, status: int, code: str) -> None:
    answer = http.get(f"/api/states/{source}/{what}")
    assert (answer.status_code, answer.json["error"]["code"]) == (status, code)
    assert "Content-Disposition" not in answer.headers


@pytest.mark.parametrize("source", ["..", "a/b", "..%2f..%2fetc", "%00"])
def test_an_id_that_is_none_never_reaches_a_file(http: FlaskClient, source: str) -> None:
    assert http.get(f"/api/states/{source}/report").status_code == NotFound.code
