"""PrometheusExporter: the system as Prometheus' metrics, read from the worker's view when somebody asks.

Training pays for one observation a save and for nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from quadra.training.events import Event, MeasuredSave, SaveFailed
from quadra.training.lifecycle import Phase
from quadra.training.view import BackupHealth, Status, View
from quadra.version import __version__

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SLOWEST_SAVES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
_RESULTS = {  # of the newest iteration, by their names in a step's result
    "loss": ("loss", "Mean loss of the newest iteration."),
    "reward": ("reward", "Reward of the newest iteration."),
    "variance": ("field_variance", "Variance of the field after the newest iteration."),
    "mean": ("field_mean", "Mean of the field after the newest iteration."),
    "integrity_strikes": ("integrity_strikes", "Void iterations of the run so far; three in a row end training."),
    "qtable_size": ("qtable_states", "States in the Q-table."),
    "plasticity": ("plasticity", "Plasticity after the newest iteration."),
}


class PrometheusExporter:
    """`on_event` is a listener of the worker; `exposition` may be called from any thread."""

    def __init__(self, view: Callable[[], View], clients: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        for collect in (ProcessCollector, PlatformCollector, GCCollector):
            collect(registry=self._registry)
        self._registry.register(_Views(view, clients))
        self._durations = Histogram(
            "quadramatrix_save_duration_seconds", "Time from the beginning of a save until it was durable.",
            buckets=_SLOWEST_SAVES, registry=self._registry,
        )  # fmt: skip
        self._written = Counter(
            "quadramatrix_save_written_bytes", "Bytes that saves have written.", registry=self._registry
        )
        self._failures = Counter("quadramatrix_save_failures", "Saves that failed.", registry=self._registry)

    def on_event(self, event: Event) -> None:
        """Counts a save; what was saved only because another run took its place has no duration of its own."""
        if isinstance(event, MeasuredSave):
            self._durations.observe(event.duration_ms / 1000.0)
            self._written.inc(event.written)
        elif isinstance(event, SaveFailed):
            self._failures.inc()

    def exposition(self) -> bytes:
        """Returns everything, in Prometheus' text format."""
        return generate_latest(self._registry)


class _Views(Collector):
    """Collects what a view shows at this instant; what is not known yet is left out."""

    def __init__(self, view: Callable[[], View], clients: Callable[[], int]) -> None:
        self._view, self._clients = view, clients

    def collect(self) -> Iterator[Metric]:
        """Yields one family after the other."""
        view = self._view()
        build = GaugeMetricFamily("quadramatrix_build_info", "Version of the program.", labels=["version"])
        build.add_metric([__version__], 1.0)
        yield build
        yield from _of_training(view)
        yield from _of_saves(view)
        if view.status.backup is not None:
            yield from _of_backups(view.status.backup)
        yield _gauge("clients", "Browsers and scripts that are connected.", self._clients())
        yield _gauge("threads", "Threads of the server's process.", threading.active_count())


def problems(status: Status) -> list[str]:
    """Returns what is not as it should be: `saves`, `backups`, `training`; nothing where all is well."""
    fails = {
        "saves": status.trouble is not None,
        "backups": bool(status.backup and status.backup.failing_since),
        "training": status.is_training_missing,
    }
    return [name for name, is_failing in fails.items() if is_failing]


def _of_training(view: View) -> Iterator[Metric]:
    state = view.status.phase
    yield _gauge("initialized", "Whether a run is in memory.", state is not Phase.UNINITIALIZED)
    yield _gauge("training", "Whether training runs.", state is Phase.TRAINING)
    yield _gauge(
        "training_missing",
        "Whether nothing is trained although --resume asked for it.",
        view.status.is_training_missing,
    )
    yield _gauge("iterations", "Iterations of the run in memory; another run has another count.", view.iteration_count)
    is_training = state is Phase.TRAINING
    rate = view.iterations_per_second if is_training else 0.0
    yield _gauge("iterations_per_second", "Over the last three seconds of training.", rate)
    results = {} if view.result is None else view.result.as_dict()
    for key, (name, text) in _RESULTS.items():
        value = results.get(key)
        if isinstance(value, (int, float)):
            yield _gauge(name, text, value)


def _of_saves(view: View) -> Iterator[Metric]:
    status = view.status
    yield _gauge("unsaved_iterations", "Work at risk: iterations since the newest save.", view.unsaved_iterations)
    yield _gauge("save_every", "Iterations between two saves; 0: none while training.", status.save_every)
    yield _gauge("save_failing", "Whether the newest save failed.", status.trouble is not None)
    yield _gauge("save_waiting", "Whether training waits for the disk.", status.save_health.waiting)
    if status.last_save is not None:
        yield _gauge("saved_iterations", "Iterations of the newest save.", status.last_save.iteration_count)
        yield _gauge("saved_timestamp_seconds", "When the newest save was made.", _seconds(status.last_save.saved_at))


def _of_backups(backup: BackupHealth) -> Iterator[Metric]:
    yield _gauge("backup_failing", "Whether the newest attempt at a backup failed.", backup.failing_since is not None)
    yield _gauge("backup_pending", "Whether a state waits to be backed up.", backup.pending)
    if backup.at is not None:
        yield _gauge("backup_timestamp_seconds", "When the newest backup was complete.", _seconds(backup.at))


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"quadramatrix_{name}", text, value=float(value))


def _seconds(at: str) -> float:
    """Returns an ISO 8601 time in seconds since 1970."""
    return datetime.fromisoformat(at).timestamp()
