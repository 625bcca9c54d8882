"""How many times faster a step is than the plain iteration of the same mathematics: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch

from benchmarks.plain import PlainEngine
from quadra.config import TrainingConfig
from quadra.engine import Engine
from quadra.text import Corpus


def milliseconds(step: Callable[[], object], times: int) -> float:
    """Milliseconds of one step, over several in a row."""
    started = time.perf_counter()
    for _ in range(times):
        step()
    return (time.perf_counter() - started) / times * 1000.0


def main() -> None:
    """Interleaved rounds on one thread; prints each round and the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--field-size", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = TrainingConfig(field_size=options.field_size, seed=0, threads=1)
    plain, engine = PlainEngine(config, Corpus()), Engine(config, Corpus())
    milliseconds(plain.step, 2)
    milliseconds(engine.step, 20)
    rounds = []
    for number in range(options.rounds):
        slow, fast = milliseconds(plain.step, 3), milliseconds(engine.step, 60)
        rounds.append((slow / fast, slow, fast))
        sys.stdout.write(f"round {number + 1}: plain {slow:.1f} ms, engine {fast:.2f} ms, {slow / fast:.1f} times\n")
    ratio, slow, fast = (statistics.median(column) for column in zip(*rounds, strict=True))
    sys.stdout.write(f"median: plain {slow:.1f} ms, engine {fast:.2f} ms, {ratio:.1f} times\n")


if __name__ == "__main__":
    main()
