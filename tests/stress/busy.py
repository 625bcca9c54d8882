"""The default tests again and again, while other processes keep every core busy: none may fail.

    python -m tests.stress.busy                       ten runs beside two busy loops
    python -m tests.stress.busy --runs 1 --loops 4    one, on a busier machine
    python -m tests.stress.busy -- -m "not browser"   what stands behind -- is handed to pytest

Each run draws by another seed, as every run does; one that failed is repeated by the seed in its last lines. Ends with
code 1 where a run failed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.helpers.server import ROOT


def turn() -> None:
    """Use up one core."""
    while True:
        pass


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """So many processes that do nothing but compute, ended at the end."""
    loops = [multiprocessing.Process(target=turn, daemon=True) for _ in range(count)]
    for loop in loops:
        loop.start()
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.join()


def tests_pass(number: int, options: Sequence[str]) -> bool:
    """Run the tests once and print the outcome; of a run that failed, all that it printed."""
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", *options]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    lines = done.stdout.splitlines()
    if done.returncode != 0:
        sys.stdout.write(done.stdout)
    skipped = [line for line in lines if line.startswith("SKIPPED")]
    outcome = f"run {number}: {lines[-1] if lines else 'nothing was printed'} ({lines[0] if lines else ''})"
    sys.stdout.write("\n".join([outcome, *skipped, f"{time.monotonic() - began:.0f} seconds by the clock", ""]))
    sys.stdout.flush()
    return done.returncode == 0


def main() -> int:
    """Run and tell; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress.busy", description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--loops", type=int, default=2)
    parser.add_argument("options", nargs="*", help="for pytest, behind --")
    arguments = parser.parse_args()
    with busy_loops(arguments.loops):
        passed = [tests_pass(number, arguments.options) for number in range(1, arguments.runs + 1)]
    sys.stdout.write(f"{sum(passed)} of {len(passed)} runs passed beside {arguments.loops} busy loops\n")
    return int(not all(passed))


if __name__ == "__main__":
    raise SystemExit(main())
