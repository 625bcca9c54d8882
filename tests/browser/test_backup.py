"""The page shows the newest backup, makes one at a request, says why they fail, and restores them."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import expect

from tests.helpers.pages import FAST, SharedPage, phase_is, served, train_until, wait_for_iteration


def test_the_page_shows_the_newest_backup_makes_one_when_asked_says_why_they_fail_and_restores(
    shared: SharedPage, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    with served(shared, tmp_path / "state", *FAST, "--backup-url", place.as_uri()) as (server, page):
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
        phase_is(page, "uninitialized")
        page.click("#restore-button")
        expect(page.locator("#restore-list")).to_contain_text("20 iterations")
        page.click("#restore-confirm")
        phase_is(page, "ready")
        wait_for_iteration(page, 20)
        shared.leave()
        assert server.end() == 0
