"""Saved states beside each other: hand-made ones with known answers, and what must hold for any."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from quadra.config import ACTIONS, NETWORKS
from quadra.errors import BadFileError, ConfigurationError, DamagedFileError, MismatchError
from quadra.model.history import SERIES
from quadra.model.probes import PROBE_LINES, probe_texts
from quadra.model.spiking import LAYERS
from quadra.reports.compare import compare
from quadra.storage.saved_state import SavedState
from tests.helpers.model_helpers import differences
from tests.helpers.state_helpers import RUN_B, saved_states

EARLY, LATE = saved_states(20, 40)
(WIDER,) = saved_states(30, run=RUN_B, field_size=12, seed=5, exploration=0.25)


def with_engine(state: SavedState, **entries: Any) -> SavedState:
    """The state with other entries in its engine."""
    return replace(state, engine={**state.engine, **entries})


def with_tensor(state: SavedState, network: str, name: str, values: Any) -> SavedState:
    tensors = {**state.engine[network], name: torch.as_tensor(values, dtype=torch.float32)}
    return with_engine(state, **{network: tensors})


def side_by_side(*states: SavedState, **options: Any) -> dict[str, Any]:
    """The comparison, as a browser gets it: through strict JSON."""
    found = compare([(f"state {number}", state) for number, state in enumerate(states)], **options)
    plain: dict[str, Any] = json.loads(json.dumps(found, allow_nan=False))
    assert plain == found, "only what JSON has: no tuples, no numbers of numpy, no keys that are not text"
    return plain


def layer(found: Mapping[str, Any], network: str, tensor: str) -> dict[str, Any]:
    (row,) = [row for row in found["layers"] if (row["network"], row["tensor"]) == (network, tensor)]
    return dict(row)


def setting(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    (row,) = [row for row in found["configuration"] if row["name"] == name]
    return dict(row)


def test_each_state_is_told_by_its_label_and_its_record() -> None:
    late = replace(LATE, rows=np.array([[1, 2, 3, 4], [0.25, 8.5, 0.5, 0.75]], np.float32), warnings=("a remark",))
    found = side_by_side(EARLY, late)["states"]
    assert [state["label"] for state in found] == ["state 0", "state 1"]
    assert found[1] == {
        "label": "state 1", "run": LATE.record.run, "iteration_count": 40, "saved_at": "2026-01-01T00:00:00.000Z",
        "ended": "stopped", "field_size": 8, "seed": 1, "corpus": None,
        "corpus_fingerprint": LATE.engine["corpus"]["fingerprint"], "loss": 0.25, "reward": 8.5,
        "warnings": ["a remark"],
    }  # fmt: skip


def test_a_corpus_of_its_own_is_named_by_its_path() -> None:
    other = with_engine(LATE, corpus={**LATE.engine["corpus"], "path": "/texts/sea.txt", "fingerprint": "f" * 64})
    found = side_by_side(EARLY, other)
    assert [state["corpus"] for state in found["states"]] == [None, "/texts/sea.txt"]
    row = setting(found, "corpus_fingerprint")
    assert row["values"] == [EARLY.engine["corpus"]["fingerprint"], "f" * 64]
    assert row["differs"]


def test_every_setting_is_there_and_those_that_differ_are_marked() -> None:
    found = side_by_side(EARLY, WIDER, EARLY)
    assert {row["name"] for row in found["configuration"]} == {*EARLY.config.as_dict(), "corpus_fingerprint"}
    assert {row["name"] for row in found["configuration"] if row["differs"]} == {"field_size", "seed", "exploration"}
    assert setting(found, "exploration")["values"] == [0.1, 0.25, 0.1]
    assert setting(found, "syntropy_decays")["values"] == [[0.9, 0.99, 0.999]] * 3


def test_the_seed_that_differs_is_the_one_that_the_run_was_drawn_with() -> None:
    other = replace(EARLY, record=replace(EARLY.record, seed=77))
    assert setting(side_by_side(EARLY, other), "seed") == {"name": "seed", "values": [1, 77], "differs": True}


def test_short_curves_are_complete() -> None:
    for state, curve in zip((EARLY, WIDER), side_by_side(EARLY, WIDER)["curves"], strict=True):
        assert curve["iteration"] == list(range(1, len(state.rows) + 1))
        assert (curve["total"], curve["thinned"]) == (len(state.rows), False)
        for column, name in enumerate(SERIES):
            assert curve[name] == state.rows[:, column].tolist()


def test_long_curves_are_thinned_and_keep_their_spikes() -> None:
    rows = np.full((5000, 4), 0.5, np.float32)
    rows[3210, 0], rows[1234, 3] = 9.0, -9.0
    plain, spiked = side_by_side(EARLY, replace(LATE, rows=rows), points=100)["curves"]
    assert not plain["thinned"]
    assert (spiked["total"], spiked["thinned"]) == (5000, True)
    assert len(spiked["iteration"]) <= 100
    assert spiked["loss"][spiked["iteration"].index(3211)] == 9.0
    assert spiked["mean"][spiked["iteration"].index(1235)] == -9.0


def test_lost_iterations_are_none_and_not_the_last_word_on_the_others() -> None:
    rows = LATE.rows.copy()
    rows[5:10], rows[-1] = np.nan, np.nan
    found = side_by_side(EARLY, replace(LATE, rows=rows))
    assert (found["states"][1]["loss"], found["states"][1]["reward"]) == (None, None)
    for name in SERIES:
        values = found["curves"][1][name]
        assert [index for index, value in enumerate(values) if value is None] == [5, 6, 7, 8, 9, 39]


def test_a_state_without_an_iteration_has_empty_curves() -> None:
    found = side_by_side(replace(EARLY, rows=EARLY.rows[:0]), LATE)
    assert found["curves"][0] == {"iteration": [], **{name: [] for name in SERIES}, "total": 0, "thinned": False}
    assert found["states"][0]["loss"] is None


def table(**rows: list[float]) -> dict[str, dict[str, float]]:
    return {state: dict(zip(ACTIONS, values, strict=True)) for state, values in rows.items()}


def test_q_tables_are_compared_cell_by_cell() -> None:
    one = with_engine(EARLY, q_table=table(**{"0.1": [1.0, 2.0, 2.0], "-0.5": [0.5, 0.0, 0.0]}))
    two = with_engine(LATE, q_table=table(**{"0.1": [1.0, 2.5, 1.0], "10.0": [0.0, 0.0, 3.0]}))
    found = side_by_side(one, two)["q_tables"]
    assert found["actions"] == list(ACTIONS)
    assert found["rows"] == [
        {
            "state": "-0.5", "values": [[0.5, 0.0, 0.0], None], "greedy": ["update_field", None],
            "changed": [[False] * 3, [True] * 3], "differences": [[0.0] * 3, None],
        },
        {
            "state": "0.1", "values": [[1.0, 2.0, 2.0], [1.0, 2.5, 1.0]],
            "greedy": ["adjust_syntropy", "adjust_syntropy"],  # ties go to the first action
            "changed": [[False] * 3, [False, True, True]], "differences": [[0.0] * 3, [0.0, 0.5, -1.0]],
        },
        {
            "state": "10.0", "values": [None, [0.0, 0.0, 3.0]], "greedy": [None, "penalize_variance"],
            "changed": [[False] * 3, [True] * 3], "differences": [None, None],
        },
    ]  # fmt: skip
    assert (found["visited"], found["changed"]) == ([2, 2], [0, 8])


def test_a_state_that_neither_table_to_be_compared_has_is_not_changed() -> None:
    tables = ({}, table(**{"0.3": [1.0, 0.0, 0.0]}), {})
    (row,) = side_by_side(*(with_engine(EARLY, q_table=of_state) for of_state in tables))["q_tables"]["rows"]
    assert row["changed"] == [[False] * 3, [True] * 3, [False] * 3]
    assert row["values"] == [None, [1.0, 0.0, 0.0], None]


def test_table_states_are_in_the_order_of_their_numbers() -> None:
    names = ["-0.0", "1e-05", "-1.5", "10.0", "9.99", "0.5", "-0.09", "words", "nan"]
    state = with_engine(EARLY, q_table=table(**{name: [0.0, 0.0, 0.0] for name in names}))
    rows = side_by_side(state, state)["q_tables"]["rows"]
    assert [row["state"] for row in rows] == [
        "-1.5", "-0.09", "-0.0", "1e-05", "0.5", "9.99", "10.0", "nan", "words",
    ]  # fmt: skip


def test_an_action_that_a_table_does_not_name_counts_as_zero_as_it_does_in_training() -> None:
    state = with_engine(EARLY, q_table={"0.1": {"adjust_syntropy": 2.0}})
    (row,) = side_by_side(state, state)["q_tables"]["rows"]
    assert row["values"] == [[0.0, 2.0, 0.0]] * 2


def test_the_distances_of_a_tensor_are_those_computed_by_hand() -> None:
    one = with_tensor(EARLY, "feedback", "fc1.bias", [3.0, 4.0, 0.0])
    two = with_tensor(LATE, "feedback", "fc1.bias", [3.0, 0.0, 4.0])
    assert layer(side_by_side(one, two), "feedback", "fc1.bias") == {
        "network": "feedback", "tensor": "fc1.bias", "shape": [[3], [3]], "norm": [5.0, 5.0],
        "distance": [0.0, pytest.approx(math.sqrt(32))], "relative": [0.0, pytest.approx(math.sqrt(32) / 5)],
        "cosine": [1.0, pytest.approx(9 / 25)], "reason": [None, None],
    }  # fmt: skip


def test_a_matrix_is_measured_whichever_way_it_lies_in_memory() -> None:
    values = torch.arange(15.0).view(3, 5)  # fc2 of feedback is 3 x 3, fc1 of field_update 5 x 8
    one = with_tensor(EARLY, "feedback", "fc2.weight", values[:, :3])
    two = with_tensor(LATE, "feedback", "fc2.weight", values[:, :3].t().contiguous().t() + 1)
    row = layer(side_by_side(one, two), "feedback", "fc2.weight")
    assert row["norm"][0] == pytest.approx(float(np.linalg.norm(values[:, :3].numpy())))
    assert row["distance"][1] == pytest.approx(3.0)


def test_opposite_tensors_have_cosine_minus_one() -> None:
    opposite = with_tensor(EARLY, "syntropy", "fc1.weight", -EARLY.engine["syntropy"]["fc1.weight"])
    row = layer(side_by_side(EARLY, opposite), "syntropy", "fc1.weight")
    assert row["cosine"] == [1.0, pytest.approx(-1.0)]
    assert row["relative"] == [0.0, pytest.approx(2.0)]


def test_rounding_does_not_lift_a_cosine_above_one() -> None:
    """Unclipped, the cosine of these two comes out as 1 + 2^-52."""
    one, two = (with_tensor(EARLY, "feedback", "fc1.bias", [8.0 * k, 1.0 * k, 2.0 * k]) for k in (1, 3))
    assert layer(side_by_side(one, two), "feedback", "fc1.bias")["cosine"] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("reference", "other", "relative", "reason"),
    [
        ([0.0] * 3, [1.0, 0.0, 0.0], None, "all numbers of the reference are zero"),
        ([1.0, 0.0, 0.0], [0.0] * 3, 1.0, "all its numbers are zero"),
        ([0.0] * 3, [0.0] * 3, 0.0, "all its numbers are zero"),
    ],
)
def test_what_cannot_be_had_for_zeros_is_none_with_its_reason(
    reference: list[float], other: list[float], relative: float | None, reason: str
) -> None:
    one, two = (with_tensor(EARLY, "feedback", "fc1.bias", values) for values in (reference, other))
    row = layer(side_by_side(one, two), "feedback", "fc1.bias")
    assert (row["relative"][1], row["cosine"][1], row["reason"][1]) == (relative, None, reason)
    assert row["distance"][1] == pytest.approx(math.dist(reference, other))


def test_every_weight_and_bias_of_the_three_networks_is_measured() -> None:
    rows = side_by_side(EARLY, LATE)["layers"]
    expected = [(network, f"{name}.{part}") for network in NETWORKS for name in LAYERS for part in ("weight", "bias")]
    assert [(row["network"], row["tensor"]) for row in rows] == expected
    assert all(row["distance"][1] > 0 for row in rows if row["network"] == "field_update"), "training moved them"


@settings(max_examples=20, deadline=None)
@given(values=arrays(np.float32, (2, 3), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_measures_are_finite_and_within_their_ranges_whatever_the_numbers(values: np.ndarray) -> None:
    one, two = (with_tensor(EARLY, "feedback", "fc1.bias", row) for row in values)
    row = layer(side_by_side(one, two, one), "feedback", "fc1.bias")
    back = layer(side_by_side(two, one), "feedback", "fc1.bias")
    assert row["norm"] == pytest.approx([float(np.linalg.norm(value.astype(float))) for value in (*values, values[0])])
    assert row["distance"][1] == back["distance"][1]
    assert (row["distance"][2], row["relative"][2]) == (0.0, 0.0)
    assert (row["distance"][1] == 0.0) == bool((values[0] == values[1]).all())
    if row["norm"][0]:
        assert row["cosine"][2] == 1.0
    if row["norm"][0] and row["norm"][1]:
        assert -1.0 <= row["cosine"][1] <= 1.0


@pytest.mark.parametrize("state", [EARLY, LATE, WIDER], ids=["early", "late", "wider"])
def test_a_state_beside_itself_differs_in_nothing(state: SavedState) -> None:
    found = side_by_side(state, state)
    assert not any(row["differs"] for row in found["configuration"])
    assert found["curves"][0] == found["curves"][1]
    assert found["q_tables"]["changed"] == [0, 0]
    assert not any(any(cells) for row in found["q_tables"]["rows"] for cells in row["changed"])
    for row in found["layers"]:
        assert (row["distance"], row["relative"], row["cosine"]) == ([0.0, 0.0], [0.0, 0.0], [1.0, 1.0]), row
        assert row["norm"][0] == row["norm"][1]
    for row in found["firing_rates"]["layers"] + found["firing_rates"]["outputs"]:
        assert row["rates"][0] == row["rates"][1]


def test_the_order_of_the_states_is_that_of_every_list_and_the_first_is_the_reference() -> None:
    one, two = side_by_side(EARLY, LATE), side_by_side(LATE, EARLY)
    assert one["states"][0]["iteration_count"] == two["states"][1]["iteration_count"] == 20
    assert one["curves"] == two["curves"][::-1]
    for there, back in zip(one["layers"], two["layers"], strict=True):
        assert there["norm"] == back["norm"][::-1]
        assert there["distance"][1] == back["distance"][1]
    for there, back in zip(one["q_tables"]["rows"], two["q_tables"]["rows"], strict=True):
        assert there["values"] == back["values"][::-1]


def test_runs_of_different_field_sizes_are_compared_where_that_is_possible() -> None:
    found = side_by_side(EARLY, WIDER)
    weight, bias = (layer(found, "field_update", f"fc1.{part}") for part in ("weight", "bias"))
    assert weight["reason"] == [None, "its shape is 5 x 12, the reference's 5 x 8"]
    assert weight["distance"][1] is weight["relative"][1] is weight["cosine"][1] is None
    assert weight["norm"][1] > 0
    assert bias["reason"] == [None, None]
    assert bias["distance"][1] > 0
    for row in found["firing_rates"]["layers"]:
        assert all(0.0 <= rate <= 1.0 for rate in row["rates"])


def driven(state: SavedState, first: float, second: float, third: float) -> SavedState:
    """The state with networks that are driven by nothing but these biases of their three layers."""
    for network in NETWORKS:
        for name, bias in zip(LAYERS, (first, second, third), strict=True):
            tensors = state.engine[network]
            state = with_tensor(state, network, f"{name}.weight", torch.zeros_like(tensors[f"{name}.weight"]))
            state = with_tensor(state, network, f"{name}.bias", torch.full_like(tensors[f"{name}.bias"], bias))
    return state


def test_firing_rates_are_told_by_layer_and_by_probe() -> None:
    # A bias of 0.6 passes the threshold at every second step, one of 10 at each.
    found = side_by_side(driven(EARLY, 0.6, 0.0, 10.0), driven(WIDER, 10.0, 0.6, 0.0))["firing_rates"]
    expected = {"fc1": [0.5, 1.0], "fc2": [0.0, 0.5], "fc3": [1.0, 0.0]}
    assert found["layers"] == [
        {"network": network, "layer": name, "rates": expected[name]} for network in NETWORKS for name in LAYERS
    ]
    probes = PROBE_LINES + 1
    assert found["probes"] == [*probe_texts(), "every cell 0.5"]
    assert found["outputs"] == [{"network": network, "rates": [[1.0] * probes, [0.0] * probes]} for network in NETWORKS]


def test_a_field_at_the_set_point_shows_the_syntropy_network_nothing() -> None:
    """The probe is the engine's: S is shown 1/2 - f, F is shown f."""
    state = driven(EARLY, 0.0, 0.0, 0.0)
    for network in ("field_update", "syntropy"):
        for name in LAYERS:
            tensor = state.engine[network][f"{name}.weight"]
            state = with_tensor(state, network, f"{name}.weight", torch.full_like(tensor, 3.0))
    outputs = {row["network"]: row["rates"][0] for row in side_by_side(state, EARLY)["firing_rates"]["outputs"]}
    assert outputs["field_update"][-1] == 1.0
    assert outputs["syntropy"][-1] == 0.0


def test_a_layers_rate_is_the_mean_over_the_probes() -> None:
    found = side_by_side(LATE, WIDER)["firing_rates"]
    last = {row["network"]: row["rates"] for row in found["layers"] if row["layer"] == "fc3"}
    for row in found["outputs"]:
        assert [np.mean(rates) for rates in row["rates"]] == pytest.approx(last[row["network"]])


def test_the_largest_numbers_that_a_save_may_hold_are_still_strict_json() -> None:
    huge = torch.full((3,), torch.finfo(torch.float32).max)
    vast = table(**{"0.1": [1.7e308, -1.7e308, 0.0]})
    one = with_engine(with_tensor(EARLY, "feedback", "fc1.bias", huge), q_table=vast)
    two = with_engine(with_tensor(LATE, "feedback", "fc1.bias", -huge), q_table=table(**{"0.1": [-1.7e308, 0.0, 0.0]}))
    found = side_by_side(one, two)
    row = layer(found, "feedback", "fc1.bias")
    assert row["norm"] == [pytest.approx(math.sqrt(3) * float(huge[0]))] * 2
    assert row["distance"][1] == pytest.approx(2 * row["norm"][0])
    assert row["cosine"][1] == pytest.approx(-1.0)
    (row,) = found["q_tables"]["rows"]
    assert row["changed"][1] == [True, True, False]
    assert row["differences"][1] == [None, 1.7e308, 0.0]


def test_comparing_changes_nothing_in_the_states() -> None:
    states = (EARLY, WIDER)
    before = copy.deepcopy([(dict(state.engine), state.rows) for state in states])
    assert side_by_side(*states) == side_by_side(*states)
    for state, (engine, rows) in zip(states, before, strict=True):
        assert differences(dict(state.engine), engine) == []
        assert differences(state.rows, rows) == []


@pytest.mark.parametrize("count", [0, 1])
def test_one_state_alone_cannot_be_compared(count: int) -> None:
    with pytest.raises(ConfigurationError, match=f"at least two saved states, not {count}"):
        compare([("alone", EARLY)] * count)


@pytest.mark.parametrize(
    ("forged", "error"),
    [
        (with_tensor(EARLY, "syntropy", "fc2.weight", [[1.0]]), MismatchError),
        (with_engine(EARLY, feedback={**EARLY.engine["feedback"], "fc3.bias": torch.zeros(1, dtype=torch.int64)}),
         MismatchError),
        (with_engine(EARLY, feedback={}), DamagedFileError),
        (with_engine(EARLY, feedback=None), DamagedFileError),
        (with_engine(EARLY, q_table=[1, 2]), DamagedFileError),
        (with_engine(EARLY, q_table={"0.1": {"update_field": "much"}}), DamagedFileError),
        (with_engine(EARLY, q_table={"0.1": 3}), DamagedFileError),
    ],
    ids=["shape", "dtype", "no tensors", "no network", "no table", "no number", "no row"],
)  # fmt: skip
def test_a_state_that_does_not_hold_what_belongs_there_is_refused_by_its_label(
    forged: SavedState, error: type[BadFileError]
) -> None:
    with pytest.raises(error, match="“forged”"):
        compare([("good", EARLY), ("forged", forged)])
