"""The description of the HTTP interface fits the interface: route by route, and for whatever a client sends."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from flask import Flask
from msgspec import Struct

from quadra.config import LARGEST_FIELD, SMALLEST_FIELD
from quadra.web.events import EVENTS
from quadra.web.openapi import PATHS
from quadra.web.response_types import (
    Alerts,
    Comparison,
    Error,
    Health,
    History,
    Log,
    StateHistory,
    States,
    Status,
    Timeline,
)
from tests.helpers.schema_tests import OPERATIONS, call_and_check, opened_application

EXAMPLES = 3  # of each operation, of what fits its description and of what does not


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    with opened_application(tmp_path_factory.mktemp("openapi") / "state") as app:
        yield app


def described() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(PATHS.read_text(encoding="utf-8"))
    return found


def test_every_route_is_described_and_everything_described_is_a_route(app: Flask) -> None:
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", "{}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    named = {(re.sub(r"{\w+}", "{}", path), method) for path, item in described()["paths"].items() for method in item}
    assert routes == named


def test_the_description_is_served_with_the_version_of_the_program(app: Flask) -> None:
    answer = app.test_client().get("/api/openapi.json")
    assert answer.json["paths"] == described()["paths"]
    assert answer.json["info"]["version"] == app.test_client().get("/health").json["version"]


def test_every_reference_leads_somewhere(app: Flask) -> None:
    document = app.test_client().get("/api/openapi.json").json
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)):
        found = document
        for part in reference.split("/"):
            found = found[part]
        assert found, reference


def test_every_event_is_described_with_its_payload(app: Flask) -> None:
    document = app.test_client().get("/api/openapi.json").json
    assert set(document["x-socketio-events"]) == set(EVENTS)
    name = document["x-socketio-events"]["initialize_system"]["payload"]["$ref"].rpartition("/")[2]
    size = document["components"]["schemas"][name]["properties"]["field_size"]["anyOf"][0]
    assert (size["minimum"], size["maximum"]) == (SMALLEST_FIELD, LARGEST_FIELD)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("/api/status", Status),
        ("/health", Health),
        ("/api/history", History),
        ("/api/alerts", Alerts),
        ("/api/log", Log),
        ("/api/marks", Timeline),
        ("/api/states", States),
        ("/api/states/none/history", Error),
    ],
)
def test_what_is_answered_is_what_its_type_says(app: Flask, address: str, kind: type[Struct]) -> None:
    msgspec.convert(app.test_client().get(address).json, kind)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_whatever_is_sent_the_answer_is_one_that_is_described(app: Flask, path: str, method: str) -> None:
    call_and_check(app, path, method, EXAMPLES)


def test_what_saved_states_answer_is_described_too(app: Flask) -> None:
    client = app.test_client()
    state = client.get("/api/states").json["states"][0]["id"]
    msgspec.convert(client.get(f"/api/states/{state}/history").json, StateHistory)
    msgspec.convert(client.get(f"/api/compare?ids={state},{state}").json, Comparison)
    for ending in ("history", "history.csv", "history.json", "report", "archive"):
        answer = client.get(f"/api/states/{state}/{ending}")
        responses = described()["paths"][f"/api/states/{{state}}/{ending}"]["get"]["responses"]
        assert answer.status_code == 200
        assert answer.mimetype in responses["200"]["content"]
