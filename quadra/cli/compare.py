"""The command that compares saved states: the numbers that say at a glance how far they are from each other."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from quadra.cli.output import NOTHING, aligned, figure, printable, say, say_json
from quadra.cli.show import look_up
from quadra.config import TrainingConfig
from quadra.states.listing import StateListing

_DIFFERENT_SHAPE = "other shape"


def compare_states(options: argparse.Namespace) -> int:
    """Prints states side by side. Returns the exit code. Raises a QuadraError."""
    from quadra.reports.compare import compare  # these bring torch along
    from quadra.states.read_only import read_state

    found = [look_up(options, text) for text in options.states]
    opened = [read_state(layout, entry.id, TrainingConfig()) for layout, entry in found]
    labelled = [
        (StateListing(layout).title(entry), saved) for (layout, entry), (_, saved) in zip(found, opened, strict=True)
    ]
    comparison = compare(labelled)
    if options.json:
        say_json({"ids": [entry.id for _, entry in found], **comparison})
    else:
        say(*summary(comparison))
    return 0


def summary(comparison: Mapping[str, Any]) -> list[str]:
    """Returns the lines of a comparison by `reports.compare`; states are numbered, and 1 is the reference."""
    count = len(comparison["states"])
    numbers = [str(number) for number in range(1, count + 1)]
    return [
        *_states(comparison["states"], numbers),
        *("", "Configuration", *_configuration(comparison["configuration"], numbers)),
        *("", "Distance of the networks from those of 1, over their norm", *_layers(comparison["layers"], numbers)),
        *("", "Q-table", *_q_tables(comparison["q_tables"], numbers)),
        *("", "Share of time steps in which neurons fire", *_rates(comparison["firing_rates"]["layers"], numbers)),
    ]


def _states(states: Sequence[Mapping[str, Any]], numbers: Sequence[str]) -> list[str]:
    rows = [["", "STATE", "RUN", "ITERATION", "LOSS", "REWARD"]]
    for number, state in zip(numbers, states, strict=True):
        last = (figure(state[name], 6) for name in ("loss", "reward"))
        rows.append([number, printable(state["label"]), state["run"], str(state["iteration_count"]), *last])
    warnings = [
        f"{number}: {printable(text)}"
        for number, state in zip(numbers, states, strict=True)
        for text in state["warnings"]
    ]
    return [*aligned(rows, (3, 4, 5)), *warnings]


def _configuration(settings: Sequence[Mapping[str, Any]], numbers: Sequence[str]) -> list[str]:
    rows = [[setting["name"], *map(_value, setting["values"])] for setting in settings if setting["differs"]]
    return aligned([["", *numbers], *rows]) if rows else ["the same in all of them"]


def _layers(layers: Sequence[Mapping[str, Any]], numbers: Sequence[str]) -> list[str]:
    rows = [[f"{layer['network']}.{layer['tensor']}", *_distances(layer)] for layer in layers]
    return aligned([["", *numbers], *rows], range(1, len(numbers) + 1))


def _distances(layer: Mapping[str, Any]) -> list[str]:
    pairs = zip(layer["distance"], layer["relative"], strict=True)
    return [_DIFFERENT_SHAPE if distance is None else figure(relative) for distance, relative in pairs]


def _q_tables(tables: Mapping[str, Any], numbers: Sequence[str]) -> list[str]:
    rows = [
        ["", *numbers],
        ["visited states", *map(str, tables["visited"])],
        ["changed cells", *map(str, tables["changed"])],
    ]
    return aligned(rows, range(1, len(numbers) + 1))


def _rates(layers: Sequence[Mapping[str, Any]], numbers: Sequence[str]) -> list[str]:
    rows = [[f"{layer['network']}.{layer['layer']}", *(figure(rate) for rate in layer["rates"])] for layer in layers]
    return aligned([["", *numbers], *rows], range(1, len(numbers) + 1))


def _value(value: object) -> str:
    return NOTHING if value is None else printable(str(value))
