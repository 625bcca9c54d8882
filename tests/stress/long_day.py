"""A real server trains at full speed for an hour, watched by one client; nothing may grow but its history.

    python -m tests.stress.long_day                       60 minutes
    python -m tests.stress.long_day --minutes 3           a short run
    python -m tests.stress.long_day --samples day.jsonl   keeps every sample, one JSON object a line

Every ten seconds: iterations, memory, threads, open files, the size of the state directory and of the log files, and how
busy the machine was. At the end the last quarter is compared with the first one after the start: memory may have grown by
20 bytes an iteration, threads and open files not at all, the rate may have changed by 5 %; the log files and the disk must
have held to their budgets in every sample. Ends with code 1 and says what did not hold.

Other programs on the machine change the rate too. So beside the rate by the clock stands the one that they cannot change by
much: iterations a second of the training thread's own processor time, as a part of what a fresh run of the same size, kept
for that in this process and put back each time, reaches at the same moment. The rate has drifted where both have.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import socketio
from prometheus_client.parser import text_string_to_metric_families

from quadra.config import TrainingConfig
from quadra.model.corpus import Corpus
from quadra.model.engine import Engine
from quadra.states.restore import complete_config
from tests.helpers.server import Server
from tests.helpers.waiting import PATIENCE

_INTERVAL = 10.0  # seconds between two samples
_START = 30.0  # seconds that are left out: the first compilation, and memory that is taken once
_BYTES_AN_ITERATION = 20  # of history in memory
_SLACK = 16e6  # bytes: what an allocator keeps or gives back from one moment to the next
_PASSING = 2  # files or threads beside the usual ones at a moment
_DRIFT = 0.05  # of the iteration rate
_POINTS_BUDGET = 500  # megabytes, as by default
_LOG_BUDGET = 1  # megabytes, so that an hour fills it
_SAVES = 64e6  # bytes on the disk beside restore points and histories: the last saves, and one that is being written
_HISTORY_ON_DISK = 2 * 16  # bytes an iteration: the metrics file and its copy
_TURNS = 100  # iterations of the yardstick
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Sample:
    """The server at one moment; sizes in bytes."""

    seconds: float  # since the server was there
    iterations: int
    training_seconds: float  # processor time of its busiest thread, which trains
    memory: int  # of the server, without what it shares with files
    writer_memory: int
    threads: int
    files: int  # open in the server
    disk: int
    logs: int
    updates: int  # that the client was sent
    load: float  # of the machine, over the last minute
    yardstick: float  # iterations a second of processor time of a run that is fresh each time


class Yardstick:
    """A run that is always at its beginning."""

    def __init__(self) -> None:
        self._engine = Engine(complete_config(TrainingConfig(seed=1)), Corpus())
        self._start = self._engine.state_dict()

    def rate(self) -> float:
        """Iterations a second of processor time now."""
        self._engine.load_state_dict(self._start)
        began = time.thread_time()
        for _ in range(_TURNS):
            self._engine.step()
        return round(_TURNS / (time.thread_time() - began), 1)


class Watched:
    """A server and what the system tells of its processes."""

    def __init__(self, server: Server, folder: Path, log: Path) -> None:
        self._server, self._folder, self._log = server, folder, log
        self._place = Path("/proc", str(server.process.pid))
        self._writer = _child_of(server.process.pid)
        self._began = time.monotonic()
        self._yardstick = Yardstick()
        self.updates = 0

    def sample(self) -> Sample:
        """All figures now."""
        return Sample(
            seconds=round(time.monotonic() - self._began, 3),
            iterations=self._iterations(),
            training_seconds=max(_processor_seconds(task) for task in (self._place / "task").iterdir()),
            memory=_memory(self._place),
            writer_memory=_memory(self._writer),
            threads=len(list((self._place / "task").iterdir())),
            files=len(list((self._place / "fd").iterdir())),
            disk=_disk(self._folder),
            logs=sum(path.stat().st_size for path in self._log.parent.glob(self._log.name + "*")),
            updates=self.updates,
            load=os.getloadavg()[0],
            yardstick=self._yardstick.rate(),
        )

    def _iterations(self) -> int:
        with urllib.request.urlopen(f"{self._server.url}/metrics", timeout=PATIENCE) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        found = {sample.name: sample.value for family in families for sample in family.samples}
        return int(found["quadramatrix_iterations"])


def _child_of(number: int) -> Path:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
        if parent == number:
            return stat.parent
    raise AssertionError("the server has no process that writes saves")


def _processor_seconds(task: Path) -> float:
    try:
        fields = (task / "stat").read_text().rpartition(")")[2].split()
    except OSError:  # a thread that has ended meanwhile
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _memory(process: Path) -> int:
    lines = (process / "status").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon:", "RssShmem:")))


def _disk(folder: Path) -> int:
    """What the files take; one with several names counts once."""
    sizes: dict[int, int] = {}
    for path in folder.rglob("*"):
        try:
            status = path.lstat()
        except FileNotFoundError:  # replaced meanwhile
            continue
        sizes[status.st_ino] = status.st_blocks * 512
    return sum(sizes.values())


def watch(minutes: float, keep: Callable[[Sample], None]) -> list[Sample]:
    """Start a server, train, sample, end it."""
    with tempfile.TemporaryDirectory() as place:
        folder, log = Path(place, "state"), Path(place, "server.log")
        options = ("--pace", "max", "--resume", "--seed", "1", "--points-budget", str(_POINTS_BUDGET))
        with Server(folder, *options, "--log-file", str(log), "--log-budget", str(_LOG_BUDGET)) as server:
            server.wait_for("Training started")
            server.wait_for("State saved")
            watched = Watched(server, folder, log)
            client = socketio.Client()

            def count(_: object) -> None:
                watched.updates += 1

            client.on("metrics_update", count)
            client.connect(server.url, transports=["websocket"])
            samples = list(_samples(watched, minutes * 60.0, keep))
            client.disconnect()
            if server.end(signal.SIGTERM) != 0:
                raise AssertionError(f"the server did not end well: {server.lines[-5:]}")
    return samples


def _samples(watched: Watched, seconds: float, keep: Callable[[Sample], None]) -> Iterator[Sample]:
    began = time.monotonic()
    for number in range(1, int(seconds / _INTERVAL) + 1):
        time.sleep(max(0.0, began + number * _INTERVAL - time.monotonic()))
        sample = watched.sample()
        keep(sample)
        yield sample


def judged(samples: Sequence[Sample]) -> list[tuple[str, bool]]:
    """What was found, in words, and whether it is as it must be."""
    settled = [sample for sample in samples if sample.seconds >= _START]
    size = max(2, len(settled) // 4)
    first, last = settled[:size], settled[-size:]
    return [
        _memory_of(first, last, settled),
        *(_count_of(name, first, last) for name in ("threads", "files")),
        _rate_of(first, last),
        _within("log files", [sample.logs / (_LOG_BUDGET * 1e6) for sample in samples], _LOG_BUDGET * 1e6),
        _within("disk", [sample.disk / _disk_budget(sample) for sample in samples], _disk_budget(samples[-1])),
    ]


def _memory_of(first: Sequence[Sample], last: Sequence[Sample], settled: Sequence[Sample]) -> tuple[str, bool]:
    def middle(samples: Sequence[Sample], name: str) -> float:
        return statistics.median(getattr(sample, name) for sample in samples)

    iterations = middle(last, "iterations") - middle(first, "iterations")
    grown = middle(last, "memory") - middle(first, "memory")
    writer = middle(last, "writer_memory") - middle(first, "writer_memory")
    allowed = _BYTES_AN_ITERATION * iterations + _SLACK
    text = (
        f"memory {middle(first, 'memory') / 1e6:.1f} -> {middle(last, 'memory') / 1e6:.1f} MB (highest "
        f"{max(sample.memory for sample in settled) / 1e6:.1f}): {grown / max(1.0, iterations):.1f} bytes an iteration over "
        f"{iterations:,.0f}; of the process that writes saves {writer / 1e6:+.2f} MB"
    )
    return text, grown <= allowed and writer <= _SLACK


def _count_of(name: str, first: Sequence[Sample], last: Sequence[Sample]) -> tuple[str, bool]:
    """Of open files one or two are there only while something is saved: the middle of the samples must not rise."""
    before, after = (statistics.median(getattr(sample, name) for sample in samples) for samples in (first, last))
    most = max(getattr(sample, name) for sample in (*first, *last))
    return f"{name} {before:g} -> {after:g} (highest {most})", after <= before and most <= before + _PASSING


def _rate_of(first: Sequence[Sample], last: Sequence[Sample]) -> tuple[str, bool]:
    drifts, words = [], []
    for rate_in, unit in ((_by_clock, "iterations a second"), (_by_yardstick, "of a fresh run's")):
        before, after = rate_in(first), rate_in(last)
        drifts.append(abs(after / before - 1.0))
        words.append(f"{before:.3g} -> {after:.3g} {unit} ({after / before - 1.0:+.1%})")
    loads = [statistics.median(sample.load for sample in samples) for samples in (first, last)]
    return f"rate {', '.join(words)}; load {loads[0]:.1f} -> {loads[1]:.1f}", min(drifts) <= _DRIFT


def _by_clock(samples: Sequence[Sample]) -> float:
    """Median over the intervals between two samples."""
    return statistics.median(
        (after.iterations - before.iterations) / (after.seconds - before.seconds) for before, after in pairwise(samples)
    )


def _by_yardstick(samples: Sequence[Sample]) -> float:
    """Median of the iterations a second of processor time, each as a part of the yardstick's around it."""
    return statistics.median(
        (after.iterations - before.iterations)
        / (after.training_seconds - before.training_seconds)
        / statistics.mean((before.yardstick, after.yardstick))
        for before, after in pairwise(samples)
    )


def _disk_budget(sample: Sample) -> float:
    return _POINTS_BUDGET * 1e6 + _SAVES + _HISTORY_ON_DISK * sample.iterations


def _within(name: str, parts: Sequence[float], budget: float) -> tuple[str, bool]:
    return f"{name} at most {max(parts):.0%} of their budget ({budget / 1e6:,.0f} MB at the end)", max(parts) <= 1.0


def main() -> int:
    """Run and tell; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress.long_day", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--samples", type=Path, default=Path(os.devnull))
    arguments = parser.parse_args()
    with arguments.samples.open("w", encoding="utf-8") as stream:

        def keep(sample: Sample) -> None:
            stream.write(json.dumps(asdict(sample)) + "\n")
            stream.flush()

        samples = watch(arguments.minutes, keep)
    found = judged(samples)
    newest = samples[-1]
    sys.stdout.write(
        f"{newest.seconds / 60.0:.1f} minutes, {newest.iterations:,} iterations, {newest.updates:,} updates to a client\n"
    )
    for text, is_good in found:
        sys.stdout.write(f"{'held' if is_good else 'NOT HELD'}: {text}\n")
    return int(not all(is_good for _, is_good in found))


if __name__ == "__main__":
    raise SystemExit(main())
