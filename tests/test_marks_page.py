"""The charts in a real browser: marks, arrow keys, themes, a million iterations, and the same picture at every visit."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from quadra.history import History
from tests.browser import executable
from tests.server import Client, Server, warm_server
from tests.test_browser import SERIES, charts, opened
from tests.test_charts_page import (  # noqa: F401  # fixtures among them
    LONG,
    RANGES,
    assert_all_together,
    browser,
    middle,
    page,
    server,
    shared_page,
    train_on,
    wait_for_every_iteration,
    write_long_run,
)

pytestmark = pytest.mark.skipif(
    executable() is None and not os.environ.get("CI"), reason="no Chromium is installed on this machine"
)

MANY = 1_000_000  # iterations
PIXELS = """([name, x, y, width, height]) => {
    const chart = Chart.getChart(name + "-chart");
    const ratio = chart.currentDevicePixelRatio;
    const data = chart.ctx.getImageData(x * ratio, y * ratio, width * ratio, height * ratio).data;
    return [...data];
}"""


def press(page: Page, *keys: str) -> list[float]:
    """The range after these keys in the chart that has the focus; the four show the same."""
    for key in keys:
        page.keyboard.press(key)
    assert_all_together(page)
    shown: list[float] = page.evaluate(RANGES)[0]
    return shown


def test_arrow_keys_zoom_and_move_all_charts_and_escape_leads_back(page: Page) -> None:
    whole = page.evaluate(RANGES)[0]
    middle_at = (whole[0] + whole[1]) / 2
    page.focus("#reward-chart")
    low, high = press(page, "ArrowUp", "+")
    assert (low + high) / 2 == pytest.approx(middle_at)
    assert high - low == pytest.approx((whole[1] - whole[0]) / 4)
    expect(page.locator("#range-spoken")).to_have_text(re.compile(r"^Iterations [\d,]+ to [\d,]+ are shown$"))
    moved = press(page, "ArrowRight")
    assert moved == pytest.approx([low + (high - low) / 4, high + (high - low) / 4])
    assert press(page, "ArrowLeft") == pytest.approx([low, high])
    assert press(page, "Home")[0] == whole[0]
    assert press(page, "End")[1] == whole[1]
    assert press(page, "-", "-") == whole
    press(page, "ArrowUp")
    assert press(page, "Escape") == whole
    expect(page.locator("#range-spoken")).to_have_text("The whole history is shown")
    press(page, "ArrowUp")
    assert press(page, "0") == whole


def test_a_chart_that_has_the_focus_shows_it_and_says_what_its_keys_do(page: Page) -> None:
    page.focus("#log-input")
    page.keyboard.press("Tab")
    while page.evaluate("document.activeElement.tagName") != "CANVAS":
        page.keyboard.press("Tab")
    outline = page.evaluate(
        "(({ outlineStyle, outlineWidth }) => [outlineStyle, outlineWidth])(getComputedStyle(document.activeElement))"
    )
    assert outline == ["solid", "2px"]
    described = page.evaluate("document.activeElement.getAttribute('aria-describedby')")
    expect(page.locator(f"#{described}")).to_contain_text("arrow")


def test_keys_with_a_modifier_are_left_to_the_browser(page: Page) -> None:
    whole = page.evaluate(RANGES)[0]
    page.focus("#loss-chart")
    assert press(page, "Control+ArrowUp", "Alt+ArrowRight") == whole


def legend(page: Page) -> list[str]:
    return [text.strip() for text in page.locator(".mark:visible").all_inner_texts()]


def test_each_kind_of_mark_that_occurs_is_in_the_legend_and_in_words(page: Page, server: Server) -> None:
    train_on(page, 10)
    with Client(server.url) as client:
        assert client.ask("save_slot", {"name": "a <b> name", "overwrite": True})["ok"]
    page.wait_for_function("quadra.model.marks.some(({ kind }) => kind === 'named')")
    expect(page.locator("#mark-named")).to_be_visible()
    assert legend(page)[:3] == ["Saves", "Named", "Loads"]
    assert "Strikes" in legend(page)
    assert "Going back" not in legend(page)
    page.click("#marks-summary")
    places = page.locator("#marks-places")
    expect(places).to_contain_text("Saved as “a <b> name”")
    expect(places).to_contain_text("Iteration 2,000: Loaded here, and went on")
    expect(places).to_contain_text("Iteration 4,000: A void iteration")
    page.uncheck("#mark-load-input")
    expect(places).not_to_contain_text("Iteration 2,000")
    page.check("#mark-load-input")
    page.get_by_role("button", name="Iteration 4,000", exact=True).click()
    low, high = page.evaluate(RANGES)[0]
    assert low < 4000 < high < low + 2000
    assert_all_together(page)
    page.click("#marks-summary")


def test_a_mark_is_drawn_where_it_belongs_and_goes_with_its_switch_for_good(page: Page) -> None:
    x = page.evaluate("Chart.getChart('mean-chart').scales.x.getPixelForValue(4000)")
    top = page.evaluate("Chart.getChart('mean-chart').chartArea.top")
    area = ["mean", x - 6, top + 16, 12, 12]
    drawn = page.evaluate(PIXELS, area)
    page.uncheck("#mark-strike-input")
    page.wait_for_function("!Chart.getChart('mean-chart').ctx.isPointInPath(0, 0)")
    page.wait_for_timeout(50)
    without = page.evaluate(PIXELS, area)
    assert drawn != without
    page.reload()
    page.wait_for_selector("html[data-ready=true]")
    expect(page.locator("#mark-strike-input")).not_to_be_checked()
    page.check("#mark-strike-input")


def test_pointing_near_a_mark_says_what_it_is(page: Page) -> None:
    page.focus("#loss-chart")
    x = page.evaluate("Chart.getChart('loss-chart').scales.x.getPixelForValue(2000)")
    box: Any = page.locator("#loss-chart").bounding_box()
    page.mouse.move(box["x"] + x, middle(page, "loss")[1])
    page.wait_for_function("Chart.getChart('variance-chart').tooltip.opacity > 0")
    for name in SERIES:
        told = page.evaluate("name => Chart.getChart(name).tooltip.footer", f"{name}-chart")
        assert any("Loaded here, and went on" in line for line in told), told


def test_the_charts_take_the_colours_of_another_theme_at_once(page: Page) -> None:
    grid = "Chart.getChart('loss-chart').options.scales.x.grid.color"
    before = page.evaluate(grid)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"before => {grid} !== before", arg=before)
    page.emulate_media(color_scheme="light")
    page.wait_for_function(f"before => {grid} === before", arg=before)
    page.add_style_tag(content='[data-theme="test"] { --grid: #010203; --loss: #040506; }')
    page.evaluate("document.documentElement.dataset.theme = 'test'")
    page.wait_for_function(f"{grid} === '#010203'")
    page.wait_for_function("Chart.getChart('loss-chart').data.datasets[0].borderColor === '#040506'")
    page.evaluate("delete document.documentElement.dataset.theme")
    page.wait_for_function(f"before => {grid} === before", arg=before)


def test_an_open_page_shows_after_much_training_what_a_new_visit_shows(page: Page, server: Server) -> None:
    train_on(page, 75)
    live = charts(page)
    page.reload()
    page.wait_for_selector("html[data-ready=true]")
    assert charts(page) == live


def test_a_page_thins_bit_by_bit_to_what_the_server_thins_at_once(page: Page) -> None:
    module = page.locator('link[rel="modulepreload"][href$="/series.js"]').get_attribute("href")
    generator = np.random.default_rng(5)
    for levels in (2, 1_000_000):
        rows = generator.integers(-levels, levels, (3000, len(SERIES))).astype(np.float32)
        rows[500:700, 1] = np.nan
        parts = [0, *sorted(generator.integers(1, 3000, 20).tolist()), 3000]
        whole = History(rows)
        updates = [whole.slice(first + 1, last, 5000).as_lists() for first, last in zip(parts, parts[1:], strict=False)]
        drawn = page.evaluate(
            """async ([file, updates]) => {
                const { append, empty, thin } = await import(new URL(file, document.baseURI));
                return updates.reduce((series, points) => thin(append(series, points), 300), empty());
            }""",
            [module, updates],
        )
        assert drawn == json.loads(json.dumps(whole.slice(1, 3000, 300).as_lists()))


@pytest.fixture(scope="module")
def million(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, Server, Any]]:  # noqa: F811
    folder = tmp_path_factory.mktemp("million") / "state"
    rows = write_long_run(folder, MANY)
    with warm_server(folder, "--pace", "20") as server:
        with Client(server.url) as client:
            assert client.ask("load_state", {})["iteration_count"] == MANY
        page = opened(browser, server.url)
        page.wait_for_function("Chart.getChart('mean-chart').data.labels.length > 1000")
        yield page, server, rows
        page.context.close()


def test_of_a_million_iterations_every_extreme_is_drawn_and_the_caption_says_how_many(
    million: tuple[Page, Server, Any],
) -> None:
    page, server, rows = million
    drawn, kept = charts(page), server.get("/api/history?points=4000")
    count = len(drawn["iteration"])
    assert 2000 <= count <= 4000
    assert {name: drawn[name] for name in ("iteration", *SERIES)} == {
        name: kept[name] for name in ("iteration", *SERIES)
    }
    for number, name in enumerate(SERIES):
        assert (min(drawn[name]), max(drawn[name])) == (rows[:, number].min(), rows[:, number].max())
    expect(page.locator("#loss-caption")).to_have_text(f"{count:,} of 1,000,000 points, extremes kept")


def test_a_spike_among_a_million_is_found_from_near_by_with_every_iteration(million: tuple[Page, Server, Any]) -> None:
    page, _, rows = million
    at = MANY // 3 + 1
    page.evaluate("document.querySelector('#loss-chart').focus()")
    x = page.evaluate("at => Chart.getChart('loss-chart').scales.x.getPixelForValue(at)", at)
    box: Any = page.locator("#loss-chart").bounding_box()
    page.mouse.move(box["x"] + x, middle(page, "loss")[1])
    while page.evaluate("(([min, max]) => max - min)(%s)" % f"({RANGES})()[0]") > 1500:
        page.mouse.wheel(0, -300)
    start, end = wait_for_every_iteration(page)
    assert start <= at <= end
    drawn = charts(page)
    place = drawn["iteration"].index(at)
    assert drawn["loss"][place] == rows[at - 1, 0] == 9.0
    page.keyboard.press("Escape")
