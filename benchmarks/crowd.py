"""A hundred viewers at full training speed against one: the rate of training, what each viewer gets, and how fast HTTP answers.

One server, one run: rounds with one viewer and with a hundred take turns. Viewers are raw WebSockets in a process of their
own, on the same machine; nothing is pinned to a core and nothing has another priority.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from typing import Any

from benchmarks.measuring import REPOSITORY, say
from benchmarks.serving import Server, probe

CROWD = 100


def run(quick: bool) -> dict[str, Any]:
    """The rate with a hundred over that with one: the median of the rounds, each of which has both.

    `own_share` is the same without the time in which the training thread could have run and waited for a processor: what the
    crowd costs where its browsers, and other programs, run on other machines.
    """
    rounds, seconds = (2, 5.0) if quick else (6, 8.0)
    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = []
    with Server("--pace", "max", "--seed", "0", "--resume") as server:
        server.seconds_to_page()
        server.seconds_to_iteration(500)
        for _ in range(rounds):
            alone, crowd = _round(server, 1, seconds), _round(server, CROWD, seconds)
            pairs.append((alone, crowd))
            say(f" one viewer {_shown(alone)}; {CROWD} {_shown(crowd)}")
    return {
        "one_viewer_steps_a_second": statistics.median(alone["rate"] for alone, _ in pairs),
        "crowd_steps_a_second": statistics.median(crowd["rate"] for _, crowd in pairs),
        "share": statistics.median(crowd["rate"] / alone["rate"] for alone, crowd in pairs),
        "own_share": statistics.median(crowd["own_rate"] / alone["own_rate"] for alone, crowd in pairs),
        "fewest_updates_a_second": min(crowd["fewest_updates_a_second"] for _, crowd in pairs),
        "longest_pause_seconds": max(crowd["longest_pause"] for _, crowd in pairs),
        "gaps": sum(crowd["gaps"] for _, crowd in pairs),
        "status_milliseconds": _percentiles([1000 * wait for _, crowd in pairs for wait in crowd["waits"]]),
    }


def _shown(found: dict[str, Any]) -> str:
    return (
        f"{found['rate']:.0f} steps a second ({found['own_rate']:.0f} without waiting for a processor), "
        f"at least {found['fewest_updates_a_second']:.1f} updates a second, longest pause {found['longest_pause']:.2f} s"
    )


def _percentiles(times: list[float]) -> dict[str, float]:
    slowest = sorted(times)
    return {"median": statistics.median(slowest), "p99": slowest[int(0.99 * len(slowest))], "worst": slowest[-1]}


def _round(server: Server, viewers: int, seconds: float) -> dict[str, Any]:
    """Iterations a second, what the viewers were sent, and the seconds of each request of /api/status."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.viewers", str(server.port), str(viewers), str(seconds)],
        cwd=REPOSITORY, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError("the viewers could not connect")
        queued = server.queued_seconds()
        before, started = server.status()["iteration_count"], time.perf_counter()
        waits = probe(f"{server.address}/api/status", seconds - 0.5)
        after, ended = server.status()["iteration_count"], time.perf_counter()
        queued = server.queued_seconds() - queued
        told: dict[str, Any] = json.loads(process.stdout.readline())
    finally:
        process.wait(60)
    rate = (after - before) / (ended - started)
    return {"rate": rate, "own_rate": (after - before) / (ended - started - queued), "waits": waits, **told}
