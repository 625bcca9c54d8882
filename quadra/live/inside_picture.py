"""What is inside a run, as pictures need it: taken on the training thread between two steps, described elsewhere.

Nothing here changes what training reads: no generator is used, and nothing is written but the record of firing rates.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quadra.config import ACTIONS, NETWORKS
from quadra.model.activity import ActivityRecorder, ActivitySample, Columns, field_rows
from quadra.model.probes import LayerSpikes, evenly, spikes_for
from quadra.model.qlearning import in_order

if TYPE_CHECKING:
    from quadra.training.state import TrainingState

MOST_STATES = 64  # of the Q-table that are shown
MOST_NEURONS = 128  # of a layer whose spikes are shown, evenly spread where there are more
_FULL = 32_767  # what a cell of 1 becomes in 16 bits

Spikes = Mapping[str, Sequence[LayerSpikes]]


class Picture(NamedTuple):
    """A run between two iterations, and its record; nothing in it changes any more."""

    run: str
    recorder: ActivityRecorder  # only to know it again
    stride: int  # iterations of a column
    beginning: ActivitySample  # what the record begins after
    columns: Columns
    complete: int  # columns that will not change; one that follows does
    field_size: int
    set_point: float
    learning_rate: float  # at plasticity 1
    now: ActivitySample  # its field in rows
    spikes: Spikes
    values: Mapping[str, list[float]]  # of the Q-table
    visits: Mapping[str, list[int]]
    seconds: float  # of the processor that it took


def take_picture(state: TrainingState) -> Picture:
    """The run in memory as it is; on the thread that owns it. Raises RefusedError where there is none."""
    began = time.thread_time()
    run, engine, recorder = state.run, state.engine, state.run.activity
    now, config = engine.activity_sample(), engine.config
    spikes = spikes_for(now.field, engine.parameters, config)
    recorder.add_rates(now.iteration, [layers[-1].rate for layers in spikes.values()])
    table = engine.q_table
    return Picture(
        run=run.id,
        recorder=recorder,
        stride=recorder.stride,
        beginning=recorder.beginning,
        columns=recorder.columns(now),
        complete=len(recorder),
        field_size=config.field_size,
        set_point=config.set_point,
        learning_rate=config.learning_rate,
        now=now._replace(field=field_rows(now.field).copy()),
        spikes=spikes,
        values={name: list(values) for name, values in table.rows.items()},
        visits={name: list(visits) for name, visits in table.visits.items()},
        seconds=time.thread_time() - began,
    )


def describe_picture(picture: Picture, held: int) -> dict[str, Any]:
    """An `inside_update` for a page that holds the first `held` columns of this record.

    Arrays are base64 of little-endian numbers, row by row: `fields` and `field` int16, cells times 32,767; counts uint32,
    of all iterations of the record until then; the others float32; `spikes` packed to bits, most significant first.
    """
    part = picture.columns.part(held, len(picture.columns.last))
    start = picture.beginning
    return {
        "run": picture.run,
        "iteration": picture.now.iteration,
        "beginning": start.iteration,
        "stride": picture.stride,
        "field_size": picture.field_size,
        "set_point": picture.set_point,
        "learning_rate": picture.learning_rate,
        "columns": {
            "from": held,
            "last": _packed(part.last, "<u4"),
            "fields": _packed(_whole(part.fields), "<i2"),
            "plasticity": _packed(part.plasticity, "<f4"),
            "chosen": _packed(part.chosen - start.chosen, "<u4"),
            "patterns": _packed(part.patterns - start.patterns, "<u4"),
            "rates": _packed(part.rates, "<f4"),
        },
        "field": _packed(_whole(picture.now.field), "<i2"),
        "rows": picture.now.field.size,
        "actions": list(ACTIONS),
        "networks": {name: [_layer(layer) for layer in picture.spikes[name]] for name in NETWORKS},
        "q_table": _q_table(picture),
    }


def _layer(layer: LayerSpikes) -> dict[str, Any]:
    shown = evenly(layer.neurons.size, MOST_NEURONS)
    return {
        "size": layer.size,
        "rate": layer.rate,
        "neurons": layer.neurons[shown].tolist(),
        "time_steps": len(layer.spikes),
        "spikes": _packed(np.packbits(layer.spikes[:, shown]), "u1"),
    }


def _q_table(picture: Picture) -> dict[str, Any]:
    """The states visited most, those entered last first among equals; in the order of their numbers."""
    none = [0] * len(ACTIONS)
    newest_first = list(picture.values)[::-1]
    chosen = sorted(newest_first, key=lambda name: -sum(picture.visits.get(name, none)))[:MOST_STATES]
    names = sorted(chosen, key=in_order)
    return {
        "states": names,
        "values": [picture.values[name] for name in names],
        "visits": [picture.visits.get(name, none) for name in names],
        "total": len(picture.values),
        "all_visits": sum(map(sum, picture.visits.values())),
    }


def _whole(cells: NDArray[np.float32]) -> NDArray[np.float64]:
    whole: NDArray[np.float64] = np.rint(np.clip(cells, -1.0, 1.0) * float(_FULL))
    return whole


def _packed(array: NDArray[Any], kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(array, kind).tobytes()).decode("ascii")
