"""The real browser of the tests: found, started, and, as `python -m tests.helpers.browser`, installed where that is allowed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Error, expect, sync_playwright

from tests.helpers import proxies

PATIENCE = 30_000.0  # milliseconds that a page may take on a slow machine
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def executable() -> str | None:
    """A Chromium of the system or of Playwright; None where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).exists() else None


@contextmanager
def running_browser() -> Iterator[Browser]:
    """A headless Chromium, closed at the end."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def install() -> bool:
    """Install Chromium by the system's packages where we may, else by Playwright; whether one is there afterwards."""
    if executable():
        return True
    if shutil.which("apt-get") and os.geteuid() == 0:
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], check=False, env=quiet)
        subprocess.run(
            ["apt-get", "install", "-y", "-qq", "chromium"], check=False, env=quiet, stdout=subprocess.DEVNULL
        )
    else:
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)
    try:
        return executable() is not None
    except Error:
        return False


if __name__ == "__main__":
    if not install():
        sys.stderr.write("No Chromium could be installed: the tests in a real browser will be skipped.\n")
    proxies.install()
    for proxy in filter(proxies.missing, proxies.PACKAGES):
        sys.stderr.write(f"{proxy} could not be installed: the tests behind it will be skipped.\n")
