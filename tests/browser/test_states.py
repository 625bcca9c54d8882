"""Saved states in a real browser on a real server: what a person clicks, and what is then true."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from quadra.storage.layout import FILES
from tests.helpers.pages import FAST, Lab, SharedPage, charts, phase_is, served, train_until, wait_for_iteration
from tests.helpers.server import Server

# Run in a warm server: it trains both endings itself, which is quicker than in three processes that import tensors.
IN_THE_SERVER = """
import sys

if "app" in sys.modules:
    from quadra.reports import prove

    prove._train = prove.train
"""


def save_as(page: Page, name: str) -> None:
    page.click("#slot-button")
    page.fill("#slot-name", name)
    page.click("#slot-confirm")
    expect(page.locator("#slot-dialog")).not_to_be_visible()


def row(page: Page, text: str) -> str:
    """The only listed state whose row has this text."""
    found = page.locator("#states-rows tr[data-id]", has_text=text)
    expect(found).to_have_count(1)
    return f'#states-rows tr[data-id="{found.get_attribute("data-id")}"]'


def open_states(page: Page, search: str = "") -> None:
    page.click("#states-button")
    page.fill("#states-search", search)
    expect(page.locator("#states-rows tr").first).to_be_visible()


def trained(shared: SharedPage, lab: Lab, until: int, width: int = 1440, height: int = 900) -> Page:
    """The dashboard on a run of so many iterations."""
    lab.begin(until)
    return shared.visit(lab.server.url, width, height)


def test_the_table_begins_with_what_was_saved_last_whatever_the_clock_said(page: Page) -> None:
    module = page.locator('link[href*="/js/states/table"]').get_attribute("href")
    states = [
        {
            "run": "b" * 16,
            "kinds": ["run"],
            "iteration_count": 50,
            "saved_at": "2026-01-02T00:00:00Z",
            "save_number": 9,
        },
        {
            "run": "c" * 16,
            "kinds": ["run"],
            "iteration_count": 802,
            "saved_at": "2016-01-01T00:00:00Z",
            "save_number": 10,
        },
        {"run": "a" * 16, "kinds": ["run"], "iteration_count": 7, "saved_at": "2031-01-01T00:00:00Z", "save_number": 0},
        {"run": "d" * 16, "kinds": ["run"], "iteration_count": 6, "saved_at": "2030-01-01T00:00:00Z", "save_number": 0},
    ]
    listed = page.evaluate(
        """async ([file, states]) => {
            const { filterStates } = await import(new URL(file, document.baseURI));
            return filterStates(states, { search: "", kind: "", order: null });
        }""",
        [module, states],
    )
    assert [state["iteration_count"] for state in listed] == [802, 50, 7, 6]


def test_a_slot_is_saved_while_training_found_renamed_deleted_and_taken_back(page: Page, lab: Lab) -> None:
    assert lab.client.ask("set_pace", {"iterations_per_second": 100})["ok"]
    page.click("#initialize-button")
    page.click("#start-button")
    wait_for_iteration(page, 20)
    save_as(page, "first <try>")
    assert lab.server.get("/api/status")["running"]
    page.click("#stop-button")
    phase_is(page, "ready")
    open_states(page, "<try>")
    page.click(f"{row(page, 'first <try>')} button[aria-expanded]")
    page.fill(".labels input", "second try")
    page.fill(".labels textarea", "worked better")
    page.click("text=Keep name and note")
    page.fill("#states-search", "better")
    row(page, "second try")
    page.click(".state-acts >> text=Delete")
    page.click("#delete-confirm")
    expect(page.locator("#states-message")).to_contain_text("Deleted.")
    expect(page.locator("#states-empty")).to_have_text(
        "No saved state is like that. Clear the search, or show everything."
    )
    page.click("#states-message >> text=Undo")
    row(page, "second try")


def test_overwriting_a_slot_is_asked_for_in_the_dialog(page: Page, server: Server) -> None:
    page.click("#initialize-button")
    expect(page.locator("#slot-button")).to_be_enabled()
    save_as(page, "same")
    page.click("#slot-button")
    page.fill("#slot-name", "same")
    page.click("#slot-confirm")
    expect(page.locator("#slot-taken")).to_be_visible()
    page.click("#slot-confirm")
    expect(page.locator("#slot-dialog")).not_to_be_visible()
    names = [state["name"] for state in server.get("/api/states")["states"] if not state["deleted_at"]]
    assert names.count("same") == 1


def test_going_back_cuts_the_curves_keeps_what_was_left_as_a_faint_line_and_can_be_undone(
    shared: SharedPage, lab: Lab
) -> None:
    page = trained(shared, lab, 250)
    before = charts(page)
    open_states(page)
    page.fill("#back-input", "130")
    page.click("#back-button")
    expect(page.locator("#states-dialog")).not_to_be_visible()
    page.wait_for_function("Chart.getChart('loss-chart').data.labels.length === 100")
    assert charts(page)["loss"] == before["loss"][:100]
    page.wait_for_function("Chart.getChart('reward-chart').data.datasets[1].data.length === 151")
    left = page.evaluate("Chart.getChart('reward-chart').data.datasets[1].data.map(({ x, y }) => [x, y])")
    assert left == [[at, before["reward"][at - 1]] for at in range(100, 251)]
    train_until(page, 120)
    assert charts(page)["loss"] == before["loss"][:120]  # the same bits again
    page.click("#branch-button")
    page.wait_for_function("Chart.getChart('loss-chart').data.labels.length === 250")
    assert charts(page) == before


def test_the_best_state_is_marked_and_loaded_in_one_click(shared: SharedPage, lab: Lab) -> None:
    page = trained(shared, lab, 10)
    expect(page.locator("#best-button")).to_be_disabled()
    train_until(page, 120)
    best = lab.server.get("/api/status")["best"]
    page.wait_for_function(
        "at => Chart.getChart('loss-chart').data.datasets[2].data.map(({ x }) => x).join() === `${at}`",
        arg=best["iteration_count"],
    )
    page.click("#best-button")
    wait_for_iteration(page, best["iteration_count"])
    page.wait_for_function("n => quadra.model.status.iteration_count === n", arg=best["iteration_count"])


def test_chosen_states_are_compared_in_a_page_of_their_own(shared: SharedPage, lab: Lab) -> None:
    page = trained(shared, lab, 110)
    save_as(page, "here")
    open_states(page)
    page.check(f"{row(page, 'here')} input")
    expect(page.locator("#states-compare")).to_be_disabled()
    page.check("#states-rows tr:nth-child(3) input")
    with page.context.expect_page() as shown:
        page.click("#states-compare")
    shown.value.wait_for_selector("html[data-ready=true]")
    expect(shown.value.locator("body")).to_contain_text("here")
    shown.value.close()


@pytest.mark.parametrize("script", [IN_THE_SERVER, pytest.param("", marks=pytest.mark.all)], ids=["quick", "whole"])
def test_a_state_is_proved_and_the_certificate_shown(shared: SharedPage, tmp_path: Path, script: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(script)
    with served(shared, tmp_path / "state", *FAST, environment={"PYTHONPATH": str(tmp_path)}) as (_, page):
        page.click("#initialize-button")
        train_until(page, 10)
        open_states(page)
        page.click("#states-rows tr button[aria-expanded]")
        page.click("text=Prove it")
        expect(page.locator("#proof-verdict")).to_have_text("Every bit is the same at iteration 110.", timeout=180_000)


def test_the_list_is_searched_sorted_and_fits_a_phone(shared: SharedPage, lab: Lab) -> None:
    page = trained(shared, lab, 60, 390, 844)
    save_as(page, "x" * 120)
    open_states(page)
    row(page, "x" * 120)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator(".states-scroll").evaluate("element => [element.scrollWidth, element.clientWidth]")
    assert box[0] <= box[1]
    page.select_option("#states-kind", "slot")
    expect(page.locator("#states-rows tr")).to_have_count(1)


def test_columns_sort_both_ways(shared: SharedPage, lab: Lab) -> None:
    page = trained(shared, lab, 60)
    open_states(page)

    def iterations() -> list[str]:
        return page.locator("#states-rows td.iteration > span:last-child").all_text_contents()

    for order in ("descending", "ascending"):
        page.click("#states-columns .iteration button")
        expect(page.locator("#states-columns .iteration")).to_have_attribute("aria-sort", order)
        shown = [int(text) for text in iterations()]
        assert shown == sorted(shown, reverse=order == "descending")
        assert len(set(shown)) > 3


@pytest.mark.complaints("status of 400")  # of the damaged archive
def test_a_state_is_downloaded_and_taken_in_again_as_archive_and_as_three_files(
    shared: SharedPage, lab: Lab, tmp_path: Path
) -> None:
    page = trained(shared, lab, 12)
    open_states(page)
    page.click("#states-rows tr button[aria-expanded]")
    with page.expect_download() as download:
        page.click(".state-acts >> text=Download")
    archive = tmp_path / "from afar.zip"
    download.value.save_as(archive)
    page.set_input_files("#import-input", archive)
    expect(page.locator("#states-message")).to_contain_text("Imported.")
    row(page, "from afar")
    page.set_input_files("#import-input", [lab.folder / name for name in FILES])
    row(page, "imported run")
    expect(page.locator("#states-message")).to_have_attribute("data-type", "success")
    bad = tmp_path / "bad.zip"
    bad.write_bytes(archive.read_bytes()[:-100])
    page.set_input_files("#import-input", bad)
    expect(page.locator("#states-message")).to_have_attribute("data-type", "error")
    assert len(lab.server.get("/api/states")["states"]) == 3 + 1  # the run, its save at 10, and what came in twice
