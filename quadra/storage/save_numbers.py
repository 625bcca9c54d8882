"""SaveNumbers: gives each save in a held directory its number, by which saves of different runs are ordered.

The clock cannot tell which save is newer: it may have been wrong, or set back. The counter is in the saves themselves: the
next number is the largest one found plus one, so that no file of its own can be lost, copied alone or set back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

from quadra.errors import BadFileError, SaveError
from quadra.storage.catalog import number_in
from quadra.storage.files.durable import read_file
from quadra.storage.files.safe_pickle import loads
from quadra.storage.layout import SYSTEM, WEIGHTS, StateLayout
from quadra.storage.save_record import LARGEST_NUMBER, peek


class SaveNumbers:
    """The counter of one held directory; callable from any thread."""

    def __init__(self, layout: StateLayout) -> None:
        self._layout = layout
        self._lock = Lock()
        self._largest: int | None = None  # until the directory was searched

    def next(self) -> int:
        """Returns the number of the save that is made now. Raises SaveError where the directory cannot be searched."""
        with self._lock:
            if self._largest is None:
                self._largest = self._found()
            self._largest = min(self._largest + 1, LARGEST_NUMBER)
            return self._largest

    def note(self, number: int) -> None:
        """Notes a number that was found in the directory: what is saved from here on comes after it."""
        with self._lock:
            if self._largest is not None:
                self._largest = max(self._largest, number)

    def _found(self) -> int:
        try:
            return max(map(_number_of, _weights_files(self._layout)), default=0)
        except OSError as error:
            raise SaveError(f"The saved states in {self._layout.path} cannot be listed: {error.strerror}.") from error


def _weights_files(layout: StateLayout) -> Iterator[Path]:
    """Yields every file that may have the largest number: of a run's restore points that is the newest."""
    for folder in (layout.path, *layout.run_folders(), *layout.slot_folders()):
        yield folder / WEIGHTS
    yield from layout.earlier_saves()
    for folder in layout.restore_point_folders():
        yield from layout.restore_points_of(folder.name)[-1:]


def _number_of(file: Path) -> int:
    """Returns the number of a save; 0 where it has none, or cannot be read."""
    with contextlib.suppress(BadFileError):
        record = peek(file)
        if record is not None:
            return record.save_number
        system = file.with_name(SYSTEM)
        return number_in(loads(read_file(system), system, arrays=True))
    return 0
