"""Limits: how many connections there may be, and how slow one may be."""

from __future__ import annotations

from dataclasses import dataclass

MOST_CONNECTIONS = 2000
MOST_OF_AN_ADDRESS = 500  # thirty people behind one router, each with a socket and six connections for files, take half
_FOR_OTHER_FILES = 400  # open files that connections leave to saves, logs, uploads (200 parts each) and libraries
_MOST_OPEN_FILES = 65_536  # that are asked for; some systems have no limit at all, and refuse to be told so


@dataclass(frozen=True)
class Limits:
    """What clients may take."""

    connections: int = MOST_CONNECTIONS
    of_an_address: int = MOST_OF_AN_ADDRESS
    idle_seconds: float = 30.0  # for which a connection is kept that asks for nothing
    head_seconds: float = 10.0  # from the first byte of a request to the end of its head
    pace_bytes: int = 10_000  # of a body or an answer that must pass ...
    pace_seconds: float = 10.0  # ... in such a time


def limits_for(open_files: int, behind_proxy: bool) -> Limits:
    """Returns the limits of a process that may have so many open files.

    Behind a proxy all connections have its address, which may have all that there are.
    """
    connections = min(MOST_CONNECTIONS, max(open_files - _FOR_OTHER_FILES, open_files // 2))
    return Limits(connections, connections if behind_proxy else min(MOST_OF_AN_ADDRESS, connections * 3 // 4))


def raise_limit_of_open_files() -> int:
    """Raises the soft limit of open files to the hard one; returns how many there may be now."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return _MOST_OPEN_FILES
    soft, hard = (_counted(limit) for limit in resource.getrlimit(resource.RLIMIT_NOFILE))
    aim = min(hard, _MOST_OPEN_FILES)
    if soft >= aim:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (aim, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    except (OSError, ValueError):  # macOS has a second limit; the connections are held to what there is
        return soft
    return aim


def _counted(limit: int) -> int:
    return _MOST_OPEN_FILES if limit < 0 else limit  # no limit is -1
