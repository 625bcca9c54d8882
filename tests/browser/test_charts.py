"""The charts in a real browser on a history too long to be drawn whole: zoom, keys, follow, smoothing, marks, files."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, expect

from quadra.model.history import History, checksum_of
from tests.helpers.pages import (
    HEIGHT,
    SERIES,
    WIDTH,
    SharedPage,
    charts,
    lasting_server,
    opened,
    wait_for_end,
    wait_until_ready,
)
from tests.helpers.server import ROOT, Client, Server, warm_server
from tests.helpers.state_helpers import saved_states, write_state

LONG = 10_000  # iterations
RANGES = """() => ["loss", "reward", "variance", "mean"].map((name) => {
    const { min, max } = Chart.getChart(name + "-chart").scales.x;
    return [min, max];
})"""


MANY = 1_000_000  # iterations
PIXELS = """([name, x, y, width, height]) => {
    const chart = Chart.getChart(name + "-chart");
    const ratio = chart.currentDevicePixelRatio;
    const data = chart.ctx.getImageData(x * ratio, y * ratio, width * ratio, height * ratio).data;
    return [...data];
}"""


@pytest.fixture(scope="module")
def server(pages: tuple[SharedPage, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("long") / "state"
    write_long_run(folder, loaded_at=(2000,), struck_at=(4000,))
    with lasting_server(pages, folder, "--pace", "50") as server:
        with Client(server.url) as client:
            assert client.ask("load_state", {})["ok"]
        yield server


def write_long_run(folder: Path, count: int = LONG, **happened: tuple[int, ...]) -> NDArray[np.float32]:
    """A run whose engine is that of a short one, and whose history is long; returns that."""
    state = saved_states(3)[0]
    rows = np.random.default_rng(1).random((count, len(SERIES)), np.float32)
    rows[count // 3, 0], rows[count // 2, 3] = 9.0, -9.0
    record = replace(
        state.record, iteration_count=count, metrics_rows=count, history_sha256=checksum_of(rows), **happened
    )
    write_state(folder, replace(state, record=record, rows=rows, engine={**state.engine, "iteration_count": count}))
    return rows


@pytest.fixture(scope="module")
def visited(shared: SharedPage, server: Server) -> SharedPage:
    shared.visit(server.url)
    return shared


@pytest.fixture
def page(visited: SharedPage, server: Server) -> Page:
    """The page with its charts as a new visitor finds them."""
    page = visited.page
    if not page.url.startswith(server.url) or page.viewport_size != {"width": WIDTH, "height": HEIGHT}:
        visited.visit(server.url)
    page.mouse.move(5, 5)
    page.focus("#smoothing-input")
    page.keyboard.press("Home")
    page.uncheck("#log-input")
    page.select_option("#follow-select", "500")
    page.select_option("#follow-select", "")
    expect(page.locator("#whole-button")).to_be_hidden()
    page.wait_for_function(
        """() => ["loss", "reward", "variance", "mean"].map((name) => Chart.getChart(name + "-chart")).every(({ scales, data }) =>
            scales.x.min === 1 && scales.x.max === quadra.model.series.iteration.at(-1)
            && scales.y.type === "linear" && data.datasets[3].data.length === 0)"""
    )
    return page


def middle(page: Page, name: str) -> tuple[float, float]:
    area = page.evaluate("name => Chart.getChart(name).chartArea", f"{name}-chart")
    box: Any = page.locator(f"#{name}-chart").bounding_box()
    return box["x"] + (area["left"] + area["right"]) / 2, box["y"] + (area["top"] + area["bottom"]) / 2


def drag(page: Page, name: str, width: int) -> None:
    """Select so many pixels in the middle of a chart that shows everything; all four show the selection then."""
    x, y = middle(page, name)
    page.mouse.move(x - width / 2, y)
    page.mouse.down()
    page.mouse.move(x, y)
    page.mouse.move(x + width / 2, y)
    page.mouse.up()
    expect(page.locator("#whole-button")).to_be_visible()


def wait_for_every_iteration(page: Page) -> tuple[int, int]:
    """The iterations that are shown, once all of them are here: the first and the last one inside the range."""
    expect(page.locator("#mean-caption")).to_have_text(re.compile(r"^[\d,]+ iterations$"))
    low, high = page.evaluate(RANGES)[0]
    return math.ceil(low), math.floor(high)


def assert_all_together(page: Page) -> None:
    page.wait_for_function(f"new Set(({RANGES})().map(String)).size === 1")


def shown(page: Page, start: int, end: int) -> dict[str, list[float]]:
    """What the charts draw of the iterations start to end."""
    drawn = charts(page)
    places = [place for place, iteration in enumerate(drawn["iteration"]) if start <= iteration <= end]
    return {name: [values[place] for place in places] for name, values in drawn.items()}


def assert_is_history(page: Page, server: Server, start: int, end: int) -> None:
    kept, drawn = server.get(f"/api/history?start={start}&end={end}&points=20000"), shown(page, start, end)
    assert drawn["iteration"] == list(range(start, end + 1))
    for name in SERIES:
        assert drawn[name] == kept[name], name


def iteration(page: Page) -> int:
    count: int = page.evaluate("quadra.model.series.iteration.at(-1)")
    return count


def train_on(page: Page, count: int) -> None:
    """Train so many more iterations."""
    until = iteration(page) + count
    page.fill("#until-input", str(until))
    page.click("#start-button")
    wait_for_end(page, until)


def test_a_line_of_very_many_points_is_thin_and_one_of_few_is_not(page: Page) -> None:
    widths = "() => ['loss', 'mean'].map((name) => Chart.getChart(name + '-chart').data.datasets[0].borderWidth)"
    assert page.evaluate(widths) == [1, 1]
    page.select_option("#follow-select", "500")
    page.wait_for_function("Chart.getChart('mean-chart').data.labels.length === 500")
    assert page.evaluate(widths) == [1.5, 1.5]


def test_a_range_dragged_in_one_chart_is_shown_in_all_with_every_iteration(page: Page, server: Server) -> None:
    before = charts(page)
    expect(page.locator("#loss-caption")).to_contain_text(re.compile(r"^[23],\d+ of 1\d,\d+ points, extremes kept$"))
    drag(page, "reward", 60)
    start, end = wait_for_every_iteration(page)
    assert 500 < end - start < 2000
    assert_all_together(page)
    assert_is_history(page, server, start, end)
    expect(page.locator("#loss-caption")).to_have_text(f"{end - start + 1:,} iterations")
    page.mouse.dblclick(*middle(page, "variance"))
    page.wait_for_function("n => Chart.getChart('loss-chart').data.labels.length === n", arg=len(before["loss"]))
    assert charts(page) == before
    assert_all_together(page)


def test_the_wheel_zooms_around_the_pointer_and_a_button_leads_back(page: Page) -> None:
    expect(page.locator("#whole-button")).to_be_hidden()
    whole = page.evaluate(RANGES)[0]
    page.mouse.move(*middle(page, "mean"))
    page.mouse.wheel(0, -100)
    expect(page.locator("#whole-button")).to_be_visible()
    page.wait_for_function(f"whole => ({RANGES})().every(([low]) => low !== whole)", arg=whole[0])
    assert_all_together(page)
    low, high = page.evaluate(RANGES)[0]
    assert whole[0] < low < (whole[0] + whole[1]) / 2 < high < whole[1]
    assert page.locator("#follow-select").input_value() == "zoomed"
    page.focus("#whole-button")
    page.keyboard.press("Enter")
    expect(page.locator("#whole-button")).to_be_hidden()
    assert page.evaluate(RANGES)[0] == whole
    assert page.evaluate("document.activeElement.id") == "follow-select"


def test_shift_and_drag_moves_the_range_and_never_beyond_the_history(page: Page) -> None:
    drag(page, "loss", 60)
    start, end = wait_for_every_iteration(page)
    x, y = middle(page, "loss")
    page.keyboard.down("Shift")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 50, y, steps=5)
    page.mouse.up()
    assert_all_together(page)  # only now the page has kept the range within the history
    low, high = page.evaluate(RANGES)[0]
    assert low > start
    assert high - low == pytest.approx(end - start, abs=2)
    for _ in range(2):
        page.mouse.move(x - 100, y)
        page.mouse.down()
        page.mouse.move(x + 5000, y, steps=3)
        page.mouse.up()
    page.keyboard.up("Shift")
    assert_all_together(page)
    low, high = page.evaluate(RANGES)[0]
    assert low == 1
    assert high - low == pytest.approx(end - start, abs=2)


def assert_is_of_history(page: Page, server: Server, start: int, end: int) -> None:
    """What is drawn of a range that is thinned, whenever it was fetched: true values, up to the newest."""
    kept, drawn = server.get(f"/api/history?start={start}&end={end}&points=20000"), shown(page, start, end)
    assert len(drawn["iteration"]) > 1000
    assert drawn["iteration"][-1] == end
    for name in SERIES:
        assert drawn[name] == [kept[name][int(iteration) - start] for iteration in drawn["iteration"]], name


def test_live_updates_leave_a_zoomed_view_still(page: Page) -> None:
    drag(page, "mean", 60)
    wait_for_every_iteration(page)
    before, ranges = charts(page), page.evaluate(RANGES)
    train_on(page, 25)
    assert charts(page) == before
    assert page.evaluate(RANGES) == ranges
    page.click("#whole-button")
    page.wait_for_function("n => Chart.getChart('loss-chart').data.labels.at(-1) === n", arg=iteration(page))


@pytest.mark.parametrize("count", [500, 5000])
def test_following_stays_at_the_newest_iterations(page: Page, server: Server, count: int) -> None:
    drag(page, "loss", 100)  # what was fetched for a wider range must not serve for a narrow one
    expect(page.locator("#loss-caption")).to_contain_text("extremes kept")
    page.select_option("#follow-select", str(count))
    expected = "500 iterations" if count == 500 else re.compile(r"^[12],\d+ of 5,000 points, extremes kept$")
    expect(page.locator("#variance-caption")).to_have_text(expected)
    train_on(page, 25)
    newest = iteration(page)
    assert_all_together(page)
    assert page.evaluate(RANGES)[0] == [newest - count + 1, newest]
    expect(page.locator("#variance-caption")).to_have_text(expected)
    if count == 500:
        assert_is_history(page, server, newest - 499, newest)
    else:
        assert_is_of_history(page, server, newest - 4999, newest)
    page.select_option("#follow-select", "")
    page.wait_for_function("Chart.getChart('loss-chart').scales.x.min === 1")


def plainly_smoothed(values: list[float], weight: float) -> list[float]:
    smoothed = []
    for number in range(len(values)):
        weights = [(1 - weight) * weight**age for age in range(number + 1)]
        newest_first = reversed(values[: number + 1])
        smoothed.append(sum(w * v for w, v in zip(weights, newest_first, strict=True)) / sum(weights))
    return smoothed


def set_smoothing(page: Page, presses: int) -> None:
    page.focus("#smoothing-input")
    page.keyboard.press("End")
    for _ in range(presses):
        page.keyboard.press("ArrowLeft")


def test_smoothing_draws_the_weighted_mean_over_the_faint_line_and_is_remembered(page: Page) -> None:
    drag(page, "loss", 20)
    wait_for_every_iteration(page)
    set_smoothing(page, 9)
    expect(page.locator("#smoothing-value")).to_have_text("0.90")
    page.wait_for_function("Chart.getChart('mean-chart').data.datasets[3].data.length > 0")
    raw = charts(page)
    for name in SERIES:
        line, smoothed = page.evaluate(
            "name => [0, 3].map((set) => Chart.getChart(name).data.datasets[set])"
            ".map(({ data, borderColor }) => ({ data, borderColor }))",
            f"{name}-chart",
        )
        assert line["data"] == raw[name]
        assert smoothed["data"] == pytest.approx(plainly_smoothed(raw[name], 0.9), rel=1e-9)
        assert line["borderColor"] == smoothed["borderColor"] + "55"
    page.check("#log-input")
    page.reload()
    wait_until_ready(page)
    assert page.input_value("#smoothing-input") == "0.9"
    expect(page.locator("#log-input")).to_be_checked()
    page.focus("#smoothing-input")
    page.keyboard.press("Home")
    page.wait_for_function("Chart.getChart('mean-chart').data.datasets[3].data.length === 0")


def test_smoothing_leaves_a_lost_value_lost_and_goes_on_behind_it(page: Page) -> None:
    module = page.locator('link[rel="modulepreload"][href$="smoothing.js"]').get_attribute("href")
    smoothed = page.evaluate(
        "async ([file, values]) => (await import(new URL(file, document.baseURI))).smooth(values, 0.5)",
        [module, [None, 1.0, None, 4.0]],
    )
    assert smoothed == [None, 1.0, None, 3.0]


def test_the_logarithmic_scale_is_for_what_cannot_be_negative(page: Page) -> None:
    kinds = "() => ['loss', 'reward', 'variance', 'mean'].map((name) => Chart.getChart(name + '-chart').scales.y.type)"
    assert page.evaluate(kinds) == ["linear"] * 4
    page.check("#log-input")
    page.wait_for_function("Chart.getChart('loss-chart').scales.y.type === 'logarithmic'")
    assert page.evaluate(kinds) == ["logarithmic", "linear", "logarithmic", "linear"]
    low, high = page.evaluate("(({ min, max }) => [min, max])(Chart.getChart('loss-chart').scales.y)")
    assert 0 < low <= min(charts(page)["loss"])
    assert high >= max(charts(page)["loss"])
    page.uncheck("#log-input")
    page.wait_for_function("Chart.getChart('loss-chart').scales.y.type === 'linear'")


REFUSES = (
    "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('refused', 'SecurityError'); } })"
)


def test_a_browser_that_refuses_storage_still_smooths(shared: SharedPage, server: Server) -> None:
    page = shared.visit(server.url, script=REFUSES)
    set_smoothing(page, 0)
    page.wait_for_function("Chart.getChart('mean-chart').data.datasets[3].data.length > 0")
    shared.leave()


def test_pointing_at_one_chart_reads_all_four_at_the_same_iteration(page: Page) -> None:
    drag(page, "loss", 20)
    wait_for_every_iteration(page)
    x, y = middle(page, "reward")
    page.mouse.move(x + 30, y)
    page.wait_for_function("Chart.getChart('mean-chart').tooltip.opacity > 0")
    read = page.evaluate(
        """() => ["loss", "reward", "variance", "mean"].map((name) => {
            const { tooltip, data } = Chart.getChart(name + "-chart");
            const [point] = tooltip.dataPoints;
            return [tooltip.title[0], data.labels[point.dataIndex], point.parsed.y];
        })"""
    )
    drawn = charts(page)
    at = drawn["iteration"].index(read[0][1])
    for name, (title, iteration_there, value) in zip(SERIES, read, strict=True):
        assert title == f"Iteration {drawn['iteration'][at]:,}"
        assert (iteration_there, value) == (drawn["iteration"][at], drawn[name][at])
    page.mouse.move(5, 5)
    page.wait_for_function("Chart.getChart('mean-chart').getActiveElements().length === 0")


def test_the_range_is_kept_as_a_table_of_every_iteration(page: Page, server: Server) -> None:
    drag(page, "variance", 200)
    expect(page.locator("#loss-caption")).to_contain_text("extremes kept")
    start, end = (math.ceil(page.evaluate(RANGES)[0][0]), math.floor(page.evaluate(RANGES)[0][1]))
    with page.expect_download() as download:
        page.click("#variance-csv")
    assert download.value.suggested_filename == f"quadramatrix-aaaaaaaa-{start}-{end}.csv"
    lines = Path(download.value.path()).read_text().splitlines()[1:]
    kept = server.get(f"/api/history?start={start}&end={end}&points=20000")
    assert [int(line.split(",")[0]) for line in lines] == kept["iteration"]
    assert [float(line.split(",")[3]) for line in lines] == pytest.approx(kept["variance"])


def test_a_chart_is_kept_as_a_picture(page: Page) -> None:
    with page.expect_download() as download:
        page.click("#mean-png")
    assert download.value.suggested_filename == f"quadramatrix-aaaaaaaa-mean-1-{iteration(page)}.png"
    picture = Path(download.value.path()).read_bytes()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", picture[16:24])
    box: Any = page.locator("#mean-chart").bounding_box()
    assert (width > box["width"], height > box["height"]) == (True, True)


def test_on_a_phone_the_charts_are_pinched_and_nothing_runs_off_the_screen(browser: Browser, server: Server) -> None:
    page = SharedPage(browser, has_touch=True, is_mobile=True).visit(server.url, 390, 844)
    page.locator("#loss-chart").scroll_into_view_if_needed()
    whole = page.evaluate(RANGES)[0]
    x, y = middle(page, "loss")
    fingers = page.context.new_cdp_session(page)
    for step in range(6):
        points = [{"x": x - 20 - 10 * step, "y": y, "id": 0}, {"x": x + 20 + 10 * step, "y": y, "id": 1}]
        kind = "touchMove" if step else "touchStart"
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    fingers.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_function(f"most => (([[min, max]]) => max - min)(({RANGES})()) < most", arg=(whole[1] - whole[0]) / 2)
    expect(page.locator("#whole-button")).to_be_visible()
    assert_all_together(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    sizes = page.evaluate(
        "[...document.querySelectorAll('.chart-tools *, .chart header *')]"
        ".map((element) => parseFloat(getComputedStyle(element).fontSize))"
    )
    assert min(sizes) >= 12
    page.context.close()


def test_where_the_page_scrolls_the_wheel_scrolls_it_and_zooms_with_ctrl(shared: SharedPage, server: Server) -> None:
    page = shared.visit(server.url, 900, 700)
    page.locator("#loss-chart").scroll_into_view_if_needed()
    before, whole = page.evaluate("scrollY"), page.evaluate(RANGES)
    page.mouse.move(*middle(page, "loss"))
    page.mouse.wheel(0, -60)
    page.wait_for_function("before => scrollY < before", arg=before)
    assert page.evaluate(RANGES) == whole
    page.mouse.move(*middle(page, "loss"))
    page.keyboard.down("Control")
    page.mouse.wheel(0, -60)
    expect(page.locator("#whole-button")).to_be_visible()
    page.keyboard.up("Control")


def test_every_vendored_file_has_its_licence_and_the_plugins_come_from_here() -> None:
    vendor = ROOT / "static" / "vendor"
    for script in vendor.glob("*.js"):
        name = re.split(r"(?:\.umd)?\.min\.js", script.name)[0]
        assert "Permission is hereby granted" in next(vendor.glob(f"{name}.LICENSE*")).read_text(), name
    loader = (ROOT / "static" / "js" / "library_loader.js").read_text()
    plugins = re.findall(r'"([a-z-]+-[\d.]+\.min\.js)"', loader)
    assert plugins == ["hammer-2.0.8.min.js", "chartjs-plugin-zoom-2.2.0.min.js"]
    assert all((vendor / plugin).is_file() for plugin in plugins)


def test_another_run_ends_the_zoom(page: Page, server: Server) -> None:
    long_run = server.get("/api/status")["run"]
    drag(page, "loss", 60)
    wait_for_every_iteration(page)
    page.click("#initialize-button")
    page.wait_for_function("Chart.getChart('mean-chart').data.labels.length === 0")
    expect(page.locator("#whole-button")).to_be_hidden()
    with Client(server.url) as client:
        assert client.ask("load_state", {"source": long_run})["ok"]
    page.wait_for_function("Chart.getChart('mean-chart').data.labels.length > 1000")


def press(page: Page, *keys: str) -> list[float]:
    """The range after these keys in the chart that has the focus; the four show the same."""
    for key in keys:
        page.keyboard.press(key)
    page.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
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
    page.wait_for_function(f"({RANGES})().every(([low, high]) => low < 4000 && 4000 < high && high < low + 2000)")
    assert_all_together(page)
    page.click("#marks-summary")


def test_a_mark_is_drawn_where_it_belongs_and_goes_with_its_switch_for_good(page: Page) -> None:
    expect(page.locator("#mark-strike")).to_be_visible()  # once the marks are known
    x = page.evaluate("Chart.getChart('mean-chart').scales.x.getPixelForValue(4000)")
    top = page.evaluate("Chart.getChart('mean-chart').chartArea.top")
    area = ["mean", x - 6, top + 16, 12, 12]
    drawn = page.evaluate(PIXELS, area)
    page.uncheck("#mark-strike-input")
    page.wait_for_function(f"([area, drawn]) => ({PIXELS})(area).join() !== drawn.join()", arg=[area, drawn])
    page.reload()
    wait_until_ready(page)
    expect(page.locator("#mark-strike-input")).not_to_be_checked()
    page.check("#mark-strike-input")


def test_pointing_near_a_mark_says_what_it_is(page: Page) -> None:
    expect(page.locator("#mark-load")).to_be_visible()  # once the marks are known
    page.focus("#loss-chart")
    x = page.evaluate("Chart.getChart('loss-chart').scales.x.getPixelForValue(2000)")
    box: Any = page.locator("#loss-chart").bounding_box()
    page.mouse.move(box["x"] + x, middle(page, "loss")[1])
    page.wait_for_function("Chart.getChart('variance-chart').tooltip.opacity > 0")
    for name in SERIES:
        lines = page.evaluate("name => Chart.getChart(name).tooltip.footer", f"{name}-chart")
        assert any("Loaded here, and went on" in line for line in lines), lines


def test_the_charts_take_the_colours_of_another_theme_at_once(page: Page) -> None:
    grid = "Chart.getChart('loss-chart').options.scales.x.grid.color"
    before = page.evaluate(grid)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"before => {grid} !== before", arg=before)
    page.emulate_media(color_scheme="light")
    page.wait_for_function(f"before => {grid} === before", arg=before)
    page.add_style_tag(content='[data-theme="test"] { --grid: #010203; --loss: #040506; }')
    set_theme = (
        "theme => { document.documentElement.dataset.theme = theme; document.dispatchEvent(new Event('themechange')); }"
    )
    page.evaluate(set_theme, "test")
    page.wait_for_function(f"{grid} === '#010203'")
    page.wait_for_function("Chart.getChart('loss-chart').data.datasets[0].borderColor === '#040506'")
    page.evaluate(set_theme, "light")
    page.wait_for_function(f"before => {grid} === before", arg=before)


def test_an_open_page_shows_after_much_training_what_a_new_visit_shows(page: Page) -> None:
    train_on(page, 75)
    live = charts(page)
    page.reload()
    wait_until_ready(page)
    assert charts(page) == live


def test_a_page_thins_bit_by_bit_to_what_the_server_thins_at_once(page: Page) -> None:
    modules = [
        page.locator(f'link[rel="modulepreload"][href$="/core/{name}.js"]').get_attribute("href")
        for name in ("series", "thinning")
    ]
    generator = np.random.default_rng(5)
    for levels in (2, 1_000_000):
        rows = generator.integers(-levels, levels, (3000, len(SERIES))).astype(np.float32)
        rows[500:700, 1] = np.nan
        parts = [0, *sorted(generator.integers(1, 3000, 20).tolist()), 3000]
        whole = History(rows)
        updates = [whole.slice(first + 1, last, 5000).as_lists() for first, last in pairwise(parts)]
        drawn = page.evaluate(
            """async ([files, updates]) => {
                const [{ append, empty }, { thin }] = await Promise.all(
                    files.map((file) => import(new URL(file, document.baseURI))),
                );
                return updates.reduce((series, points) => thin(append(series, points), 300), empty());
            }""",
            [modules, updates],
        )
        assert drawn == json.loads(json.dumps(whole.slice(1, 3000, 300).as_lists()))


@pytest.fixture(scope="module")
def million(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, Server, Any]]:
    folder = tmp_path_factory.mktemp("million") / "state"
    rows = write_long_run(folder, MANY)
    with warm_server(folder, "--pace", "20") as server:
        with Client(server.url) as client:
            assert client.ask("load_state", {})["iteration_count"] == MANY
        page = opened(browser, server.url)
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


def select_around(page: Page, iteration: int) -> None:
    """Drag over twenty pixels of the chart of the loss, an iteration in their middle."""
    x = page.evaluate("at => Chart.getChart('loss-chart').scales.x.getPixelForValue(at)", iteration)
    box: Any = page.locator("#loss-chart").bounding_box()
    x, y = box["x"] + x, middle(page, "loss")[1]
    page.mouse.move(x - 10, y)
    page.mouse.down()
    page.mouse.move(x, y)
    page.mouse.move(x + 10, y)
    page.mouse.up()


def test_a_spike_among_a_million_is_found_from_near_by_with_every_iteration(million: tuple[Page, Server, Any]) -> None:
    page, _, rows = million
    at = MANY // 3 + 1
    for most in (MANY / 10, 5000):
        select_around(page, at)
        page.wait_for_function(f"most => (([[min, max]]) => max - min)(({RANGES})()) < most", arg=most)
    start, end = wait_for_every_iteration(page)
    assert start <= at <= end
    drawn = charts(page)
    shown_of = [iteration for iteration in drawn["iteration"] if start <= iteration <= end]
    assert shown_of == list(range(start, end + 1))
    assert drawn["loss"][drawn["iteration"].index(at)] == rows[at - 1, 0] == 9.0
