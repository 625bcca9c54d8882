"""The page in a real Chromium: how soon a long history is painted, and what a minute of training at full speed does to it."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, CDPSession, Page

from benchmarks.measuring import say
from benchmarks.serving import Server
from quadra import TrainingConfig, TrainingState
from quadra.model.history import History
from tests.helpers.browser import running_browser

LONG = 1_000_000  # iterations of history
SMOOTH = 100.0  # milliseconds that no frame should take longer than
_VIEW: Any = {"width": 1440, "height": 900}

# Notes, counted from the navigation, when the four charts have been painted with data.
_PAINTED = """() => {
  const look = () => {
    const drawn = ["loss", "reward", "variance", "mean"].every(
      (name) => (globalThis.Chart?.getChart?.(name + "-chart")?.data.datasets[0].data.length ?? 0) > 1000);
    if (drawn) requestAnimationFrame(() => setTimeout(() => { globalThis.paintedAt = performance.now(); }));
    else requestAnimationFrame(look);
  };
  if (self === top) look();
}"""

# Notes every frame that came late, and every task that took long, from here on.
_WATCH = """() => {
  const found = { frames: [], tasks: [], count: 0 };
  globalThis.found = found;
  let before = performance.now();
  const frame = (now) => {
    found.count++;
    if (now - before > 50) found.frames.push([before, now]);
    before = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries()) found.tasks.push([startTime, startTime + duration]);
  }).observe({ type: "longtask" });
}"""


def run(quick: bool) -> dict[str, Any]:
    """Medians of several visits; memory, frames and processor time of several minutes (quick: ten seconds, once)."""
    with running_browser() as browser:
        paint = _first_paint(browser, 3 if quick else 9)
        seconds, times = (10.0, 1) if quick else (60.0, 3)
        minutes = [_training(browser, seconds) for _ in range(times)]
    return {"first paint": paint, "training": minutes}


def _first_paint(browser: Browser, visits: int) -> dict[str, float]:
    with Server("--pace", "1", "--save-every", "0", "--resume", prepare=_write_long_run) as server:
        server.seconds_to_page()
        server.seconds_to_iteration(LONG)
        found = [_visit(browser, server.address) for _ in range(visits)]
    say(
        " first paint: "
        + ", ".join(f"{painted:.0f} ({busy:.0f})" for painted, busy in found)
        + " ms (of the processor)"
    )
    painted, busy = zip(*found, strict=True)
    return {
        "median_ms": statistics.median(painted),
        "best_ms": min(painted),
        "worst_ms": max(painted),
        "median_ms_of_the_processor": statistics.median(busy),
    }


def _write_long_run(folder: Path) -> None:
    """A trained state to which a million iterations of history are ascribed."""
    with TrainingState(folder, TrainingConfig(seed=1, threads=1)) as state:
        state.initialize()
        state.step()
        state.run.history = History(np.random.default_rng(1).random((LONG, 4), dtype=np.float32))
        state.engine.iteration = LONG
        state.save("stopped")


def _visit(browser: Browser, address: str) -> tuple[float, float]:
    """Milliseconds from the navigation to the painted charts, with nothing in the browser's cache: by the clock, and of the
    processor on the page's main thread."""
    page = browser.new_context(bypass_csp=True, viewport=_VIEW).new_page()
    page.add_init_script(f"({_PAINTED})()")
    inside = page.context.new_cdp_session(page)
    inside.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(address)
    painted: float = page.wait_for_function("globalThis.paintedAt").json_value()
    busy = _metrics(inside)["TaskDuration"] * 1000.0
    page.context.close()
    return painted, busy


def _training(browser: Browser, seconds: float) -> dict[str, float]:
    with Server("--pace", "max", "--seed", "0", "--resume") as server:
        server.seconds_to_page()
        server.seconds_to_iteration(5000)  # the charts are thinned from here on
        page = browser.new_context(bypass_csp=True, viewport=_VIEW).new_page()
        page.goto(server.address)
        page.wait_for_selector("html[data-ready=true]")
        page.wait_for_timeout(2000)
        found = _watch(page, page.context.new_cdp_session(page), seconds)
        page.context.close()
    say(f" training: {found}")
    return found


def _watch(page: Page, inside: CDPSession, seconds: float) -> dict[str, float]:
    inside.send("Performance.enable", {"timeDomain": "threadTicks"})
    before, began_at = _metrics(inside), page.evaluate("quadra.model.status.iteration_count")
    page.evaluate(f"({_WATCH})()")
    time.sleep(seconds)
    found = page.evaluate("found")
    after, ended_at = _metrics(inside), page.evaluate("quadra.model.status.iteration_count")
    late = [frame for frame in found["frames"] if frame[1] - frame[0] > SMOOTH]
    longest = max((end - start for start, end in found["frames"]), default=50.0)
    return {
        "iterations a second": round((ended_at - began_at) / seconds, 1),
        "frames a second": round(found["count"] / seconds, 1),
        "longest frame ms": round(longest, 1),
        "frames over 100 ms": len(late),
        "of these, with a long task of the page": sum(_is_explained(frame, found["tasks"]) for frame in late),
        "longest task ms": round(max((end - start for start, end in found["tasks"]), default=50.0), 1),
        "processor share of the page": round((after["TaskDuration"] - before["TaskDuration"]) / seconds, 3),
        "memory before MB": round(before["JSHeapUsedSize"] / 1e6, 2),
        "memory after MB": round(after["JSHeapUsedSize"] / 1e6, 2),
        "nodes more": after["Nodes"] - before["Nodes"],
    }


def _is_explained(frame: list[float], tasks: list[list[float]]) -> bool:
    """Whether tasks of the page took at least half of a frame."""
    covered = sum(max(0.0, min(frame[1], end) - max(frame[0], start)) for start, end in tasks)
    return covered >= (frame[1] - frame[0]) / 2


def _metrics(inside: CDPSession) -> dict[str, float]:
    """What Chromium measures of the page, after a collection of its garbage."""
    inside.send("HeapProfiler.collectGarbage")
    return {metric["name"]: metric["value"] for metric in inside.send("Performance.getMetrics")["metrics"]}
