"""What the benchmarks share: interleaved rounds, medians, processes of their own."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def say(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def milliseconds(step: Callable[[], object], seconds: float) -> float:
    """Milliseconds of one step, over as many in a row as fit into a time.

    Of the processor, not of the clock: they are the same for one thread alone on a core, but a neighbour's turns on the
    core are not counted.
    """
    count, started = 0, time.process_time()
    while True:
        step()
        count += 1
        passed = time.process_time() - started
        if passed >= seconds:
            return passed / count * 1000.0


def interleaved(ways: Mapping[str, Callable[[], object]], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Milliseconds of a step of each way, round by round, so that what disturbs the machine disturbs all alike."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for step in ways.values():
        step()
    for number in range(rounds):
        for name, step in ways.items():
            times[name].append(milliseconds(step, seconds))
        say(
            f"  round {number + 1} of {rounds}: "
            + ", ".join(f"{name} {found[-1]:.2f} ms" for name, found in times.items())
        )
    return times


def medians(times: Mapping[str, list[float]], base: str) -> dict[str, dict[str, float]]:
    """For each way its median milliseconds, and the median over the rounds of how many times faster than `base` it is."""
    return {
        name: {
            "milliseconds": statistics.median(found),
            "times_plain": statistics.median(slow / fast for slow, fast in zip(times[base], found, strict=True)),
        }
        for name, found in times.items()
    }


def in_process(code: str, *arguments: object, threads: int = 1) -> Any:
    """What a new Python process prints as JSON on its last line."""
    environment = {**os.environ, **{name: str(threads) for name in ONE_THREAD}}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])
