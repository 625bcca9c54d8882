"""The page shows how far a long load has come."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import expect

from tests.helpers.pages import FAST, SharedPage, served, train_until

# Run in each of the server's processes before anything else: a load is slow, and then waits until a test has seen it.
SLOWED = """
import os, time
from pathlib import Path
from quadra import byte_progress

passed, calls = byte_progress._Measure.passed, []

def slowly(self, count):
    calls.append(count)
    time.sleep(0.3 if len(calls) <= 6 else 0.0)
    passed(self, count)
    while len(calls) >= 6 and not Path(os.environ["GOES_ON"]).exists():  # by now it was shown how long it still takes
        time.sleep(0.02)

byte_progress._Measure.passed = slowly
"""


def test_the_page_shows_how_far_a_long_load_has_come_and_how_long_it_still_takes(
    shared: SharedPage, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SLOWED)
    goes_on = tmp_path / "goes on"
    environment = {"PYTHONPATH": str(tmp_path), "GOES_ON": str(goes_on)}
    with served(shared, tmp_path / "state", *FAST, environment=environment) as (_, page):
        page.click("#initialize-button")
        train_until(page, 20)
        page.click("#load-button")
        progress = page.locator("#message-elapsed")
        expect(progress).to_have_text(
            re.compile(r"^\d+ s · Reading and checking \S+ \wB of \S+ \wB \(\d+ %\), \d+ s left$")
        )
        expect(page.locator("#message-progress")).to_have_attribute("value", re.compile(r"0\.\d+"))
        goes_on.touch()
        expect(page.locator("#message")).to_contain_text("Loaded: 20 iterations")
        expect(progress).to_be_hidden()
