"""Alerts and the log in a real browser on a real server: what a person sets, is told of, finds, copies and keeps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.helpers.pages import SharedPage, begin_run, lasting_server, origin_of, phase_is, served, wait_until_ready
from tests.helpers.server import Server

OPTIONS = ("--pace", "20", "--field-size", "8", "--seed", "3")
STUB = """
globalThis.asked = 0;
globalThis.shown = [];
globalThis.Notification = class {
  static get permission() {
    return localStorage.getItem("permission") ?? "%s";
  }
  static async requestPermission() {
    globalThis.asked++;
    localStorage.setItem("permission", "granted");
    return this.permission;
  }
  constructor(title, options) {
    globalThis.shown.push([title, options.body]);
  }
};
"""
NOT_SECURE = "Object.defineProperty(globalThis, 'isSecureContext', { value: false });"
NO_CLIPBOARD = "Object.defineProperty(navigator, 'clipboard', { value: undefined });"


@pytest.fixture(scope="module")
def server(pages: tuple[SharedPage, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with lasting_server(pages, tmp_path_factory.mktemp("alerts") / "state", *OPTIONS) as server:
        yield server


def add_rule(page: Page, kind: str, threshold: str | None = None) -> None:
    page.select_option("#alert-kind", kind)
    if threshold is not None:
        page.fill("#alert-threshold", threshold)
    page.click("#alert-add")


def shown_rules(page: Page) -> list[str]:
    return page.locator("#alert-rules li span").all_inner_texts()


def test_a_rule_set_while_training_is_told_in_every_browser_and_stays_with_the_run(
    shared: SharedPage, shared_other: SharedPage, server: Server
) -> None:
    one, two = shared.visit(server.url, script=STUB % "default"), shared_other.visit(server.url, 390, 844)
    for page in (one, two):
        page.click("#alerts summary")
    expect(one.locator("#alerts-empty")).to_contain_text("initialize or load one first")
    expect(one.locator("#alert-add")).to_be_disabled()
    one.click("#initialize-button")
    expect(one.locator("#alerts-empty")).to_contain_text("No rules yet")
    assert one.evaluate("asked") == 0
    one.check("#notify-switch")
    expect(one.locator("#notify-state")).to_have_text("on in this browser")
    assert one.evaluate("asked") == 1
    one.click("#start-button")
    add_rule(one, "loss_above", "0")
    for page in (one, two):
        expect(page.locator("#alert-rules")).to_contain_text("Loss above 0")
        expect(page.locator("#alert-notices")).to_contain_text(
            re.compile(r"loss is above 0 \([\d.e-]+\) at iteration [\d,]+")
        )
        expect(page.locator("#log")).to_contain_text("Alert: loss is above 0")
        expect(page).to_have_title(re.compile(r"^\(1\) "))
    assert one.evaluate("shown.length") == 1
    assert one.evaluate("shown[0]")[0] == "Loss above 0"
    assert server.get("/api/alerts")["fired"][0]["message"] == one.evaluate("shown[0]")[1]

    add_rule(two, "loss_above", "0")
    expect(two.locator("#alert-error")).to_contain_text("rules[1] says the same as an earlier rule")
    add_rule(two, "run_finished")
    expect(one.locator("#alert-rules li")).to_have_count(2)
    one.locator("#alert-notices button").click()
    expect(one.locator("#alerts-standing")).to_be_hidden()
    expect(two.locator("#alerts-standing")).to_be_visible()
    assert two.evaluate("document.documentElement.scrollWidth") <= 390
    one.reload()
    wait_until_ready(one)
    one.click("#alerts summary")
    expect(one.locator("#alert-rules li")).to_have_count(2)
    expect(one.locator("#alerts-standing")).to_be_hidden()
    expect(one.locator("#notify-switch")).to_be_checked()
    one.click("#stop-button")
    phase_is(one, "ready")
    one.locator("#alert-rules button").first.click()
    expect(two.locator("#alert-rules li")).to_have_count(1)
    assert shown_rules(two) == ["Run finished by itself"]

    one.fill("#until-input", str(server.get("/api/status")["iteration_count"] + 3))
    one.click("#start-button")
    expect(one.locator("#alert-notices")).to_contain_text("training has ended by itself")
    expect(two.locator("#alert-notices li")).to_have_count(2)
    two.click("#alerts-dismiss")
    expect(two.locator("#alerts-standing")).to_be_hidden()
    expect(two).to_have_title("QuadraMatrix")


def test_rules_are_back_after_a_restart_and_a_load_in_another_browser(shared: SharedPage, tmp_path: Path) -> None:
    with served(shared, tmp_path / "state", *OPTIONS) as (server, page):
        page.click("#initialize-button")
        page.click("#alerts summary")
        add_rule(page, "reward_below", "-2.5")
        expect(page.locator("#alert-rules li")).to_have_count(1)
        page.fill("#until-input", "12")
        page.click("#start-button")
        expect(page.locator("#log")).to_contain_text("Training reached iteration 12")
        shared.leave()
        assert server.end() == 0
    with served(shared, tmp_path / "state", *OPTIONS) as (_, page):
        page.click("#alerts summary")
        assert shown_rules(page) == []
        page.click("#load-button")
        expect(page.locator("#alert-rules")).to_contain_text("Reward below -2.5")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (STUB % "denied", "blocked"),
        (NOT_SECURE, "not secure"),
        ("delete globalThis.Notification;", "has no notifications"),
    ],
    ids=["denied", "not secure", "none"],
)
def test_where_there_can_be_no_notifications_it_is_said(
    shared: SharedPage, server: Server, script: str, reason: str
) -> None:
    page = shared.visit(server.url, script=script)
    page.click("#alerts summary")
    expect(page.locator("#notify-reason")).to_contain_text(reason)
    expect(page.locator("#notify-switch")).to_be_disabled()


def as_printed(text: str) -> list[str]:
    """The lines of a copied log as the terminal has them."""
    return [line[33:] for line in text.splitlines() if "[this browser]" not in line]


def folded(lines: list[str]) -> list[str]:
    """The terminal's lines, of which "saved" ones in a row show the last."""

    def alike(line: str) -> str:
        return "saved" if line.startswith("✓ State saved") else line

    return [list(found)[-1] for _, found in groupby(lines, key=alike)]


@pytest.mark.parametrize("script", ["", NO_CLIPBOARD], ids=["clipboard", "without clipboard"])
def test_the_log_is_the_terminals_found_copied_and_kept(shared: SharedPage, server: Server, script: str) -> None:
    page = shared.visit(server.url, script=script)
    page.context.grant_permissions(["clipboard-read"], origin=origin_of(server.url))
    begin_run(page)
    page.fill("#until-input", "25")
    page.click("#start-button")
    server.wait_for("Training reached iteration 25 ")
    expect(page.locator("#log li").first).to_contain_text("Training reached iteration 25 ")
    expect(page.locator("#log")).to_contain_text(server.lines[0])  # those from before the page came are fetched
    with page.expect_download() as download:
        page.click("#log-download")
    kept = Path(download.value.path()).read_text(encoding="utf-8")
    assert re.fullmatch(r"quadramatrix-log-[\dT-]+\.txt", download.value.suggested_filename)
    assert [re.sub(r" \(\d+ times since .*\)$", "", line) for line in as_printed(kept)] == folded(server.lines)
    assert kept.count("[this browser] Connected to the server") == 1
    page.evaluate(
        """() => {
            const line = document.getElementById("log-said");
            globalThis.said = [];  // it does not stay
            new MutationObserver(() => said.push(line.textContent)).observe(line, { childList: true });
        }"""
    )
    page.click("#log-copy")
    page.wait_for_function("said.some((text) => text.includes('were copied'))")
    page.fill("#log-search", "")
    page.evaluate("document.body.append(Object.assign(document.createElement('textarea'), { id: 'paste' }))")
    page.focus("#paste")
    page.keyboard.press("Control+V")
    expect(page.locator("#paste")).to_have_value(kept)

    everything = page.locator("#log li").count()
    page.fill("#log-search", "TRAINING STARTED")
    expect(page.locator("#log li").first).to_contain_text("Training started")
    found = page.locator("#log li").count()
    assert found == sum(line == "Training started" for line in server.lines)
    expect(page.locator("#log-count")).to_have_text(f"{found} of {everything} lines")
    page.fill("#log-search", "no such thing")
    expect(page.locator("#log-empty")).to_have_text("No line is like that.")
    expect(page.locator("#log-copy")).to_be_disabled()
    page.fill("#log-search", "")
    expect(page.locator("#log li")).to_have_count(everything)
    for kind in ("info", "warning", "error"):
        page.locator(f"input[name=log-kind][value={kind}]").focus()
        page.keyboard.press("Space")
        expect(page.locator(f"#log li[data-type={kind}]")).to_have_count(0)
    assert page.locator("#log li").count() == page.locator("#log li[data-type=success]").count() > 0


def test_a_reader_of_an_old_line_stays_at_it_while_new_ones_come(shared: SharedPage, server: Server) -> None:
    page = shared.visit(server.url)
    page.evaluate("for (let n = 0; n < 60; n++) quadra.model.record(`line ${n}`, 'info')")
    expect(page.locator("#log li").first).to_contain_text("line 59")
    old = page.locator("#log li", has_text="line 10").element_handle()
    page.evaluate("quadra.model.record('one more', 'info')")
    expect(page.locator("#log li").first).to_contain_text("one more")
    assert page.evaluate("element => element.isConnected", old)
    page.evaluate("for (let n = 0; n < 900; n++) quadra.model.record(`flood ${n}`, 'info')")
    expect(page.locator("#log li").first).to_contain_text("flood 899")
    assert page.locator("#log li .own").count() == 200
    page.evaluate("for (let n = 0; n < 5; n++) quadra.model.record('again', 'info')")
    expect(page.locator("#log li").first).to_contain_text("again \u00d7 5")


def test_a_change_of_rules_that_have_changed_meanwhile_is_refused_and_the_newest_are_shown(
    shared: SharedPage, shared_other: SharedPage, tmp_path: Path
) -> None:
    with served(shared, tmp_path / "state", *OPTIONS) as (server, page):
        other = shared_other.visit(server.url)
        page.click("#initialize-button")
        for each in (page, other):
            each.click("#alerts summary")
        add_rule(other, "loss_above", "7")
        expect(page.locator("#alert-rules li")).to_have_count(1)
        # As if the other browser's change had not come here yet.
        page.evaluate("() => { const { model } = globalThis.quadra; model.status = { ...model.status, alerts: [] }; }")
        add_rule(page, "run_finished")
        expect(page.locator("#alert-error")).to_contain_text("changed elsewhere meanwhile")
        expect(page.locator("#alert-rules")).to_contain_text("Loss above 7")
        expect(page.locator("#alert-rules li")).to_have_count(1)
        add_rule(page, "run_finished")
        for each in (page, other):
            expect(each.locator("#alert-rules li")).to_have_count(2)
        expect(page.locator("#alert-error")).to_be_hidden()
        shared_other.leave()
