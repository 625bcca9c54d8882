"""Which mathematics a run gets: compiled where that can be had, else torch."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest

from quadra.config import TrainingConfig
from quadra.model import probes
from quadra.model.backend import fastest_backend, why_not_compiled
from quadra.model.compiled_backend import CompiledBackend
from quadra.model.corpus import Corpus
from quadra.model.engine import Engine
from quadra.model.torch_backend import TorchBackend

CONFIG = TrainingConfig(field_size=8, seed=1, threads=1)


@pytest.fixture
def _no_compiled_code(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("quadra.model.compiled_backend", "quadra.model.kernels.neuron"):
        monkeypatch.setitem(sys.modules, name, None)
    for cached in (why_not_compiled, probes._integrate):
        cached.cache_clear()
    yield
    for cached in (why_not_compiled, probes._integrate):
        cached.cache_clear()


def test_the_cpu_gets_compiled_kernels() -> None:
    assert fastest_backend(CONFIG) is CompiledBackend
    assert Engine(CONFIG, Corpus()).slow_because is None


@pytest.mark.usefixtures("_no_compiled_code")
def test_where_compiled_code_cannot_be_had_torch_trains_and_the_reason_is_told() -> None:
    assert fastest_backend(CONFIG) is TorchBackend
    engine = Engine(CONFIG, Corpus())
    assert "compiled_backend" in (engine.slow_because or "")
    assert engine.step().iteration == 1


def test_a_backend_that_was_asked_for_is_not_slow_because_of_anything() -> None:
    assert Engine(CONFIG, Corpus(), TorchBackend).slow_because is None


def test_neurons_that_people_see_are_the_same_without_compiled_code() -> None:
    from quadra.model.kernels.neuron import integrate

    random = np.random.default_rng(0)
    now, before = (random.normal(size=50).astype(np.float32) for _ in range(2))
    compiled, in_torch = now.copy(), now.copy()
    integrate(compiled, before, np.array([0.9, 0.5], np.float32))
    probes._integrate_in_torch(in_torch, before, np.array([0.9, 0.5], np.float32))
    np.testing.assert_allclose(in_torch, compiled, rtol=1e-6)


@pytest.mark.usefixtures("_no_compiled_code")
def test_neurons_are_computed_by_torch_where_compiled_code_cannot_be_had() -> None:
    assert probes._integrate() is probes._integrate_in_torch
