"""Viewers: which browsers may be sent something now, so that a slow or sleeping one costs a bounded amount and misses nothing.

Every viewer has a position in the history: the iterations that it was sent. Three rules decide when it gets the next ones.

- A `metrics_update` asks for a Socket.IO acknowledgement. A viewer that has ever given one is sent the next update only after
  it has acknowledged the last: at most one is under way to it. (An acknowledgement that has not come after a minute counts as
  lost. A viewer that does not answer the connection's own pings is disconnected before that.)
- A viewer that never acknowledges, because its program knows nothing of that, is sent at most four updates a second, and none
  while messages wait in its queue. What lies beyond the queue, in the system's buffers, is of bounded size.
- With many viewers each gets fewer updates: `interval_for` them is chosen so that all together get about two hundred a second,
  but each at least two.

Nothing here sends, and nothing looks at a clock: times are seconds of any clock that only goes forward.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from quadra.model.history import History

SHORTEST_INTERVAL = 0.05  # seconds between two updates of one viewer
LONGEST_INTERVAL = 0.4  # the same with however many viewers: above two a second, with time to spare
UPDATES_A_SECOND = 200  # of all viewers together, as far as the longest interval allows
WITHOUT_ACKNOWLEDGEMENT = 0.25  # seconds between two updates of a viewer that does not acknowledge
LOST_AFTER = 60.0  # seconds after which an acknowledgement counts as lost


@dataclass
class Viewer:
    """A browser or script that is connected."""

    history: History
    sent: int  # iterations of that history that it was sent
    sent_at: float = float("-inf")  # seconds
    awaited: int | None = None  # number of the update that it has not acknowledged yet
    acknowledges: bool = False  # whether it has ever acknowledged one
    deferred: dict[str, Mapping[str, Any]] = field(
        default_factory=dict
    )  # event -> its newest payload, to be sent later

    def may_be_sent(self, now: float, interval: float) -> bool:
        """Returns whether its next update is due, as far as acknowledgements and time tell."""
        passed = now - self.sent_at
        if self.awaited is None:
            return passed >= interval
        return passed >= (LOST_AFTER if self.acknowledges else max(interval, WITHOUT_ACKNOWLEDGEMENT))


class Viewers:
    """All that are connected; callable from any thread."""

    def __init__(self) -> None:
        self._viewers: dict[str, Viewer] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._viewers)

    def names(self) -> list[str]:
        """Returns the names of all of them."""
        with self._lock:
            return list(self._viewers)

    def join(self, name: str, history: History, sent: int) -> None:
        """Adds a viewer, which is sent what follows the first `sent` iterations."""
        with self._lock:
            self._viewers[name] = Viewer(history, sent)

    def leave(self, name: str) -> None:
        """Removes a viewer."""
        with self._lock:
            self._viewers.pop(name, None)

    def acknowledge(self, name: str, number: int) -> None:
        """Notes that a viewer has applied an update; any other number than the awaited one says only that it does acknowledge."""
        with self._lock:
            viewer = self._viewers.get(name)
            if viewer is not None:
                viewer.acknowledges = True
                if viewer.awaited == number:
                    viewer.awaited = None

    def move_all(self, history: History, sent: int) -> None:
        """Moves all viewers to another run, whose first `sent` iterations another message tells."""
        with self._lock:
            for viewer in self._viewers.values():
                viewer.history, viewer.sent = history, sent
                viewer.deferred.clear()  # which was said of the run before

    def behind(self, history: History, count: int) -> bool:
        """Returns whether any viewer has iterations to come."""
        with self._lock:
            return any(viewer.history is history and viewer.sent < count for viewer in self._viewers.values())

    def due(self, names: Iterable[str], history: History, count: int, now: float) -> dict[int, list[str]]:
        """Returns those of `names` whose next update is due, by the iterations that they were sent: a message for each group."""
        groups: dict[int, list[str]] = {}
        with self._lock:
            interval = interval_for(len(self._viewers))
            for name in names:
                viewer = self._viewers.get(name)
                if viewer is None or viewer.history is not history or viewer.sent >= count:
                    continue
                if viewer.may_be_sent(now, interval):
                    groups.setdefault(viewer.sent, []).append(name)
        return groups

    def mark_sent(self, names: Iterable[str], history: History, count: int, number: int, now: float) -> None:
        """Notes that these were sent the update with this number, up to the iteration `count`."""
        with self._lock:
            for name in names:
                viewer = self._viewers.get(name)
                if viewer is not None and viewer.history is history:
                    viewer.sent, viewer.awaited, viewer.sent_at = count, number, now

    def mark_unsent(self, names: Iterable[str], history: History, sent: int, number: int) -> None:
        """Notes that the update with this number could not be sent: these are where they were before."""
        with self._lock:
            for name in names:
                viewer = self._viewers.get(name)
                if viewer is not None and viewer.awaited == number:
                    viewer.awaited = None
                    if viewer.history is history:
                        viewer.sent = sent

    @property
    def has_deferred(self) -> bool:
        """Whether something is to be sent to any viewer later."""
        with self._lock:
            return any(viewer.deferred for viewer in self._viewers.values())

    def defer(self, names: Iterable[str], events: Mapping[str, Mapping[str, Any]]) -> None:
        """Defers payloads to these viewers; of each event the newest is sent later, which says all."""
        with self._lock:
            for name in names:
                if name in self._viewers:
                    self._viewers[name].deferred.update(events)

    def take_deferred(self, names: Iterable[str]) -> dict[str, dict[str, Mapping[str, Any]]]:
        """Returns what was deferred for these viewers, by event, and forgets it: it is sent now."""
        deferred = {}
        with self._lock:
            for name in names:
                viewer = self._viewers.get(name)
                if viewer is not None and viewer.deferred:
                    deferred[name] = viewer.deferred
                    viewer.deferred = {}
        return deferred


def interval_for(viewers: int) -> float:
    """Returns the seconds between two updates of each viewer."""
    return min(max(SHORTEST_INTERVAL, viewers / UPDATES_A_SECOND), LONGEST_INTERVAL)


def newest_interval(viewers: int) -> float:
    """Returns the seconds between two messages of a kind whose newest replaces the one before: longer with many viewers."""
    return 4.0 * (interval_for(viewers) - SHORTEST_INTERVAL)


def split_by_queue(
    names: Iterable[str], waiting: Callable[[str], int], most: int
) -> tuple[list[str], list[str], list[str]]:
    """Returns the names whose queue is empty, those whose queue is not, and those whose queue is longer than `most` messages."""
    idle: list[str] = []
    busy: list[str] = []
    lost: list[str] = []
    for name in names:
        length = waiting(name)
        (lost if length > most else busy if length else idle).append(name)
    return idle, busy, lost
