"""Folders of the earlier generation: their values are taken over, and the originals are never lost."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from quadra.errors import LoadError
from quadra.reports.check import check
from quadra.storage import catalog
from quadra.storage.catalog import legacy_id, read_catalog
from quadra.storage.files.safe_pickle import loads
from quadra.storage.layout import FILES, METRICS, RUNS, SET_ASIDE, SYSTEM, WEIGHTS, StateLayout
from quadra.training.state import TrainingState
from tests.helpers.state_helpers import (
    assert_same,
    content,
    earlier_metrics,
    earlier_weights,
    files_of,
    new_run,
    opened,
    train,
    write_earlier,
)

NAMES = {"field_update": "nn1", "syntropy": "nn2", "feedback": "nn3"}


def loaded(folder: Path) -> TrainingState:
    state = opened(folder)
    assert state.load_state()
    return state


def test_every_value_is_taken_over_to_the_bit(tmp_path: Path) -> None:
    weights, metrics = earlier_weights(), earlier_metrics()
    with loaded(write_earlier(tmp_path)) as state:
        taken = state.engine.state_dict()
        for name, old in NAMES.items():
            for entry, tensor in taken[name].items():
                assert torch.equal(tensor, weights[old][entry]), f"{old}.{entry}"
        assert torch.equal(taken["field"], weights["field"])
        assert taken["q_table"] == weights["q_table"]
        assert all(type(value) is float for values in taken["q_table"].values() for value in values.values())
        assert taken["neuroplasticity"]["integrity_strikes"] == 2
        assert state.iteration_count == state.engine.iteration == 4
        for name in ("loss_history", "reward_history", "variance_history", "field_mean_history"):
            assert getattr(state, name).tobytes() == np.array(metrics[name], np.float32).tobytes()
        assert (state.config.field_size, state.config.field_update_hidden) == (6, 7)
        assert (state.config.syntropy_hidden, state.config.feedback_hidden) == (5, 4)


def test_what_the_files_lack_starts_fresh_and_a_warning_says_so(tmp_path: Path) -> None:
    with opened(write_earlier(tmp_path)) as state:
        warnings = " ".join(state.load().warnings)
        for word in ("earlier generation", "optimizer", "generators", "syntropy fields", "fresh"):
            assert word in warnings
        taken = state.engine.state_dict()
        assert taken["optimizer"]["step"] == 0
        assert not any(tensor.any() for tensor in taken["optimizer"]["exp_avg"]["field_update"].values())
        assert taken["syntropy_fields"].any()


def test_the_warning_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    loaded(write_earlier(tmp_path)).close()
    assert "earlier generation" in caplog.text


def test_training_continues(tmp_path: Path) -> None:
    with loaded(write_earlier(tmp_path)) as state:
        assert [state.step()["iteration"] for _ in range(3)] == [5, 6, 7]
        assert state.iteration_count == 7
        assert np.isfinite(state.loss_history).all()


def test_after_a_save_it_is_a_state_of_this_generation_that_resumes_exactly(tmp_path: Path) -> None:
    with loaded(write_earlier(tmp_path)) as state:
        train(state, 2)
        assert state.save_state()
        train(state, 2)
        expected = content(state)
        state.release()
    with loaded(tmp_path) as state:
        assert state.iteration_count == 6
        train(state, 2)
        assert_same(content(state), expected)


def test_the_original_files_are_kept_as_a_run_after_the_first_save(tmp_path: Path) -> None:
    original = files_of(write_earlier(tmp_path))
    with loaded(tmp_path) as state:
        train(state, 1)
        assert state.save_state()
    runs = list((tmp_path / RUNS).iterdir()) if (tmp_path / RUNS).exists() else []
    assert [files_of(run) for run in runs] == [original]


def test_the_original_files_are_kept_when_a_new_run_begins_beside_them(tmp_path: Path) -> None:
    original = files_of(write_earlier(tmp_path))
    with opened(tmp_path) as state:
        new_run(state, 2, "stopped")
        (run,) = (tmp_path / RUNS).iterdir()
        assert files_of(run) == original
        assert state.load_state(run.name)
        assert state.iteration_count == 4


def test_listing_changes_nothing(tmp_path: Path) -> None:
    original = files_of(write_earlier(tmp_path))
    with opened(tmp_path) as state:
        assert len(state.catalog().states) == 1
    assert files_of(tmp_path) == original


def test_numpy_numbers_in_the_metrics_are_read(tmp_path: Path) -> None:
    values = [np.float64(0.1), np.float32(0.2), 0.3, np.float64(0.4)]
    with loaded(write_earlier(tmp_path, metrics={"loss_history": values})) as state:
        assert state.loss_history.tolist() == np.array([0.1, 0.2, 0.3, 0.4], np.float32).tolist()


def test_arrays_in_the_metrics_are_read(tmp_path: Path) -> None:
    with loaded(write_earlier(tmp_path, metrics={"loss_history": np.arange(4.0)})) as state:
        assert state.loss_history.tolist() == [0, 1, 2, 3]


def test_what_is_known_of_the_files_is_remembered_until_one_of_them_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_earlier(tmp_path)
    layout, read = StateLayout(tmp_path), []
    monkeypatch.setattr(catalog, "loads", lambda *given, **named: read.append(given[1]) or loads(*given, **named))
    for _ in range(3):
        assert read_catalog(layout).states[0].iteration_count == 4
    assert read.count(tmp_path / METRICS) == 1
    (tmp_path / METRICS).write_bytes(pickle.dumps(earlier_metrics(5), protocol=4))
    assert [read_catalog(layout).states[0].iteration_count for _ in range(3)] == [5] * 3
    assert read.count(tmp_path / METRICS) == 2


def test_what_is_wrong_with_the_files_is_remembered_until_one_of_them_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_earlier(tmp_path, metrics={"loss_history": 5})
    layout, read = StateLayout(tmp_path), []
    monkeypatch.setattr(catalog, "loads", lambda *given, **named: read.append(given[1]) or loads(*given, **named))
    for _ in range(3):
        ((_, error),) = read_catalog(layout).unreadable
        assert error.file == METRICS
    assert read.count(tmp_path / METRICS) == 1
    write_earlier(tmp_path)
    assert read_catalog(layout).unreadable == ()


def test_names_of_numpy_1_are_read(tmp_path: Path) -> None:
    values = [np.float64(0.1)] * 4
    metrics = pickle.dumps(earlier_metrics(loss_history=values), protocol=3)
    write_earlier(tmp_path)
    (tmp_path / METRICS).write_bytes(metrics.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    loaded(tmp_path).close()


def test_a_state_of_a_state_table_that_is_a_number_becomes_text(tmp_path: Path) -> None:
    table = {0.49: {"update_field": 0.25}, 0.5: {"adjust_syntropy": 0.75}}
    with loaded(write_earlier(tmp_path, weights={"q_table": table})) as state:
        taken = state.engine.state_dict()["q_table"]
    assert taken["0.49"] == {"update_field": 0.25, "adjust_syntropy": 0.0, "penalize_variance": 0.0}
    assert taken["0.5"]["adjust_syntropy"] == 0.75


def test_loading_the_original_again_keeps_what_was_trained_from_it(tmp_path: Path) -> None:
    write_earlier(tmp_path)
    with opened(tmp_path) as state:
        original = state.catalog().states[0].id
        assert state.load_state(original)
        train(state, 3)
        assert state.save_state()
        trained, expected = state.run.id, content(state)
        assert state.load_state(original)
        train(state, 1)
        assert state.save_state()
        assert state.load_state(trained)
        assert_same(content(state), expected)


def test_a_run_without_an_iteration_is_read(tmp_path: Path) -> None:
    empty: dict[str, Any] = {name: [] for name in earlier_metrics() if name.endswith("history")}
    with loaded(write_earlier(tmp_path, metrics={**empty, "iteration_count": 0})) as state:
        assert state.iteration_count == 0
        train(state, 1)


def test_a_missing_text_for_new_runs_makes_no_load_raise(tmp_path: Path) -> None:
    write_earlier(tmp_path / "state")
    with opened(tmp_path / "state", corpus=str(tmp_path / "gone.txt")) as state:
        assert state.load_state() in (True, False)


NETWORK = earlier_weights()["nn1"]
SMALLER = {**NETWORK, "fc1.weight": NETWORK["fc1.weight"][:, :5]}
BAD: dict[str, tuple[str, dict[str, Any]]] = {
    "unequal lengths": (METRICS, {"metrics": {"loss_history": [0.1, 0.2]}}),
    "NaN in a history": (METRICS, {"metrics": {"loss_history": [0.1, float("nan"), 0.3, 0.4]}}),
    "infinity in a history": (METRICS, {"metrics": {"reward_history": [0.1, float("inf"), 0.3, 0.4]}}),
    "text in a history": (METRICS, {"metrics": {"loss_history": ["a", "b", "c", "d"]}}),
    "no list for a history": (METRICS, {"metrics": {"loss_history": 5}}),
    "a whole number too large for a float in a history": (
        METRICS,
        {"metrics": {"loss_history": [0.1, 10**400, 0.3, 0.4]}},
    ),
    "None for a history": (METRICS, {"metrics": {"loss_history": None}}),
    "another field size": (SYSTEM, {"system": {"field_size": 7}}),
    "no number for the field size": (SYSTEM, {"system": {"field_size": "6"}}),
    "no number for the strikes": (SYSTEM, {"system": {"integrity_strikes": None}}),
    "strikes of hundreds of digits": (SYSTEM, {"system": {"integrity_strikes": 10**400}}),
    "a field size of thousands of digits": (SYSTEM, {"system": {"field_size": 10**5000}}),
    "a network of another size": (WEIGHTS, {"weights": {"nn1": SMALLER}}),
    "a network without a layer": (WEIGHTS, {"weights": {"nn2": {"fc1.weight": torch.zeros(5, 6)}}}),
    "no network": (WEIGHTS, {"weights": {"nn2": 5}}),
    "no tensor for a layer": (WEIGHTS, {"weights": {"nn1": {**NETWORK, "fc2.bias": [0.0] * 7}}}),
    "NaN in a weight": (WEIGHTS, {"weights": {"nn1": {**NETWORK, "fc2.bias": torch.full((7,), float("nan"))}}}),
    "NaN in the field": (WEIGHTS, {"weights": {"field": torch.full((6,), float("nan"))}}),
    "no tensor for the field": (WEIGHTS, {"weights": {"field": [0.0] * 6}}),
    "no table": (WEIGHTS, {"weights": {"q_table": [1, 2]}}),
    "a whole number too large for a float in the table": (
        WEIGHTS,
        {"weights": {"q_table": {"0.5": {"update_field": 10**400}}}},
    ),
    "text in the table": (WEIGHTS, {"weights": {"q_table": {"0.5": {"update_field": "much"}}}}),
    "a layer of more neurons than are possible": (
        WEIGHTS,
        {"weights": {"nn1": {**NETWORK, "fc1.weight": torch.zeros(20_000, 1)}}},
    ),
    "a layer that claims a network which it has not": (
        WEIGHTS,
        {
            "weights": {"nn1": {**NETWORK, "fc1.weight": torch.zeros(10_000, 1)}, "field": torch.zeros(100_000)},
            "system": {"field_size": 100_000},
        },
    ),
    "NaN in the table": (WEIGHTS, {"weights": {"q_table": {"0.5": {"update_field": float("nan")}}}}),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_folder_that_cannot_be_used_is_refused_and_the_file_named(tmp_path: Path, fault: str) -> None:
    file, changes = BAD[fault]
    original = files_of(write_earlier(tmp_path, **changes))
    with opened(tmp_path) as state:
        with pytest.raises(LoadError, match=file):
            state.load()
        assert not state.is_initialized
        assert files_of(tmp_path) == original
    assert any(not finding.is_good and file in finding.text for finding in check(tmp_path))


@pytest.mark.parametrize("fault", ["a whole number too large for a float in a history", "NaN in the table"])
def test_a_folder_that_cannot_be_used_is_given_up_for_a_good_run_beside_it(tmp_path: Path, fault: str) -> None:
    file, changes = BAD[fault]
    with opened(tmp_path) as state:
        good = new_run(state, 3, "stopped")
    bad = write_earlier(tmp_path / RUNS / ("b" * 16), **changes)
    with opened(tmp_path) as state:
        report = state.load(legacy_id((bad / WEIGHTS).read_bytes()))
        assert state.run.id == good
        assert file in " ".join(report.gave_up)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_there_or_cut_short_is_named(tmp_path: Path, name: str) -> None:
    whole = write_earlier(tmp_path) / name
    whole.write_bytes(whole.read_bytes()[:-20])
    with opened(tmp_path) as state, pytest.raises(LoadError, match=name):
        state.load()
    whole.unlink()
    with opened(tmp_path) as state, pytest.raises(LoadError, match=name):
        state.load()


@pytest.mark.parametrize(("file", "key"), [(WEIGHTS, "nn3"), (WEIGHTS, "field"), (WEIGHTS, "q_table")])
def test_a_missing_entry_is_named(tmp_path: Path, file: str, key: str) -> None:
    write_earlier(tmp_path)
    weights = earlier_weights()
    weights.pop(key)
    torch.save(weights, tmp_path / file)
    with opened(tmp_path) as state, pytest.raises(LoadError, match=f"{file}.*'{key}' is missing"):
        state.load()


def test_a_folder_that_cannot_be_used_is_set_aside_by_a_new_run_and_not_lost(tmp_path: Path) -> None:
    original = files_of(write_earlier(tmp_path, metrics={"loss_history": [0.1]}))
    with opened(tmp_path) as state:
        assert not state.load_state()
        new_run(state, 2, "stopped")
    kept = [data for name, data in files_of(tmp_path).items() if name.startswith((RUNS, SET_ASIDE))]
    assert sorted(kept) == sorted(original.values())
