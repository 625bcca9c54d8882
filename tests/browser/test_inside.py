"""The view of what is inside in a real browser: closed until it is opened, and what it draws is what the server sends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.helpers.activity_frames import FULL, decoded
from tests.helpers.pages import FAST, HEIGHT, WIDTH, Lab, SharedPage, lasting_server, train_until, wait_until_ready
from tests.helpers.server import Client, Server

COUNT = 600  # iterations: more than there are columns
DRAWN = "quadra.inside.frame?.message.iteration === quadra.model.status.iteration_count && quadra.inside.grids !== null"


@pytest.fixture(scope="module")
def server(pages: tuple[SharedPage, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("inside") / "state"
    with lasting_server(pages, folder, *FAST, "--save-every", "0") as server:
        with Client(server.url) as client:
            assert client.ask("initialize_system")["ok"]
            assert client.ask("start_training", {"until": COUNT})["ok"]
            client.wait_for("training_status", lambda status: status.get("iteration_count") == COUNT)
        yield server


@pytest.fixture
def sent(server: Server) -> dict[str, Any]:
    """What the server sends of the run at rest."""
    with Client(server.url) as client:
        assert client.ask("watch_inside", {"open": True})["ok"]
        update: dict[str, Any] = client.wait_for("inside_update")
    return update


@pytest.fixture(scope="module")
def visited(shared: SharedPage, server: Server) -> Page:
    page = shared.visit(server.url)
    assert page.evaluate("quadra.inside.frame") is None
    page.click("#inside > summary")
    page.wait_for_function(DRAWN)
    return page


@pytest.fixture
def page(shared: SharedPage, visited: Page, server: Server) -> Page:
    """The view is open, and shows the run."""
    if not visited.url.startswith(server.url):
        shared.visit(server.url)
        visited.click("#inside > summary")
        visited.wait_for_function(DRAWN)
    return visited


def matrix(page: Page, name: str) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate(
        """name => { const { width, height, values } = quadra.inside.grids[name].matrix;
            return { width, height, values: [...values].map((value) => Number.isNaN(value) ? null : value) }; }""",
        name,
    )
    return found


def curves(page: Page, name: str) -> list[list[tuple[float, float | None]]]:
    """The points of every line of a chart."""
    drawn: list[list[list[float | None]]] = page.evaluate(
        "name => Chart.getChart(`inside-${name}-chart`).data.datasets.map((set) => set.data.map(({ x, y }) => [x, y]))",
        name,
    )
    return [[(float(x or 0), y) for x, y in line] for line in drawn]


def test_the_field_is_drawn_as_it_was_and_as_it_is(page: Page, sent: dict[str, Any]) -> None:
    strip, now = matrix(page, "strip"), matrix(page, "now")
    last, every = decoded(sent["columns"]["last"], "<u4").tolist(), sent["stride"]
    assert sent["iteration"] >= COUNT
    assert every > 1
    assert last[:-1] == [every * number for number in range(1, len(last))]
    assert (last[-1], strip["width"], strip["height"]) == (sent["iteration"], len(last), 8)
    assert strip["values"] == decoded(sent["columns"]["fields"], "<i2").tolist()
    assert now["values"] == decoded(sent["field"], "<i2").tolist()
    expect(page.locator("#inside-since")).to_contain_text("Recorded from iteration 1 on")
    expect(page.locator("#inside-strip-told")).to_have_text(
        f"Iterations {every} to {last[-1]:,}, one column every {every} iterations"
    )


def test_the_colours_of_the_strip_follow_its_values(page: Page) -> None:
    found = page.evaluate(
        """() => {
            const { matrix } = quadra.inside.grids.strip;
            const canvas = document.getElementById("inside-strip");
            const context = canvas.getContext("2d");
            const factor = (matrix.scale.length - 1) / (matrix.most - matrix.least);
            return [3, 150, 250].flatMap((column) => [0, 4, 7].map((row) => {
                const value = Math.min(matrix.most, Math.max(matrix.least, matrix.values[column * matrix.height + row]));
                const [x, y] = [(column + 0.5) / matrix.width * canvas.width, (row + 0.5) / matrix.height * canvas.height];
                const expected = matrix.scale[Math.round((value - matrix.least) * factor)];
                return [[...context.getImageData(Math.floor(x), Math.floor(y), 1, 1).data].slice(0, 3), expected];
            }));
        }"""
    )
    for drawn, expected in found:
        assert np.abs(np.subtract(drawn, expected)).max() <= 4, found
    assert len({tuple(drawn) for drawn, _ in found}) > 3


def test_spikes_and_table_are_those_that_were_sent(page: Page, sent: dict[str, Any]) -> None:
    for network, layers in sent["networks"].items():
        drawn = matrix(page, network)
        steps, first = drawn["width"], layers[0]
        bits = np.unpackbits(decoded(first["spikes"], "u1"))[: steps * first["size"]].reshape(steps, first["size"])
        values = np.array(drawn["values"], float).reshape(steps, drawn["height"])
        assert steps == first["time_steps"]
        assert (values[:, : first["size"]] == bits).all()
    table = sent["q_table"]
    assert matrix(page, "values")["values"] == [value for row in table["values"] for value in row]
    assert page.evaluate("quadra.inside.grids.values.matrix.marks.map(({ row }) => row)") == [
        row.index(max(row)) for row in table["values"]
    ]
    expect(page.locator("#inside-values-told")).to_contain_text(f"{len(table['states'])} of {table['total']} states")


def test_the_curves_are_those_of_the_record(page: Page, sent: dict[str, Any]) -> None:
    columns = {name: text for name, text in sent["columns"].items() if name != "from"}
    last = decoded(columns["last"], "<u4").tolist()
    for name, key, width in (("choices", "chosen", 3), ("patterns", "patterns", 3)):
        counts = np.diff(decoded(columns[key], "<u4").reshape(-1, width).astype(int), axis=0, prepend=0)
        expected = counts / counts.sum(1, keepdims=True)
        drawn = curves(page, name)
        assert [[x for x, _ in line] for line in drawn] == [last] * width
        np.testing.assert_allclose([[y or 0.0 for _, y in line] for line in drawn], expected.T, atol=1e-12)
    plasticity, rate = curves(page, "plasticity")
    assert [y for _, y in plasticity] == decoded(columns["plasticity"], "<f4").tolist()
    assert rate[-1][1] == pytest.approx((plasticity[-1][1] or 0.0) * sent["learning_rate"])
    newest = decoded(columns["rates"], "<f4").reshape(-1, 3)[-1].tolist()
    assert [line[-1][1] for line in curves(page, "firing")] == newest


def test_values_are_read_off_by_pointer_and_by_keyboard(page: Page, sent: dict[str, Any]) -> None:
    fields = decoded(sent["columns"]["fields"], "<i2").reshape(-1, 8) / FULL
    page.focus("#inside-strip")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowUp")
    value = page.locator("#inside-strip-told")
    expect(value).to_contain_text(f"Iteration {sent['iteration']:,}, cell 3: ")
    assert float((value.text_content() or "").split(": ")[1]) == pytest.approx(fields[-1, 3], abs=1e-3)
    page.keyboard.press("Home")
    expect(value).to_contain_text(f"Iteration {sent['stride']}, cell 3: ")
    page.keyboard.press("Escape")
    expect(value).to_contain_text("one column every")
    page.hover("#inside-now", position={"x": 3, "y": 10})
    expect(page.locator("#inside-now-told")).to_contain_text("cell 0: ")


def test_while_training_the_view_follows_and_closed_it_is_sent_nothing(page: Page, server: Server) -> None:
    """What another viewer was sent says that a round of sending is over; an answer to the page comes after what it was sent."""
    count = page.evaluate("quadra.model.status.iteration_count")
    train_until(page, count + 60)
    page.wait_for_function(DRAWN)
    assert page.evaluate("quadra.inside.frame.columns.last.at(-1)") == count + 60
    with Client(server.url) as viewer:
        assert viewer.ask("watch_inside", {"open": True})["ok"]

        def train_on(until: int) -> None:
            train_until(page, until)
            viewer.wait_for("inside_update", lambda update: update["iteration"] == until)
            train_until(page, until + 1)

        page.click("#inside > summary")
        train_on(count + 80)  # a picture may have been on its way
        last = page.evaluate("quadra.inside.frame.message.iteration")
        train_on(count + 100)
        assert page.evaluate("quadra.inside.frame.message.iteration") == last
    page.click("#inside > summary")
    page.wait_for_function(DRAWN)


def test_the_choice_is_kept_and_a_narrow_page_holds_it(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.reload()
    wait_until_ready(page)
    page.wait_for_function(DRAWN)
    page.wait_for_function("document.documentElement.scrollWidth <= 360")  # the charts follow a frame later
    sizes = page.evaluate(
        """[...document.querySelectorAll("#inside *")].filter((each) => each.checkVisibility() && each.childNodes.length)
            .map((each) => parseFloat(getComputedStyle(each).fontSize))"""
    )
    assert min(sizes) >= 12
    page.set_viewport_size({"width": WIDTH, "height": HEIGHT})


def test_opened_before_anything_is_recorded_it_follows_from_the_first_iteration(shared: SharedPage, lab: Lab) -> None:
    page = shared.visit(lab.server.url)
    page.click("#initialize-button")
    page.click("#inside > summary")
    page.wait_for_function(DRAWN)
    assert page.evaluate("quadra.inside.frame.columns.last.length") == 0
    train_until(page, 30)
    page.wait_for_function(DRAWN)
    assert page.evaluate("quadra.inside.frame.columns.last.at(-1)") == 30
