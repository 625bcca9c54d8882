"""RequestLanes: which threads carry out which request, so that those that last cannot take the place of those that do not."""

from __future__ import annotations

from collections.abc import Callable

from quadra.web.serving.request_threads import RequestThreads, Task

_HEALTH = "/health"
_SOCKETS = "/socket.io/"
_OF_HEALTH = 2
_OF_PAGES = 128
_OF_SOCKETS = (
    240  # 200 sessions, each of which holds one for as long as its browser is open, and what they send meanwhile
)
_OF_LARGE_BODIES = 32


class RequestLanes:
    """Four groups of threads: for `/health`, for Socket.IO, for large bodies, for everything else."""

    def __init__(self, connections: int, on_shortage: Callable[[BaseException], None]) -> None:
        sockets, large = min(_OF_SOCKETS, connections // 2), min(_OF_LARGE_BODIES, connections // 8)
        self._health = RequestThreads("health", _OF_HEALTH, connections, on_shortage, _OF_HEALTH)
        self._pages = RequestThreads("page", _OF_PAGES, connections, on_shortage)
        # What waits here too long would take the connections of all others.
        self._sockets = RequestThreads("socket", sockets, sockets // 4, on_shortage)
        self._large = RequestThreads("upload", large, large, on_shortage)

    def submit(self, path: str, is_large: bool, task: Task) -> bool:
        """Has a request carried out by a thread of its lane. Returns False where too many wait there."""
        if is_large:
            return self._large.submit(task)
        if path.startswith(_SOCKETS):
            return self._sockets.submit(task)
        return (self._health if path == _HEALTH else self._pages).submit(task)

    def start_missing(self) -> None:
        """Starts threads that could not be started."""
        for lane in self._all:
            lane.start_missing()

    def close(self) -> None:
        """Ends all threads that have nothing to do."""
        for lane in self._all:
            lane.close()

    @property
    def _all(self) -> tuple[RequestThreads, ...]:
        return (self._health, self._pages, self._sockets, self._large)
