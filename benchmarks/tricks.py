"""What each trick of the compiled step saves: the package is copied, the trick taken out of the copy, and both measured."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measuring import ONE_THREAD, REPOSITORY, say

# name: (file, what stands there, what stands there without the trick), repeated for each place
WITHOUT: dict[str, list[tuple[str, str, str]]] = {
    "sums regrouped into vectors": [("model/kernels/jit.py", '{"reassoc", "contract"}', "set()")],
    "only neurons that spike add a row": [("model/kernels/neuron.py", "count += u[j] > threshold", "count += 1")],
    "four rows added at a time": [("model/kernels/forward.py", "while i + 4 <= count:", "while i + 4 <= 0:")],
    "two rows by four in registers": [
        (
            "model/kernels/forward.py",
            "whole_count, whole_others = count - count % 2, others - others % 4",
            "whole_count = whole_others = 0",
        )
    ],
    "blocks of 512 cells": [("model/kernels/forward.py", "BLOCK = 512", "BLOCK = 1_000_000")],
}
SIZES = (100, 100_000)
CODE = """
import json, sys, time
from quadra.config import TrainingConfig
from quadra.model.engine import Engine
from quadra.model.corpus import Corpus

n, warm_up = int(sys.argv[1]), int(sys.argv[2])
engine = Engine(TrainingConfig(field_size=n, seed=0, threads=1, strikes_in_a_row=1), Corpus())
for _ in range(warm_up):
    engine.step()
found = []
for _ in range(7):
    started, count = time.process_time(), 0
    while time.process_time() - started < 0.3:
        engine.step()
        count += 1
    found.append((time.process_time() - started) / count * 1000.0)
print(json.dumps(sorted(found)[3]))
"""


def run(quick: bool) -> dict[str, Any]:
    """Milliseconds of an iteration with all tricks and without each; a copy compiles for about 20 seconds."""
    sizes = SIZES[:1] if quick else SIZES
    names = list(WITHOUT)[:1] if quick else list(WITHOUT)
    with tempfile.TemporaryDirectory() as folder:
        copies = {name: _copy(Path(folder) / str(number), name) for number, name in enumerate(["", *names])}
        found: dict[str, Any] = {}
        for n in sizes:
            times = {name: _measured(copy, n) for name, copy in copies.items()}
            found[str(n)] = {"with all tricks": times[""]}
            for name in names:
                found[str(n)][f"without: {name}"] = times[name]
                say(f" {n:,} cells: without {name} {times[name] / times['']:.2f} times as long")
    return found


def _copy(folder: Path, name: str) -> Path:
    shutil.copytree(REPOSITORY / "quadra", folder / "quadra", ignore=shutil.ignore_patterns("__pycache__"))
    for file, old, new in WITHOUT.get(name, []):
        path = folder / "quadra" / file
        text = path.read_text(encoding="utf-8")
        if old not in text:
            raise RuntimeError(f"{file} no longer has {old!r}")
        path.write_text(text.replace(old, new), encoding="utf-8")
    return folder


def _measured(folder: Path, n: int) -> float:
    command = [sys.executable, "-c", CODE, str(n), str(300 if n <= 1000 else 2)]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **ONE_THREAD}, stdout=subprocess.PIPE, text=True, check=True
    )
    milliseconds: float = json.loads(done.stdout)
    return milliseconds
