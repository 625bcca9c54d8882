"""State directories in the legacy format, of the generation of this dashboard before this one, read as saved states.

What is known of the format: no `format_version`; weights under `nn1`, `nn2`, `nn3` with extra `lif1.*` to `lif3.*` entries,
`field` and `q_table` (state -> {action: value}); the four histories as lists of floats; `field_size` and
`integrity_strikes`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadra.config import ACTIONS, NETWORKS, SMALLEST_FIELD, TrainingConfig
from quadra.errors import ConfigurationError, DamagedFileError, MismatchError, unreadable
from quadra.model.corpus import Corpus
from quadra.model.engine import Engine
from quadra.model.history import checksum_of, rows_of
from quadra.model.spiking import parameter_shapes
from quadra.storage.catalog import summarize
from quadra.storage.layout import METRICS, SYSTEM, WEIGHTS
from quadra.storage.metrics_file import HISTORY_KEYS
from quadra.storage.save_record import SaveRecord
from quadra.storage.saved_state import SavedState, as_series, in_words, read_plain, require_keys

WARNING = (
    "This state comes from the earlier generation of the dashboard: "
    "optimizer, random generators and syntropy fields start fresh."
)
_MOST_STRIKES = 2**53  # the largest whole number that a browser's JSON keeps exactly
_NAMES = dict(zip(NETWORKS, ("nn1", "nn2", "nn3"), strict=True))


def convert(folder: Path, weights: Mapping[str, Any], config: TrainingConfig, corpus: Corpus) -> SavedState:
    """Returns a saved state from files in the legacy format; `config` gives what they lack, its seed among it.

    Raises a BadFileError that names the file at fault.
    """
    require_keys(weights, WEIGHTS, (*_NAMES.values(), "field", "q_table"))
    system = read_plain(folder / SYSTEM, arrays=True)
    require_keys(system, SYSTEM, ("field_size", "integrity_strikes"))
    strikes = system["integrity_strikes"]
    if type(strikes) is not int or not 0 <= strikes <= _MOST_STRIKES:
        raise DamagedFileError(SYSTEM, "its integrity strikes are not a possible number")
    rows = _rows(folder)
    try:
        config = _sized(config, weights, system["field_size"])
        learned = _learned(config, weights)  # first: sizes that its tensors do not have claim no memory then
        engine = {**Engine(config, corpus).state_dict(), **learned}
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError, ConfigurationError) as error:
        raise unreadable(WEIGHTS, f"it does not hold what belongs there: {error}", error) from error
    engine["neuroplasticity"]["integrity_strikes"] = strikes
    engine["iteration_count"] = len(rows)
    return SavedState(_record(folder, config, rows), config, engine, rows, (WARNING,))


def _rows(folder: Path) -> NDArray[np.float32]:
    metrics = read_plain(folder / METRICS, arrays=True)
    require_keys(metrics, METRICS, tuple(HISTORY_KEYS))
    columns = {series: as_series(metrics[name], METRICS) for name, series in HISTORY_KEYS.items()}
    if len({len(column) for column in columns.values()}) != 1:
        raise MismatchError(METRICS, "its four histories have different lengths")
    rows = rows_of(columns)
    if not np.isfinite(rows).all():
        raise DamagedFileError(METRICS, "holds numbers that are not finite")
    return rows


def _sized(config: TrainingConfig, weights: Mapping[str, Any], field_size: object) -> TrainingConfig:
    """Returns the configuration with the sizes that the files have."""
    field = int(weights["field"].numel())
    if field_size != field or field < SMALLEST_FIELD:
        raise MismatchError(SYSTEM, f"says field size {in_words(field_size)}, but the weights have {field}")
    hidden = {name: int(weights[old]["fc1.weight"].shape[0]) for name, old in _NAMES.items()}
    return replace(
        config.classic(),
        field_size=field,
        field_update_hidden=hidden["field_update"],
        syntropy_hidden=hidden["syntropy"],
        feedback_hidden=hidden["feedback"],
    )


def _learned(config: TrainingConfig, weights: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the part of an engine's state that the files have: networks, field and Q-table."""
    networks: dict[str, dict[str, Any]] = {name: {} for name in _NAMES}
    for tensor, shape in parameter_shapes(config).items():
        name, entry = tensor.split(".", 1)
        value = weights[_NAMES[name]].get(entry)
        if value is None or tuple(value.shape) != shape:
            raise MismatchError(WEIGHTS, f"{_NAMES[name]}.{entry} is missing or has another shape than this model's")
        networks[name][entry] = value.detach().float()
    field = weights["field"].detach().float().reshape(-1).clamp(-1.0, 1.0)
    return {**networks, "field": field, "q_table": _q_table(weights["q_table"])}


def _q_table(table: object) -> dict[str, dict[str, float]]:
    try:
        converted = {
            str(state): {action: float(values.get(action, 0.0)) for action in ACTIONS}
            for state, values in table.items()  # type: ignore[attr-defined]  # what is no mapping is caught below
        }
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise DamagedFileError(WEIGHTS, f"its Q-table is not state -> {{action: value}}: {error}") from error
    if not all(math.isfinite(value) for values in converted.values() for value in values.values()):
        raise DamagedFileError(WEIGHTS, "its Q-table holds numbers that are not finite")
    return converted


def _record(folder: Path, config: TrainingConfig, rows: NDArray[np.float32]) -> SaveRecord:
    listed = summarize(folder / WEIGHTS, folder)
    return SaveRecord(
        run=listed.id, sequence=0, iteration_count=len(rows), saved_at=listed.saved_at,
        ended="stopped", load_rank=0, field_size=config.field_size, seed=config.seed or 0, history_sha256=checksum_of(rows),
        metrics_rows=len(rows),
    )  # fmt: skip
