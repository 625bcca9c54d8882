"""The control room in a real browser: by keyboard alone, the drawer of settings, the theme, own texts, and lost connections."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.helpers.pages import (
    FAST,
    Lab,
    SharedPage,
    charts,
    phase_is,
    served,
    train_until,
    wait_for_iteration,
    wait_until_ready,
)
from tests.helpers.server import Server, warm_server

LINES = ("A line of my own.", "Another one, größer.", "And the last.")


@pytest.fixture(scope="module")
def visited(shared: SharedPage, shared_lab: Lab) -> SharedPage:
    shared_lab.reset()
    shared.visit(shared_lab.server.url)
    return shared


@pytest.fixture
def page(visited: SharedPage, shared_lab: Lab) -> Page:
    """The page as the test before left it, but without an open window; nothing has the focus."""
    if not visited.page.url.startswith(shared_lab.server.url):
        return visited.visit(shared_lab.server.url)
    visited.page.evaluate(
        "() => { document.querySelectorAll('dialog[open]').forEach((dialog) => dialog.close()); document.activeElement?.blur(); }"
    )
    return visited.page


def keep_text(page: Page, text: str, name: str) -> None:
    """Paste a text in the open drawer."""
    page.fill("#own-text-input", text)
    page.fill("#own-text-name", name)
    page.click("#own-text-button")
    expect(page.locator("#own-text-done")).to_contain_text(f"“{name}” is kept")


def test_everything_goes_by_keyboard_alone(page: Page, lab: Lab) -> None:
    assert lab.client.ask("set_pace", {"iterations_per_second": 100})["ok"]
    page.keyboard.press("i")
    phase_is(page, "ready")
    page.keyboard.press("s")
    phase_is(page, "training")
    wait_for_iteration(page, 20)
    page.keyboard.press("s")
    phase_is(page, "ready")
    expect(page.locator("#message")).to_contain_text("Stopped and saved")
    page.keyboard.press("l")
    page.wait_for_function(
        "document.querySelector('#load-dialog').open || quadra.model.message?.text.startsWith('Loaded')"
    )
    if page.locator("#load-dialog").is_visible():
        page.keyboard.press("Enter")
    expect(page.locator("#message")).to_contain_text("Loaded")
    for key, window in (
        ("g", "#states-dialog"),
        (",", "#settings-dialog"),
        ("n", "#slot-dialog"),
        ("?", "#help-dialog"),
    ):
        page.keyboard.press(key)
        expect(page.locator(window)).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator(window)).to_be_hidden()
    page.keyboard.press("f")
    expect(page.locator("#follow-select")).to_have_value("500")
    page.keyboard.press("0")
    expect(page.locator("#follow-select")).to_have_value("")


def test_single_keys_do_nothing_while_somebody_types_or_is_asked_and_can_be_switched_off(page: Page) -> None:
    page.focus("#until-input")
    page.keyboard.press("g")
    expect(page.locator("#states-dialog")).to_be_hidden()
    page.keyboard.press("Tab")
    page.click("#settings-button")
    page.focus("#settings-close")
    page.keyboard.press("?")
    expect(page.locator("#help-dialog")).to_be_hidden()
    page.uncheck("#shortcuts-input")
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    expect(page.locator("#states-dialog")).to_be_hidden()
    page.click("#help-button")
    expect(page.locator("#help-off")).to_be_visible()
    page.click("#help-close")
    page.click("#settings-button")
    page.check("#shortcuts-input")


def test_the_list_of_keys_names_only_what_is_there_and_reset_has_none(page: Page) -> None:
    page.keyboard.press("?")
    expect(page.locator("#help-dialog")).to_be_visible()
    keys = page.locator("#help-keys kbd").all_inner_texts()
    assert {"i", "s", "l", "g", ",", "f", "0", "?"} <= set(keys)
    assert ("/" in keys) == (page.locator("#log-search").count() > 0)
    assert "Reset" not in page.locator("#help-keys").inner_text()


def test_a_button_that_cannot_be_pressed_says_why_and_keeps_the_focus(page: Page) -> None:
    stop = page.locator("#stop-button")
    expect(stop).to_be_disabled()
    stop.focus()
    assert page.evaluate("document.activeElement.id") == "stop-button"
    why = stop.get_attribute("data-why") or ""
    assert why == stop.get_attribute("title") == stop.get_attribute("aria-description")
    page.keyboard.press("Enter")
    expect(page.locator("#message")).to_contain_text(f"Stop Training: {why}")
    shown = page.evaluate("getComputedStyle(document.activeElement, '::after').content")
    assert why in shown


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("field-size", "1", "from 2 to 1,000,000"),
        ("field-size", "8.5", "not a whole number"),
        ("seed", "-3", "from 0 to"),
        ("seed", "12x", "not a whole number"),
    ],
)
def test_a_wrong_value_is_said_at_its_field_and_no_run_begins(page: Page, field: str, value: str, says: str) -> None:
    run = page.evaluate("quadra.model.status.run")
    page.click("#settings-button")
    page.fill(f"#{field}-input", value)
    expect(page.locator(f"#{field}-error")).to_contain_text(says)
    expect(page.locator(f"#{field}-input")).to_have_attribute("aria-invalid", "true")
    page.keyboard.press("Escape")
    page.click("#initialize-button")
    expect(page.locator("#settings-dialog")).to_be_visible()
    expect(page.locator(f"#{field}-input")).to_be_focused()
    page.fill(f"#{field}-input", "")
    expect(page.locator(f"#{field}-error")).to_be_hidden()
    assert page.evaluate("quadra.model.status.run") == run


def test_what_applies_now_reaches_the_server_and_every_other_browser(page: Page, other: Page, server: Server) -> None:
    other.click("#settings-button")
    page.click("#settings-button")
    page.fill("#save-every-input", "-1")
    page.keyboard.press("Tab")
    expect(page.locator("#save-every-error")).to_contain_text("from 0 to")
    page.keyboard.press("Escape")
    page.click("#settings-button")
    page.fill("#save-every-input", "25")
    page.fill("#exact-pace-input", "12.5")
    page.keyboard.press("Tab")
    expect(page.locator("#save-every-done")).to_have_text("Applied.")
    expect(page.locator("#exact-pace-done")).to_have_text("Applied.")
    expect(other.locator("#save-every-input")).to_have_value("25")
    expect(other.locator("#exact-pace-input")).to_have_value("12.5")
    expect(other.locator("#run-facts")).to_contain_text("saved every 25 iterations")
    status = server.get("/api/status")
    assert (status["save_every"], status["pace"]) == (25, 12.5)
    page.fill("#exact-pace-input", "")
    page.fill("#save-every-input", "0")
    page.keyboard.press("Tab")
    expect(other.locator("#autosave-notice")).to_be_visible()
    page.fill("#save-every-input", "10")
    page.keyboard.press("Tab")
    expect(other.locator("#autosave-notice")).to_be_hidden()


def test_a_run_too_short_to_be_drawn_empties_the_field_of_its_last_iteration(page: Page) -> None:
    page.fill("#until-input", "1000005")
    page.evaluate(
        """() => {
            const { model } = quadra;
            model.applyStatus({ ...model.status, running: true });
            model.applyStatus({ ...model.status, running: false, iteration_count: 1000005 });
        }"""
    )
    expect(page.locator("#until-input")).to_have_value("")
    page.fill("#until-input", "3")  # which the server is to refuse: it must not be taken for no limit
    page.evaluate("new Promise((drawn) => { quadra.model.changed(); requestAnimationFrame(drawn); })")
    assert page.input_value("#until-input") == "3"


def test_smoothing_in_the_drawer_is_that_of_the_charts(page: Page) -> None:
    page.click("#settings-button")
    page.focus("#settings-smoothing-input")
    page.keyboard.press("End")
    expect(page.locator("#smoothing-value")).to_have_text("0.99")
    page.keyboard.press("Home")
    expect(page.locator("#smoothing-value")).to_have_text("0.00")


@pytest.mark.complaints("status of 404")  # of the comparison of states that are not there
def test_a_theme_by_hand_survives_a_reload_and_holds_on_every_page(page: Page, server: Server) -> None:
    page.emulate_media(color_scheme="light")
    root = page.locator("html")
    expect(root).to_have_attribute("data-theme", "light")
    light = charts_colour(page)
    page.click("#settings-button")
    page.check("input[name=theme][value=dark]")
    expect(root).to_have_attribute("data-theme", "dark")
    assert charts_colour(page) != light
    page.reload()
    wait_until_ready(page)
    expect(root).to_have_attribute("data-theme", "dark")
    other = page.context.new_page()
    other.goto(f"{server.url}/compare?ids=a,b")
    other.wait_for_selector("html[data-ready=failed]")
    expect(other.locator("html")).to_have_attribute("data-theme", "dark")
    page.click("#settings-button")
    page.check("input[name=theme][value=system]")
    expect(other.locator("html")).to_have_attribute("data-theme", "light")
    other.close()
    page.emulate_media(color_scheme="dark")
    expect(root).to_have_attribute("data-theme", "dark")
    page.emulate_media(color_scheme="light")


def charts_colour(page: Page) -> str:
    colour: str = page.evaluate("Chart.getChart('loss-chart').data.datasets[0].borderColor")
    return colour


@pytest.mark.complaints("status of 400")  # of the picture
def test_what_is_no_text_is_said_at_the_field(page: Page, tmp_path: Path) -> None:
    page.click("#settings-button")
    expect(page.locator("#own-text-limit")).to_contain_text("20 MB")
    expect(page.locator("#own-text-button")).to_be_disabled()
    (tmp_path / "picture.txt").write_bytes(b"\x89PNG\0\0")
    page.set_input_files("#own-text-file", tmp_path / "picture.txt")
    expect(page.locator("#own-text-error")).to_contain_text("not plain text")
    (tmp_path / "large.txt").write_bytes(b"x" * 20_000_001)
    page.set_input_files("#own-text-file", tmp_path / "large.txt")
    expect(page.locator("#own-text-error")).to_contain_text("at most 20 MB")


def test_a_dropped_file_is_offered_to_every_browser_and_shared_by_runs(page: Page, other: Page) -> None:
    page.click("#settings-button")
    page.evaluate(
        """(text) => {
            const data = new DataTransfer();
            data.items.add(new File([text], "dropped.txt", { type: "text/plain" }));
            document.getElementById("own-text-zone").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
        }""",
        "\n".join(LINES),
    )
    expect(page.locator("#own-text-done")).to_contain_text("“dropped.txt” is kept: 3 lines")
    expect(page.locator("#new-run-summary")).to_contain_text("dropped.txt")
    other.click("#settings-button")
    expect(other.locator("#corpus-choices")).to_contain_text("dropped.txt")


def test_a_pasted_text_is_trained_on_and_goes_on_elsewhere_to_the_same_bits(shared: SharedPage, tmp_path: Path) -> None:
    here, there = tmp_path / "here" / "state", tmp_path / "there" / "copy"
    here.parent.mkdir()
    with served(shared, here, *FAST) as (_, page):
        page.click("#settings-button")
        keep_text(page, "\n".join(LINES), "My poems")
        page.keyboard.press("Escape")
        page.click("#initialize-button")
        for iteration, line in enumerate((*LINES, LINES[0]), start=1):
            train_until(page, iteration)
            expect(page.locator("#text-value")).to_have_text(line)
        expect(page.locator("#run-facts")).to_contain_text("My poems")
        shutil.copytree(here, there)
        train_until(page, 30)
        expected = charts(page)
    shutil.rmtree(here)
    with served(shared, there, *FAST) as (_, page):
        page.click("#load-button")
        wait_for_iteration(page, 4)
        expect(page.locator("#run-facts")).to_contain_text("My poems")
        train_until(page, 30)
        assert charts(page) == expected


@pytest.mark.complaints("ERR_CONNECTION_REFUSED|WebSocket")
def test_a_server_killed_with_a_command_in_flight_leaves_no_page_in_the_air(shared: SharedPage, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with served(shared, folder, *FAST) as (server, page):
        page.click("#initialize-button")
        train_until(page, 40)
        port = server.url.rsplit(":", 1)[1]
        os.kill(server.process.pid, signal.SIGSTOP)  # it takes the command and gives no answer any more
        page.click("#load-button")
        expect(page.locator("#load-button")).to_have_attribute("aria-busy", "true")
        expect(page.locator("#message-elapsed")).to_be_visible()
        expect(page.locator("#message-progress")).to_be_visible()
        server.process.kill()
        expect(page.locator("#connection-banner")).to_be_visible()
        expect(page.locator("#message")).to_contain_text("The connection was lost before the answer came")
        expect(page.locator("#load-button")).not_to_have_attribute("aria-busy", "true")
        expect(page.locator("#load-button")).to_be_disabled()
        server.process.wait(30)
        with warm_server(folder, *FAST, "--port", port) as again:
            expect(page.locator("#connection-banner")).to_be_hidden()
            page.click("#load-button")
            wait_for_iteration(page, 40)
            train_until(page, 60)
            assert again.get("/api/status")["iteration_count"] == 60
            shared.leave()


@pytest.mark.parametrize("width", [360, pytest.param(1440, marks=pytest.mark.all)])
def test_the_drawer_fits_the_screen(shared: SharedPage, lab: Lab, width: int) -> None:
    page = shared.visit(lab.server.url, width, 740)
    page.click("#settings-button")
    drawer = page.locator("#settings-dialog")
    assert drawer.evaluate("drawer => drawer.scrollWidth <= drawer.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    sizes = page.evaluate(
        "[...document.querySelectorAll('#settings-dialog *')].map((each) => parseFloat(getComputedStyle(each).fontSize))"
    )
    assert min(sizes) >= 12
