"""What every view of the page must be for everybody: by axe, and by the rules of care.js that axe does not know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import axe_playwright_python
from playwright.sync_api import Page

SIZES = ((1440, 900), (360, 740))
SCHEMES = ("light", "dark")
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
BY_COLOUR = ["color-contrast", "link-in-text-block"]  # the rules that depend on the theme
_AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
_RULES = Path(__file__).with_name("care.js").read_text(encoding="utf-8")
_CONTRASTS = Path(__file__).with_name("care_contrasts.js").read_text(encoding="utf-8")
_RUN_AXE = """only => {
    const scope = [...document.querySelectorAll("dialog:modal")].at(-1) ?? document;
    return axe.run(scope, { runOnly: only, resultTypes: ["violations", "incomplete"] });
}"""


def breaches(page: Page) -> list[str]:
    """Everything that is wrong with what the page shows now, at both sizes and in both themes; a sentence each."""
    found = []
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            found += [f"{width} px, {scheme}: {breach}" for breach in _by_axe(page, scheme)]
        page.keyboard.press("Shift")  # from here on the browser shows the focus, as to everyone who uses the keyboard
        found += [f"{width} px: {breach}" for breach in page.evaluate(_RULES)]
    return found


def _by_axe(page: Page, scheme: str) -> list[str]:
    if not page.evaluate("'axe' in window"):
        page.evaluate(_AXE)
    every = scheme == SCHEMES[0]
    only = {"type": "tag", "values": TAGS} if every else {"type": "rule", "values": BY_COLOUR}
    result = page.evaluate(_RUN_AXE, only)
    found = [f"{rule['id']}: {_told(node)}" for rule in result["violations"] for node in rule["nodes"]]
    return found + _unsure(page, result["incomplete"])


def _unsure(page: Page, incomplete: list[dict[str, Any]]) -> list[str]:
    """Of the contrasts that axe could not tell, those that are too low."""
    nodes = [node for rule in incomplete if rule["id"] == "color-contrast" for node in rule["nodes"]]
    contrasts = page.evaluate(_CONTRASTS, [node["target"][-1] for node in nodes])
    return [
        f"{least:.2f} of contrast: {_told(node)}" for node, least in zip(nodes, contrasts, strict=True) if least < 4.5
    ]


def _told(node: dict[str, Any]) -> str:
    return f"{node['target']} {node['failureSummary'].splitlines()[-1].strip()}"
