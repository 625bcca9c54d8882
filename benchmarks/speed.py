"""How many times faster an iteration is than the plain one, by field size and by number of samples."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.measuring import in_process, interleaved, medians, milliseconds, say
from benchmarks.plain import PlainEngine
from quadra.config import TrainingConfig
from quadra.model.corpus import Corpus
from quadra.model.engine import Engine
from quadra.model.torch_backend import TorchBackend

SIZES = (100, 1_000, 10_000, 100_000)
WARM_UP = {100: 300, 1_000: 50, 10_000: 5, 100_000: 2}  # iterations: untrained networks hardly spike and are too fast


def run(quick: bool) -> dict[str, Any]:
    """Ratios at every size; the other packages at 100 cells only, as each takes seconds an iteration on larger fields."""
    torch.set_num_threads(1)
    sizes = SIZES[:2] if quick else SIZES
    rounds, seconds = (3, 0.5) if quick else (5, 1.0)
    by_size = {str(n): _ratios(n, rounds if n < 100_000 else min(rounds, 3), seconds) for n in sizes}
    return {
        "field_size": by_size,
        "samples": _by_samples(quick),
        "threads": _by_threads(quick),
        "profile": _profile(quick),
    }


def _ratios(n: int, rounds: int, seconds: float) -> dict[str, Any]:
    say(f" {n:,} cells")
    config = TrainingConfig(field_size=n, seed=0, threads=1)
    ways: dict[str, Callable[[], object]] = {
        "plain snnTorch": PlainEngine(config, Corpus()).step,
        "QuadraMatrix": _warm(Engine(config, Corpus()), n),
        "QuadraMatrix in torch": _warm(Engine(config, Corpus(), TorchBackend), n),
    }
    if n == SIZES[0]:
        ways.update(_rivals(config))
    return medians(interleaved(ways, rounds, seconds), "plain snnTorch")


def _rivals(config: TrainingConfig) -> dict[str, Callable[[], object]]:
    from benchmarks import rivals

    installed = {name: kind for name, (package, kind) in rivals.RIVALS.items() if importlib.util.find_spec(package)}
    return {name: rivals.BatchedEngine(config, Corpus(), kind).step for name, kind in installed.items()}


def _warm(engine: Engine, n: int) -> Callable[[], object]:
    for _ in range(WARM_UP[n]):
        engine.step()
    return engine.step


def _by_samples(quick: bool) -> dict[str, float]:
    """Milliseconds of an iteration at 100 cells with so many synthetic samples."""
    found = {}
    for count in (1, 10, 30, 100):
        engine = Engine(TrainingConfig(seed=0, threads=1, synthetic_samples=count), Corpus())
        found[str(count + 2)] = milliseconds(_warm(engine, 100), 0.3 if quick else 1.5)
        say(f" {count + 2} samples: {found[str(count + 2)]:.2f} ms")
    return found


THREADS_CODE = """
import json, sys, time
from quadra.config import TrainingConfig
from quadra.model.backend import fastest_backend
from quadra.model.engine import Engine
from quadra.model.corpus import Corpus
from quadra.model.torch_backend import TorchBackend

n, threads, seconds, way = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
config = TrainingConfig(field_size=n, seed=0, threads=threads)
engine = Engine(config, Corpus(), TorchBackend if way == "torch" else fastest_backend(config))
for _ in range(3):
    engine.step()
started, count = time.perf_counter(), 0
while time.perf_counter() - started < seconds:
    engine.step()
    count += 1
print(json.dumps((time.perf_counter() - started) / count * 1000.0))
"""


def _by_threads(quick: bool) -> dict[str, dict[str, float]]:
    """Milliseconds of an iteration with one and two threads, compiled and in torch."""
    found: dict[str, dict[str, float]] = {}
    for n in SIZES[:2] if quick else SIZES:
        found[str(n)] = {
            f"{way}, {threads} threads": in_process(
                THREADS_CODE, n, threads, 1.0 if quick else 4.0, way, threads=threads
            )
            for way in ("compiled", "torch")
            for threads in (1, 2)
        }
        say(f" {n:,} cells: " + ", ".join(f"{name} {value:.2f} ms" for name, value in found[str(n)].items()))
    return found


def _profile(quick: bool) -> dict[str, dict[str, float]]:
    """Microseconds of the processor that an iteration spends in each part."""
    found = {}
    for n in SIZES[:2] if quick else SIZES:
        engine = Engine(TrainingConfig(field_size=n, seed=0, threads=1), Corpus())
        step, count = _warm(engine, n), max(3, 100_000 // n)
        spent: dict[str, float] = {}
        methods = (
            (engine._backend, "evaluate"),
            (engine._backend, "learn"),
            (engine, "_choose"),
            (engine._snapshots, "capture"),
        )
        for owner, name in methods:
            setattr(owner, name, _timed(getattr(owner, name), name, spent))
        timed = _timed(step, "step", spent)
        for _ in range(count):
            timed()
        found[str(n)] = {name: seconds / count * 1e6 for name, seconds in spent.items()}
    return found


def _timed(function: Callable[..., Any], name: str, spent: dict[str, float]) -> Callable[..., Any]:
    def timed(*arguments: Any) -> Any:
        started = time.process_time()
        result = function(*arguments)
        spent[name] = spent.get(name, 0.0) + time.process_time() - started
        return result

    return timed
