"""The three files of a saved state: written as one commit, read back only when they belong together.

A save replaces metrics, weights and system state in this order, each atomically and durably. The weights file is the
commit: it carries the record (see `records`) and everything that changes from save to save but the history. The metrics
file may hold later rows of the same run (a save that was cut off before its commit); the record's checksum says which
rows belong to it. The system state repeats what people and scripts look for; it can be rebuilt from the weights.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from quadra import pickles
from quadra.config import NETWORKS, TrainingConfig
from quadra.errors import (
    ConfigurationError,
    DamagedFileError,
    MismatchError,
    MissingFileError,
    MissingKeyError,
    NewerFormatError,
    SaveError,
)
from quadra.folder import METRICS, SYSTEM, WEIGHTS, read_file, replace_file
from quadra.history import SERIES, checksum_of, rows_of
from quadra.records import FORMAT_VERSION, Record, seal, verify

HISTORY_KEYS = dict(
    zip(("loss_history", "reward_history", "variance_history", "field_mean_history"), SERIES, strict=True)
)
_LONGEST_PATH = 1000  # characters of a corpus path in the system state
_ENGINE_KEYS = (*NETWORKS, "optimizer", "field", "syntropy_fields", "centroids", "wins", "q_table", "generators")


@dataclass(frozen=True)
class SavedState:
    """One complete saved state in memory."""

    record: Record
    config: TrainingConfig
    engine: Mapping[str, Any]  # Engine.state_dict()
    rows: NDArray[np.float32]  # history, shape (iteration_count, 4)
    warnings: tuple[str, ...] = field(default=())  # what a person should know of how it was read


def write(folder: Path, state: SavedState) -> None:
    """Commit a state to its three files; durable on return. Raises SaveError; the previous state is then intact."""
    try:
        replace_file(folder / METRICS, _metrics_file(state))
        replace_file(folder / WEIGHTS, _weights_file(state))
        replace_file(folder / SYSTEM, _system_file(state))
    except OSError as error:
        raise SaveError(f"{error.strerror or error} ({error.filename or folder})") from error


def read(folder: Path) -> SavedState:
    """The state of a folder, verified. Raises a BadFileError that names the file at fault and what is wrong with it."""
    content = read_file(folder / WEIGHTS)
    record = verify(content, WEIGHTS)
    weights = _load_weights(content)
    if record is None:
        raise NotSealedError(weights)
    require_keys(weights, WEIGHTS, (*_ENGINE_KEYS, "neuroplasticity", "corpus", "configuration", "iteration_count"))
    config = _config(weights["configuration"])
    rows = _rows(folder, record)
    if weights["iteration_count"] != record.iteration_count or config.field_size != record.field_size:
        raise MismatchError(WEIGHTS, "its tensors are not those that its record names")
    state = SavedState(record, config, weights, rows, _system_warnings(folder, record, config))
    require_finite(state)
    return state


class NotSealedError(Exception):
    """The weights file is whole but was not written by this generation; carries what it holds."""

    def __init__(self, weights: dict[str, Any]) -> None:
        super().__init__("not sealed")
        self.weights = weights


def require_keys(values: Mapping[str, Any], file: str, names: tuple[str, ...]) -> None:
    """Raise MissingKeyError for the first name that is not there."""
    for name in names:
        if name not in values:
            raise MissingKeyError(file, f"the entry {name!r} is missing")


def require_finite(state: SavedState) -> None:
    """Raise DamagedFileError for a state with a number that is not finite: such a one is never loaded as good."""
    if not np.isfinite(state.rows).all():
        raise DamagedFileError(METRICS, "holds numbers that are not finite")
    if not _all_finite(state.engine):
        raise DamagedFileError(WEIGHTS, "holds numbers that are not finite")


def read_plain(path: Path, arrays: bool) -> dict[str, Any]:
    """One of the two pickle files; raises a BadFileError."""
    return pickles.loads(read_file(path), path.name, arrays)


def as_series(values: object, file: str) -> NDArray[np.float32]:
    """One history as an array; raises DamagedFileError for what is no list of numbers."""
    plain = isinstance(values, list) and all(type(value) in (int, float) for value in values)
    if plain or (isinstance(values, np.ndarray) and values.ndim == 1):
        with np.errstate(over="ignore"):  # too large for single precision: refused later, as not finite
            return np.asarray(values, np.float32)
    raise DamagedFileError(file, "a history in it is not a list of numbers")


def _metrics_file(state: SavedState) -> bytes:
    columns = {name: np.ascontiguousarray(state.rows[:, SERIES.index(series)]) for name, series in HISTORY_KEYS.items()}
    return pickles.dumps(
        {
            **columns,
            "iteration_count": state.record.iteration_count,
            "run": state.record.run,
            "format_version": FORMAT_VERSION,
        }
    )


def _weights_file(state: SavedState) -> bytes:
    buffer = io.BytesIO()
    torch.save({**state.engine, "configuration": state.config.as_dict(), "format_version": FORMAT_VERSION}, buffer)
    return seal(buffer.getvalue(), state.record)


def _system_file(state: SavedState) -> bytes:
    manager = dict(state.engine["neuroplasticity"])
    return pickles.dumps(
        {
            "format_version": FORMAT_VERSION,
            "run": state.record.run,
            "sequence": state.record.sequence,
            "field_size": state.config.field_size,
            "is_initialized": True,
            "integrity_strikes": manager["integrity_strikes"],
            "neuroplasticity": manager,
            "iteration_count": state.record.iteration_count,
            "configuration": _brief_configuration(state.config),
            "seed": state.record.seed,
            "corpus_fingerprint": state.engine["corpus"]["fingerprint"],
            "saved_at": state.record.saved_at,
            "ended": state.record.ended,
            "history_sha256": state.record.history_sha256,
        }
    )


def _brief_configuration(config: TrainingConfig) -> dict[str, Any]:
    """The configuration; a very long path is left to the weights file, so that this file stays small."""
    values = config.as_dict()
    return {**values, "corpus": None} if len(config.corpus or "") > _LONGEST_PATH else values


def _load_weights(content: bytes) -> dict[str, Any]:
    try:
        with torch.serialization.safe_globals(_NUMPY_NUMBERS):
            weights = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (
        RuntimeError,
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
        zipfile.BadZipFile,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DamagedFileError(WEIGHTS, f"cannot be read as weights: {reason}") from error
    if not isinstance(weights, dict):
        raise DamagedFileError(WEIGHTS, f"holds a {type(weights).__name__}, not the dictionary that belongs there")
    return weights


def _config(values: Mapping[str, Any]) -> TrainingConfig:
    try:
        return TrainingConfig.from_dict(values)
    except ConfigurationError as error:
        raise MismatchError(WEIGHTS, f"its configuration cannot be run here: {error}") from error


def _rows(folder: Path, record: Record) -> NDArray[np.float32]:
    """The history rows that belong to the record: later ones, of a save that was cut off, are left out."""
    metrics = read_plain(folder / METRICS, arrays=True)
    require_keys(metrics, METRICS, tuple(HISTORY_KEYS))
    if metrics.get("run", record.run) != record.run:
        raise MismatchError(METRICS, "belongs to another run than the weights")
    columns = {
        series: as_series(metrics[name], METRICS)[: record.iteration_count] for name, series in HISTORY_KEYS.items()
    }
    lengths = {len(column) for column in columns.values()}
    if lengths != {record.iteration_count}:
        raise MismatchError(METRICS, f"holds fewer than the {record.iteration_count} iterations of the weights")
    rows = rows_of(columns)
    if checksum_of(rows) != record.history_sha256:
        raise DamagedFileError(METRICS, "its checksum does not fit its content: it was altered or damaged")
    return rows


def _system_warnings(folder: Path, record: Record, config: TrainingConfig) -> tuple[str, ...]:
    """What is wrong with the system state; nothing in it is needed, since the weights file carries it too.

    Raises NewerFormatError and MismatchError all the same: they mean that files of different states were mixed.
    """
    try:
        system = read_plain(folder / SYSTEM, arrays=False)
        require_keys(system, SYSTEM, ("format_version", "field_size", "run"))
    except (DamagedFileError, MissingFileError, MissingKeyError) as error:
        return (f"{error}. Nothing was lost: the weights file holds the same.",)
    if isinstance(system["format_version"], int) and system["format_version"] > FORMAT_VERSION:
        raise NewerFormatError(
            SYSTEM,
            f"has format {system['format_version']}, this program reads up to {FORMAT_VERSION}. Update the program to load it.",
        )
    if system["run"] != record.run:  # a run's first save was cut off before it replaced this file
        return (f"{SYSTEM}: belongs to another run. Nothing was lost: the weights file holds the same.",)
    if system["field_size"] != config.field_size:
        raise MismatchError(SYSTEM, f"says field size {system['field_size']}, but the weights have {config.field_size}")
    return ()


def _all_finite(value: object) -> bool:
    if isinstance(value, torch.Tensor):
        return not value.is_floating_point() or bool(torch.isfinite(value).all())
    if isinstance(value, Mapping):
        return all(_all_finite(entry) for entry in value.values())
    if isinstance(value, (list, tuple)):
        return all(_all_finite(entry) for entry in value)
    return not isinstance(value, float) or math.isfinite(value)


# Files of the earlier generation may hold numpy numbers where a plain float was meant; these names make nothing else.
_NUMPY_NUMBERS: list[Any] = [
    np.dtype,
    np.dtypes.Float64DType,
    np.dtypes.Float32DType,
    np.dtypes.Int64DType,
    (np._core.multiarray.scalar, "numpy._core.multiarray.scalar"),  # type: ignore[attr-defined]  # the name in pickles
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),  # type: ignore[attr-defined]  # and before numpy 2
]
