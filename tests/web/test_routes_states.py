"""Saved states for browsers and scripts: listed, named, deleted and taken back, gone back to, proved, and downloaded."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from werkzeug.exceptions import NotFound

from quadra.errors import DamagedFileError, NoSavedStateError, QuadraError, UnknownSourceError
from quadra.reports import prove
from quadra.storage.saved_state import SavedState
from quadra.web import services
from quadra.web.error_answers import error_handlers
from quadra.web.routes_states import state_routes
from tests.helpers.site import Site
from tests.helpers.state_helpers import RUN_A, saved_states

(STATE,) = saved_states(12)
HOSTILE = '<script>alert("name")</script>'
REASONS: dict[str, QuadraError] = {
    "none": NoSavedStateError("No saved state found"),
    "damaged": DamagedFileError("oscillator_weights.pth", "is damaged"),
}


def states(site: Site) -> dict[str, dict[str, Any]]:
    return {state["id"]: state for state in site.http.get("/api/states").get_json()["states"]}


def named(site: Site, name: str) -> str:
    answer = site.ask("save_slot", {"name": name})
    assert answer["ok"], answer
    found: str = answer["id"]
    return found


def test_a_slot_is_saved_while_training_and_training_goes_on(site: Site) -> None:
    site.ask("initialize_system")
    site.ask("start_training")
    slot = named(site, "in between")
    assert site.worker.view().status.phase.value == "training"
    site.ask("stop_training")
    assert states(site)[slot]["name"] == "in between"
    assert 0 <= states(site)[slot]["iteration_count"] <= site.worker.view().iteration_count


def test_every_state_says_what_it_is_and_why_it_is_kept(site: Site) -> None:
    site.train(120)
    slot = named(site, "mine")
    listed = states(site)
    run = site.worker.view().status.run
    assert run is not None
    assert listed[run]["kinds"][0] == "current"
    assert listed[slot]["kinds"] == ["slot"]
    assert listed[f"{run}@100"]["kinds"][0] in ("point", "save")
    wanted = {
        "id",
        "run",
        "iteration_count",
        "saved_at",
        "loss",
        "reward",
        "size",
        "name",
        "note",
        "pinned",
        "kept",
        "kinds",
    }
    for state in listed.values():
        assert wanted <= set(state)
        assert state["kept"]
        assert state["size"] > 0


def test_names_notes_pins_deletion_and_its_undoing(site: Site) -> None:
    site.train(5)
    slot = named(site, "one")
    assert site.ask("label_state", {"id": slot, "name": "two", "note": "why", "pinned": True})["ok"]
    state = states(site)[slot]
    assert (state["name"], state["note"], state["pinned"]) == ("two", "why", True)
    assert site.ask("delete_state", {"id": slot})["ok"]
    assert states(site)[slot]["deleted_at"]
    assert site.ask("undelete_state", {"id": slot})["ok"]
    assert states(site)[slot]["deleted_at"] is None


def test_overwriting_asks_first(site: Site) -> None:
    site.train(5)
    named(site, "one")
    answer = site.ask("save_slot", {"name": "one"})
    assert answer["error"]["code"] == "name_taken"
    assert site.ask("save_slot", {"name": "one", "overwrite": True})["ok"]


def test_going_back_answers_where_it_went_on_from_and_can_be_undone(site: Site) -> None:
    site.train(120)
    run = site.worker.view().status.run
    answer = site.ask("load_state", {"source": f"{run}@100"})
    assert (answer["iteration_count"], answer["went_on_from"]) == (100, f"{run}@100")
    status = site.http.get("/api/status").get_json()
    assert status["parent"] == f"{run}@100"
    assert run in [state["id"] for state in status["saved_states"]]
    left = site.http.get(f"/api/states/{run}/history").get_json()
    assert (left["total"], left["run"]) == (120, run)
    assert site.ask("load_state", {"source": run})["iteration_count"] == 120
    assert site.http.get("/api/status").get_json()["parent"] is None


def test_the_best_state_is_in_the_status(site: Site) -> None:
    site.train(120)
    status = site.http.get("/api/status").get_json()
    assert status["best"]["id"] == f"{status['run']}@{status['best']['iteration_count']}"
    assert (
        site.ask("load_state", {"source": status["best"]["id"]})["iteration_count"] == status["best"]["iteration_count"]
    )


def test_two_states_are_compared_and_one_is_reported(site: Site) -> None:
    site.train(120)
    run = site.worker.view().status.run
    slot = named(site, "<b>")
    compared = site.http.get(f"/api/compare?ids={run}@100,{slot}").get_json()
    assert [state["iteration_count"] for state in compared["states"]] == [100, 120]
    assert site.http.get(f"/compare?ids={run}@100,{slot}").status_code == 200
    report = site.http.get(f"/api/states/{slot}/report")
    assert "&lt;b&gt;" in report.get_data(as_text=True)
    history = json.loads(site.http.get(f"/api/states/{run}@100/history.json").get_data())
    assert len(history["loss"]) == 100


def test_what_is_open_beside_the_worker_changes_nothing(site: Site) -> None:
    site.train(20)
    before = site.worker.view()
    for address in (
        "/api/states",
        f"/api/states/{before.status.run}/history",
        f"/api/states/{before.status.run}/report",
    ):
        assert site.http.get(address).status_code == 200
    assert site.worker.view() == before


@pytest.mark.parametrize("address", ["/api/states/x/history", "/api/states/x/report", "/api/compare?ids=x,y"])
def test_a_state_that_is_not_there_is_404(site: Site, address: str) -> None:
    answer = site.http.get(address)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (404, "unknown_source")


def test_a_slot_needs_a_run(site: Site) -> None:
    assert site.ask("save_slot", {"name": "x"})["error"]["code"] == "refused"


def test_a_state_is_proved_at_a_browsers_wish(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prove, "_train", prove.train)  # in this process, which is faster
    site.train(10)
    run = site.worker.view().status.run
    answer = site.ask("prove_state", {"id": run, "iterations": 4})
    assert answer["ok"], answer
    assert (answer["different"], answer["iteration_count"], answer["iterations"]) == ([], 10, 4)
    assert answer["in_one_go"] == answer["in_halves"]


def test_a_state_goes_out_as_an_archive_and_comes_in_as_a_named_state(site: Site, tmp_path: Path) -> None:
    site.train(20)
    run = site.worker.view().status.run
    archive = site.http.get(f"/api/states/{run}/archive")
    assert archive.mimetype == "application/zip"
    other = Site(tmp_path / "other")
    try:
        answer = other.http.post(
            "/api/states", data={"archive": (io.BytesIO(archive.data), "a.zip"), "name": "from afar"}
        )
        assert answer.status_code == 200, answer.get_json()
        slot = answer.get_json()["id"]
        assert states(other)[slot]["name"] == "from afar"
        assert other.ask("load_state", {"source": slot})["iteration_count"] == 20
        assert other.worker.view().history.checksum() == site.worker.view().history.checksum()
    finally:
        other.close()
    assert not list((tmp_path / "other" / "uploads").glob("*"))


def test_an_upload_without_a_name_gets_one_and_a_taken_name_a_number(site: Site) -> None:
    site.train(5)
    run = site.worker.view().status.run or ""
    archive = site.http.get(f"/api/states/{run}/archive").data
    for _ in range(2):
        assert site.http.post("/api/states", data={"archive": (io.BytesIO(archive), "a.zip")}).status_code == 200
    name = f"imported run {run[:8]}, iteration 5"
    assert {f"{name}", f"{name} (2)"} <= {state["name"] for state in states(site).values()}


def test_a_hostile_upload_is_refused_and_leaves_nothing(site: Site, tmp_path: Path) -> None:
    answer = site.http.post("/api/states", data={"archive": (io.BytesIO(b"PK nothing"), "a.zip")})
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (400, "bad_archive")
    assert states(site) == {}
    assert not list((tmp_path / "state" / "uploads").glob("*"))


def test_the_history_of_a_state_is_given_in_ranges(site: Site) -> None:
    site.train(120)
    run = site.worker.view().status.run
    whole = site.http.get(f"/api/states/{run}/history").get_json()
    part = site.http.get(f"/api/states/{run}/history?start=41&end=60").get_json()
    assert part["iteration"] == list(range(41, 61))
    assert part["reward"] == whole["reward"][40:60]
    assert (part["total"], part["thinned"]) == (20, False)
    thinned = site.http.get(f"/api/states/{run}/history?points=30").get_json()
    assert (thinned["total"], thinned["thinned"]) == (120, True)
    assert len(thinned["iteration"]) <= 30
    refused = site.http.get(f"/api/states/{run}/history?points=0")
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (400, "invalid_value")


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


def disposition(answer: Response) -> str:
    return answer.headers["Content-Disposition"]


def test_the_report_is_an_attachment_named_after_run_and_iteration(http: FlaskClient) -> None:
    answer = http.get(f"/api/states/{RUN_A}/report")
    assert (answer.status_code, answer.content_type) == (200, "text/html; charset=utf-8")
    assert disposition(answer) == 'attachment; filename="quadramatrix-aaaaaaaa-12.html"'
    assert answer.text.startswith("<!DOCTYPE html>")
    assert HOSTILE not in answer.text
    assert "&lt;script&gt;alert(&#34;name&#34;)" in answer.text


def test_the_complete_history_comes_as_csv(http: FlaskClient) -> None:
    answer = http.get(f"/api/states/{RUN_A}/history.csv")
    assert (answer.status_code, answer.mimetype) == (200, "text/csv")
    assert disposition(answer) == 'attachment; filename="quadramatrix-aaaaaaaa-12.csv"'
    _, *lines = csv.reader(io.StringIO(answer.text, newline=""))
    assert (np.array([line[1:] for line in lines], np.float32) == STATE.rows).all()


def test_the_complete_history_comes_as_json_with_the_state_that_it_belongs_to(http: FlaskClient) -> None:
    answer = http.get(f"/api/states/{RUN_A}/history.json")
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert disposition(answer) == 'attachment; filename="quadramatrix-aaaaaaaa-12.json"'
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
