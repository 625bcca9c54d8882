"""The weights file: what `torch.save` would write, encoded without it, and decoded by `torch.load` with weights only.

A save every few milliseconds must not hold the interpreter. So the tensors' bytes go to the file from where they lie, and
the description of the tensors, which never changes within a run, is pickled once; `weights_entries` has the rest.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from quadra.config import TrainingConfig
from quadra.errors import DamagedFileError, unreadable
from quadra.model.run_buffers import Snapshot
from quadra.storage.layout import WEIGHTS
from quadra.storage.save_record import FORMAT_VERSION
from quadra.storage.weights_entries import PROTOCOL, Contents, entries_in

TAIL = "history_tail"  # entry for the history's rows that the metrics file does not hold yet
_DEEPEST = 20  # entries within entries; ours are five deep
_LONGEST_PICKLE = 4 << 20  # bytes of the description of all tensors and the rest; ours take some ten thousand
_MOST_SHARED = 4  # times the file's size that its tensors may have together
_GENERATORS = pickle.BINUNICODE + b"\x0a\0\0\0generators" + pickle.EMPTY_DICT  # its entries and SETITEM follow
_STORAGES = {"0": torch.FloatStorage, "1": torch.LongStorage, "2": torch.ByteStorage, "3": torch.FloatStorage}


class WeightsEncoder:
    """Encodes the saves of one run; a save of another shape needs another encoder."""

    def __init__(self, config: TrainingConfig, snapshot: Snapshot) -> None:
        floats, wins = len(snapshot.flat), config.patterns
        tensors = _nested(
            {name: _View("0", floats, spec.offset, spec.shape, spec.strides) for name, spec in snapshot.specs.items()}
        )
        tensors["optimizer"]["step"] = _View("1", wins + 1, wins, (), ())
        tensors["wins"] = _View("1", wins + 1, 0, (wins,), (1,))
        constants = {"configuration": config.as_dict(), "format_version": FORMAT_VERSION}
        samples = _samples_entry(len(snapshot.rest["generators"]["samples"]))
        self._described = _entries(tensors) + _entries(constants) + _GENERATORS + samples

    def contents(self, snapshot: Snapshot, tail: NDArray[np.float32]) -> Contents:
        """Returns what the file holds besides the snapshot's own memory; `tail`: newest rows, shape (rows, 4)."""
        return Contents(self._described, _tail_entry(*tail.shape), tail.tobytes(), snapshot.plain)


def decode(content: bytes, file: str | Path = WEIGHTS) -> dict[str, Any]:
    """Returns the dictionary in a weights file of this or the legacy format; no code in it is run.

    Raises DamagedFileError, naming the file, or InaccessibleFileError where the machine lacks what reading takes.
    """
    try:
        _require_unpacked(content)
        with torch.serialization.safe_globals(_NUMPY_NUMBERS):
            weights = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        _require_plain(weights, len(content))
    except Exception as error:  # a forged or damaged file can raise anything at all
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise unreadable(file, f"cannot be read as weights: {reason}", error) from error
    if not isinstance(weights, dict):
        raise DamagedFileError(file, f"holds a {type(weights).__name__}, not the dictionary that belongs there")
    return weights


def _require_unpacked(content: bytes) -> None:
    """Raises ValueError for an archive whose entries, or the objects they describe, are larger than it is itself."""
    if not content.startswith(b"PK\x03\x04"):
        raise ValueError("something stands before its archive")  # torch would read that, in a form that claims memory
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        infos = archive.infolist()
    if sum(info.file_size for info in infos) > len(content):
        raise ValueError("it would unpack to more than it is")
    if any(info.filename.lower().endswith(".pkl") and info.file_size > _LONGEST_PICKLE for info in infos):
        raise ValueError("it describes more than a save holds")


def _require_plain(weights: object, size: int) -> None:
    """Raises ValueError where sharing, nesting or strides make more of a file than its bytes can hold."""
    count, claimed, open_parts = 0, 0, [iter([weights])]
    while open_parts:
        try:
            value = next(open_parts[-1])
        except StopIteration:
            open_parts.pop()
            continue
        count += 1
        if count > size or len(open_parts) > _DEEPEST:
            raise ValueError("its entries are shared or nested as no save's are")
        if isinstance(value, torch.Tensor):
            own = value.numel() * value.element_size()
            claimed += own
            if own > size or claimed > _MOST_SHARED * size:
                raise ValueError("tensors in it have more numbers than the file")
        if isinstance(value, Mapping):
            open_parts.append(iter(value.values()))
        elif isinstance(value, (list, tuple)):
            open_parts.append(iter(value))


class _View(NamedTuple):
    """A tensor as a part of a storage that stands in the archive under a key."""

    storage: str
    length: int  # of the storage, in elements
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Storage(NamedTuple):
    key: str
    length: int


class _Pickler(pickle.Pickler):
    """Writes views as torch does."""

    def persistent_id(self, value: Any) -> tuple[Any, ...] | None:
        if type(value) is _Storage:
            return ("storage", _STORAGES[value.key], value.key, "cpu", value.length)
        return None

    def reducer_override(self, value: Any) -> Any:
        if type(value) is not _View:
            return NotImplemented
        storage = _Storage(value.storage, value.length)
        arguments: tuple[Any, ...] = (storage, value.offset, value.shape, value.strides, False, OrderedDict())
        return torch._utils._rebuild_tensor_v2, arguments


def _entries(values: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, PROTOCOL).dump(values)
    return entries_in(buffer.getvalue())


def _samples_entry(length: int) -> bytes:
    return _entries({"samples": _View("2", length, 0, (length,), (1,))})


@lru_cache(maxsize=4096)
def _tail_entry(rows: int, columns: int) -> bytes:
    return _entries({TAIL: _View("3", rows * columns, 0, (rows, columns), (columns, 1))})


def _nested(views: Mapping[str, _View]) -> dict[str, Any]:
    """Returns views under the engine's names, `<part>/<network>.<tensor>` or `<tensor>`, as nested in the file's dictionary."""
    nested: dict[str, Any] = {"optimizer": {}}
    for name, view in views.items():
        part, _, of_network = name.rpartition("/")
        if not part:
            nested[name] = view
            continue
        network, tensor = of_network.split(".", 1)
        group = nested if part == "parameters" else nested["optimizer"].setdefault(part, {})
        group.setdefault(network, {})[tensor] = view
    return nested


def bytes_of(flat: NDArray[np.float32]) -> memoryview:
    """Returns the memory of an array, shape (numbers,)."""
    return flat.data.cast("B")


# Files in the legacy format may hold numpy numbers where a plain float was meant; these names make nothing else.
_NUMPY_NUMBERS: list[Any] = [
    np.dtype,
    np.dtypes.Float64DType,
    np.dtypes.Float32DType,
    np.dtypes.Int64DType,
    (np._core.multiarray.scalar, "numpy._core.multiarray.scalar"),  # type: ignore[attr-defined]  # the name in pickles
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),  # type: ignore[attr-defined]  # and before numpy 2
]
