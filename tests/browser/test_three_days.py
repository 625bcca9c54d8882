"""The dashboard in a real browser, on a real server, as its users meet it: the brief's three days and the page's care."""

from __future__ import annotations

import base64
import hashlib
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.helpers.browser import CDN
from tests.helpers.pages import (
    FAST,
    SERIES,
    Lab,
    SharedPage,
    assert_whole_history,
    charts,
    phase_is,
    served,
    train_until,
    wait_for_iteration,
    wait_until_ready,
)
from tests.helpers.server import ROOT, warm_server

LOST = r"ERR_CONNECTION_REFUSED|WebSocket"  # what a browser says of a server that is not there


def test_day_one_two_and_three_of_the_brief(shared: SharedPage, tmp_path: Path) -> None:
    folder = tmp_path / "dashboard_state"
    with served(shared, folder, *FAST) as (server, page):  # day 1: initialize, train to 200
        expect(page.locator("#start-button")).to_be_disabled()
        page.click("#initialize-button")
        train_until(page, 200)
        assert_whole_history(page, server, 200)
        shared.leave()
        assert server.end() == 0
    first_day = hashlib.sha256((folder / "metrics_history.pkl").read_bytes()).hexdigest()

    with served(shared, folder, *FAST) as (server, page):  # day 2: load, go on to 500
        expect(page.locator("#saved-notice")).to_contain_text("Saved state: 200 iterations")
        page.click("#load-button")
        wait_for_iteration(page, 200)
        assert_whole_history(page, server, 200)
        train_until(page, 500)
        assert_whole_history(page, server, 500)
        second_day = charts(page)
        shared.leave()
        assert server.end() == 0
    assert hashlib.sha256((folder / "metrics_history.pkl").read_bytes()).hexdigest() != first_day

    with served(shared, folder, *FAST) as (server, page):  # day 3: a fresh start, not happy, closed without Stop
        page.click("#initialize-button")
        page.click("#start-button")
        wait_for_iteration(page, 100)
        shared.leave()
        assert server.end(signal.SIGTERM) == 0

    with served(shared, folder, *FAST) as (server, page):  # Load gives back the 500, and points out the newer run
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


def test_stop_saves_and_says_so(page: Page, lab: Lab) -> None:
    assert lab.client.ask("set_pace", {"iterations_per_second": 100})["ok"]
    page.click("#initialize-button")
    page.click("#start-button")
    wait_for_iteration(page, 13)
    expect(page.locator("#initialize-button")).to_be_disabled()
    expect(page.locator("#initialize-button")).to_have_attribute("title", "Training is running: stop it first.")
    page.click("#stop-button")
    phase_is(page, "ready")
    status = lab.server.get("/api/status")
    assert status["saved"]["iteration_count"] == status["iteration_count"]
    assert status["unsaved_iterations"] == 0
    wait_for_iteration(page, status["iteration_count"])
    expect(page.locator("#log")).to_contain_text(f"State saved: {status['iteration_count']} iterations")


def test_every_iteration_can_be_downloaded(page: Page) -> None:
    page.click("#initialize-button")
    phase_is(page, "ready")
    expect(page.locator("#run-downloads")).to_be_hidden()
    train_until(page, 30)
    with page.expect_download() as download:
        page.click("#run-downloads a:has-text('CSV')")
    assert download.value.suggested_filename.endswith("-30.csv")
    assert len(Path(download.value.path()).read_text().splitlines()) == 31


def test_the_whole_history_is_back_after_a_reload(page: Page, lab: Lab) -> None:
    page.click("#initialize-button")
    train_until(page, 60)
    page.reload()
    wait_until_ready(page)
    assert_whole_history(page, lab.server, 60)


@pytest.mark.complaints(LOST)
def test_a_restarted_server_is_found_again_without_a_reload(shared: SharedPage, tmp_path: Path) -> None:
    with served(shared, tmp_path / "state", *FAST) as (server, page):
        page.click("#initialize-button")
        train_until(page, 60)
        port = server.url.rsplit(":", 1)[1]
        assert server.end() == 0
        expect(page.locator("#connection-banner")).to_be_visible()
        expect(page.locator("#start-button")).to_be_disabled()
        with warm_server(tmp_path / "state", *FAST, "--port", port) as again:
            expect(page.locator("#saved-notice")).to_contain_text("60 iterations")
            page.click("#load-button")
            wait_for_iteration(page, 60)
            train_until(page, 90)
            assert_whole_history(page, again, 90)
            shared.leave()


def test_two_browsers_stay_in_step(page: Page, other: Page) -> None:
    page.click("#initialize-button")
    train_until(page, 40)
    wait_for_iteration(other, 40)
    assert charts(page) == charts(other)
    other.click("#reset-button")
    other.click("#reset-confirm")
    phase_is(page, "uninitialized")
    page.wait_for_function("Chart.getChart('loss-chart').data.labels.length === 0")


def test_reset_asks_says_what_it_deletes_and_deletes_only_that(page: Page, lab: Lab) -> None:
    page.click("#initialize-button")
    train_until(page, 20)
    notes = lab.folder / "my notes.txt"
    notes.write_text("mine")
    page.click("#reset-button")
    named = page.locator("#reset-list")
    for name in ("oscillator_weights.pth", "metrics_history.pkl", "system_state.pkl"):
        expect(named).to_contain_text(name)
    expect(named).not_to_contain_text("my notes")
    page.click("#reset-cancel")
    expect(page.locator("#reset-dialog")).to_be_hidden()
    assert (lab.folder / "oscillator_weights.pth").exists()
    page.click("#reset-button")
    page.click("#reset-confirm")
    phase_is(page, "uninitialized")
    assert sorted(path.name for path in lab.folder.iterdir()) == [".lock", "my notes.txt"]
    notes.unlink()


def test_pace_and_new_run_settings_reach_the_server(shared: SharedPage, lab: Lab) -> None:
    assert lab.client.ask("set_pace", {"iterations_per_second": 10})["ok"]
    page = shared.visit(lab.server.url)
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
    status = lab.server.get("/api/status")
    assert (status["pace"], status["field_size"], status["seed"]) == (None, 12, 77)


def test_a_run_without_auto_save_says_so(shared: SharedPage, lab: Lab) -> None:
    assert lab.client.ask("set_save_every", {"iterations": 0})["ok"]
    page = shared.visit(lab.server.url)
    expect(page.locator("#autosave-notice")).to_be_visible()
    expect(page.locator("#autosave-notice")).to_contain_text("only Stop saves")


def test_failing_saves_raise_a_banner_that_goes_by_itself(page: Page, lab: Lab) -> None:
    page.click("#initialize-button")
    train_until(page, 20)
    assert lab.client.ask("set_pace", {"iterations_per_second": 20})["ok"]
    in_the_way = lab.folder / ".oscillator_weights.pth.tmp"
    in_the_way.mkdir()
    page.click("#start-button")
    expect(page.locator("#save-banner")).to_be_visible()
    expect(page.locator("#save-banner")).to_contain_text(f"Saving fails: Is a directory ({in_the_way})")
    expect(page.locator("#save-banner")).to_contain_text("Nothing has been saved since iteration 20; training goes on")
    in_the_way.rmdir()
    expect(page.locator("#save-banner")).to_be_hidden()
    assert lab.server.get("/health")["status"] == "healthy"


def refuse(route: Route) -> None:
    route.abort()


def hang(_route: Route) -> None:
    """It is never answered."""


def forge(route: Route) -> None:
    route.fulfill(body="window.forged = true", headers={"Access-Control-Allow-Origin": "*"})


def deliver(route: Route) -> None:
    """The pinned copies, which are what the CDN must deliver."""
    library = "chart-4.6.1.umd.min.js" if "chart.js" in route.request.url else "socket.io-4.8.4.min.js"
    route.fulfill(path=ROOT / "static" / "vendor" / library, headers={"Access-Control-Allow-Origin": "*"})


# The page would take its own copies where the CDN takes longer than its patience, as it may on a slow machine.
WAITS_FOR_THE_CDN = """
const real = setTimeout;
globalThis.setTimeout = (act, ms, ...rest) => real(act, ms === 400 ? 1e9 : ms, ...rest);
"""


@pytest.mark.complaints(CDN, "integrity")
@pytest.mark.parametrize(
    ("answer", "comes_from"),
    [(refuse, "here"), (hang, "here"), (forge, "here"), (deliver, "the CDN")],
    ids=["refuses", "hangs", "forges", "delivers"],
)
def test_the_page_works_with_the_cdn_and_without_it(
    shared: SharedPage, lab: Lab, answer: Callable[[Route], None], comes_from: str
) -> None:
    page = shared.page
    address = shared.prepared(lab.server.url, script=WAITS_FOR_THE_CDN if answer is deliver else "")
    page.route(f"https://{CDN}/**", answer)
    page.goto(address)
    wait_until_ready(page)
    assert page.evaluate("window.forged") is None
    ran = page.evaluate(
        "[...document.scripts].map(({ src }) => src).filter((src) => /chart-|chart.js|socket/.test(src))"
    )
    assert [CDN in src for src in ran] == [comes_from == "the CDN"] * 2
    page.click("#initialize-button")
    expect(page.locator("#start-button")).to_be_enabled()


def test_a_cdn_that_hangs_is_given_less_than_a_second() -> None:
    loader = (ROOT / "static" / "js" / "library_loader.js").read_text()
    patience = re.search(r"CDN_PATIENCE_MS = (\d+)", loader)
    assert patience is not None
    assert int(patience[1]) < 1000


def test_the_pinned_copies_are_what_the_cdn_must_deliver() -> None:
    loader = (ROOT / "static" / "js" / "library_loader.js").read_text()
    hashes = re.findall(r'integrity: "sha384-([^"]+)"', loader)
    copies = re.findall(r'local: "\.\./vendor/([^"]+)"', loader)
    assert len(hashes) == len(copies) == 2
    for expected, copy in zip(hashes, copies, strict=True):
        digest = hashlib.sha384((ROOT / "static" / "vendor" / copy).read_bytes()).digest()
        assert base64.b64encode(digest).decode() == expected


@pytest.mark.parametrize(("width", "height"), [(1440, 900), pytest.param(390, 844, marks=pytest.mark.all), (360, 740)])
def test_nothing_runs_off_the_screen(shared: SharedPage, lab: Lab, width: int, height: int) -> None:
    lab.begin(until=30)
    page = shared.visit(lab.server.url, width, height)
    page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)
    if width == 1440:
        assert all(fits(page, f"#{name}-chart", height) for name in SERIES)


def fits(page: Page, selector: str, height: int) -> bool:
    box: Any = page.locator(selector).bounding_box()
    return bool(box["height"] > 100 and box["y"] + box["height"] <= height)
