"""What saves cost: the stall of training, whether that stays flat over a long history, and how long a load takes."""

from __future__ import annotations

import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import say
from quadra import TrainingConfig, TrainingState
from quadra.model.history import History
from quadra.storage.folder import StateFolder
from quadra.storage.layout import METRICS
from quadra.storage.writer_process import WriterProcess
from quadra.training.view import WorkerSettings
from quadra.training.worker import Worker

CONFIG = TrainingConfig(seed=1, threads=1)
LONG, SHORT = 1_000_000, 1_000  # iterations of history
_PATIENCE = 60.0
_BLOCK = 0.25  # seconds


def run(quick: bool) -> dict[str, Any]:
    """Medians and ratios of interleaved rounds."""
    figures: dict[str, Any] = {}
    for name, part in (("stall", _stall), ("processor", _processor), ("flat cost", _flat_cost), ("load", _load)):
        figures[name] = part(quick)
        say(f" {name}: {figures[name]}")
    return figures


def _stall(quick: bool) -> dict[str, float]:
    """Rate of training with a save every 10 iterations over that without any, in short blocks that take turns in one run."""
    pairs = 20 if quick else 200
    with _training(10) as worker:
        worker.start_training().result(_PATIENCE)
        rates = [_rates(worker, pair) for pair in range(pairs)]
        health = worker.view().status.save_health
    with_saves, without = zip(*rates, strict=True)
    return {
        "rate with saves": round(statistics.median(with_saves), 1),
        "rate without": round(statistics.median(without), 1),
        "ratio": round(statistics.median(a / b for a, b in rates), 4),
        "median stall ms": health.stall_median_ms,
        "worst stall ms": health.stall_worst_ms,
    }


def _rates(worker: Worker, pair: int) -> tuple[float, float]:
    """Iterations a second with saves and without; the one that comes first changes from pair to pair."""
    found = {every: _rate(worker, every) for every in ((10, 0) if pair % 2 else (0, 10))}
    return found[10], found[0]


@contextmanager
def _training(save_every: int) -> Iterator[Worker]:
    """A worker with a new run, and a writer process as the server has it; it rests."""
    with tempfile.TemporaryDirectory() as place:
        folder = StateFolder(Path(place) / "state")
        writer = WriterProcess(folder.lock_descriptor)
        worker = Worker(folder, CONFIG, WorkerSettings(save_every, None), lambda: TrainingState(folder, CONFIG, writer))
        worker.start()
        worker.initialize().result(_PATIENCE)
        yield worker
        worker.close().result(_PATIENCE)
        writer.close()


def _rate(worker: Worker, every: int) -> float:
    """Iterations a second over a block, after a moment to get going."""
    worker.do(lambda state: worker.autosave.set_interval(state.saving, every) or {}).result(_PATIENCE)
    time.sleep(0.05)
    before, started = worker.view().iteration_count, time.perf_counter()
    time.sleep(_BLOCK)
    return (worker.view().iteration_count - before) / (time.perf_counter() - started)


def _processor(quick: bool) -> dict[str, float]:
    """Processor time of one auto-save: of training, whose caches ten steps have filled, and of the writer process."""
    saves = 100 if quick else 1000
    own = []
    idle = _of_a_writer(lambda _: None)

    def save_often(writer: WriterProcess) -> None:
        with tempfile.TemporaryDirectory() as place, TrainingState(Path(place) / "state", CONFIG, writer) as state:
            state.initialize()
            state.save()
            for _ in range(saves):
                for _ in range(10):
                    state.step()
                started = time.thread_time()
                pending = state.saving.begin()
                began = time.thread_time() - started
                pending.wait(_PATIENCE)
                started = time.thread_time()
                state.saving.collect()
                own.append(began + time.thread_time() - started)

    written = _of_a_writer(save_often)
    return {
        "training thread ms": round(statistics.median(own) * 1000, 3),
        "writer process ms": round(
            (written - idle) / saves * 1000, 3
        ),  # without its start; one save in 32 is a thread's
    }


def _of_a_writer(work: Callable[[WriterProcess], None]) -> float:
    """Processor seconds of a writer process from its start to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    writer = WriterProcess()
    work(writer)
    writer.close()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def _flat_cost(quick: bool) -> dict[str, float]:
    """Auto-save and `save_state()` with a million iterations of history over those with a thousand, interleaved."""
    times = 40 if quick else 200
    with _with_history(LONG) as long, _with_history(SHORT) as short:
        pairs: dict[str, list[tuple[float, float]]] = {"auto-save": [], "save_state": []}
        for _ in range(times):
            for name, save in (("auto-save", _auto_save), ("save_state", _save_state)):
                pairs[name].append((_milliseconds(save, long), _milliseconds(save, short)))
        size = (long.folder.path / METRICS).stat().st_size
    figures = {f"{name} ratio": round(statistics.median(a / b for a, b in taken), 3) for name, taken in pairs.items()}
    medians = {f"{name} ms": round(statistics.median(b for _, b in taken), 3) for name, taken in pairs.items()}
    return {**figures, **medians, "metrics bytes per 1000 iterations": round(size / len(long.history) * 1000)}


@contextmanager
def _with_history(count: int) -> Iterator[TrainingState]:
    """A trained state to which so many iterations of history are ascribed."""
    with tempfile.TemporaryDirectory() as place, TrainingState(Path(place) / "state", CONFIG) as state:
        state.initialize()
        for _ in range(50):
            state.step()
        state.run.history = History(np.random.default_rng(0).random((count, 4), dtype=np.float32))
        state.engine.iteration = count
        state.save()
        yield state


def _auto_save(state: TrainingState) -> None:
    state.saving.begin().wait(_PATIENCE)
    state.saving.collect()


def _save_state(state: TrainingState) -> None:
    assert state.save_state()


def _milliseconds(save: Callable[[TrainingState], None], state: TrainingState) -> float:
    state.step()
    started = time.perf_counter()
    save(state)
    return (time.perf_counter() - started) * 1000.0


def _load(quick: bool) -> dict[str, float]:
    """Seconds to load a million iterations, everything verified."""
    times = 3 if quick else 9
    seconds = []
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "state"
        with TrainingState(path, CONFIG) as state:
            state.initialize()
            state.step()
            state.run.history = History(np.random.default_rng(0).random((LONG, 4), dtype=np.float32))
            state.engine.iteration = LONG
            state.save()
        for _ in range(times):
            with TrainingState(path, CONFIG) as state:
                started = time.perf_counter()
                assert state.load_state()
                seconds.append(time.perf_counter() - started)
    return {"seconds for 1,000,000 iterations": round(statistics.median(seconds), 3)}
