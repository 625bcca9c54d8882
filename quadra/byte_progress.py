"""Byte progress: how many bytes of a long task are done, counted where they pass; it costs nothing where nobody asks.

What reads, checks and writes says how many bytes have `passed`; what knows the whole says what to `expect`. Neither knows
who is told, and there is no clock here. Work that is handed to another thread is `carried` there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any, ParamSpec, TypeVar

Told = Callable[[str, int, int], None]  # what is being done, bytes that have passed, bytes in all

PIECE = 1 << 23  # bytes after which it is told how far something has come

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


class _Measure:
    def __init__(self, told: Told) -> None:
        self._told = told
        self._doing, self._done, self._all = "", 0, 0

    def expect(self, doing: str, count: int) -> None:
        self._doing, self._done, self._all = doing, 0, count
        self._told(doing, 0, count)

    def passed(self, count: int) -> None:
        self._done += count
        self._all = max(self._all, self._done)
        if self._doing:
            self._told(self._doing, self._done, self._all)


_measure: ContextVar[_Measure | None] = ContextVar("measure", default=None)


@contextmanager
def measured(told: Told) -> Iterator[None]:
    """Reports to `told` how far the work inside the `with` block has come."""
    token = _measure.set(_Measure(told))
    try:
        yield
    finally:
        _measure.reset(token)


def expect(doing: str, count: int) -> None:
    """Announces a task of so many bytes; what was expected before is over."""
    measure = _measure.get()
    if measure is not None:
        measure.expect(doing, count)


def passed(count: int) -> None:
    """Counts bytes that were read, checked or written."""
    measure = _measure.get()
    if measure is not None:
        measure.passed(count)


def digest_of(content: Any) -> Any:
    """Returns the SHA-256 of contiguous memory; reports its progress."""
    digest = hashlib.sha256()
    add_to_digest(digest, content)
    return digest


def add_to_digest(digest: Any, content: Any) -> None:
    """Adds contiguous memory to a digest; reports its progress."""
    view = memoryview(content).cast("B")
    for start in range(0, len(view), PIECE):
        digest.update(view[start : start + PIECE])
        passed(min(PIECE, len(view) - start))


def carried(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Returns the function for another thread; its progress is reported to whoever measures here."""
    context = copy_context()

    def carry(*given: _Parameters.args, **named: _Parameters.kwargs) -> _Result:
        return context.run(function, *given, **named)

    return carry
