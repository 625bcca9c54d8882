"""Peak memory of training at 100,000 cells, above the start of the process, as a multiple of the parameters' bytes."""

from __future__ import annotations

from typing import Any

from benchmarks.measuring import in_process, say

CODE = """
import json, resource, sys
from quadra.config import TrainingConfig
from quadra.model.engine import Engine
from quadra.model.corpus import Corpus

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

Engine(TrainingConfig(field_size=2, seed=0, threads=1), Corpus()).step()  # libraries and kernels are loaded
start = peak()
engine = Engine(TrainingConfig(field_size=int(sys.argv[1]), seed=0, threads=1), Corpus())
parameters = sum(values.nbytes for values in engine.parameters.values())
for _ in range(4):
    snapshot = engine.snapshot()  # what a save takes
    engine.step()
    snapshot.release()
    engine.step()
print(json.dumps({"parameters_bytes": parameters, "peak_bytes": peak() - start, "times": (peak() - start) / parameters}))
"""


def run(quick: bool) -> dict[str, Any]:
    """With steps, their undo copy and snapshots."""
    sizes = (100, 10_000) if quick else (100, 100_000)
    found = {str(n): in_process(CODE, n) for n in sizes}
    for n, memory in found.items():
        say(f" {int(n):,} cells: {memory['peak_bytes'] / 2**20:.1f} MB, {memory['times']:.2f} times the parameters")
    return found
