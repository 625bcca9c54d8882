"""Ten viewers that never read, and one that does, for ten minutes: `python -m tests.stress.deaf [MINUTES]`.

Prints the server's memory, threads and open files minute by minute. The deaf ones come back whenever their connection is cut.
The exit code is 1 where, in the second half of the time, memory grows by more than 20 bytes an iteration, which is the
history, and 3 MB.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.measuring import REPOSITORY, say
from benchmarks.serving import Server

DEAF = 10
_SAMPLE = 15.0  # seconds
_HISTORY = 20  # bytes an iteration
_SLACK = 3_000_000  # bytes


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("minutes", nargs="?", type=float, default=10.0)
    options = parser.parse_args()
    samples = []
    with Server("--pace", "max", "--seed", "0", "--resume") as server:
        server.seconds_to_page()
        server.seconds_to_iteration(500)
        seconds = 60 * options.minutes
        viewers = [_viewers(server, DEAF, seconds + 5, "--deaf"), _viewers(server, 1, seconds + 5)]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(_SAMPLE)
            samples.append(_sample(server))
            say("iteration {:>7,}: {:.1f} MB, {} threads, {} files".format(*_shown(samples[-1])))
        for process in viewers:
            say((process.communicate(timeout=60)[0] or "").strip())
    first, last = samples[len(samples) // 2], samples[-1]
    grown, allowed = last[1] - first[1], _HISTORY * (last[0] - first[0]) + _SLACK
    iterations = last[0] - first[0]
    say(
        f"Memory grew by {grown / 1e6:.2f} MB; {iterations:,} iterations of history and 3 MB are {allowed / 1e6:.2f} MB"
    )
    return int(grown > allowed)


def _viewers(server: Server, count: int, seconds: float, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.viewers", str(server.port), str(count), str(seconds), *options]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)


def _sample(server: Server) -> tuple[int, int, int, int]:
    """Iteration, bytes of memory, threads, open files."""
    place = Path(f"/proc/{server.number}")
    pages = int((place / "statm").read_text().split()[1])
    counts = [sum(1 for _ in (place / name).iterdir()) for name in ("task", "fd")]
    return server.status()["iteration_count"], pages * 4096, counts[0], counts[1]


def _shown(sample: tuple[int, int, int, int]) -> tuple[int, float, int, int]:
    return sample[0], sample[1] / 1e6, sample[2], sample[3]


if __name__ == "__main__":
    raise SystemExit(main())
