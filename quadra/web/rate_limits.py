"""How much one client may ask for, over HTTP and over its socket: token buckets, generous for people and scripts.

A bucket holds `burst` tokens and gets `rate` new ones a second; whatever is asked for takes one. The numbers leave room for
thirty people behind one proxy, who all have its address.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from flask import Response, request

from quadra.errors import TooManyRequestsError
from quadra.web.error_answers import error_answer, status_of

MOST_COMMANDS_AT_ONCE = 8  # of one client, under way or waiting for the worker
MOST_CONNECTIONS = 200  # Socket.IO sessions in all; each holds a thread of the server, which must keep some for HTTP
# They open saved states, which takes up to some tenths of a second of a processor each, or send every iteration there is.
_EXPENSIVE = re.compile(r"/api/(states/[^/]+/.*|compare|history\.csv|history\.json)")
_MOST_BUCKETS = 10_000  # that are remembered; the one that was used longest ago is forgotten


class Allowance(NamedTuple):
    """What one client may take."""

    rate: float  # tokens a second
    burst: float  # tokens


COMMANDS = Allowance(20.0, 100.0)  # Socket.IO events of one client
MESSAGES = Allowance(60.0, 300.0)  # everything that one client sends over its socket, acknowledgements included
CONNECTIONS = Allowance(20.0, 400.0)  # Socket.IO sessions that one address opens
REQUESTS = Allowance(100.0, 3000.0)  # HTTP requests of one address; the page with its files is some sixty of them
EXPENSIVE = Allowance(5.0, 60.0)  # requests of one address that open and verify saved states
UPLOADS = Allowance(0.5, 20.0)  # saved states that one address sends


class Buckets:
    """One token bucket for each key; callable from any thread."""

    def __init__(self, allowance: Allowance, clock: Callable[[], float] = time.monotonic) -> None:
        self._allowance = allowance
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key -> (tokens, when there were so many)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._levels)

    def try_acquire(self, key: str) -> float:
        """Takes a token and returns 0, or takes none and returns the seconds until there is one."""
        rate, burst = self._allowance
        now = self._clock()
        with self._lock:
            level, then = self._levels.pop(key, (burst, now))
            level = min(burst, level + (now - then) * rate)
            allowed = level >= 1.0
            self._levels[key] = (level - 1.0 if allowed else level, now)
            while len(self._levels) > _MOST_BUCKETS:
                self._levels.popitem(last=False)
        return 0.0 if allowed else (1.0 - level) / rate

    def acquire(self, key: str) -> None:
        """Takes a token. Raises TooManyRequestsError where there is none."""
        wait = self.try_acquire(key)
        if wait > 0.0:
            seconds = math.ceil(wait)
            raise TooManyRequestsError(
                f"Too many requests came from here in a short time. Try again in {seconds} s.", seconds
            )

    def forget(self, key: str) -> None:
        """Drop the bucket of a client that has gone."""
        with self._lock:
            self._levels.pop(key, None)


class CommandLimits:
    """How many commands each client of Socket.IO may send, and how many may be under way at once."""

    def __init__(self, allowance: Allowance = COMMANDS, most_at_once: int = MOST_COMMANDS_AT_ONCE) -> None:
        self._buckets = Buckets(allowance)
        self._most = most_at_once
        self._under_way: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def command(self, client: str) -> Iterator[None]:
        """Counts a client's command while it is under way. Raises TooManyRequestsError where the client has to wait."""
        self._buckets.acquire(client)
        with self._lock:
            if self._under_way[client] >= self._most:
                raise TooManyRequestsError(
                    f"{self._most} commands of this client are under way. Wait until one of them is answered.", 1
                )
            self._under_way[client] += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way[client] -= 1
                if not self._under_way[client]:
                    del self._under_way[client]

    def leave(self, client: str) -> None:
        """Drop what is known of a client that has gone."""
        self._buckets.forget(client)


class HttpLimits:
    """How many requests each address may make: of all kinds, of expensive ones, of uploads."""

    def __init__(
        self, requests: Allowance = REQUESTS, expensive: Allowance = EXPENSIVE, uploads: Allowance = UPLOADS
    ) -> None:
        self._requests = Buckets(requests)
        self._expensive = Buckets(expensive)
        self._uploads = Buckets(uploads)

    def acquire(self, address: str, method: str, path: str) -> None:
        """Counts a request. Raises TooManyRequestsError where the address has made too many."""
        self._requests.acquire(address)
        if method == "POST":
            self._uploads.acquire(address)
        elif _EXPENSIVE.fullmatch(path):
            self._expensive.acquire(address)


def count_request(limits: HttpLimits) -> Response | None:
    """Counts the present request; returns the answer to give instead where its address has made too many."""
    try:
        limits.acquire(request.remote_addr or "", request.method, request.path)
    except TooManyRequestsError as error:
        answer = error_answer(error.code, error.message)
        answer.status_code = status_of(error)
        answer.headers["Retry-After"] = str(error.retry_after)
        return answer
    return None
