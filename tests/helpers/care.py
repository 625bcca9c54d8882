"""What every view of the page must be for everybody: by axe, and by the rules of care.js that axe does not know."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import axe_playwright_python
from playwright.sync_api import Page

SCHEMES = ("light", "dark")
LOOKS = tuple((width, height, scheme) for width, height in ((1440, 900), (360, 740)) for scheme in SCHEMES)
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
_RULES = Path(__file__).with_name("care.js").read_text(encoding="utf-8")
_CONTRASTS = Path(__file__).with_name("care_contrasts.js").read_text(encoding="utf-8")
_RUN_AXE = """only => {
    const scope = [...document.querySelectorAll("dialog:modal")].at(-1) ?? document;
    return axe.run(scope, { runOnly: only, resultTypes: ["violations", "incomplete"] });
}"""


def breaches(page: Page, looks: Iterable[tuple[int, int, str]] = LOOKS) -> list[str]:
    """Everything that is wrong with what the page shows now, at these sizes and in these themes; a sentence each."""
    found = []
    for width, height, scheme in looks:
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        page.keyboard.press("Shift")  # from here on the browser shows the focus, as to everyone who uses the keyboard
        found += [f"{width} px, {scheme}: {breach}" for breach in [*_by_axe(page), *page.evaluate(_RULES)]]
    return found


def _by_axe(page: Page) -> list[str]:
    if not page.evaluate("'axe' in window"):
        page.evaluate(_AXE)
    result = page.evaluate(_RUN_AXE, {"type": "tag", "values": TAGS})
    found = [f"{rule['id']}: {_sentence(node)}" for rule in result["violations"] for node in rule["nodes"]]
    return found + _unsure(page, result["incomplete"])


def _unsure(page: Page, incomplete: list[dict[str, Any]]) -> list[str]:
    """Of the contrasts that axe could not tell, those that are too low."""
    nodes = [node for rule in incomplete if rule["id"] == "color-contrast" for node in rule["nodes"]]
    contrasts = page.evaluate(_CONTRASTS, [node["target"][-1] for node in nodes])
    return [
        f"{least:.2f} of contrast: {_sentence(node)}"
        for node, least in zip(nodes, contrasts, strict=True)
        if least < 4.5
    ]


def _sentence(node: dict[str, Any]) -> str:
    return f"{node['target']} {node['failureSummary'].splitlines()[-1].strip()}"
