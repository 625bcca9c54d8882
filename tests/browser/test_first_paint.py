"""How the page comes: how the run stands is shown first, the rest follows, and nothing is lost on the way."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from quadra.web.pages import FIRST, STATIC
from tests.browser.test_three_days import FAST, PATIENCE
from tests.helpers.browser import executable
from tests.helpers.server import Client, Server, warm_server

pytestmark = pytest.mark.skipif(
    executable() is None and not os.environ.get("CI"), reason="no Chromium is installed on this machine"
)

REST = "**/js/later.js"
TRAINED = 50
DRAWN = """n => ["loss", "reward", "variance", "mean"].every(
    (name) => globalThis.Chart?.getChart(name + "-chart")?.data.labels.length === n)"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """It has a run of some iterations in memory and trains no more."""
    with warm_server(tmp_path_factory.mktemp("loading") / "state", *FAST) as server:
        with Client(server.url) as client:
            client.ask("initialize_system")
            client.ask("start_training", {"until": TRAINED})
            client.wait_for("training_status", lambda status: status["iteration_count"] == TRAINED)
        yield server


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_context(viewport={"width": 1440, "height": 900}, bypass_csp=True).new_page()
    page.set_default_timeout(PATIENCE)
    yield page
    page.context.close()


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
    page.wait_for_selector("html[data-ready=true]")
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
    page.on("request", lambda request: asked.append(request.url.removeprefix(server.url)))
    page.goto(server.url)
    page.wait_for_selector("html[data-ready=true]")
    assert asked.count("/api/status") == 1
    assert [url for url in asked if url.startswith("/api/history")] == ["/api/history?points=4000"]


def test_what_is_asked_for_first_is_what_the_page_then_wants() -> None:
    loader, sync, thinning = (
        (STATIC / "js" / f"{name}.js").read_text() for name in ("loader", "core/sync", "core/thinning")
    )
    limit = re.findall(r"LIMIT = (\d+);", thinning)[0]
    wanted = re.findall(r"HISTORY_URL = `(.+)`", sync)[0].replace("${LIMIT}", limit)
    assert ("api/status", wanted) == FIRST
    assert f'FIRST = ["api/status", "{wanted}"]' in loader
    assert 'fetchJson("api/status"), fetchJson(HISTORY_URL)' in sync
