"""The page that compares saved states, in a real browser: all of the comparison is drawn, as the server computed it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import ConsoleMessage, Page, expect
from werkzeug.serving import make_server

from quadra.reports.compare import compare
from tests.helpers.comparison_site import STATES, application
from tests.helpers.pages import HEIGHT, SERIES, WIDTH, SharedPage


@pytest.fixture(scope="module")
def address(shared: SharedPage) -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, application(), threaded=True)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    yield f"http://127.0.0.1:{server.port}"
    shared.leave()
    server.shutdown()
    serving.join()
    server.server_close()


@pytest.fixture
def quiet(shared: SharedPage) -> Iterator[None]:
    """The page says nothing at all on the console, warnings included."""
    said: list[str] = []

    def note(message: ConsoleMessage) -> None:
        said.append(message.text)

    shared.page.on("console", note)
    yield
    shared.page.remove_listener("console", note)
    assert said == []


def compared(shared: SharedPage, url: str, width: int = WIDTH, height: int = HEIGHT) -> Page:
    """The page, once all of it is drawn."""
    page = shared.page
    page.goto(shared.prepared(url, width, height))
    page.wait_for_selector("html[data-ready=true]")
    return page


def drawn(page: Page, name: str) -> list[list[list[float | None]]]:
    """The points of each state in one of the charts, read from the chart itself."""
    found: list[list[list[float | None]]] = page.evaluate(
        """name => Chart.getChart(name + "-chart").data.datasets
            .map(({data}) => data.map(({x, y}) => [x, Number.isNaN(y) ? null : y]))""",
        name,
    )
    return found


def values_of(page: Page, cells: str) -> list[str]:
    return page.locator(cells).all_inner_texts()


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(("width", "height"), [(1440, 900), pytest.param(390, 844, marks=pytest.mark.all)])
def test_the_page_draws_all_of_the_comparison(shared: SharedPage, address: str, width: int, height: int) -> None:
    expected = compare([STATES["early"], STATES["lost"], STATES["wider"]])
    page = compared(shared, f"{address}/compare?ids=early,lost,wider", width, height)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert values_of(page, "#sides strong") == ["Before <b>all</b>", "With lost rows", "Another size"]
    expect(page.locator("#sides .remark")).to_have_text("20 rows are lost.")

    differing = [row["name"] for row in expected["configuration"] if row["differs"]]
    assert values_of(page, "#configuration-differences tbody th") == differing
    expect(page.locator("#configuration-equal table")).to_be_hidden()

    for name in SERIES:
        lines = [list(map(list, zip(c["iteration"], c[name], strict=True))) for c in expected["curves"]]
        assert drawn(page, name) == lines
        assert (page.locator(f"#{name}-chart").bounding_box() or {})["height"] > 150

    rows = expected["q_tables"]["rows"]
    assert values_of(page, ".heat tbody th") == [row["state"] for row in rows]
    assert page.locator(".heat td").count() == len(rows) * 9
    assert page.locator(".heat td[data-changed]").count() == sum(expected["q_tables"]["changed"])
    assert page.locator(".heat .greedy").count() == sum(expected["q_tables"]["visited"])

    relative = [row["relative"][1] for row in expected["layers"]]
    shares = page.locator("#layers .filled[data-side='1']")
    assert [float(shares.nth(i).get_attribute("title") or "") for i in range(len(relative))] == relative
    expect(page.locator("#layers-reasons")).to_contain_text("its shape is 5 x 12, the reference's 5 x 8")

    rates = [f"{rate:.3f}" for row in expected["firing_rates"]["layers"] for rate in row["rates"]]
    assert values_of(page, ".bars td:last-child") == rates


@pytest.mark.usefixtures("quiet")
def test_the_heat_map_outlines_what_changed_and_shows_only_that_on_demand(shared: SharedPage, address: str) -> None:
    rows = compare([STATES["early"], STATES["late"]])["q_tables"]["rows"]
    changed = [row["state"] for row in rows if any(row["changed"][1])]
    assert 0 < len(changed) < len(rows)
    page = compared(shared, f"{address}/compare?ids=early,late")
    looks = page.locator(".heat td:not([data-visited])").evaluate_all(
        """cells => cells.map((cell) => {
            const style = getComputedStyle(cell);
            return [Number(cell.innerText), "changed" in cell.dataset, style.boxShadow, style.backgroundColor];
        })"""
    )
    assert {(is_changed, outline == "none") for _, is_changed, outline, _ in looks} == {
        (True, False),
        (False, True),
    }
    colours = {value: colour for value, _, _, colour in sorted(looks)}
    assert colours[0.0] != colours[max(colours)]
    page.check("#q-only-changed")
    assert values_of(page, ".heat tbody th:visible") == changed


@pytest.mark.usefixtures("quiet")
def test_a_states_curves_can_be_hidden_and_follow_the_theme(shared: SharedPage, address: str) -> None:
    """Shown on a state beside itself, which the page says to differ in nothing."""
    visible = "name => [0, 1].map((number) => Chart.getChart(name + '-chart').isDatasetVisible(number))"
    colours = "Chart.getChart('loss-chart').data.datasets.map((set) => set.borderColor)"
    page = compared(shared, f"{address}/compare?ids=late,late")
    button = page.locator("#curves-legend button").nth(1)
    for shown in (False, True):
        button.click()
        expect(button).to_have_attribute("aria-pressed", str(shown).lower())
        assert [page.evaluate(visible, name) for name in SERIES] == [[True, shown]] * 4
    light = page.evaluate(colours)
    assert len(set(light)) == 2
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"before => {colours}.every((colour, number) => colour !== before[number])", arg=light)

    expect(page.locator("#configuration-hint")).to_contain_text("the same settings, seed and text")
    expect(page.locator("#configuration-differences")).to_be_hidden()
    assert page.locator(".heat td[data-changed]").count() == 0
    assert set(values_of(page, ".filled")) == {"0"}


@pytest.mark.complaints("status of 40[49]|ERR_FAILED")
def test_what_cannot_be_compared_is_told_in_a_sentence(shared: SharedPage, address: str) -> None:
    page = shared.page
    shared.prepared(address)
    for ids, sentence in (
        ("early,nobody", "There is no saved state 'nobody' in the state directory."),
        (
            "damaged,early",
            "The saved state 'damaged' cannot be read. oscillator_weights.pth: its checksum does not fit",
        ),
    ):
        page.goto(f"{address}/compare?ids={ids}")
        page.wait_for_selector("html[data-ready=failed]")
        expect(page.locator("#compare-error")).to_contain_text(f"These saved states cannot be compared. {sentence}")
        expect(page.locator("#comparison")).to_be_hidden()
        expect(page.locator("#compare-waiting")).to_be_hidden()
    page.route("**/api/compare**", lambda route: route.abort())
    page.reload()
    expect(page.locator("#compare-error")).to_contain_text("The server does not answer.")
    page.unroute_all()
