"""The whole server at full speed with one client watching, against the bare step in a process of its own."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import Any

from benchmarks.measuring import REPOSITORY, in_process, say
from benchmarks.serving import Server

BARE = """
import json, sys, time
from quadra.config import TrainingConfig
from quadra.model.engine import Engine
from quadra.model.corpus import Corpus

engine = Engine(TrainingConfig(seed=0, threads=1), Corpus())
for _ in range(500):
    engine.step()
started, count = time.perf_counter(), 0
while time.perf_counter() - started < float(sys.argv[1]):
    engine.step()
    count += 1
print(json.dumps(count / (time.perf_counter() - started)))
"""

WATCH = """
import sys
import socketio

client = socketio.Client()
client.on("metrics_update", lambda update: None)
client.connect(sys.argv[1], transports=["websocket"])
client.wait()
"""


def run(quick: bool) -> dict[str, Any]:
    """Bare and served take turns; the share is the median of the rounds'."""
    rounds, seconds = (2, 4.0) if quick else (7, 5.0)
    pairs = []
    for _ in range(rounds):
        bare, served = in_process(BARE, seconds), _served(seconds)
        pairs.append((bare, served))
        say(f" bare {bare:.0f} steps a second, served {served:.0f}: {served / bare:.1%}")
    return {
        "bare_steps_a_second": statistics.median(bare for bare, _ in pairs),
        "served_steps_a_second": statistics.median(served for _, served in pairs),
        "share": statistics.median(served / bare for bare, served in pairs),
    }


def _served(seconds: float) -> float:
    options = ("--pace", "max", "--save-every", "0", "--seed", "0", "--resume")
    with Server(*options) as server:
        server.seconds_to_page()
        watcher = subprocess.Popen([sys.executable, "-c", WATCH, server.address], cwd=REPOSITORY)
        try:
            server.seconds_to_iteration(500)
            time.sleep(1.0)
            before, started = server.status()["iteration_count"], time.perf_counter()
            time.sleep(seconds)
            after, ended = server.status()["iteration_count"], time.perf_counter()
            if watcher.poll() is not None:
                raise RuntimeError("the client that was to watch has ended")
        finally:
            watcher.terminate()
            watcher.wait()
    rate: float = (after - before) / (ended - started)
    return rate
