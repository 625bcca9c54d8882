"""The real browser of the tests: found, started, listened to, and installed by `python -m tests.helpers.browser`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from weakref import WeakKeyDictionary

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, expect, sync_playwright

from tests.helpers import proxies

PATIENCE = 60_000.0  # milliseconds that a page may take on a slow machine
CDN = (
    "cdn.jsdelivr.net"  # which the page asks first; it is not found here, so that tests are the same without a network
)
SLOWDOWN = float(
    os.environ.get("BROWSER_SLOWDOWN", "1")
)  # 6: pages run at a sixth of the speed, to find tests in haste
FLAGS = [
    f"--host-resolver-rules=MAP {CDN} ~NOTFOUND",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@cache
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
    """A headless Chromium, closed at the end; what its pages complain of is kept for `complaints`."""
    expect.set_options(timeout=PATIENCE * SLOWDOWN)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=FLAGS)
        _COMPLAINTS[browser] = []
        browser.on("context", _listen)
        try:
            yield browser
        finally:
            browser.close()


_COMPLAINTS: WeakKeyDictionary[Browser, list[str]] = WeakKeyDictionary()


def _listen(context: BrowserContext) -> None:
    assert context.browser is not None
    found = _COMPLAINTS[context.browser]

    def hear(message: ConsoleMessage) -> None:
        address = message.location["url"]
        if message.type == "error" and CDN not in address:
            found.append(f"{message.text} ({address})")

    context.set_default_timeout(PATIENCE * SLOWDOWN)
    if SLOWDOWN > 1:
        context.on("page", _slow_down)
    context.on("console", hear)
    context.on("weberror", lambda error: found.append(f"thrown: {error.error}"))


def _slow_down(page: Page) -> None:
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": SLOWDOWN})


def complaints(browser: Browser) -> list[str]:
    """The errors on the consoles of a browser's pages, and those that they threw, since this was last called."""
    for page in (page for context in browser.contexts for page in context.pages):
        page.evaluate("0")  # what is still on its way comes before this answer
    found = list(_COMPLAINTS[browser])
    _COMPLAINTS[browser].clear()
    return found


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
        executable.cache_clear()
        return executable() is not None
    except Error:
        return False


if __name__ == "__main__":
    if not install():
        sys.stderr.write("No Chromium could be installed: the tests in a real browser will be skipped.\n")
    proxies.install()
    for proxy in filter(proxies.missing, proxies.PACKAGES):
        sys.stderr.write(f"{proxy} could not be installed: the tests behind it will be skipped.\n")
