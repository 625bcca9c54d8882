"""The dashboard's page in tests: opened, waited for, and read from its charts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.helpers.browser import executable
from tests.helpers.server import Client, Server, warm_server

NEEDS_BROWSER = pytest.mark.skipif(
    executable() is None and not os.environ.get("CI"), reason="no Chromium is installed on this machine"
)
SERIES = ("loss", "reward", "variance", "mean")
FAST = ("--pace", "max", "--field-size", "8", "--seed", "3")
SAVE_EVERY = 10  # iterations, of a server that is not told otherwise
WIDTH, HEIGHT = 1440, 900

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


@dataclass
class Lab:
    """A server that many tests share, each after a reset; trained without a page, which would draw all the while."""

    folder: Path
    server: Server
    client: Client

    def reset(self) -> None:
        """As it was when it was started, but for its log."""
        self.client.received.clear()
        for event, payload in (
            ("reset_system", {}),
            ("set_pace", {"iterations_per_second": None}),
            ("set_save_every", {"iterations": SAVE_EVERY}),
        ):
            answer = self.client.ask(event, payload)
            assert answer["ok"], answer

    def begin(self, until: int) -> str:
        """A new run of so many iterations, saved; its id."""
        assert self.client.ask("initialize_system")["ok"]
        return self.train(until)

    def train(self, until: int) -> str:
        """The run in memory goes on until this iteration, and is saved; its id."""
        run = str(self.server.get("/api/status")["run"])
        assert self.client.ask("start_training", {"until": until})["ok"]
        self.client.wait_for("training_status", lambda status: is_saved(status, run, until))
        return run


def is_saved(status: dict[str, Any], run: str, iteration: int) -> bool:
    """Whether a run has ended at an iteration, and that is saved."""
    at_rest = status.get("run") == run and status["iteration_count"] == iteration and not status["running"]
    return at_rest and (status["last_save"] or {}).get("iteration_count") == iteration


class SharedPage:
    """One page for many tests, which load it anew: that takes a third of what a browser takes that has nothing cached.

    Each visit finds it as a new browser would: nothing stored, no cookie, no script or route of the test before.
    """

    def __init__(self, browser: Browser, **settings: Any) -> None:
        # Playwright waits by evaluating text, which the page's policy forbids; `test_security_headers` has it in force.
        self.page = browser.new_context(bypass_csp=True, **settings).new_page()
        self._protocol = self.page.context.new_cdp_session(self.page)
        self._protocol.send("Page.enable")
        self._scripts: list[str] = []

    def visit(self, url: str, width: int = WIDTH, height: int = HEIGHT, script: str = "") -> Page:
        """The dashboard at an address, connected and drawn; `script` is run before the page's own."""
        self.page.goto(self.prepared(url, width, height, script))
        wait_until_ready(self.page)
        return self.page

    def prepared(self, url: str, width: int = WIDTH, height: int = HEIGHT, script: str = "") -> str:
        """Make the page ready to go to an address; the address."""
        self.page.unroute_all()
        self.page.context.clear_cookies()
        self.page.context.clear_permissions()
        self._protocol.send("Storage.clearDataForOrigin", {"origin": origin_of(url), "storageTypes": "local_storage"})
        self.page.emulate_media(color_scheme="light", reduced_motion="no-preference")
        self.page.set_viewport_size({"width": width, "height": height})
        for identifier in self._scripts:
            self._protocol.send("Page.removeScriptToEvaluateOnNewDocument", {"identifier": identifier})
        self._scripts = []
        if script:
            answer = self._protocol.send("Page.addScriptToEvaluateOnNewDocument", {"source": script})
            self._scripts.append(answer["identifier"])
        return url

    def leave(self) -> None:
        """Go away from a server that is about to end."""
        self.page.goto("about:blank")


@contextmanager
def served(
    shared: SharedPage, folder: Path, *options: str, environment: dict[str, str] | None = None
) -> Iterator[tuple[Server, Page]]:
    """A server of a test's own, and the shared page on it, which leaves before the server ends."""
    with warm_server(folder, *options, environment=environment) as server:
        page = shared.visit(server.url)
        try:
            yield server, page
        finally:
            shared.leave()


@contextmanager
def lasting_server(
    pages: Iterable[SharedPage], folder: Path, *options: str, environment: dict[str, str] | None = None
) -> Iterator[Server]:
    """A server of the tests of a module, which the shared pages leave before it ends."""
    with warm_server(folder, *options, environment=environment) as server:
        yield server
        for page in pages:
            page.leave()


def origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def opened(browser: Browser, url: str, **settings: Any) -> Page:
    """The dashboard in a browser of its own."""
    return SharedPage(browser, **settings).visit(url)


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


def phase_is(page: Page, phase: str) -> None:
    """The page comes to show that the system is uninitialized, ready or training."""
    expect(page.locator("#status-value")).to_have_attribute("data-value", phase)


def assert_whole_history(page: Page, server: Server, iterations: int) -> None:
    drawn, kept = charts(page), server.get("/api/history?points=20000")
    assert drawn["iteration"] == list(range(1, iterations + 1))
    for name in SERIES:
        assert drawn[name] == kept[name], name
