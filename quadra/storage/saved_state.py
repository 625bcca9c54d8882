"""A saved state read back from its files: verified, completed, and never believed without proof.

The weights file is the commit record (see `save_record`): it carries everything that changes from save to save, the newest
rows of the history among it. The older rows are in the metrics file, or its copy; the record's checksum says whether
they fit. The system state repeats what people and scripts look for; it can be rebuilt from the weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from quadra.config import NETWORKS, TrainingConfig
from quadra.errors import (
    BadFileError,
    ConfigurationError,
    DamagedFileError,
    MismatchError,
    MissingFileError,
    MissingKeyError,
    NewerFormatError,
    unreadable,
)
from quadra.model.history import SERIES, checksum_of, rows_of
from quadra.model.spiking import parameter_shapes
from quadra.storage import metrics_file
from quadra.storage.files import safe_pickle
from quadra.storage.files.durable import read_file
from quadra.storage.layout import METRICS, SYSTEM, WEIGHTS, metrics_files
from quadra.storage.metrics_file import HISTORY_KEYS, MetricsLog
from quadra.storage.save_record import FORMAT_VERSION, SaveRecord, newer_format, verify
from quadra.storage.weights_file import TAIL, decode

_ENGINE_KEYS = (*NETWORKS, "optimizer", "field", "syntropy_fields", "centroids", "wins", "q_table", "generators")
_MOST_MISSING = 1 << 24  # rows that are marked as lost, 270 MB: a few forged bytes shall not claim all memory
_EMPTY = np.empty((0, len(SERIES)), np.float32)


@dataclass(frozen=True)
class SavedState:
    """One complete saved state in memory."""

    record: SaveRecord
    config: TrainingConfig
    engine: Mapping[str, Any]  # Engine.state_dict()
    rows: NDArray[np.float32]  # history, shape (iteration_count, 4)
    warnings: tuple[str, ...] = field(default=())  # what a person should know of how it was read
    damaged: tuple[BadFileError, ...] = field(default=())  # files that were found bad, though nothing was lost
    logs: Mapping[str, MetricsLog] = field(default_factory=dict)  # metrics files that fit, by their path


def read(folder: Path) -> SavedState:
    """Returns the state of a directory, verified. Raises a BadFileError that names the file at fault and says what is wrong."""
    return read_save(folder / WEIGHTS, folder)


def read_save(file: Path, folder: Path, salvage: bool = False) -> SavedState:
    """Returns the state whose weights file is `file`, with the history that stands in `folder`. Raises a BadFileError.

    `salvage`: rows of the history that are in no file come out as not-a-number, instead of an error.
    """
    content = read_file(file)
    record = verify(content, file)
    weights = decode(content, file)
    if record is None:
        raise NotSealedError(weights)
    try:
        config, tail = _content(weights, file, record, len(content))
    except (AttributeError, TypeError, ValueError, RuntimeError, ArithmeticError, LookupError) as error:
        raise unreadable(file, f"does not hold what belongs there: {error}", error) from error
    history = _read_history(folder, record, tail, salvage)
    damaged = _system_findings(folder, record, config)
    warnings = tuple(f"{error}. Nothing was lost: the weights file holds the same." for error in damaged)
    state = SavedState(
        record,
        config,
        weights,
        history.rows,
        (*history.warnings, *warnings),
        (*history.damaged, *damaged),
        history.logs,
    )
    require_finite(state, file)
    return state


def _content(
    weights: dict[str, Any], file: Path, record: SaveRecord, size: int
) -> tuple[TrainingConfig, NDArray[np.float32]]:
    """Returns the configuration and the history's newest rows; the other entries are left as the engine takes them.

    Raises a BadFileError, or what Python raises where an entry is of the wrong kind: a seal can be forged.
    """
    require_keys(weights, file, (*_ENGINE_KEYS, "neuroplasticity", "corpus", "configuration", "iteration_count"))
    config = _config(weights["configuration"], file)
    if weights["iteration_count"] != record.iteration_count or config.field_size != record.field_size:
        raise MismatchError(file, "its tensors are not those that its record names")
    if _floats_of(config) * 4 > size:
        raise MismatchError(file, "is smaller than the run that its configuration names")
    if not isinstance(weights["corpus"]["path"], str | None):
        raise TypeError("its corpus is no path")
    weights["optimizer"] = {"step": int(weights["optimizer"].pop("step")), **weights["optimizer"]}
    return config, _tail(weights, file, record)


def _floats_of(config: TrainingConfig) -> int:
    """Returns how many numbers an engine of this configuration holds, and a save of it therefore has."""
    learned = sum(math.prod(shape) for shape in parameter_shapes(config).values())
    return 3 * learned + config.field_size * (1 + len(config.syntropy_decays) + config.patterns)


class NotSealedError(Exception):
    """The weights file is whole but was not written by this generation; carries what it holds."""

    def __init__(self, weights: dict[str, Any]) -> None:
        super().__init__("not sealed")
        self.weights = weights


def require_keys(values: Mapping[str, Any], file: str | Path, names: tuple[str, ...]) -> None:
    """Raises MissingKeyError for the first name that is not there."""
    for name in names:
        if name not in values:
            raise MissingKeyError(file, f"the entry {name!r} is missing")


def require_finite(state: SavedState, file: str | Path = WEIGHTS) -> None:
    """Raises DamagedFileError for a state with a number that is not finite: such a state is never loaded as good."""
    if not are_whole(state.rows):
        raise DamagedFileError(METRICS, "holds numbers that are not finite")
    if not _all_finite(state.engine):
        raise DamagedFileError(file, "holds numbers that are not finite")


def are_whole(rows: NDArray[np.float32]) -> bool:
    """Whether every row of a history is finite, or marked as lost: NaN in all four series."""
    finite = np.isfinite(rows)
    return bool(finite.all() or (finite.all(1) | np.isnan(rows).all(1)).all())


def read_plain(path: Path, arrays: bool) -> dict[str, Any]:
    """Returns the content of a pickle of plain data. Raises a BadFileError."""
    return safe_pickle.loads(read_file(path), path, arrays)


def as_series(values: object, file: str | Path) -> NDArray[np.float32]:
    """Returns one history as an array. Raises DamagedFileError for what is no list of numbers."""
    plain = isinstance(values, list) and set(map(type, values)) <= {int, float}
    if not plain and not (isinstance(values, np.ndarray) and values.ndim == 1):
        raise DamagedFileError(file, "a history in it is not a list of numbers")
    try:
        with np.errstate(over="ignore"):  # too large for single precision: refused later, as not finite
            return np.asarray(values, np.float32)
    except OverflowError as error:  # a whole number of hundreds of digits
        raise DamagedFileError(file, "a history in it holds a number that is too large") from error


def in_words(value: object) -> str:
    """Returns a value from a file for a message, cut where it is long."""
    try:
        return f"{value!r:.50}"
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return "of thousands of digits"


def _config(values: Mapping[str, Any], file: Path) -> TrainingConfig:
    try:
        return TrainingConfig.from_dict(values)
    except ConfigurationError as error:
        raise MismatchError(file, f"its configuration cannot be run here: {error}") from error


def _tail(weights: dict[str, Any], file: Path, record: SaveRecord) -> NDArray[np.float32]:
    """Returns the rows behind the first `record.metrics_rows`, which the weights file carries itself."""
    tail = weights.pop(TAIL, None)
    rows = _EMPTY if tail is None else tail.numpy()
    if rows.shape != (record.iteration_count - record.metrics_rows, len(SERIES)) or rows.dtype != np.float32:
        raise MismatchError(file, "its part of the history is not what its record names")
    return rows


@dataclass(frozen=True)
class _History:
    rows: NDArray[np.float32]
    warnings: tuple[str, ...]
    damaged: tuple[BadFileError, ...]
    logs: Mapping[str, MetricsLog]


def _read_history(folder: Path, record: SaveRecord, tail: NDArray[np.float32], salvage: bool) -> _History:
    """Returns the rows that the record names, from the first metrics file that fits, and the logs of all that do.

    A file that was not written for this run is no damage where a new run's first save was cut off: its turn comes last.
    """
    fitting: NDArray[np.float32] | None = None
    parts: list[NDArray[np.float32]] = []
    failures: list[BadFileError] = []
    logs: dict[str, MetricsLog] = {}
    for path in metrics_files(folder, record.run):
        try:
            found = _read_metrics(path, record.run)
        except BadFileError as error:
            failures.append(error)
            continue
        rows = np.concatenate([found.rows[: record.metrics_rows], tail])
        if len(rows) == record.iteration_count and checksum_of(rows) == record.history_sha256:
            fitting = rows if fitting is None else fitting
            if found.log is not None:
                logs[str(path)] = found.log
            if found.intact:
                continue
        parts.append(found.rows[: record.metrics_rows])
        failures.append(_misfit(path, found, record))
    if fitting is None:
        together = _put_together(parts, tail, record)
        fitting = together if checksum_of(together) == record.history_sha256 else None
    if fitting is not None:
        warnings = tuple(f"{error}. Nothing was lost: all of it is in what is intact." for error in failures)
        return _History(fitting, warnings, tuple(failures), logs)
    if not salvage:
        raise _most_telling(failures)
    return _salvaged(together, record, failures)


@dataclass(frozen=True)
class _Metrics:
    rows: NDArray[np.float32]
    intact: bool
    log: MetricsLog | None


def _read_metrics(path: Path, run: str) -> _Metrics:
    """Returns a metrics file of this format or an earlier one. Raises a BadFileError."""
    content = read_file(path)
    if metrics_file.is_log(content):
        parsed = metrics_file.parse(content, path)
        if parsed.log.run != run:
            raise MismatchError(path, "belongs to another run than the weights")
        return _Metrics(parsed.rows, parsed.intact, parsed.log)
    values = safe_pickle.loads(content, path, arrays=True)
    require_keys(values, path, tuple(HISTORY_KEYS))
    if values.get("run", run) != run:
        raise MismatchError(path, "belongs to another run than the weights")
    columns = {series: as_series(values[name], path) for name, series in HISTORY_KEYS.items()}
    if len({len(column) for column in columns.values()}) != 1:
        raise MismatchError(path, "its four histories have different lengths")
    return _Metrics(rows_of(columns), intact=True, log=None)


def _misfit(path: Path, found: _Metrics, record: SaveRecord) -> BadFileError:
    if found.intact and len(found.rows) < record.metrics_rows:
        return MismatchError(
            path, f"holds {len(found.rows)} iterations, fewer than the {record.metrics_rows} that the weights count on"
        )
    return DamagedFileError(path, "its checksum does not fit its content: it was altered or damaged")


def _most_telling(failures: Sequence[BadFileError]) -> BadFileError:
    """Returns the first failure that is more than a copy's absence."""
    return next((error for error in failures if not isinstance(error, MissingFileError)), failures[0])


def _put_together(
    parts: Sequence[NDArray[np.float32]], tail: NDArray[np.float32], record: SaveRecord
) -> NDArray[np.float32]:
    """Returns all rows that any of the files has; those that none has are NaN in all series."""
    if record.metrics_rows > _MOST_MISSING + max(map(len, parts), default=0):
        raise MismatchError(METRICS, f"lacks most of the {record.metrics_rows} iterations that the weights count on")
    rows = np.full((record.iteration_count, len(SERIES)), np.nan, np.float32)
    for part in reversed(parts):
        target = rows[: len(part)]
        target[...] = np.where(np.isfinite(part).all(1, keepdims=True), part, target)
    rows[record.metrics_rows :] = tail
    return rows


def _salvaged(rows: NDArray[np.float32], record: SaveRecord, failures: Sequence[BadFileError]) -> _History:
    """Returns what is left of a history none of whose files is whole."""
    if not np.isnan(rows).any():  # a row is wrong, and nothing says which
        rows[: record.metrics_rows] = np.nan
    lost = int(np.isnan(rows).any(1).sum())
    warning = f"The metrics of {lost} iterations are lost: {' '.join(f'{error}.' for error in failures)}"
    return _History(rows, (warning,), tuple(failures), {})


def _system_findings(folder: Path, record: SaveRecord, config: TrainingConfig) -> tuple[BadFileError, ...]:
    """Returns what is wrong with the system state; nothing in it is needed, since the weights file carries it too."""
    path = folder / SYSTEM
    try:
        system = read_plain(path, arrays=False)
        require_keys(system, path, ("format_version", "field_size", "run"))
    except BadFileError as error:
        return (error,)
    if isinstance(system["format_version"], int) and system["format_version"] > FORMAT_VERSION:
        return (NewerFormatError(path, newer_format(in_words(system["format_version"]))),)
    if system["run"] != record.run:
        return (MismatchError(path, "belongs to another run than the weights"),)
    if system["field_size"] != config.field_size:
        reason = f"says field size {in_words(system['field_size'])}, but the weights have {config.field_size}"
        return (MismatchError(path, reason),)
    return ()


def _all_finite(value: object) -> bool:
    if isinstance(value, torch.Tensor):
        return not value.is_floating_point() or bool(torch.isfinite(value).all())
    if isinstance(value, Mapping):
        return all(_all_finite(entry) for entry in value.values())
    if isinstance(value, (list, tuple)):
        return all(_all_finite(entry) for entry in value)
    return not isinstance(value, float) or math.isfinite(value)
