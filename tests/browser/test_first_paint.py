"""How the page comes: how the run stands is shown first, the rest follows, and nothing is lost on the way."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Request, Route, expect

from quadra.web.pages import FIRST, STATIC
from tests.helpers.pages import Lab, SharedPage, wait_until_ready
from tests.helpers.server import Server

REST = "**/js/deferred.js"
TRAINED = 50
DRAWN = """n => ["loss", "reward", "variance", "mean"].every(
    (name) => globalThis.Chart?.getChart(name + "-chart")?.data.labels.length === n)"""


@pytest.fixture(scope="module")
def server(shared_lab: Lab) -> Server:
    """It has a run of some iterations in memory and trains no more."""
    shared_lab.reset()
    shared_lab.begin(until=TRAINED)
    return shared_lab.server


@pytest.fixture
def page(shared: SharedPage, server: Server) -> Iterator[Page]:
    """It is yet to go there."""
    shared.leave()
    shared.prepared(server.url)
    yield shared.page
    shared.page.unroute_all()


def test_how_the_run_stands_is_shown_before_the_rest_is_there(page: Page, server: Server) -> None:
    held: list[Route] = []
    page.route(REST, lambda route: held.append(route))  # a builtin would not do
    page.goto(server.url, wait_until="commit")
    page.wait_for_function(DRAWN, arg=TRAINED)
    expect(page.locator("#iteration-value")).to_have_text(str(TRAINED))
    expect(page.locator("#run-facts")).to_contain_text("field size 8")
    expect(page.locator("#start-button")).to_be_disabled()
    for route in held:
        route.continue_()
    wait_until_ready(page)
    expect(page.locator("#start-button")).to_be_enabled()


def test_a_button_that_was_pressed_early_acts_when_it_can(page: Page, server: Server) -> None:
    held: list[Route] = []
    page.route(REST, lambda route: held.append(route))  # a builtin would not do
    page.goto(server.url, wait_until="commit")
    page.wait_for_function(DRAWN, arg=TRAINED)
    page.click("#help-button")
    page.click("#settings-button")
    assert page.locator("dialog[open]").count() == 0
    for route in held:
        route.continue_()
    expect(page.locator("#settings-dialog")).to_be_visible()
    expect(page.locator("#help-dialog")).to_be_hidden()


@pytest.mark.complaints("ERR_FAILED")
def test_a_rest_that_cannot_be_fetched_is_said(page: Page, server: Server) -> None:
    page.route(REST, lambda route: route.abort())
    page.goto(server.url, wait_until="commit")
    expect(page.locator("#load-error")).to_contain_text("The dashboard could not start")
    page.wait_for_function(DRAWN, arg=TRAINED)


def test_a_history_that_does_not_come_holds_up_nothing_else(page: Page, server: Server) -> None:
    page.route("**/api/history?*", lambda route: None)
    page.goto(server.url, wait_until="commit")
    expect(page.locator("#connection-state")).to_have_text("Connected")
    expect(page.locator("#start-button")).to_be_enabled()
    page.click("#settings-button")
    expect(page.locator("#settings-dialog")).to_be_visible()


def test_the_first_answers_are_asked_for_once(page: Page, server: Server) -> None:
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url.removeprefix(server.url))

    page.on("request", note)
    page.goto(server.url)
    wait_until_ready(page)
    page.remove_listener("request", note)
    assert asked.count("/api/status") == 1
    assert [url for url in asked if url.startswith("/api/history")] == ["/api/history?points=4000"]


def test_what_is_asked_for_first_is_what_the_page_then_wants() -> None:
    loader, sync, thinning = (
        (STATIC / "js" / f"{name}.js").read_text() for name in ("library_loader", "core/sync", "core/thinning")
    )
    limit = re.findall(r"LIMIT = (\d+);", thinning)[0]
    wanted = re.findall(r"HISTORY_URL = `(.+)`", sync)[0].replace("${LIMIT}", limit)
    assert ("api/status", wanted) == FIRST
    assert f'FIRST = ["api/status", "{wanted}"]' in loader
    assert 'fetchJson("api/status"), fetchJson(HISTORY_URL)' in sync
