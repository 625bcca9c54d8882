"""The page's care: every view by axe and by our own rules, light and dark, large and small; colours, motion, first steps."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import PATIENCE, executable, running_browser
from tests.care import breaches
from tests.server import Client, Server, warm_server

pytestmark = pytest.mark.skipif(
    executable() is None and not os.environ.get("CI"), reason="no Chromium is installed on this machine"
)


@dataclass(frozen=True)
class View:
    """One thing that a person sees: where it is, and what has to be done to see it."""

    address: str = "/"
    show: Callable[[Page], object] = lambda page: None
    server: str = "used"


def clicks(*selectors: str) -> Callable[[Page], None]:
    def show(page: Page) -> None:
        for selector in selectors:
            page.click(selector)

    return show


def status(changes: str) -> Callable[[Page], object]:
    """As if the server had said so."""
    return lambda page: page.evaluate(f"quadra.model.applyStatus({{ ...quadra.model.status, {changes} }})")


def lost(page: Page) -> None:
    page.evaluate("quadra.model.setConnection('lost')")
    expect(page.locator("#connection-banner")).to_be_visible()


def taken(page: Page) -> None:
    page.click("#slot-button")
    page.fill("#slot-name", "before the long run")
    page.click("#slot-confirm")
    expect(page.locator("#slot-taken")).to_be_visible()


def training(page: Page) -> None:
    page.fill("#until-input", "100000")
    page.click("#start-button")
    expect(page.locator("#until-status")).to_be_visible()


def details(page: Page) -> None:
    page.click("#states-button")
    page.click("#states-rows tr:has-text('before the long run') button[aria-expanded]")


def proof(page: Page) -> None:
    """Shown as the server would answer; that it proves is tested elsewhere."""
    certificate = """{ different: ["field"], iteration_count: 150, iterations: 20, run: "c0ffee", saved_at: "2026-11-25T08:09:10Z",
        weights_sha256: "0f".repeat(32), versions: { torch: "2.13.0" }, machine: "x86_64", in_one_go: { field: "0a".repeat(32), history: "0b".repeat(32) } }"""
    page.evaluate(
        f"""async () => {{
            const {{ createProof }} = await import(document.querySelector('link[href*="/proof."], link[href*="proof"]').href);
            await createProof(async () => ({{ ok: true, ...{certificate} }}))({{ id: "any" }});
        }}"""
    )


def compared(page: Page) -> None:
    page.wait_for_selector("html[data-ready=true]")
    for summary in page.locator("main summary").all():
        summary.click()


def report(page: Page) -> None:
    """A report is downloaded, and opened from its file."""
    state = page.evaluate("fetch('api/states').then((answer) => answer.json()).then(({ states }) => states[0].id)")
    html = page.request.get(f"{page.url}api/states/{state}/report").text()
    page.goto("about:blank")
    page.set_content(html)


FAILING = 'save_error: { code: "disk_full", message: "No space is left.", since: 100 }, save_health: { free_bytes: 9e7, waiting: true }'
CHANGED = 'save_error: { code: "folder_changed", message: "Its files were exchanged.", since: 100 }, iteration_count: 150, unsaved_iterations: 50'
RESCUE = 'rescue: { state: "any", struck_at: 150, iteration_count: 140 }'

# A new view of the page is one more line here.
VIEWS = {
    "uninitialized": View(server="fresh"),
    "ready": View(),
    "training": View(show=training),
    "a new run's settings": View(show=clicks("#new-run summary")),
    "saving fails": View(show=status(f"{FAILING}, save_every: 0, running: true")),
    "the folder has changed": View(show=status(f"{CHANGED}, {RESCUE}")),
    "connection lost": View(show=lost),
    "load dialog": View(show=clicks("#load-button"), server="kept"),
    "restore dialog": View(show=clicks("#restore-button")),
    "slot dialog": View(show=taken),
    "states dialog": View(show=details),
    "states dialog, nothing kept": View(show=clicks("#states-button"), server="fresh"),
    "delete dialog": View(show=lambda page: (details(page), page.click(".state-acts >> text=Delete"))),
    "proof dialog": View(show=proof),
    "takeover dialog": View(show=lambda page: (status(CHANGED)(page), page.click("#takeover-button"))),
    "reset dialog": View(show=clicks("#reset-button")),
    "comparison": View("/compare?ids={0},{1}", compared),
    "report": View(show=report),
    "a comparison that fails": View("/compare?ids=nobody,nothing", lambda page: page.wait_for_selector("[role=alert]")),
}


@dataclass
class House:
    """Two servers, one with nothing in its folder and one with runs, and a browser."""

    browser: Browser
    servers: dict[str, Server]
    client: Client
    ids: list[str]
    page: Page

    def open(self, view: View) -> Page:
        """The page as the view wants it; nothing is left of the view before."""
        self.client.ask("stop_training")
        self.page.set_viewport_size({"width": 1440, "height": 900})
        self.page.emulate_media(color_scheme="light")
        self.page.goto(self.servers[view.server].url + view.address.format(*self.ids))
        if view.address == "/":
            self.page.wait_for_selector("html[data-ready=true]")
        view.show(self.page)
        return self.page


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("care")
    options = ("--pace", "max", "--field-size", "8", "--seed", "3")
    with (
        running_browser() as browser,
        warm_server(folder / "none", *options) as fresh,
        warm_server(folder / "runs", *options, "--backup-url", f"file://{folder / 'backups'}") as used,
        Client(used.url) as client,
    ):
        ids = [run(client, 150), run(client, 120)]
        assert client.ask("save_slot", {"name": "before the long run"})["ok"]
        client.ask("set_pace", {"iterations_per_second": 20})
        page = browser.new_context(bypass_csp=True).new_page()
        page.set_default_timeout(PATIENCE)
        yield House(browser, {"fresh": fresh, "used": used, "kept": used}, client, ids, page)


def run(client: Client, iterations: int) -> str:
    """A new run of so many iterations, saved and backed up; its id."""
    begun = client.ask("initialize_system", {})
    assert begun["ok"]
    assert client.ask("start_training", {"until": iterations})["ok"]
    client.wait_for("training_status", lambda status: not status["running"] and status["iteration_count"] == iterations)
    return str(client.payloads("training_status")[-1]["run"])


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_can_be_read_and_used_by_everybody(house: House, name: str) -> None:
    assert breaches(house.open(VIEWS[name])) == []
