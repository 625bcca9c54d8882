"""The page's care: every view by axe and by our own rules, light and dark, large and small; colours, motion, first steps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations

import pytest
from playwright.sync_api import Page, expect

from tests.helpers.care import LOOKS, SCHEMES, breaches
from tests.helpers.colours import EYES, Colour, colour, contrast, distance
from tests.helpers.pages import FAST, HEIGHT, WIDTH, Lab, SharedPage, lasting_server, wait_until_ready
from tests.helpers.rotation import Draw
from tests.helpers.server import ROOT, Client, Server


@dataclass(frozen=True)
class View:
    """One thing that a person sees: where it is, and what has to be done to see it."""

    address: str = "/"
    show: Callable[[Page], object] = lambda page: None
    server: str = "used"
    is_window: bool = False  # nothing of it is left once it is closed, so that the next one needs no page of its own


def clicks(*selectors: str) -> Callable[[Page], None]:
    def show(page: Page) -> None:
        for selector in selectors:
            page.click(selector)

    return show


def asked(button: str, dialog: str) -> Callable[[Page], None]:
    """By this button, in a dialog that opens when the server has answered."""

    def show(page: Page) -> None:
        page.click(button)
        expect(page.locator(dialog)).to_be_visible()

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


def wrong_setting(page: Page) -> None:
    page.click("#settings-button")
    page.fill("#field-size-input", "1")
    page.press("#field-size-input", "Tab")
    expect(page.locator("#field-size-error")).to_be_visible()


def inside(page: Page) -> None:
    page.click(".inside summary")
    page.wait_for_function("quadra.inside.grids")
    page.evaluate("localStorage.removeItem('quadra.inside')")  # the next view has it closed again


def marks(page: Page) -> None:
    page.click("#marks-summary")
    expect(page.locator("#marks-places li")).not_to_have_count(0)


def no_line(page: Page) -> None:
    page.fill("#log-search", "no such line")
    expect(page.locator("#log-empty")).to_be_visible()


def nothing_kept(page: Page) -> None:
    page.click("#states-button")
    expect(page.locator("#states-empty")).to_contain_text("There is no saved state yet.")


def alerts(page: Page) -> None:
    page.click(".alerts summary")
    page.fill("#alert-threshold", "0")
    page.click("#alert-add")
    expect(page.locator("#alert-rules li")).not_to_have_count(0)


def opened(page: Page) -> None:
    """All that the page itself opens, at once."""
    inside(page)
    alerts(page)
    marks(page)
    no_line(page)


def details(page: Page) -> None:
    page.click("#states-button")
    page.click("#states-rows tr:has-text('before the long run') button[aria-expanded]")
    expect(page.locator(".state-details")).to_be_visible()


CERTIFICATE = {
    "different": ["field"],
    "iteration_count": 150,
    "iterations": 20,
    "run": "c0ffee",
    "saved_at": "2026-11-25T08:09:10Z",
    "weights_sha256": "0f" * 32,
    "versions": {"torch": "2.13.0"},
    "machine": "x86_64",
    "in_one_go": {"field": "0a" * 32, "history": "0b" * 32},
}


def proof(page: Page) -> None:
    """As the server would answer; that it proves is tested elsewhere."""
    page.evaluate(
        """async (certificate) => {
            const { createProof } = await import(document.querySelector('link[href*="/js/states/proof"]').href);
            await createProof(async () => ({ ok: true, ...certificate }))({ id: "any" });
        }""",
        CERTIFICATE,
    )


def compared(page: Page) -> None:
    page.wait_for_selector("html[data-ready=true]")
    for summary in page.locator("main summary").all():
        summary.click()


def report(page: Page) -> None:
    """A report is downloaded, and opened from its file."""
    state = page.evaluate(
        """() => fetch("api/states").then((answer) => answer.json())
            .then(({ states }) => states.sort((a, b) => a.iteration_count - b.iteration_count)[0].id)"""
    )
    html = page.request.get(f"{page.url}api/states/{state}/report").text()
    page.goto("about:blank")
    page.set_content(html)


FAILING = """save_error: { code: "disk_full", message: "No space is left.", since: 100 },
    save_health: { free_bytes: 9e7, waiting: true }, save_every: 0, running: true"""
CHANGED = """save_error: { code: "folder_changed", message: "Its files were exchanged.", since: 100 },
    iteration_count: 150, unsaved_iterations: 50"""
RESCUE = 'rescue: { state: "any", struck_at: 150, iteration_count: 140 }'

# A new view of the page is one more line here.
VIEWS = {
    "uninitialized": View(server="fresh"),
    "ready": View(),
    "training": View(show=training),
    "settings": View(show=clicks("#settings-button"), is_window=True),
    "settings with a wrong value": View(show=wrong_setting),
    "keyboard help": View(show=clicks("#help-button"), is_window=True),
    "everything that opens on the page": View(show=opened),
    "inside": View(show=inside),
    "alerts": View(show=alerts),
    "marks in words": View(show=marks),
    "the log, of which no line fits": View(show=no_line),
    "login": View("/login", server="closed"),
    "saving fails": View(show=status(FAILING)),
    "a disk that cannot sync names": View(show=status("keeps_names: false")),
    "torch trains": View(show=status('slow_because: "ImportError: no numba"')),
    "the folder has changed": View(show=status(f"{CHANGED}, {RESCUE}")),
    "connection lost": View(show=lost),
    "load dialog": View(show=asked("#load-button", "#load-dialog"), is_window=True),
    "restore dialog": View(show=asked("#restore-button", "#restore-dialog"), is_window=True),
    "slot dialog": View(show=taken, is_window=True),
    "states dialog": View(show=details, is_window=True),
    "states dialog, nothing kept": View(show=nothing_kept, server="fresh"),
    "delete dialog": View(show=lambda page: (details(page), page.click(".state-acts >> text=Delete")), is_window=True),
    "proof dialog": View(show=proof, is_window=True),
    "takeover dialog": View(
        show=lambda page: (status(CHANGED)(page), asked("#takeover-button", "#takeover-dialog")(page))
    ),
    "reset dialog": View(show=clicks("#reset-button"), is_window=True),
    "comparison": View("/compare?ids={0},{1}", compared),
    "report": View(show=report),
    "a comparison that fails": View("/compare?ids=nobody,nothing", lambda page: page.wait_for_selector("[role=alert]")),
}


# What "everything that opens on the page" and other views show together, so that it is looked at by itself only with --all.
PARTS = ("ready", "settings", "inside", "alerts", "marks in words", "the log, of which no line fits")


@dataclass
class House:
    """Three servers, one with nothing in its folder, one with runs, and one that asks for a token; and a page."""

    shared: SharedPage
    servers: dict[str, Server]
    client: Client
    ids: list[str]
    shows_windows: bool = False  # and nothing else was done on the page since it was loaded

    @property
    def page(self) -> Page:
        return self.shared.page

    def open(self, view: View) -> Page:
        """The page as the view wants it; nothing is left of the view before."""
        self.client.ask("stop_training")
        if view.is_window and self.shows_windows and self.page.url == self.servers[view.server].url + "/":
            self.page.evaluate("document.querySelectorAll('dialog[open]').forEach((dialog) => dialog.close())")
            self.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
            self.page.emulate_media(color_scheme="light")
        else:
            self.page.goto(self.shared.prepared(self.servers[view.server].url + view.address.format(*self.ids)))
            if view.address == "/":
                wait_until_ready(self.page)
        self.shows_windows = view.is_window
        view.show(self.page)
        return self.page


@pytest.fixture(scope="module")
def house(
    shared: SharedPage, pages: tuple[SharedPage, ...], shared_lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("care")
    shared_lab.reset()
    with (
        lasting_server(pages, folder / "runs", *FAST, "--backup-url", f"file://{folder / 'backups'}") as used,
        lasting_server(pages, folder / "closed", *FAST, "--token", "a-token-of-some-length") as closed,
        Client(used.url) as client,
    ):
        ids = [run(client, 8), run(client, 6)]  # of short runs the comparison and the report have small tables
        run(client, 120)
        assert client.ask("save_slot", {"name": "before the long run"})["ok"]
        client.ask("set_pace", {"iterations_per_second": 20})
        servers = {"fresh": shared_lab.server, "used": used, "closed": closed}
        yield House(shared, servers, client, ids)


def run(client: Client, iterations: int) -> str:
    """A new run of so many iterations, saved and backed up; its id."""
    begun = client.ask("initialize_system", {})
    assert begun["ok"]
    assert client.ask("start_training", {"until": iterations})["ok"]
    client.wait_for("training_status", lambda status: not status["running"] and status["iteration_count"] == iterations)
    return str(client.payloads("training_status")[-1]["run"])


@pytest.mark.complaints("status of 40[14]")  # of the login page, and of states that are not there
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.all if name in PARTS else ()) for name in VIEWS])
def test_a_view_can_be_read_and_used_by_everybody(house: House, name: str, draw: Draw) -> None:
    """At one size and in one theme, drawn anew in each run; with --all at both and in both."""
    assert breaches(house.open(VIEWS[name]), draw(LOOKS, 1)) == []


def test_the_tab_key_reaches_every_control_of_the_dashboard_in_the_order_of_the_page(house: House) -> None:
    page = house.open(View())
    expect(page.locator("#mark-named")).to_be_visible()  # the switches of the marks come when they are known
    every = page.evaluate(
        """() => [...document.querySelectorAll("a[href], button, input, select, summary, [tabindex]")]
            .filter((element) => element.checkVisibility() && !element.disabled)
            .map((element, place) => (element.dataset.place = String(place)))"""
    )
    reached = []
    for _ in every:
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.dataset.place"))
    assert reached == every


MOTION = """() => [...document.querySelectorAll("*")].flatMap((element) => ["", "::before", "::after"].map((part) => {
    const { animationName, animationDuration, transitionDuration } = getComputedStyle(element, part || undefined);
    const seconds = transitionDuration.split(", ").map(parseFloat);
    return Math.max(animationName === "none" ? 0 : parseFloat(animationDuration), ...seconds);
})).reduce((most, each) => Math.max(most, each), 0)"""
CHART_MOTION = """() => Object.values(Chart.instances).map(({ options }) =>
    [options.animation, options.transitions.zoom.animation.duration])"""


def test_who_asks_for_less_motion_gets_none(house: House) -> None:
    page = house.open(View())
    assert page.evaluate(MOTION) > 0
    page.emulate_media(reduced_motion="reduce")
    page.evaluate("document.getElementById('start-button').setAttribute('aria-busy', 'true')")
    try:
        assert page.evaluate(MOTION) == 0
        assert page.evaluate(CHART_MOTION) == [[False, 0]] * 4
    finally:
        page.emulate_media(reduced_motion="no-preference")


def test_every_part_that_has_nothing_to_show_says_what_to_do_first(house: House) -> None:
    page = house.open(View(server="fresh"))
    first = "Press Initialize System, then Start Training."
    for part in ("#text-value", "#saving-wear-value", "#loss-empty", "#reward-empty", "#variance-empty", "#mean-empty"):
        expect(page.locator(part)).to_contain_text(first)
    page.click("#states-button")
    expect(page.locator("#states-empty")).to_have_text(f"There is no saved state yet. {first}")


SERIES = ("loss", "reward", "variance", "mean")
STATES = ("good", "warn", "bad", "muted")
SIDES = tuple(f"side-{number}" for number in range(8))
LINES = (*SERIES, *SIDES, "focus", "control-border", "changed")  # what is no text, but has to be seen
GROUNDS = ("ground", "panel", "raised")
LEAST_DISTANCE = 10.0  # in CIE L*a*b*: plainly two colours
LEAST_CONTRAST = 3.0  # of what is no text, by WCAG 2.2 (1.4.11)
COLOUR = re.compile(r"#[0-9a-f]{3,8}\b|\b(?:rgb|hsl)a?\(", re.IGNORECASE)


@pytest.fixture(scope="module", params=SCHEMES)
def theme(house: House, request: pytest.FixtureRequest) -> dict[str, Colour]:
    page = house.page
    if not page.url.startswith(house.servers["used"].url):
        house.open(View())
    page.emulate_media(color_scheme=request.param)
    expect(page.locator("html")).to_have_attribute("data-theme", request.param)
    names = {*SERIES, *STATES, *LINES, *GROUNDS}
    texts = page.evaluate(
        """names => names.map((name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim())""",
        list(names),
    )
    return {name: colour(text) for name, text in zip(names, texts, strict=True)}


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("group", [SERIES, STATES, SIDES], ids=["series", "states", "sides"])
def test_the_colours_of_a_group_are_told_apart_by_all_eyes(
    theme: dict[str, Colour], group: tuple[str, ...], eyes: str
) -> None:
    alike = {(one, other): round(distance(theme[one], theme[other], eyes), 1) for one, other in combinations(group, 2)}
    assert {pair: how for pair, how in alike.items() if how < LEAST_DISTANCE} == {}


def test_lines_and_borders_are_seen_on_every_ground(theme: dict[str, Colour]) -> None:
    found = {(line, ground): contrast(theme[line], theme[ground]) for line in LINES for ground in GROUNDS}
    assert {pair: ratio for pair, ratio in found.items() if ratio < LEAST_CONTRAST} == {}


def test_colours_are_named_in_the_theme_and_nowhere_else() -> None:
    """So that the theme can be changed by hand as well as by the system."""
    sheets = [path for path in (ROOT / "static" / "css").iterdir() if path.name != "theme.css"]
    scripts = (ROOT / "static" / "js").rglob("*.js")
    written = {path.name: COLOUR.findall(path.read_text(encoding="utf-8")) for path in (*sheets, *scripts)}
    assert {name: found for name, found in written.items() if found} == {}


def test_no_meaning_is_told_by_colour_alone(house: House) -> None:
    page = house.open(View())
    expect(page.locator("#connection-state")).to_have_text("Connected")
    lines = page.locator("#log li").all()
    assert lines
    for line in lines:
        assert line.locator(".symbol").inner_text() in "i✓!✗"
    compare = house.open(VIEWS["comparison"])
    assert compare.locator("#curves-legend .chip").all_inner_texts() == ["A", "B"]
    drawn = compare.evaluate(
        """() => {
            const chart = Chart.getChart("loss-chart"), written = [];
            const fillText = chart.ctx.fillText;
            chart.ctx.fillText = (text, x, y) => written.push([text, x, y]);
            chart.draw();
            chart.ctx.fillText = fillText;
            return written.filter(([text]) => /^[A-H]$/.test(text)).map(([text, x]) => [text, x <= chart.width]);
        }"""
    )
    assert sorted(drawn) == [["A", True], ["B", True]]


BROKEN = """<!doctype html><html lang="en"><title>Broken</title><script></script><body><main><h1>Broken</h1>
    <p style="font-size: 11px">small</p>
    <p>3 figures</p>
    <p>saved just now</p>
    <time datetime="yesterday">then</time>
    <div style="width: 2000px">wide</div>
    <button style="outline: none">unseen</button>
    <button style="width: 20px; height: 20px; padding: 0">x</button>
    <p style="background: linear-gradient(#000, #fff); color: #333">faint</p>
    <img src="data:,"></main></body></html>"""


def test_what_breaks_a_rule_is_found(house: House) -> None:
    house.shared.leave()
    house.page.set_content(BROKEN)
    found = breaches(house.page, LOOKS[:1])
    for breach in (
        'text of 11.0 px: p. "small"',
        'figures that are not tabular: p. "3 figures"',
        'a time that is not both relative and absolute: p. "saved just now"',
        'a time without its date: time. "then"',
        "wider than the screen by",
        'a focus that is not seen: button. "unseen"',
        'a target of 20 x 20 px: button. "x"',
        "of contrast: ",
        "image-alt: ",
    ):
        assert any(breach in each for each in found), breach
