"""The comparison of two or more saved states: settings, curves, Q-tables, weights and firing rates.

The first state is the reference that all others are measured against. The result is plain data for JSON: numbers that are
not finite, or cannot be computed, are None.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadra.config import ACTIONS, LAYERS, NETWORKS
from quadra.errors import ConfigurationError, DamagedFileError, MismatchError
from quadra.model.history import SERIES, History
from quadra.model.probes import PROBE_LEVEL, Array, Layer, layer_rates, network_inputs, probe_texts, probe_vectors
from quadra.model.spiking import parameter_shapes
from quadra.storage.layout import WEIGHTS
from quadra.storage.saved_state import SavedState

POINTS = 2000  # of a curve, where the caller names no other number


@dataclass(frozen=True)
class _Side:
    """One of the states, with its parameters and Q-table checked."""

    label: str
    state: SavedState
    parameters: Mapping[str, Array]  # by `<network>.<layer>.<weight or bias>`
    q_table: Mapping[str, list[float]]  # state -> value of each action


def compare(states: Sequence[tuple[str, SavedState]], points: int = POINTS) -> dict[str, Any]:
    """Returns labelled states side by side; lists over the states have their order, and the first is the reference.

    `states`: who each one is and how it ended; `configuration`: a row for each setting; `curves`: each state's four
    series by iteration, at most `points` of them; `q_tables`, `layers`, `firing_rates`: see the functions of this module.
    Raises ConfigurationError for fewer than two states, a BadFileError for one that does not hold what belongs in it.
    """
    if len(states) < 2:
        raise ConfigurationError("states", f"must be at least two saved states, not {len(states)}")
    sides = [_side(label, state) for label, state in states]
    return {
        "states": [_identity(side) for side in sides],
        "configuration": _configuration(sides),
        "curves": [_curves(side.state.rows, points) for side in sides],
        "q_tables": _q_tables(sides),
        "layers": _layers(sides),
        "firing_rates": _firing_rates(sides),
    }


def _side(label: str, state: SavedState) -> _Side:
    """Returns a state with shapes and types checked before anything is computed from them: a seal can be forged."""
    try:
        parameters = {name: np.asarray(_entry(state.engine, name)) for name in parameter_shapes(state.config)}
        q_table = {
            str(key): [float(values.get(action, 0.0)) for action in ACTIONS]
            for key, values in state.engine["q_table"].items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(
            WEIGHTS, f"what is saved as “{label}” does not hold what belongs there: {error}"
        ) from error
    for name, shape in parameter_shapes(state.config).items():
        if parameters[name].shape != shape or parameters[name].dtype != np.float32:
            raise MismatchError(WEIGHTS, f"{name} of “{label}” is not what its configuration names")
    return _Side(label, state, parameters, q_table)


def _entry(engine: Mapping[str, Any], name: str) -> Any:
    network, tensor = name.split(".", 1)
    return engine[network][tensor]


def _identity(side: _Side) -> dict[str, Any]:
    record, corpus = side.state.record, side.state.engine["corpus"]
    last = side.state.rows[-1].tolist() if len(side.state.rows) else [math.nan] * len(SERIES)
    return {
        "label": side.label,
        "run": record.run,
        "iteration_count": record.iteration_count,
        "saved_at": record.saved_at,
        "ended": record.ended,
        "field_size": record.field_size,
        "seed": record.seed,
        "corpus": corpus.get("path"),  # None: the built-in corpus
        "corpus_fingerprint": corpus.get("fingerprint"),
        "loss": _number(last[SERIES.index("loss")]),
        "reward": _number(last[SERIES.index("reward")]),
        "warnings": list(side.state.warnings),
    }


def _configuration(sides: Sequence[_Side]) -> list[dict[str, Any]]:
    """Returns a row for each setting, and for the text itself: its value in every state, and whether they differ."""
    settings = [
        {
            **side.state.config.as_dict(),
            "seed": side.state.record.seed,
            "corpus_fingerprint": side.state.engine["corpus"].get("fingerprint"),
        }
        for side in sides
    ]
    rows = [(name, [of_state[name] for of_state in settings]) for name in settings[0]]
    return [
        {"name": name, "values": values, "differs": any(value != values[0] for value in values)}
        for name, values in rows
    ]


def _curves(rows: Array, points: int) -> dict[str, Any]:
    part = History(rows).slice(1, len(rows), points)
    return {**part.as_lists(), "total": part.total, "thinned": part.thinned}


def _q_tables(sides: Sequence[_Side]) -> dict[str, Any]:
    """Returns every table state of any of the saved states, in the order of its number.

    A row's `values`, `differences` and `changed` have, for each saved state, one entry for each action; `values` is None
    where the saved state never visited that table state. A cell is changed where it is not equal to the reference's, also
    where only one of the two was visited: its difference is None then. `greedy`: the action of the highest value.
    """
    names = sorted({name for side in sides for name in side.q_table}, key=_by_number)
    rows = [_q_row(name, [side.q_table.get(name) for side in sides]) for name in names]
    return {
        "actions": list(ACTIONS),
        "rows": rows,
        "visited": [len(side.q_table) for side in sides],
        "changed": [sum(sum(row["changed"][number]) for row in rows) for number in range(len(sides))],
    }


def _q_row(name: str, cells: Sequence[list[float] | None]) -> dict[str, Any]:
    reference = cells[0]
    return {
        "state": name,
        "values": [None if values is None else [_number(value) for value in values] for values in cells],
        "greedy": [None if values is None else ACTIONS[values.index(max(values))] for values in cells],
        "changed": [_changed(reference, values) for values in cells],
        "differences": [_differences(reference, values) for values in cells],
    }


def _changed(reference: list[float] | None, values: list[float] | None) -> list[bool]:
    if reference is None or values is None:
        return [reference is not values] * len(ACTIONS)
    return [value != before for value, before in zip(values, reference, strict=True)]


def _differences(reference: list[float] | None, values: list[float] | None) -> list[float | None] | None:
    if reference is None or values is None:
        return None
    return [_number(value - before) for value, before in zip(values, reference, strict=True)]


def _by_number(name: str) -> tuple[bool, float, str]:
    """Returns the sort key of a table state: its rounded mean; one that is no number comes last, by its text."""
    try:
        value = float(name)
    except ValueError:
        value = math.nan
    return (True, 0.0, name) if math.isnan(value) else (False, value, name)


def _layers(sides: Sequence[_Side]) -> list[dict[str, Any]]:
    """Returns, for every weight and bias of the networks, how far each state's is from the reference's.

    `norm`: Euclidean; `distance`: norm of the difference; `relative`: that over the reference's norm; `cosine`: of the
    angle between the two. A number that cannot be computed is None, and `reason` says why.
    """
    rows = []
    for name in sides[0].parameters:
        network, tensor = name.split(".", 1)
        measures = [_measure(sides[0].parameters[name], side.parameters[name]) for side in sides]
        columns = {key: [measure[key] for measure in measures] for key in measures[0]}
        rows.append({"network": network, "tensor": tensor, **columns})
    return rows


def _measure(reference: Array, tensor: Array) -> dict[str, Any]:
    norm = math.sqrt(_product(tensor, tensor))
    measure: dict[str, Any] = {"shape": list(tensor.shape), "norm": _number(norm)}
    if tensor.shape != reference.shape:
        reason = f"its shape is {_shape(tensor)}, the reference's {_shape(reference)}"
        return {**measure, "distance": None, "relative": None, "cosine": None, "reason": reason}
    of_reference = math.sqrt(_product(reference, reference))
    difference = np.subtract(tensor, reference, dtype=np.float64)
    distance = math.sqrt(_product(difference, difference))
    zeros = "all its numbers are zero" if norm == 0 else "all numbers of the reference are zero"
    return {
        **measure,
        "distance": _number(distance),
        "relative": _number(distance / of_reference) if of_reference else (None if distance else 0.0),
        "cosine": _cosine(_product(reference, tensor), of_reference * norm, distance),
        "reason": None if norm and of_reference else zeros,
    }


def _cosine(product: float, norms: float, distance: float) -> float | None:
    """Returns the cosine: rounding may leave its range, or miss 1 for equal tensors."""
    if norms == 0.0:
        return None
    return 1.0 if distance == 0.0 else max(-1.0, min(1.0, product / norms))


def _product(left: NDArray[Any], right: NDArray[Any]) -> float:
    """Returns the sum of products of all entries, in double precision and without a copy of either."""
    axes = list(range(left.ndim))
    return float(np.einsum(left, axes, right, axes, [], dtype=np.float64))


def _shape(tensor: Array) -> str:
    return " x ".join(map(str, tensor.shape))


def _firing_rates(sides: Sequence[_Side]) -> dict[str, Any]:
    """Returns how often the networks' neurons fire for the same probes; states of another field size get them at their size.

    `layers`: for each layer of each network its mean rate over neurons and probes, by saved state; `outputs`: for each
    network the mean rate of its last layer by saved state and probe.
    """
    rates = [_rates_of(side) for side in sides]
    layers = [
        {"network": network, "layer": layer, "rates": [_mean(found[network][layer]) for found in rates]}
        for network in NETWORKS
        for layer in LAYERS
    ]
    outputs = [
        {"network": network, "rates": [[_mean(row) for row in found[network][LAYERS[-1]]] for found in rates]}
        for network in NETWORKS
    ]
    return {"probes": [*probe_texts(), f"every cell {PROBE_LEVEL}"], "layers": layers, "outputs": outputs}


def _rates_of(side: _Side) -> dict[str, dict[str, Array]]:
    """Returns firing rates by network and layer, of shape (probes, neurons)."""
    config = side.state.config
    inputs = network_inputs(probe_vectors(config.field_size), config)
    return {network: layer_rates(_network(side, network), inputs[network], config) for network in NETWORKS}


def _network(side: _Side, network: str) -> dict[str, Layer]:
    tensors = side.parameters
    return {layer: (tensors[f"{network}.{layer}.weight"], tensors[f"{network}.{layer}.bias"]) for layer in LAYERS}


def _mean(rates: Array) -> float:
    return float(rates.mean(dtype=np.float64))


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
