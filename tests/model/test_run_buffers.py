"""Snapshots and the copy that undoes an iteration: one buffer for both, lent and given back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

import quadra.model.run_buffers
from quadra.config import TrainingConfig
from quadra.model.backend import BackendClass
from quadra.model.corpus import Corpus
from quadra.model.engine import Engine
from quadra.model.run_buffers import Snapshot
from tests.helpers.model_helpers import BACKENDS, differences, small_engine, steps


def frozen(state: dict[str, Any]) -> dict[str, Any]:
    """A copy with storage of its own for every tensor."""
    return {
        name: value.clone() if isinstance(value, torch.Tensor) else frozen(value) if isinstance(value, dict) else value
        for name, value in state.items()
    }


def test_a_snapshot_is_the_state_and_stays_it_while_training_goes_on() -> None:
    engine = small_engine()
    steps(engine, 3)
    expected = engine.state_dict()
    snapshot = engine.snapshot()
    assert differences(snapshot.state_dict(), expected) == []
    steps(engine, 4)
    engine.field.fill_(7.0)
    assert differences(snapshot.state_dict(), expected) == []
    assert differences(engine.state_dict(), expected)


def test_training_after_a_snapshot_is_the_same_to_the_bit() -> None:
    one, other = small_engine(), small_engine()
    for _ in range(4):
        snapshot = one.snapshot()
        assert differences(steps(one, 2), steps(other, 2)) == []
        snapshot.release()
    assert differences(one.state_dict(), other.state_dict()) == []


def test_the_step_after_a_snapshot_copies_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = small_engine()
    steps(engine, 1)
    before = engine.state_dict()
    snapshot = engine.snapshot()
    marked = snapshot.flat
    marked[:] = 3.0  # were the step to copy the state again, these would be gone
    monkeypatch.setattr(engine.neuroplasticity, "observe", fail)
    with pytest.raises(ZeroDivisionError):
        engine.step()
    assert (engine.field == 3.0).all()
    assert differences(before["wins"], engine.state_dict()["wins"]) == []


def fail(*_: object) -> None:
    raise ZeroDivisionError


def test_a_void_iteration_is_undone_from_a_buffer_that_is_lent(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = small_engine()
    steps(engine, 2)
    before = engine.state_dict()
    snapshot = engine.snapshot()
    snapshot.release()  # even if the writer is done before the step is
    monkeypatch.setattr(engine.neuroplasticity, "observe", fail)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            engine.step()
    after = engine.state_dict()
    assert differences({name: before[name] for name in PARTS}, {name: after[name] for name in PARTS}) == []


PARTS = (
    "field_update",
    "syntropy",
    "feedback",
    "optimizer",
    "field",
    "syntropy_fields",
    "centroids",
    "wins",
    "q_table",
)


def test_two_small_snapshots_may_be_out_and_a_third_has_to_wait() -> None:
    engine = small_engine()
    first = engine.snapshot()
    steps(engine, 1)
    second = engine.snapshot()
    assert not engine.snapshot_in_use  # the next step is undone by the second snapshot's buffer
    steps(engine, 1)
    assert engine.snapshot_in_use
    for going_on in (engine.step, engine.snapshot):
        with pytest.raises(RuntimeError, match="released"):
            going_on()
    kept = frozen(second.state_dict())
    first.release()
    assert not engine.snapshot_in_use
    steps(engine, 3)
    assert differences(second.state_dict(), kept) == []


def test_a_large_run_has_one_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quadra.model.run_buffers, "_TWO_BUFFERS_BELOW", 0)
    engine = small_engine()
    snapshot = engine.snapshot()
    engine.step()
    assert engine.snapshot_in_use
    snapshot.release()
    steps(engine, 3)
    assert not engine.snapshot_in_use


def test_two_snapshots_of_the_same_moment_have_a_buffer_each() -> None:
    engine = small_engine()
    first, second = engine.snapshot(), engine.snapshot()
    assert differences(first.state_dict(), second.state_dict()) == []
    assert not np.shares_memory(first.flat, second.flat)


def test_a_snapshot_is_released_once_from_any_thread() -> None:
    engine = small_engine()
    snapshot = engine.snapshot()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: snapshot.release(), range(20)))
    with pytest.raises(IndexError):
        snapshot.state_dict()
    others = [engine.snapshot(), engine.snapshot()]
    assert not np.shares_memory(others[0].flat, others[1].flat)


def test_a_run_that_was_loaded_is_undone_to_what_was_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, other = small_engine(), small_engine(seed=9)
    snapshot = engine.snapshot()
    engine.load_state_dict(other.state_dict())
    monkeypatch.setattr(engine.neuroplasticity, "observe", fail)
    with pytest.raises(ZeroDivisionError):
        engine.step()
    assert torch.equal(engine.field, other.field)
    snapshot.release()


def rebuilt(snapshot: Snapshot, name: str) -> np.ndarray[Any, Any]:
    spec = snapshot.specs[name]
    strides = [4 * stride for stride in spec.strides]
    return np.lib.stride_tricks.as_strided(snapshot.flat[spec.offset :], spec.shape, strides)


def test_the_slots_say_where_each_tensor_lies() -> None:
    engine = small_engine()
    steps(engine, 2)
    snapshot, state = engine.snapshot(), engine.state_dict()
    assert (snapshot.flat.dtype, snapshot.flat.ndim) == (np.float32, 1)
    for part, of_part in (("parameters", state), ("exp_avg", state["optimizer"]["exp_avg"])):
        for network in ("field_update", "syntropy", "feedback"):
            for name, value in of_part[network].items():
                assert (rebuilt(snapshot, f"{part}/{network}.{name}") == value.numpy()).all()
    for name in ("field", "syntropy_fields", "centroids"):
        assert (rebuilt(snapshot, name) == state[name].numpy()).all()
    used = sum(spec.size for spec in snapshot.specs.values())
    assert used <= snapshot.flat.size < used + 16 * len(snapshot.specs)


@pytest.mark.parametrize(("source", "target"), [BACKENDS, BACKENDS[::-1]])
def test_a_state_of_one_backend_loads_in_the_other_to_the_bit(source: BackendClass, target: BackendClass) -> None:
    config = TrainingConfig(field_size=33, seed=4, threads=1)
    one, other = Engine(config, Corpus(), source), Engine(config, Corpus(), target)
    steps(one, 3)
    other.load_state_dict(one.state_dict())
    assert differences(one.state_dict(), other.state_dict()) == []
    one_after, other_after = steps(one, 2), steps(other, 2)
    assert [result["action"] for result in one_after] == [result["action"] for result in other_after]
    assert one_after[-1]["loss"] == pytest.approx(other_after[-1]["loss"], abs=1e-5)


def test_rows_that_are_stored_plainly_load_too() -> None:
    engine, other = small_engine(), small_engine(seed=5)
    state = engine.state_dict()
    assert state["syntropy"]["fc2.weight"].stride() == (1, 32)
    plain = {name: {part: value.contiguous() for part, value in state[name].items()} for name in PARTS[:3]}
    other.load_state_dict({**state, **plain})
    assert differences(other.state_dict(), state) == []
