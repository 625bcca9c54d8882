"""What the view of what is inside costs training: the rate while a client watches it over the rate while none does."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import Any, Self

from benchmarks.measuring import REPOSITORY, say
from benchmarks.serving import Server

_BLOCK = 1.5  # seconds
_WARM = 1500  # iterations before the first block

CLIENT = """
import sys
import socketio

client, count = socketio.Client(), 0

def taken(update):
    global count
    count += 1

client.on("inside_update", taken)
client.on("metrics_update", lambda update: None)
client.connect(sys.argv[1], transports=["websocket"])
for line in sys.stdin:
    before, count = count, 0
    print(before, client.call("watch_inside", {"open": line.strip() == "open"})["ok"], flush=True)
"""


class _Client:
    """One browser's part, in a process of its own: connected all the time, watching or not."""

    def __init__(self, address: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", CLIENT, address],
            cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def watch(self, is_open: bool) -> int:
        """Open or close the view; how many pictures came since the last call."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("open\n" if is_open else "close\n")
        self._process.stdin.flush()
        count, answer = self._process.stdout.readline().split()
        if answer != "True":
            raise RuntimeError("the server refused to show what is inside")
        return int(count)


def run(quick: bool) -> dict[str, Any]:
    """Blocks with and without a watcher take turns in one run; the ratio is the median of the pairs'."""
    pairs, pictures = [], []
    with Server("--pace", "max", "--save-every", "0", "--seed", "0", "--resume") as server:
        server.seconds_to_page()
        server.seconds_to_iteration(_WARM)
        with _Client(server.address) as client:
            client.watch(False)
            for number in range(8 if quick else 25):
                found = {}
                for is_open in (True, False) if number % 2 else (False, True):
                    client.watch(is_open)
                    found[is_open] = _rate(server)
                    if is_open:
                        pictures.append(client.watch(False))
                pairs.append((found[True], found[False]))
                say(f" watched {found[True]:.0f} iterations a second, unwatched {found[False]:.0f}")
    return {
        "watched": round(statistics.median(watched for watched, _ in pairs), 1),
        "unwatched": round(statistics.median(unwatched for _, unwatched in pairs), 1),
        "ratio": round(statistics.median(watched / unwatched for watched, unwatched in pairs), 4),
        "pictures a second": round(statistics.mean(pictures) / _BLOCK, 2),
    }


def _rate(server: Server) -> float:
    """Iterations a second over a block."""
    before, started = server.status()["iteration_count"], time.perf_counter()
    time.sleep(_BLOCK)
    after, ended = server.status()["iteration_count"], time.perf_counter()
    rate: float = (after - before) / (ended - started)
    return rate
