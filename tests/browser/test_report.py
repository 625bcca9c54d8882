"""The report in a real browser: from a file, without a network, on a large and a small screen, and on paper."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from quadra.model.history import checksum_of
from quadra.reports.html_report import report
from quadra.storage.saved_state import SavedState
from tests.helpers.pdf import texts_of
from tests.helpers.state_helpers import saved_states

NOW = datetime(2026, 2, 3, tzinfo=UTC)
A4 = (595, 842)  # points
HOSTILE = "<script>document.title = 'taken over'</script><img src='http://127.0.0.1:9/x.png'>" + "W" * 120


@dataclass
class Opened:
    """A page that was opened from a file, and whatever it asked for or complained of."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def wait_for_complaints(self, count: int) -> None:
        """The browser passes them on in its own time."""
        while len(self.complaints) < count:
            self.page.wait_for_event("console")


def a_long_run() -> SavedState:
    """Two thousand iterations with lost rows, a hostile path and a Q-table of usual size."""
    (state,) = saved_states(3)
    rows = np.random.default_rng(1).normal(0.5, 0.1, (2000, 4)).astype(np.float32)
    rows[700:900] = np.nan
    generator = np.random.default_rng(2)
    table = {
        f"{number / 100}": dict(
            zip(("update_field", "adjust_syntropy", "penalize_variance"), generator.random(3) * 10, strict=True)
        )
        for number in range(110)
    }
    return replace(
        state,
        rows=rows,
        record=replace(state.record, iteration_count=2000, history_sha256=checksum_of(rows)),
        engine={
            **state.engine,
            "q_table": table,
            "optimizer": {"step": 6000},
            "corpus": {"path": "/texts/" + "long-" * 60, "fingerprint": "0" * 64},
        },
    )


def opened(browser: Browser, html: str, folder: Path, width: int, height: int, offline: bool = True) -> Opened:
    file = folder / "report.html"
    file.write_text(html, encoding="utf-8")
    context = browser.new_context(viewport={"width": width, "height": height}, offline=offline)
    found = Opened(context.new_page())
    found.page.on("request", lambda request: found.requests.append(request.url))
    found.page.on("console", lambda message: found.complaints.append(message.text))
    found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
    found.page.goto(file.as_uri())
    return found


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_a_report_opens_from_a_file_asks_for_nothing_and_fits_the_screen(
    browser: Browser, tmp_path: Path, width: int, height: int
) -> None:
    found = opened(browser, report(a_long_run(), HOSTILE, NOW, HOSTILE), tmp_path, width, height)
    page = found.page
    assert [url for url in found.requests if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in found.requests if url.startswith("file:")]) == 1
    assert found.complaints == []
    assert page.locator("h1").inner_text() == HOSTILE
    assert page.title().startswith("<script>")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for box in page.locator("figure svg").evaluate_all("all => all.map((svg) => svg.getBoundingClientRect().toJSON())"):
        assert box["width"] > 300
        assert box["height"] == pytest.approx(box["width"] * 236 / 420, rel=0.01)


@pytest.mark.complaints("Content Security Policy")
def test_the_policy_of_a_report_forbids_what_might_get_into_it(browser: Browser, tmp_path: Path) -> None:
    (state,) = saved_states(1)
    with socket.create_server(("127.0.0.1", 0)) as outside:
        outside.setblocking(False)
        image = f"<img src='http://127.0.0.1:{outside.getsockname()[1]}/x.png'>"
        html = report(state, "Mine", NOW).replace(
            "<main>", f"<main><script>document.title = 'not mine'</script>{image}"
        )
        found = opened(browser, html, tmp_path, 800, 600, offline=False)
        assert found.page.title().startswith("Mine")
        found.wait_for_complaints(2)
        assert ["Content Security Policy" in text for text in found.complaints] == [True, True]
        with pytest.raises(BlockingIOError):
            outside.accept()


def test_a_report_prints_on_a4_with_its_text(browser: Browser, tmp_path: Path) -> None:
    state = a_long_run()
    found = opened(browser, report(state, "On paper", NOW), tmp_path, 1440, 900)
    printed = found.page.pdf(prefer_css_page_size=True)
    boxes = {tuple(map(float, box.split())) for box in re.findall(rb"/MediaBox \[([^\]]+)\]", printed)}
    assert {(round(right), round(top)) for _, _, right, top in boxes} == {A4}
    pages = texts_of(printed)
    assert 3 <= len(pages) <= 6
    together = "".join(pages)
    expected = (
        *("Onpaper", "Fieldmean", "Statistics", "medianofthelast100", "field_update_hidden", "Howtoreproduceit"),
        *(checksum_of(state.rows), "200rowsofitarelost", "python-mquadra.provedashboard_state"),
    )
    assert [piece for piece in expected if piece not in together] == []
    for number, text in enumerate(pages, start=1):
        assert f"{number}/{len(pages)}" in text
        assert f"QuadraMatrix,run{state.record.run},iteration2000" in text


@pytest.mark.parametrize("lines", [16, 32])
def test_no_chart_is_cut_where_a_page_ends(browser: Browser, tmp_path: Path, lines: int) -> None:
    """Of a chart that is cut, the axis comes out on one page and the title on another."""
    html = report(a_long_run(), "On paper", NOW, "A line of the note\n" * lines)
    pages = texts_of(opened(browser, html, tmp_path, 1440, 900).page.pdf(prefer_css_page_size=True))
    for title in ("Loss", "Reward", "Fieldvariance", "Fieldmean"):
        assert [text.count(f"iteration{title}") for text in pages if f"iteration{title}" in text] == [1]
