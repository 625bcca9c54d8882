"""What a folder of the earlier generation with a million iterations costs the loads and lists of all that stands beside it."""

from __future__ import annotations

import pickle
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measuring import say
from quadra import TrainingConfig, TrainingState
from quadra.model.corpus import Corpus
from quadra.model.engine import Engine
from quadra.storage.layout import METRICS, RUNS, SYSTEM, WEIGHTS
from quadra.storage.metrics_file import HISTORY_KEYS

CONFIG = TrainingConfig(seed=1, threads=1)
LONG, SHORT = 1_000_000, 100_000  # iterations of history


def run(quick: bool) -> dict[str, Any]:
    """Seconds of each operation, for the first time and again."""
    iterations = SHORT if quick else LONG
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "state"
        with TrainingState(folder, CONFIG) as state:
            state.initialize()
            state.step()
            state.save("stopped")
        _write(folder / RUNS / ("b" * 16), iterations)
        with TrainingState(folder, CONFIG) as state:
            figures = _figures(state, iterations)
    return {"iterations": iterations, **figures}


def _figures(state: TrainingState, iterations: int) -> dict[str, dict[str, float]]:
    listing = state.saved_states.listing
    figures = {
        "list": _seconds(listing.entries),
        "list again": _seconds(listing.entries),
        "load the run beside it": _seconds(state.load),
    }
    old = next(listed.id for listed in state.catalog().states if listed.iteration_count == iterations)
    figures["load it"] = _seconds(lambda: state.load(old))
    figures["load it again"] = _seconds(lambda: state.load(old))
    return figures


def _seconds(operation: Callable[[], object]) -> dict[str, float]:
    """Returns what passes and what the processor works, which is less where others use it too."""
    started, worked = time.perf_counter(), time.process_time()
    operation()
    seconds = {"passed": time.perf_counter() - started, "worked": time.process_time() - worked}
    seconds = {name: round(value, 3) for name, value in seconds.items()}
    say(f" {seconds}")
    return seconds


def _write(folder: Path, iterations: int) -> None:
    """Writes a folder as the earlier generation left it: histories as pickled lists of floats."""
    folder.mkdir(parents=True)
    engine = Engine(CONFIG, Corpus()).state_dict()
    networks = {"nn1": engine["field_update"], "nn2": engine["syntropy"], "nn3": engine["feedback"]}
    torch.save({**networks, "field": engine["field"], "q_table": {}}, folder / WEIGHTS)
    chance = np.random.default_rng(0)
    metrics = {name: chance.random(iterations).tolist() for name in HISTORY_KEYS}
    system = {"field_size": CONFIG.field_size, "is_initialized": True, "integrity_strikes": 0}
    for name, values in ((METRICS, {**metrics, "iteration_count": iterations}), (SYSTEM, system)):
        (folder / name).write_bytes(pickle.dumps(values))
