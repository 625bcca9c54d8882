"""What the page says of saving, in a real browser on a real server: panel, banners, ways out of an exchanged folder."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from quadra.storage.layout import SET_ASIDE, WEIGHTS
from tests.helpers.pages import (
    FAST,
    HEIGHT,
    WIDTH,
    Lab,
    SharedPage,
    lasting_server,
    phase_is,
    served,
    train_until,
    wait_for_iteration,
)
from tests.helpers.server import Client, Server

PACED = ("--pace", "100", "--field-size", "8", "--seed", "3")
# Python runs a module of this name in each of the server's processes, before anything else.
DISK = """
import os, shutil, time
from pathlib import Path

faults = Path(os.environ["DISK_FAULTS"])

def faulty(sync):
    def wait_and_sync(descriptor):
        while (faults / "hangs").exists():
            time.sleep(0.02)
        if (faults / "slow").exists():
            time.sleep(0.2)
        return sync(descriptor)
    return wait_and_sync

os.fsync, os.fdatasync = faulty(os.fsync), faulty(os.fdatasync)
usage = shutil.disk_usage

def disk_usage(path):
    nearly_full = faults / "nearly full"
    found = usage(path)
    return found._replace(free=85_000_000) if nearly_full.exists() else found._replace(free=10**12)

shutil.disk_usage = disk_usage
"""


@dataclass
class FaultyDisk:
    """A server on a disk that has a fault for as long as a file named like it is in a folder."""

    faults: Path
    server: Server
    client: Client

    def has(self, fault: str) -> None:
        (self.faults / fault).touch()

    def has_no(self, fault: str) -> None:
        (self.faults / fault).unlink()


@pytest.fixture(scope="module")
def faulty_server(pages: tuple[SharedPage, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyDisk]:
    folder = tmp_path_factory.mktemp("faulty")
    (folder / "sitecustomize.py").write_text(DISK)
    (folder / "faults").mkdir()
    environment = {"PYTHONPATH": str(folder), "DISK_FAULTS": str(folder / "faults")}
    with lasting_server(pages, folder / "state", *FAST, environment=environment) as server:
        with Client(server.url) as client:
            yield FaultyDisk(folder / "faults", server, client)


@pytest.fixture
def disk(faulty_server: FaultyDisk) -> FaultyDisk:
    """It has no fault yet; a run of 20 iterations is saved, and goes on slowly, because a page draws all the while."""
    for fault in faulty_server.faults.iterdir():
        fault.unlink()
    lab = Lab(faulty_server.faults.with_name("state"), faulty_server.server, faulty_server.client)
    lab.reset()
    lab.begin(until=20)
    for event, payload in (("set_pace", {"iterations_per_second": 20}), ("set_save_every", {"iterations": 2})):
        assert lab.client.ask(event, payload)["ok"]
    return faulty_server


def shows(page: Page, name: str, value: float) -> None:
    """The unrounded number behind a value of the page becomes this one."""
    page.wait_for_function(
        "([name, value]) => Number(document.getElementById(`${name}-value`).dataset.value) === value", arg=[name, value]
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def exchange(folder: Path, backup: Path) -> None:
    """rm -rf, cp -r; the name goes first, so that no save lands in what is being deleted."""
    shutil.rmtree(folder.rename(folder.with_name("gone")))
    shutil.copytree(backup, folder)


def train_and_exchange(page: Page, folder: Path) -> Path:
    """A backup at iteration 20, put in the place of the folder while training goes on; the backup."""
    backup = folder.with_name("backup")
    page.click("#initialize-button")
    train_until(page, 20)
    shutil.copytree(folder, backup)
    page.click("#start-button")
    wait_for_iteration(page, 45)
    exchange(folder, backup)
    expect(page.locator("#folder-banner")).to_be_visible()
    return backup


def test_before_the_first_save_the_panel_says_so(page: Page) -> None:
    expect(page.locator("#saving-iteration-value")).to_have_text("none yet")
    expect(page.locator("#saving-verified-value")).to_have_text("none yet")
    expect(page.locator("#saving-risk-value")).to_have_text("0 iterations")
    expect(page.locator("#saving-wear-value")).to_contain_text("a save is made every 10 iterations")


def test_the_panel_shows_what_the_server_says_of_its_saves(shared: SharedPage, lab: Lab) -> None:
    lab.begin(until=60)
    page = shared.visit(lab.server.url)
    train_until(page, 90)
    status = lab.server.get("/api/status")
    save, health = status["last_save"], status["save_health"]
    assert save["iteration_count"] == 90
    assert health["stall_worst_ms"] > 0
    for name, value in {
        "saving-iteration": save["iteration_count"],
        "saving-size": save["size"],
        "saving-duration": save["duration_ms"],
        "saving-stall-median": health["stall_median_ms"],
        "saving-stall-worst": health["stall_worst_ms"],
        "saving-verified": health["verified_iteration"],
        "saving-risk": status["unsaved_iterations"],
    }.items():
        shows(page, name, value)
    for name, moment in (("saving-age", save["saved_at"]), ("saving-verified-age", health["verified_at"])):
        age = page.locator(f"#{name}-value")
        expect(age).to_have_attribute("data-value", moment)
        expect(age).to_have_text(re.compile(r"^just now$|ago$"))
        expect(age).to_have_attribute("title", re.compile(r"^\d+ \w+ \d{4},? .*\d\d:\d\d"))
    expect(page.locator("#saving-size-value")).to_have_text(re.compile(r"^[\d.]+ kB$"))


def test_the_wear_is_that_of_the_present_pace_and_names_what_lowers_it(page: Page, lab: Lab) -> None:
    assert lab.client.ask("set_pace", {"iterations_per_second": 100})["ok"]
    page.click("#initialize-button")
    page.click("#start-button")
    wear = page.locator("#saving-wear-value")
    expect(wear).to_have_text(re.compile(r"^Writes [\d.]+ (kB|MB) a second to disk$"))
    expect(page.locator("#saving-advice")).to_have_text("; a longer --save-every lowers it.")
    expect(page.locator("#saving-advice")).to_be_visible()
    page.wait_for_function(
        """async () => {
            const status = await (await fetch("api/status")).json();
            const expected = status.last_save.size * status.iterations_per_second / status.save_every;
            const shown = Number(document.getElementById("saving-wear-value").dataset.value);
            return shown > 0.8 * expected && shown < 1.2 * expected;
        }""",
        polling=200,
    )
    page.click("#stop-button")
    expect(wear).not_to_contain_text("Writes")
    expect(page.locator("#saving-advice")).to_be_hidden()


def test_without_auto_save_the_panel_says_that_only_stop_saves_and_how_much_is_at_risk(
    shared: SharedPage, lab: Lab
) -> None:
    assert lab.client.ask("set_pace", {"iterations_per_second": 100})["ok"]
    assert lab.client.ask("set_save_every", {"iterations": 0})["ok"]
    page = shared.visit(lab.server.url)
    expect(page.locator("#saving-wear-value")).to_contain_text("Auto-save is off: only Stop saves.")
    page.click("#initialize-button")
    page.click("#start-button")
    page.wait_for_function("Number(document.getElementById('saving-risk-value').dataset.value) > 25")
    expect(page.locator("#saving-risk-value")).to_have_attribute("data-tone", "warning")
    page.click("#stop-button")
    expect(page.locator("#saving-risk-value")).to_have_text("0 iterations")
    count = lab.server.get("/api/status")["iteration_count"]
    assert count > 25
    expect(page.locator("#saving-iteration-value")).to_have_attribute("data-value", str(count))


# How long a server waits for a person; Python runs a module of this name before anything else.
ANSWER = """
import sys

if "app" in sys.modules:
    from quadra.training import view

    view.ANSWER_WITHIN = {seconds}
"""


def waiting_for_an_answer(folder: Path, seconds: float) -> dict[str, str]:
    """The environment of a server that waits so long for a person; `folder` is not its state directory."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(ANSWER.format(seconds=seconds))
    return {"PYTHONPATH": str(folder)}


@dataclass
class Exchanged:
    """A server that trains while its folder was exchanged for an earlier copy of it."""

    server: Server
    folder: Path
    backup: Path


@pytest.fixture(scope="module")
def exchanged(
    shared: SharedPage, pages: tuple[SharedPage, ...], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Exchanged]:
    folder = tmp_path_factory.mktemp("exchanged") / "state"
    with lasting_server(pages, folder, *PACED, environment=waiting_for_an_answer(folder.parent, 3600.0)) as server:
        yield Exchanged(server, folder, train_and_exchange(shared.visit(server.url), folder))


def test_an_exchanged_folder_is_told_and_nothing_in_it_is_touched(
    shared: SharedPage, shared_other: SharedPage, exchanged: Exchanged
) -> None:
    server, page = exchanged.server, shared.page
    since = server.get("/api/status")["save_error"]["since"]
    banner = page.locator("#folder-banner")
    expect(banner.get_by_role("alert")).to_contain_text(str(exchanged.folder))
    expect(banner.get_by_role("alert")).to_contain_text(f"Nothing has been saved since iteration {since};")
    expect(page.locator("#save-banner")).to_be_hidden()
    wait_for_iteration(page, server.get("/api/status")["iteration_count"] + 35)
    assert contents(exchanged.folder) == contents(exchanged.backup)
    latecomer = shared_other.visit(server.url)
    expect(latecomer.get_by_role("button", name="Load what is there")).to_be_enabled()
    expect(latecomer.get_by_role("button", name="Go on as a new saved run")).to_be_enabled()
    shared_other.leave()


@pytest.mark.usefixtures("exchanged")
def test_panel_and_banner_fit_the_screen(shared: SharedPage) -> None:
    page = shared.page
    for width, height in ((1440, 900), (390, 844), (360, 740)):
        page.set_viewport_size({"width": width, "height": height})
        assert_panel_and_banner_fit(page, width, height)
    page.set_viewport_size({"width": WIDTH, "height": HEIGHT})


def test_what_is_there_is_loaded_only_after_a_question_and_saving_works_again(
    shared: SharedPage, exchanged: Exchanged
) -> None:
    server, page = exchanged.server, shared.page
    page.click("#takeover-button")
    dialog = page.locator("#takeover-dialog")
    expect(dialog).to_be_visible()
    expect(page.locator("#takeover-cancel")).to_be_focused()
    status = server.get("/api/status")
    assert status["running"] is False
    assert status["unsaved_iterations"] > 0
    expect(dialog).to_contain_text(f"the run in memory, {status['iteration_count']:,} iterations")
    expect(dialog).to_contain_text(f"{status['unsaved_iterations']:,} iterations were never saved")
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    expect(page.locator("#message")).to_contain_text("Nothing was loaded")
    assert server.get("/api/status")["iteration_count"] == status["iteration_count"]
    assert contents(exchanged.folder) == contents(exchanged.backup)

    page.click("#takeover-button")
    page.click("#takeover-confirm")
    expect(page.locator("#folder-banner")).to_be_hidden()
    expect(page.locator("#message")).to_contain_text("Loaded what is there: 20 iterations restored.")
    expect(page.locator("#start-button")).to_be_focused()
    train_until(page, 60)
    status = server.get("/api/status")
    assert (status["save_error"], status["saved"]["iteration_count"]) == (None, 60)


def test_the_run_in_memory_goes_on_as_a_new_saved_run_beside_what_is_there(shared: SharedPage, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with served(shared, folder, *PACED, environment=waiting_for_an_answer(tmp_path, 3600.0)) as (server, page):
        train_and_exchange(page, folder)
        before = server.get("/api/status")
        page.locator("#fork-button").focus()
        page.keyboard.press("Enter")
        expect(page.locator("#folder-banner")).to_be_hidden()
        expect(page.locator("#message")).to_contain_text("Saved as a new run")
        expect(page.locator("#stop-button")).to_be_focused()
        wait_for_iteration(page, server.get("/api/status")["iteration_count"] + 35)
        page.keyboard.press("Enter")
        phase_is(page, "ready")
        after = server.get("/api/status")
        assert after["save_error"] is None
        assert after["run"] != before["run"]
        assert {state["id"]: state["iteration_count"] for state in after["saved_states"]} == {
            before["run"]: 20,
            after["run"]: after["iteration_count"],
        }


def test_a_run_whose_folder_was_exchanged_goes_on_by_itself_where_nobody_answers(
    shared: SharedPage, tmp_path: Path
) -> None:
    folder = tmp_path / "state"
    with served(shared, folder, *PACED, environment=waiting_for_an_answer(tmp_path, 0.5)) as (server, page):
        page.click("#initialize-button")
        train_until(page, 20)
        old, before = (folder / WEIGHTS).read_bytes(), server.get("/api/status")["run"]
        page.click("#start-button")
        wait_for_iteration(page, 45)
        (tmp_path / "old").write_bytes(old)
        (tmp_path / "old").replace(folder / WEIGHTS)
        expect(page.locator("#folder-banner")).to_contain_text("Without an answer within a minute")
        expect(page.locator("#message")).to_contain_text("it goes on by itself")
        expect(page.locator("#folder-banner")).to_be_hidden()
        server.wait_for("it goes on by itself")
        status = server.get("/api/status")
        assert (status["running"], status["save_error"]) == (True, None)
        assert status["run"] != before
        assert old in [file.read_bytes() for file in (folder / SET_ASIDE).rglob(WEIGHTS)]


def test_where_nothing_is_there_loading_says_so_and_the_run_stays(shared: SharedPage, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with served(shared, folder, *PACED) as (server, page):
        page.click("#initialize-button")
        train_until(page, 20)
        page.click("#start-button")
        wait_for_iteration(page, 21)
        shutil.rmtree(folder.rename(tmp_path / "gone"))
        expect(page.locator("#folder-banner")).to_contain_text("is not there any more")
        page.click("#takeover-button")
        page.click("#takeover-confirm")
        expect(page.locator("#message")).to_contain_text("No saved state found")
        assert server.get("/api/status")["iteration_count"] >= 20


def test_a_slow_disk_is_named_as_what_training_waits_for(shared: SharedPage, disk: FaultyDisk) -> None:
    page = shared.visit(disk.server.url)
    expect(page.locator("#waiting-banner")).to_be_hidden()
    disk.has("slow")
    page.click("#start-button")
    expect(page.locator("#waiting-banner")).to_be_visible()
    expect(page.locator("#waiting-banner")).to_have_text("The disk is slower than training: training waits for it.")
    disk.has_no("slow")
    expect(page.locator("#waiting-banner")).to_be_hidden()
    assert disk.server.get("/api/status")["running"] is True


def test_a_disk_that_does_not_answer_counts_as_a_failing_save_until_it_does(
    shared: SharedPage, disk: FaultyDisk
) -> None:
    page = shared.visit(disk.server.url)
    disk.has("hangs")
    page.click("#start-button")
    banner = page.locator("#save-banner")
    expect(banner).to_be_visible()
    expect(banner).to_contain_text("Saving fails: the disk does not answer. Nothing has been saved since iteration 20;")
    expect(page.locator("#waiting-banner")).to_be_hidden()
    wait_for_iteration(page, 60)  # training goes on
    disk.has_no("hangs")
    expect(banner).to_be_hidden()
    page.click("#stop-button")
    expect(page.locator("#message")).to_contain_text("Stopped and saved")


def test_little_space_on_the_disk_is_told_with_the_figure(shared: SharedPage, disk: FaultyDisk) -> None:
    page = shared.visit(disk.server.url)
    expect(page.locator("#space-banner")).to_be_hidden()
    disk.has("nearly full")
    train_until(page, 30)
    expect(page.locator("#space-banner")).to_contain_text("Little space is left on the disk: 85 MB.")
    disk.has_no("nearly full")
    train_until(page, 40)
    expect(page.locator("#space-banner")).to_be_hidden()


def assert_panel_and_banner_fit(page: Page, width: int, height: int) -> None:
    page.wait_for_function(f"document.documentElement.scrollWidth <= {width}")  # the charts follow a frame later
    for row in page.locator(".saving dl > div:visible").all():
        assert box(row)["height"] < 25, row.inner_text()  # one line each
    page.evaluate("scrollTo(0, 0)")
    for button in ("#takeover-button", "#fork-button"):
        place = box(page.locator(button))
        assert place["x"] + place["width"] <= width
        assert place["y"] + place["height"] <= height
    if width == 1440:
        panel = box(page.locator(".saving"))
        assert panel["y"] + panel["height"] <= height


def box(locator: Locator) -> dict[str, float]:
    found: Any = locator.bounding_box()
    assert found is not None, "it is visible"
    return dict(found)
