"""From `python app.py` to the page served, and to the first iteration."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.measuring import say
from benchmarks.serving import Server


def run(quick: bool) -> dict[str, Any]:
    """Medians over starts on a warm disk; the first start is not counted."""
    pages, ready = [], []
    for number in range(3 if quick else 6):
        with Server("--pace", "max", "--save-every", "0", "--resume") as server:
            page = server.seconds_to_page()
            trained = server.seconds_to_iteration(1)
        say(f" page after {page:.2f} s, first iteration after {trained:.2f} s")
        if number:
            pages.append(page)
            ready.append(trained)
    return {"page_seconds": statistics.median(pages), "first_iteration_seconds": statistics.median(ready)}
