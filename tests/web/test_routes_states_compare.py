"""The page and the interface that compare saved states, on a small application, and in a real browser."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from posixpath import dirname, join, normpath
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from flask import Flask, Response, send_from_directory
from playwright.sync_api import Browser, Page, expect
from werkzeug.serving import make_server

from quadra.errors import DamagedFileError, FolderUnusableError, NoSavedStateError, QuadraError, UnknownSourceError
from quadra.reports.compare import compare
from quadra.storage.layout import WEIGHTS
from quadra.storage.saved_state import SavedState
from quadra.web import services
from quadra.web.error_answers import error_handlers
from quadra.web.pages import STATIC, page_routes
from quadra.web.routes_states import state_routes
from tests.helpers.browser import executable
from tests.helpers.state_helpers import REPOSITORY, RUN_B, run_python, saved_states

needs_browser = pytest.mark.skipif(
    executable() is None and not os.environ.get("CI"), reason="no Chromium is installed on this machine"
)

EARLY, LATE = saved_states(30, 60)
(WIDER,) = saved_states(40, run=RUN_B, field_size=12, seed=5)
LOST = replace(LATE, rows=np.where(np.arange(60)[:, None] < 20, np.nan, LATE.rows), warnings=("20 rows are lost.",))
FORGED = replace(LATE, engine={**LATE.engine, "syntropy": {}})
STATES: dict[str, tuple[str, SavedState]] = {
    "early": ("Before <b>all</b>", EARLY), "late": ("Stopped at 60", LATE), "wider": ("Another size", WIDER),
    "lost": ("With lost rows", LOST), "forged": ("Forged", FORGED),
}  # fmt: skip
FAILURES: dict[str, QuadraError] = {
    "damaged": DamagedFileError(WEIGHTS, "its checksum does not fit its content: it was altered or damaged"),
    "empty": NoSavedStateError("No saved state found"),
    "unplugged": FolderUnusableError("The state directory is gone."),
}
SERIES = ("loss", "reward", "variance", "mean")


def open_state(name: str) -> tuple[str, SavedState]:
    if name in FAILURES:
        raise FAILURES[name]
    if name not in STATES:
        raise UnknownSourceError(f"There is no saved state {name!r} in the state directory.")
    return STATES[name]


def application() -> Flask:
    """An application with the error handlers of the dashboard's."""
    app = Flask("test", root_path=str(REPOSITORY), static_folder=None, template_folder="templates")
    app.extensions[services.NAME] = SimpleNamespace(
        states=SimpleNamespace(open=open_state), files=SimpleNamespace(address=lambda path: f"files/{path}")
    )
    for blueprint in (error_handlers, page_routes, state_routes):
        app.register_blueprint(blueprint)

    @app.get("/files/<path:path>")
    def files(path: str) -> Response:
        return send_from_directory(STATIC, path)

    return app


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


def test_a_server_that_offers_the_page_starts_without_tensors() -> None:
    code = (
        "import sys, quadra.web.pages, quadra.web.routes_states; "
        "print({'torch', 'quadra.reports.compare'} & set(sys.modules))"
    )
    assert run_python(code).strip() == "set()"


# In a real browser


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, application(), threaded=True)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    serving.join()
    server.server_close()


@contextmanager
def opened(browser: Browser, url: str, width: int = 1440, height: int = 900) -> Iterator[Page]:
    """The page, once all of it is drawn; what it throws, or says on the console, fails the test."""
    page = browser.new_context(viewport={"width": width, "height": height}, bypass_csp=True).new_page()
    told: list[str] = []
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("console", lambda message: told.append(message.text))
    page.goto(url)
    page.wait_for_selector("html[data-ready=true]")
    yield page
    page.context.close()
    assert told == []


def drawn(page: Page, name: str) -> list[list[list[float | None]]]:
    """The points of each state in one of the charts, read from the chart itself."""
    found: list[list[list[float | None]]] = page.evaluate(
        """name => Chart.getChart(name + "-chart").data.datasets
            .map(({data}) => data.map(({x, y}) => [x, Number.isNaN(y) ? null : y]))""",
        name,
    )
    return found


def values_of(page: Page, cells: str) -> list[str]:
    return page.locator(cells).all_inner_texts()


@needs_browser
@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_the_page_draws_all_of_the_comparison(browser: Browser, address: str, width: int, height: int) -> None:
    expected = compare([STATES["early"], STATES["lost"], STATES["wider"]])
    with opened(browser, f"{address}/compare?ids=early,lost,wider", width, height) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert values_of(page, "#sides strong") == ["Before <b>all</b>", "With lost rows", "Another size"]
        expect(page.locator("#sides .remark")).to_have_text("20 rows are lost.")

        differing = [row["name"] for row in expected["configuration"] if row["differs"]]
        assert values_of(page, "#configuration-differences tbody th") == differing
        expect(page.locator("#configuration-equal table")).to_be_hidden()

        for name in SERIES:
            lines = [list(map(list, zip(c["iteration"], c[name], strict=True))) for c in expected["curves"]]
            assert drawn(page, name) == lines
            assert (page.locator(f"#{name}-chart").bounding_box() or {})["height"] > 150

        rows = expected["q_tables"]["rows"]
        assert values_of(page, ".heat tbody th") == [row["state"] for row in rows]
        assert page.locator(".heat td").count() == len(rows) * 9
        assert page.locator(".heat td[data-changed]").count() == sum(expected["q_tables"]["changed"])
        assert page.locator(".heat .greedy").count() == sum(expected["q_tables"]["visited"])

        relative = [row["relative"][1] for row in expected["layers"]]
        shares = page.locator("#layers .filled[data-side='1']")
        assert [float(shares.nth(i).get_attribute("title") or "") for i in range(len(relative))] == relative
        expect(page.locator("#layers-reasons")).to_contain_text("its shape is 5 x 12, the reference's 5 x 8")

        rates = [f"{rate:.3f}" for row in expected["firing_rates"]["layers"] for rate in row["rates"]]
        assert values_of(page, ".bars td:last-child") == rates


@needs_browser
def test_the_heat_map_outlines_what_changed_and_shows_only_that_on_demand(browser: Browser, address: str) -> None:
    rows = compare([STATES["early"], STATES["late"]])["q_tables"]["rows"]
    changed = [row["state"] for row in rows if any(row["changed"][1])]
    assert 0 < len(changed) < len(rows)
    with opened(browser, f"{address}/compare?ids=early,late") as page:
        looks = page.locator(".heat td:not([data-visited])").evaluate_all(
            """cells => cells.map((cell) => {
                const style = getComputedStyle(cell);
                return [Number(cell.innerText), "changed" in cell.dataset, style.boxShadow, style.backgroundColor];
            })"""
        )
        assert {(is_changed, outline == "none") for _, is_changed, outline, _ in looks} == {
            (True, False),
            (False, True),
        }
        colours = {value: colour for value, _, _, colour in sorted(looks)}
        assert colours[0.0] != colours[max(colours)]
        page.check("#q-only-changed")
        assert values_of(page, ".heat tbody th:visible") == changed


@needs_browser
def test_a_states_curves_can_be_hidden_and_follow_the_theme(browser: Browser, address: str) -> None:
    """Shown on a state beside itself, which the page says to differ in nothing."""
    visible = "name => [0, 1].map((number) => Chart.getChart(name + '-chart').isDatasetVisible(number))"
    colours = "Chart.getChart('loss-chart').data.datasets.map((set) => set.borderColor)"
    with opened(browser, f"{address}/compare?ids=late,late") as page:
        button = page.locator("#curves-legend button").nth(1)
        for shown in (False, True):
            button.click()
            expect(button).to_have_attribute("aria-pressed", str(shown).lower())
            assert [page.evaluate(visible, name) for name in SERIES] == [[True, shown]] * 4
        light = page.evaluate(colours)
        assert len(set(light)) == 2
        page.emulate_media(color_scheme="dark")
        page.wait_for_function(f"before => {colours}.every((colour, number) => colour !== before[number])", arg=light)

        expect(page.locator("#configuration-hint")).to_contain_text("the same settings, seed and text")
        expect(page.locator("#configuration-differences")).to_be_hidden()
        assert page.locator(".heat td[data-changed]").count() == 0
        assert set(values_of(page, ".filled")) == {"0"}


@needs_browser
def test_what_cannot_be_compared_is_told_in_a_sentence(browser: Browser, address: str) -> None:
    page = browser.new_context(bypass_csp=True).new_page()
    for ids, sentence in (
        ("early,nobody", "There is no saved state 'nobody' in the state directory."),
        (
            "damaged,early",
            "The saved state 'damaged' cannot be read. oscillator_weights.pth: its checksum does not fit",
        ),
    ):
        page.goto(f"{address}/compare?ids={ids}")
        page.wait_for_selector("html[data-ready=failed]")
        expect(page.locator("#compare-error")).to_contain_text(f"These saved states cannot be compared. {sentence}")
        expect(page.locator("#comparison")).to_be_hidden()
        expect(page.locator("#compare-waiting")).to_be_hidden()
    page.route("**/api/compare**", lambda route: route.abort())
    page.reload()
    expect(page.locator("#compare-error")).to_contain_text("The server does not answer.")
    page.context.close()
