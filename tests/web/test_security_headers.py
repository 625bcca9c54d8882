"""Every answer tells the browser what it may load and do, and every page works under that without a complaint."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page

from quadra.web.security_headers import CDN, SecurityHeaders, policy_for
from tests.helpers.browser import executable, running_browser
from tests.helpers.server import Server, warm_server
from tests.helpers.waiting import PATIENCE

WITH_BROWSER = pytest.mark.skipif(
    executable() is None and not os.environ.get("CI"), reason="no Chromium is installed on this machine"
)
# Chromium reports what a policy has stopped as an event of the document, whatever the console shows of it.
WATCH = """
globalThis.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
});
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("headers") / "state"
    with warm_server(folder, "--field-size", "8", "--seed", "3", "--pace", "max", "--resume") as server:
        yield server


@pytest.fixture(scope="module")
def page(server: Server) -> Iterator[Page]:
    with running_browser() as browser:
        page = opened(browser, server)
        yield page
        page.context.close()


def opened(browser: Browser, server: Server) -> Page:
    context = browser.new_context()
    context.add_init_script(WATCH)
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_selector("html[data-ready=true]")
    return page


def application() -> Flask:
    app = Flask("under test")

    @app.get("/own")
    def own() -> tuple[str, dict[str, str]]:
        return "", {"Content-Security-Policy": "default-src 'none'"}

    app.wsgi_app = SecurityHeaders(app.wsgi_app)  # type: ignore[method-assign]
    return app


def test_every_answer_has_them_errors_too() -> None:
    for path in ("/nothing", "/own"):
        headers = application().test_client().get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert len(headers.get_all("Content-Security-Policy")) == 1


def test_an_answer_keeps_a_policy_of_its_own() -> None:
    answer = application().test_client().get("/own")
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'"


def test_the_policy_allows_the_cdn_and_the_own_socket_and_nothing_inline() -> None:
    policy = dict(part.split(" ", 1) for part in policy_for("lab:5000").split("; "))
    assert policy["script-src"] == f"'self' {CDN}"
    assert policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["connect-src"] == "'self' ws://lab:5000 wss://lab:5000"
    assert "unsafe" not in policy_for("lab:5000")


@pytest.mark.parametrize("host", ["", "a; script-src *", "a b", "a\nb", "*", "[::1"])
def test_a_host_that_is_none_does_not_get_into_the_policy(host: str) -> None:
    assert "connect-src 'self'" in policy_for(host)
    assert "ws:" not in policy_for(host)


def test_the_policy_names_an_address_of_the_sixth_kind() -> None:
    assert "ws://[::1]:5000" in policy_for("[::1]:5000")


def lasting_states(server: Server) -> list[str]:
    """The ids of at least two states that stay while training goes on; the last saves and the best state do not.

    They are those of the one look that found two: a later one may find fewer.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = [state["id"] for state in server.get("/api/states")["states"] if "point" in state["kinds"]]
        if len(found) > 1:
            return found
        time.sleep(0.1)
    raise AssertionError("no two restore points came")


@WITH_BROWSER
def test_the_dashboard_works_under_its_policy(page: Page) -> None:
    page.wait_for_function("() => (Chart.getChart('loss-chart').data.labels.at(-1) ?? 0) >= 50")
    page.locator("#loss-chart").hover()
    assert page.evaluate("violations") == []


@WITH_BROWSER
def test_what_the_policy_forbids_is_seen_by_these_tests(page: Page) -> None:
    page.evaluate("() => document.body.setAttribute('style', 'color: red')")
    page.wait_for_function("() => violations.length > 0")
    assert "style-src-attr" in page.evaluate("violations.splice(0)")[0]


@WITH_BROWSER
def test_the_comparison_works_under_its_policy(page: Page, server: Server) -> None:
    states = lasting_states(server)
    other = page.context.new_page()
    other.goto(f"{server.url}/compare?ids={states[0]},{states[-1]}")
    other.wait_for_selector("#comparison:not([hidden])")
    other.wait_for_function("() => Chart.getChart('loss-chart') !== undefined")
    assert other.evaluate("violations") == []


@WITH_BROWSER
def test_a_report_works_under_its_policy(page: Page, server: Server, tmp_path: Path) -> None:
    state = lasting_states(server)[0]
    with page.expect_download() as download:
        page.evaluate("address => { const link = document.createElement('a'); link.href = address; link.click(); }",
                      f"api/states/{state}/report")  # fmt: skip
    file = tmp_path / "report.html"
    download.value.save_as(file)
    other = page.context.new_page()
    other.goto(file.as_uri())
    assert other.evaluate("violations") == []
    assert other.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--text')").strip() == "#17212b"
