"""How long `/health` takes while strangers hold connections that are idle or slow, and whether training notices.

One server that trains for each kind of flood in turn, then five minutes of all kinds together: the run that was flooded must
have the bits of one that was left alone.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import socketio

from benchmarks.measuring import REPOSITORY, in_process, say
from benchmarks.serving import Server, probe
from benchmarks.strangers import KINDS

_DIGESTS = """
import json, pathlib, sys
from quadra.reports.prove import train
print(json.dumps(train(pathlib.Path(sys.argv[1]), 0)))
"""
_IDLE, _SLOW = 1100, 260  # connections; a common limit of open files is 1,024, and there were 256 threads once
_PACE = 50  # iterations a second of the run that is compared


def run(quick: bool) -> dict[str, Any]:
    """Milliseconds of `/health` in each flood, and whether the bits are the same."""
    seconds, minutes = (4.0, 0.25) if quick else (30.0, 5.0)
    found: dict[str, Any] = {}
    with Server("--pace", str(_PACE), "--seed", "0", "--resume") as server:
        server.seconds_to_page()
        server.seconds_to_iteration(10)
        found["alone"] = _milliseconds("alone", probe(f"{server.address}/health", seconds))
        for kind in KINDS:
            with _strangers(server, _SLOW if KINDS[kind] else _IDLE, [kind]):
                found[kind] = _milliseconds(kind, probe(f"{server.address}/health", seconds))
    iterations = int(60 * minutes * _PACE)
    flooded, found["all-kinds"], found["updates"] = _flooded(iterations)
    found["iterations"], found["same_bits"] = iterations, flooded == _left_alone(iterations)
    say(f" {iterations} iterations in {minutes:g} minutes: {'the same bits' if found['same_bits'] else 'OTHER BITS'}")
    return found


def _flooded(iterations: int) -> tuple[Any, dict[str, float], int]:
    """The digests of a run in a flood of all kinds, the times of `/health` meanwhile, and what an open page was told."""
    updates: list[float] = []
    with Server("--pace", str(_PACE), "--seed", "0") as server, _page(server) as page:
        page.on("metrics_update", lambda _: updates.append(time.perf_counter()))
        with _strangers(server, _IDLE, list(KINDS)):
            _begin(page, iterations)
            times = []
            while not _has_ended(server, iterations):
                times += probe(f"{server.address}/health", 1.0)
        return _digests(server), _milliseconds("all kinds", times), len(updates)


def _left_alone(iterations: int) -> Any:
    with Server("--pace", "max", "--seed", "0") as server, _page(server) as page:
        _begin(page, iterations)
        while not _has_ended(server, iterations):
            time.sleep(0.2)
        return _digests(server)


def _digests(server: Server) -> Any:
    """SHA-256 of every part of the saved state that training reads, and of all histories."""
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(server.folder, copy, dirs_exist_ok=True)
        return in_process(_DIGESTS, copy)


@contextmanager
def _page(server: Server) -> Iterator[socketio.Client]:
    server.seconds_to_page()
    page = socketio.Client(reconnection=False, request_timeout=60)
    page.connect(server.address, transports=["websocket"])
    try:
        yield page
    finally:
        page.disconnect()


def _begin(page: socketio.Client, iterations: int) -> None:
    """Has a new run train to an iteration."""
    page.call("initialize_system", {})
    page.call("start_training", {"until": iterations})


def _has_ended(server: Server, iterations: int) -> bool:
    """Whether the run has come there, and is saved."""
    status = server.status()
    return bool(status["iteration_count"] == iterations and not status["running"])


@contextmanager
def _strangers(server: Server, count: int, kinds: list[str]) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.strangers", str(server.port), str(count), *kinds],
        cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError("the strangers could not connect")
        yield
        if process.poll() is not None:
            raise RuntimeError("the strangers have ended")
    finally:
        process.stdin.close()
        process.wait(60)


def _milliseconds(name: str, times: list[float]) -> dict[str, float]:
    found = {"median": 1000 * statistics.median(times), "worst": 1000 * max(times)}
    say(f" {name}: /health in {found['median']:.1f} ms, at worst {found['worst']:.0f} ms, of {len(times)}")
    return found
