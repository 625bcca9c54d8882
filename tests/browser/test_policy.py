"""Every page works under the policy that its answer sets: what the policy stops would be an event of the document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.helpers.pages import FAST, Lab, SharedPage, lasting_server
from tests.helpers.server import Client, Server

# Chromium reports what a policy has stopped as an event of the document, whatever the console shows of it.
WATCH = """
globalThis.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
});
"""


TRAINED = 250  # iterations: enough for two restore points


@pytest.fixture(scope="module")
def server(pages: tuple[SharedPage, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("policy") / "state"
    with lasting_server(pages, folder, *FAST) as server:
        with Client(server.url) as client:
            Lab(folder, server, client).begin(until=TRAINED)
        yield server


@pytest.fixture(scope="module")
def page(browser: Browser, server: Server) -> Iterator[Page]:
    """With the policy in force, which the other tests bypass."""
    context = browser.new_context()
    context.add_init_script(WATCH)
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_selector("html[data-ready=true]")
    yield page
    context.close()


def restore_points(server: Server) -> list[str]:
    """The ids of at least two states."""
    found = [state["id"] for state in server.get("/api/states")["states"] if "point" in state["kinds"]]
    assert len(found) > 1
    return found


def test_the_dashboard_works_under_its_policy(page: Page, server: Server) -> None:
    with Client(server.url) as client:
        assert client.ask("start_training", {"until": TRAINED + 50})["ok"]
    page.wait_for_function("last => (Chart.getChart('loss-chart').data.labels.at(-1) ?? 0) === last", arg=TRAINED + 50)
    page.locator("#loss-chart").hover()
    assert page.evaluate("violations") == []


@pytest.mark.complaints("Content Security Policy")
def test_what_the_policy_forbids_is_seen_by_these_tests(page: Page) -> None:
    page.evaluate("() => document.body.setAttribute('style', 'color: red')")
    page.wait_for_function("() => violations.length > 0")
    assert "style-src-attr" in page.evaluate("violations.splice(0)")[0]


def test_the_comparison_works_under_its_policy(page: Page, server: Server) -> None:
    states = restore_points(server)
    other = page.context.new_page()
    other.goto(f"{server.url}/compare?ids={states[0]},{states[-1]}")
    other.wait_for_selector("#comparison:not([hidden])")
    other.wait_for_function("() => Chart.getChart('loss-chart') !== undefined")
    assert other.evaluate("violations") == []


def test_a_report_works_under_its_policy(page: Page, server: Server, tmp_path: Path) -> None:
    state = restore_points(server)[0]
    with page.expect_download() as download:
        page.evaluate("address => { const link = document.createElement('a'); link.href = address; link.click(); }",
                      f"api/states/{state}/report")  # fmt: skip
    file = tmp_path / "report.html"
    download.value.save_as(file)
    other = page.context.new_page()
    other.goto(file.as_uri())
    assert other.evaluate("violations") == []
    assert other.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--text')").strip() == "#17212b"
