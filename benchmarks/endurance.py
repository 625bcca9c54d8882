"""Whether a run stays as fast and as small: rate and memory early and late in 100,000 iterations, history included."""

from __future__ import annotations

from typing import Any

from benchmarks.measuring import in_process, say

# Early and late runs take turns, so that a neighbour on the machine slows both alike: the late state is kept aside.
CODE = """
import gc, json, resource, statistics, sys, time
from quadra.config import TrainingConfig
from quadra.model.engine import Engine
from quadra.model.history import History
from quadra.model.corpus import Corpus

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

def rate(engine, history, count):
    started = time.process_time()
    for _ in range(count):
        result = engine.step()
        history.append(result.loss, result.reward, result.variance, result.mean)
    return count / (time.process_time() - started)

early_at, last, window = map(int, sys.argv[1:])
config = TrainingConfig(seed=0, threads=1)
engine, history = Engine(config, Corpus()), History()
rate(engine, history, early_at)
early_state = engine.state_dict()
gc.collect()
memory_early, kept_early = resident(), history.rows().nbytes
rate(engine, history, last - early_at - window)
gc.collect()
memory_late, kept_late = resident(), history.rows().nbytes
early, early_history = Engine(config, Corpus()), History(history.rows()[:early_at])
early.load_state_dict(early_state)
rounds = 10
pairs = [(rate(early, early_history, window // rounds), rate(engine, history, window // rounds)) for _ in range(rounds)]
print(json.dumps({
    "early_steps_a_second": statistics.median(a for a, _ in pairs),
    "late_steps_a_second": statistics.median(b for _, b in pairs),
    "late_over_early": statistics.median(b / a for a, b in pairs),
    "memory_growth_bytes": memory_late - memory_early,
    "of_it_history_bytes": kept_late - kept_early,
}))
"""


def run(quick: bool) -> dict[str, Any]:
    """Iterations 1,000 to 11,000 against 90,000 to 100,000; quick: a tenth of it."""
    counts = (500, 10_000, 1_000) if quick else (1_000, 100_000, 10_000)
    found: dict[str, Any] = in_process(CODE, *counts)
    say(f" the rate before iteration {counts[1]:,} is {found['late_over_early']:.1%} of that after {counts[0]:,}")
    return found
