"""The page and the interface that compare saved states, on a small application."""

from __future__ import annotations

import re
from posixpath import dirname, join, normpath
from typing import Any

import pytest

from quadra.reports.compare import compare
from quadra.web.pages import STATIC
from tests.helpers.comparison_site import STATES, application
from tests.helpers.state_helpers import run_python


@pytest.fixture
def http() -> Any:
    return application().test_client()


def test_the_answer_is_the_comparison_in_the_order_of_the_ids(http: Any) -> None:
    answer = http.get("/api/compare?ids=late,%20early,wider")
    assert answer.status_code == 200
    assert answer.json == {"ids": ["late", "early", "wider"], **compare([STATES[i] for i in answer.json["ids"]])}
    assert [state["label"] for state in answer.json["states"]] == ["Stopped at 60", "Before <b>all</b>", "Another size"]
    assert "NaN" not in http.get("/api/compare?ids=early,lost").text


@pytest.mark.parametrize(
    "query", ["", "?ids=", "?ids=early", "?ids=,early,,", "?ids=" + ",".join(["early"] * 9), "?ids=early," + "x" * 201]
)
def test_fewer_than_two_or_more_than_eight_ids_are_refused(http: Any, query: str) -> None:
    answer = http.get(f"/api/compare{query}")
    assert (answer.status_code, answer.json["error"]["code"]) == (400, "invalid_value")
    assert answer.json["error"]["message"].startswith("ids must ")


def test_eight_ids_are_taken(http: Any) -> None:
    assert len(http.get("/api/compare?ids=" + ",".join(["early", "late"] * 4)).json["states"]) == 8


@pytest.mark.parametrize(
    ("name", "status", "code", "told"),
    [
        ("nobody", 404, "unknown_source", "There is no saved state 'nobody' in the state directory."),
        ("empty", 404, "no_saved_state", "No saved state found"),
        ("damaged", 409, "damaged_file", "The saved state 'damaged' cannot be read. oscillator_weights.pth: its"),
        ("forged", 409, "damaged_file", "“Forged” does not hold what belongs there"),
        ("unplugged", 500, "folder_unusable", "The state directory is gone."),
    ],
)
def test_a_state_that_cannot_be_opened_is_an_error_that_says_which_and_why(
    http: Any, name: str, status: int, code: str, told: str
) -> None:
    answer = http.get(f"/api/compare?ids=early,{name}")
    assert (answer.status_code, answer.json["error"]["code"]) == (status, code)
    assert told in answer.json["error"]["message"]


def test_errors_elsewhere_are_answered_as_before(http: Any) -> None:
    assert http.get("/nothing").json["error"]["code"] == "not_found"
    assert http.post("/api/compare").status_code == 405


def test_the_page_links_only_files_that_are_there_and_holds_no_inline_script_or_style(http: Any) -> None:
    answer = http.get("/compare?ids=early,late")
    page = answer.text
    assert answer.headers["Cache-Control"] == "no-cache"
    linked = [part.split('"')[0] for part in page.replace('src="', 'href="').split('href="files/')[1:]]
    assert {"js/compare/compare.js", "css/compare.css", "css/theme.css"} <= set(linked)
    assert [path for path in linked if not (STATIC / path).is_file()] == []
    assert "<style" not in page
    assert " style=" not in page
    assert all(" src=" in tag.split(">")[0] for tag in page.split("<script")[1:])


def test_every_module_that_the_page_needs_is_told_to_the_browser_at_once(http: Any) -> None:
    page = http.get("/compare").text
    needed, seen = {"compare/compare"}, set()
    while needed - seen:
        name = (needed - seen).pop()
        seen.add(name)
        source = (STATIC / "js" / f"{name}.js").read_text()
        needed |= {normpath(join(dirname(name), other)) for other in re.findall(r' from "(\.[\w./]+)\.js"', source)}
    assert {name for name in seen if f"files/js/{name}.js" not in page} == set()


@pytest.mark.process
def test_a_server_that_offers_the_page_starts_without_tensors() -> None:
    code = (
        "import sys, quadra.web.pages, quadra.web.routes_states; "
        "print({'torch', 'quadra.reports.compare'} & set(sys.modules))"
    )
    assert run_python(code).strip() == "set()"
