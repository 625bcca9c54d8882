"""Activity frames: what is inside a run at one instant, captured on the training thread, encoded on another.

Nothing here changes what training reads: no generator is used, and nothing is written but the recorder's firing rates.
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


class ActivityFrame(NamedTuple):
    """A run between two iterations, and what its recorder holds; nothing in it changes any more."""

    run: str
    recorder: ActivityRecorder  # only to know it again
    stride: int  # iterations of a column
    beginning: ActivitySample  # what the columns begin after
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


def capture_frame(state: TrainingState) -> ActivityFrame:
    """Returns the run in memory as it is; to be called on the thread that owns it. Raises RefusedError where there is none."""
    began = time.thread_time()
    run, engine, recorder = state.run, state.engine, state.run.activity
    now, config = engine.activity_sample(), engine.config
    spikes = spikes_for(now.field, engine.parameters, config)
    recorder.add_rates(now.iteration, [layers[-1].rate for layers in spikes.values()])
    table = engine.q_table
    return ActivityFrame(
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


def frame_payload(frame: ActivityFrame, held: int) -> dict[str, Any]:
    """Returns an `inside_update` for a page that holds the first `held` columns already.

    Arrays are base64 of little-endian numbers, row by row: `fields` and `field` int16, cells times 32,767; counts uint32,
    of all iterations since `beginning` until then; the others float32; `spikes` packed to bits, most significant first.
    """
    part = frame.columns.part(held, len(frame.columns.last))
    start = frame.beginning
    return {
        "run": frame.run,
        "iteration": frame.now.iteration,
        "beginning": start.iteration,
        "stride": frame.stride,
        "field_size": frame.field_size,
        "set_point": frame.set_point,
        "learning_rate": frame.learning_rate,
        "columns": {
            "from": held,
            "last": _base64(part.last, "<u4"),
            "fields": _base64(_as_int16_range(part.fields), "<i2"),
            "plasticity": _base64(part.plasticity, "<f4"),
            "chosen": _base64(part.chosen - start.chosen, "<u4"),
            "patterns": _base64(part.patterns - start.patterns, "<u4"),
            "rates": _base64(part.rates, "<f4"),
        },
        "field": _base64(_as_int16_range(frame.now.field), "<i2"),
        "rows": frame.now.field.size,
        "actions": list(ACTIONS),
        "networks": {name: [_layer(layer) for layer in frame.spikes[name]] for name in NETWORKS},
        "q_table": _q_table(frame),
    }


def _layer(layer: LayerSpikes) -> dict[str, Any]:
    shown = evenly(layer.neurons.size, MOST_NEURONS)
    return {
        "size": layer.size,
        "rate": layer.rate,
        "neurons": layer.neurons[shown].tolist(),
        "time_steps": len(layer.spikes),
        "spikes": _base64(np.packbits(layer.spikes[:, shown]), "u1"),
    }


def _q_table(frame: ActivityFrame) -> dict[str, Any]:
    """Returns the states visited most, those entered last first among equals; in the order of their numbers."""
    none = [0] * len(ACTIONS)
    newest_first = list(frame.values)[::-1]
    chosen = sorted(newest_first, key=lambda name: -sum(frame.visits.get(name, none)))[:MOST_STATES]
    names = sorted(chosen, key=in_order)
    return {
        "states": names,
        "values": [frame.values[name] for name in names],
        "visits": [frame.visits.get(name, none) for name in names],
        "total": len(frame.values),
        "all_visits": sum(map(sum, frame.visits.values())),
    }


def _as_int16_range(cells: NDArray[np.float32]) -> NDArray[np.float64]:
    whole: NDArray[np.float64] = np.rint(np.clip(cells, -1.0, 1.0) * float(_FULL))
    return whole


def _base64(array: NDArray[Any], kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(array, kind).tobytes()).decode("ascii")
