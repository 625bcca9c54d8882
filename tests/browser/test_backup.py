"""The page shows the newest backup, makes one at a request, says why they fail, and restores them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.test_three_days import opened, train_until, wait_for_iteration
from tests.helpers.browser import executable, running_browser
from tests.helpers.server import warm_server


@pytest.mark.skipif(executable() is None and not os.environ.get("CI"), reason="no Chromium is installed here")
def test_the_page_shows_the_newest_backup_makes_one_when_asked_says_why_they_fail_and_restores(tmp_path: Path) -> None:
    place = tmp_path / "place"
    options = ("--pace", "max", "--field-size", "8", "--seed", "3", "--backup-url", place.as_uri())
    with running_browser() as browser, warm_server(tmp_path / "state", *options) as server:
        page = opened(browser, server.url)
        expect(page.locator("#backup-iteration-value")).to_have_text("none yet")
        expect(page.locator("#backup-button")).to_be_disabled()
        page.click("#initialize-button")
        train_until(page, 20)
        expect(page.locator("#backup-iteration-value")).to_have_attribute("data-value", "20")
        expect(page.locator("#backup-age-value")).to_have_text(re.compile(r"^just now$|^\d+(s|min) ago$"))
        page.click("#backup-button")
        expect(page.locator("#message-text")).to_have_text("Backed up: 20 iterations.")
        place.rename(tmp_path / "unplugged")
        place.write_text("no folder any more")
        page.click("#backup-button")
        trouble = page.locator("#backup-trouble")
        expect(trouble).to_contain_text("Backups fail since")
        expect(trouble).to_contain_text(place.as_uri())
        expect(page.locator("#message-text")).to_contain_text(place.as_uri())
        place.unlink()
        (tmp_path / "unplugged").rename(place)
        page.click("#backup-button")
        expect(trouble).to_be_hidden()
        page.click("#reset-button")
        page.click("#reset-confirm")
        expect(page.locator("#status-value")).to_have_attribute("data-value", "uninitialized")
        page.click("#restore-button")
        expect(page.locator("#restore-list")).to_contain_text("20 iterations")
        page.click("#restore-confirm")
        expect(page.locator("#status-value")).to_have_attribute("data-value", "ready")
        wait_for_iteration(page, 20)
        page.context.close()
        assert server.end() == 0
