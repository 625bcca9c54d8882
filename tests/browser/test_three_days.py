"""The dashboard in a real browser, on a real server, as its users meet it: the brief's three days and the page's care."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.helpers.browser import executable
from tests.helpers.server import ROOT, Server, warm_server

pytestmark = pytest.mark.skipif(
    executable() is None and not os.environ.get("CI"), reason="no Chromium is installed on this machine"
)

SERIES = ("loss", "reward", "variance", "mean")
FAST = ("--pace", "max", "--field-size", "8", "--seed", "3")
PATIENCE = 30_000  # milliseconds


def opened(browser: Browser, url: str, width: int = 1440, height: int = 900) -> Page:
    """The dashboard, once it is connected and drawn; anything it throws fails the test."""
    # Playwright waits by evaluating text, which the page's policy forbids; `test_web_headers` has the policy in force.
    page = browser.new_context(viewport={"width": width, "height": height}, bypass_csp=True).new_page()
    page.set_default_timeout(PATIENCE)
    page.on("pageerror", lambda error: pytest.fail(f"the page threw {error}"))
    page.goto(url)
    wait_until_ready(page)
    return page


# The charts have drawn what they were told to draw; and where the page is at rest and shows the newest iterations, that is all
# there is. While the page is live they take turns, and what is drawn is always a little behind.
DRAWN = """() => {
    const { status, series } = quadra.model;
    const followed = document.getElementById("follow-select").value;
    const newest = series.iteration.at(-1);
    const isFree = status.running || followed === "zoomed";
    if (!isFree && (status.iteration_count ?? 0) !== (newest ?? 0)) return false;
    return ["loss", "reward", "variance", "mean"].map((name) => Chart.getChart(name + "-chart")).every(
        ({ data, scales: { x }, options }) => x.min === options.scales.x.min && x.max === options.scales.x.max
            && (isFree || (followed === "" ? data.labels === series.iteration : data.labels.at(-1) === newest))
    );
}"""
CHARTS = """() => Object.fromEntries(["loss", "reward", "variance", "mean"].flatMap((name) => {
    const chart = Chart.getChart(name + "-chart");
    return [[name, chart.data.datasets[0].data], ["iteration", chart.data.labels]];
}))"""


def wait_until_ready(page: Page) -> None:
    """After it was opened or loaded anew: it is connected, has its history, and has drawn it."""
    page.wait_for_selector("html[data-ready=true]")
    page.wait_for_function(DRAWN)


def charts(page: Page) -> dict[str, list[float]]:
    """What the four charts draw, read from the charts themselves once they have drawn it."""
    page.wait_for_function(DRAWN)
    drawn: dict[str, list[float]] = page.evaluate(CHARTS)
    return drawn


def wait_for_iteration(page: Page, iteration: int) -> None:
    page.wait_for_function("n => (Chart.getChart('loss-chart').data.labels.at(-1) ?? 0) >= n", arg=iteration)


def wait_for_end(page: Page, iteration: int) -> None:
    """Until the page knows that training has ended by itself at this iteration and that this is saved, and shows it.

    The state alone says too little: it is "ready" before training too, and of a short run the curves may come first.
    """
    page.wait_for_function(
        """n => {
            const { iteration_count, running, last_save } = quadra.model.status;
            return iteration_count === n && !running && last_save?.iteration_count === n;
        }""",
        arg=iteration,
    )
    expect(page.locator("#status-value")).to_have_attribute("data-value", "ready")
    page.wait_for_function(DRAWN)


def begin_run(page: Page) -> None:
    """Initialize, where the page may show a run already, until it shows the new one."""
    before = page.evaluate("quadra.model.run")
    page.click("#initialize-button")
    page.wait_for_function("before => ![null, before].includes(quadra.model.status.run)", arg=before)
    page.wait_for_function(DRAWN)


def train_until(page: Page, iteration: int) -> None:
    page.fill("#until-input", str(iteration))
    page.click("#start-button")
    wait_for_end(page, iteration)


def assert_whole_history(page: Page, server: Server, iterations: int) -> None:
    drawn, kept = charts(page), server.get("/api/history?points=20000")
    assert drawn["iteration"] == list(range(1, iterations + 1))
    for name in SERIES:
        assert drawn[name] == kept[name], name


def test_day_one_two_and_three_of_the_brief(browser: Browser, tmp_path: Path) -> None:
    folder = tmp_path / "dashboard_state"
    with warm_server(folder, *FAST) as server:  # day 1: initialize, train to 200
        page = opened(browser, server.url)
        expect(page.locator("#start-button")).to_be_disabled()
        page.click("#initialize-button")
        train_until(page, 200)
        assert_whole_history(page, server, 200)
        page.context.close()
        assert server.end() == 0
    first_day = hashlib.sha256((folder / "metrics_history.pkl").read_bytes()).hexdigest()

    with warm_server(folder, *FAST) as server:  # day 2: load, go on to 500
        page = opened(browser, server.url)
        expect(page.locator("#saved-notice")).to_contain_text("Saved state: 200 iterations")
        page.click("#load-button")
        wait_for_iteration(page, 200)
        assert_whole_history(page, server, 200)
        train_until(page, 500)
        assert_whole_history(page, server, 500)
        second_day = charts(page)
        page.context.close()
        assert server.end() == 0
    assert hashlib.sha256((folder / "metrics_history.pkl").read_bytes()).hexdigest() != first_day

    with warm_server(folder, *FAST) as server:  # day 3: a fresh start, not happy, closed without Stop
        page = opened(browser, server.url)
        page.click("#initialize-button")
        page.click("#start-button")
        wait_for_iteration(page, 100)
        page.context.close()
        assert server.end(signal.SIGTERM) == 0

    with warm_server(folder, *FAST) as server:  # Load gives back the 500, and points out the newer run
        page = opened(browser, server.url)
        page.click("#load-button")
        dialog = page.locator("#load-dialog")
        expect(dialog).to_be_visible()
        assert page.locator('input[name="source"]').count() == 2
        default = page.locator('input[name="source"]:checked')
        assert default.input_value() == server.get("/api/status")["saved"]["id"]
        expect(dialog).to_contain_text("500 iterations")
        expect(page.locator("#load-newer")).to_be_visible()
        page.click("#load-confirm")
        wait_for_iteration(page, 500)
        assert charts(page) == second_day
        assert {state["iteration_count"] for state in server.get("/api/status")["saved_states"]} > {500}
        page.context.close()


def test_stop_saves_and_says_so(browser: Browser, tmp_path: Path) -> None:
    with warm_server(tmp_path / "state", "--pace", "100", "--field-size", "8") as server:
        page = opened(browser, server.url)
        page.click("#initialize-button")
        page.click("#start-button")
        wait_for_iteration(page, 13)
        expect(page.locator("#initialize-button")).to_be_disabled()
        expect(page.locator("#initialize-button")).to_have_attribute("title", "Training is running: stop it first.")
        page.click("#stop-button")
        expect(page.locator("#status-value")).to_have_attribute("data-value", "ready")
        status = server.get("/api/status")
        assert status["saved"]["iteration_count"] == status["iteration_count"]
        assert status["unsaved_iterations"] == 0
        wait_for_iteration(page, status["iteration_count"])
        expect(page.locator("#log")).to_contain_text(f"State saved: {status['iteration_count']} iterations")
        page.context.close()


def test_every_iteration_can_be_downloaded(browser: Browser, tmp_path: Path) -> None:
    with warm_server(tmp_path / "state", *FAST) as server:
        page = opened(browser, server.url)
        page.click("#initialize-button")
        expect(page.locator("#run-downloads")).to_be_hidden()
        train_until(page, 30)
        with page.expect_download() as download:
            page.click("#run-downloads a:has-text('CSV')")
        assert download.value.suggested_filename.endswith("-30.csv")
        assert len(Path(download.value.path()).read_text().splitlines()) == 31


def test_the_whole_history_is_back_after_a_reload(browser: Browser, tmp_path: Path) -> None:
    with warm_server(tmp_path / "state", *FAST) as server:
        page = opened(browser, server.url)
        page.click("#initialize-button")
        train_until(page, 150)
        page.reload()
        wait_until_ready(page)
        assert_whole_history(page, server, 150)
        page.context.close()


def test_a_restarted_server_is_found_again_without_a_reload(browser: Browser, tmp_path: Path) -> None:
    with warm_server(tmp_path / "state", *FAST) as server:
        page = opened(browser, server.url)
        page.click("#initialize-button")
        train_until(page, 60)
        port = server.url.rsplit(":", 1)[1]
        assert server.end() == 0
        expect(page.locator("#connection-banner")).to_be_visible()
        expect(page.locator("#start-button")).to_be_disabled()
        with warm_server(tmp_path / "state", *FAST, "--port", port) as again:
            expect(page.locator("#saved-notice")).to_contain_text("60 iterations", timeout=PATIENCE)
            page.click("#load-button")
            train_until(page, 90)
            assert_whole_history(page, again, 90)
            page.context.close()


def test_two_browsers_stay_in_step(browser: Browser, tmp_path: Path) -> None:
    with warm_server(tmp_path / "state", *FAST) as server:
        one, two = opened(browser, server.url), opened(browser, server.url)
        one.click("#initialize-button")
        train_until(one, 40)
        wait_for_iteration(two, 40)
        assert charts(one) == charts(two)
        two.click("#reset-button")
        two.click("#reset-confirm")
        expect(one.locator("#status-value")).to_have_attribute("data-value", "uninitialized")
        one.wait_for_function("Chart.getChart('loss-chart').data.labels.length === 0")
        for page in (one, two):
            page.context.close()


def test_reset_asks_says_what_it_deletes_and_deletes_only_that(browser: Browser, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with warm_server(folder, *FAST) as server:
        page = opened(browser, server.url)
        page.click("#initialize-button")
        train_until(page, 20)
        (folder / "my notes.txt").write_text("mine")
        page.click("#reset-button")
        named = page.locator("#reset-list")
        for name in ("oscillator_weights.pth", "metrics_history.pkl", "system_state.pkl"):
            expect(named).to_contain_text(name)
        expect(named).not_to_contain_text("my notes")
        page.click("#reset-cancel")
        assert (folder / "oscillator_weights.pth").exists()
        page.click("#reset-button")
        page.click("#reset-confirm")
        expect(page.locator("#status-value")).to_have_attribute("data-value", "uninitialized")
        assert sorted(path.name for path in folder.iterdir()) == [".lock", "my notes.txt"]
        page.context.close()


def test_pace_and_new_run_settings_reach_the_server(browser: Browser, tmp_path: Path) -> None:
    with warm_server(tmp_path / "state", "--field-size", "8") as server:
        page = opened(browser, server.url)
        expect(page.locator("#pace-value")).to_contain_text("10")
        page.locator("#pace-input").focus()
        page.keyboard.press("End")
        expect(page.locator("#pace-value")).to_contain_text(re.compile("max|no limit", re.IGNORECASE))
        page.wait_for_function("quadra.model.status.pace === null")
        page.click("#settings-button")
        page.fill("#field-size-input", "12")
        page.fill("#seed-input", "77")
        page.keyboard.press("Escape")
        page.click("#initialize-button")
        expect(page.locator("#start-button")).to_be_enabled()
        status = server.get("/api/status")
        assert (status["pace"], status["field_size"], status["seed"]) == (None, 12, 77)
        page.context.close()


def test_a_run_without_auto_save_says_so(browser: Browser, tmp_path: Path) -> None:
    with warm_server(tmp_path / "state", *FAST, "--save-every", "0") as server:
        page = opened(browser, server.url)
        expect(page.locator("#autosave-notice")).to_be_visible()
        expect(page.locator("#autosave-notice")).to_contain_text("only Stop saves")
        page.context.close()


def test_failing_saves_raise_a_banner_that_goes_by_itself(browser: Browser, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with warm_server(folder, *FAST) as server:
        page = opened(browser, server.url)
        page.click("#initialize-button")
        train_until(page, 20)
        in_the_way = folder / ".oscillator_weights.pth.tmp"
        in_the_way.mkdir()
        page.click("#start-button")
        expect(page.locator("#save-banner")).to_be_visible()
        expect(page.locator("#save-banner")).to_contain_text(f"Saving fails: Is a directory ({in_the_way})")
        expect(page.locator("#save-banner")).to_contain_text(
            "Nothing has been saved since iteration 20; training goes on"
        )
        in_the_way.rmdir()
        expect(page.locator("#save-banner")).to_be_hidden()
        assert server.get("/health")["status"] == "healthy"
        page.context.close()


@pytest.mark.parametrize("network", ["refuses", "hangs", "forges"])
def test_the_page_works_without_the_cdn(browser: Browser, tmp_path: Path, network: str) -> None:
    def answer(route: Route) -> None:
        if network == "refuses":
            route.abort()
        elif network == "forges":
            route.fulfill(body="window.forged = true", headers={"Access-Control-Allow-Origin": "*"})

    with warm_server(tmp_path / "state", *FAST) as server:
        page = browser.new_context(bypass_csp=True).new_page()
        page.route("https://cdn.jsdelivr.net/**", answer)
        page.goto(server.url)
        page.wait_for_selector("html[data-ready=true]")
        assert page.evaluate("window.forged") is None
        page.click("#initialize-button")
        expect(page.locator("#start-button")).to_be_enabled()
        page.context.close()


def test_a_cdn_that_hangs_is_given_less_than_a_second() -> None:
    loader = (ROOT / "static" / "js" / "loader.js").read_text()
    patience = re.search(r"CDN_PATIENCE_MS = (\d+)", loader)
    assert patience is not None
    assert int(patience[1]) < 1000


def test_the_pinned_copies_are_what_the_cdn_must_deliver() -> None:
    loader = (ROOT / "static" / "js" / "loader.js").read_text()
    hashes = re.findall(r'integrity: "sha384-([^"]+)"', loader)
    copies = re.findall(r'local: "\.\./vendor/([^"]+)"', loader)
    assert len(hashes) == len(copies) == 2
    for expected, copy in zip(hashes, copies, strict=True):
        digest = hashlib.sha384((ROOT / "static" / "vendor" / copy).read_bytes()).digest()
        assert base64.b64encode(digest).decode() == expected


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844), (360, 740)])
def test_nothing_runs_off_the_screen(browser: Browser, tmp_path: Path, width: int, height: int) -> None:
    with warm_server(tmp_path / "state", *FAST) as server:
        page = opened(browser, server.url, width, height)
        page.click("#initialize-button")
        train_until(page, 30)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if width == 1440:
            assert all(fits(page, f"#{name}-chart", height) for name in SERIES)
        page.context.close()


def fits(page: Page, selector: str, height: int) -> bool:
    box: Any = page.locator(selector).bounding_box()
    return bool(box["height"] > 100 and box["y"] + box["height"] <= height)
