"""The benchmarks can be started; what they measure is not a matter for tests."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from benchmarks.__main__ import TOPICS
from benchmarks.plain import PlainEngine
from benchmarks.rivals import BatchedEngine, SnnTorchNetwork
from benchmarks.tricks import WITHOUT
from quadra.config import TrainingConfig
from quadra.model.corpus import Corpus
from tests.helpers.state_helpers import REPOSITORY


@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_is_a_module_that_can_be_run(topic: str) -> None:
    assert callable(importlib.import_module(f"benchmarks.{topic}").run)


@pytest.mark.parametrize("name", WITHOUT)
def test_a_trick_that_is_measured_stands_in_the_source_once(name: str) -> None:
    for file, old, _ in WITHOUT[name]:
        assert (REPOSITORY / "quadra" / file).read_text(encoding="utf-8").count(old) == 1


@pytest.mark.process
def test_an_unknown_topic_is_refused_with_the_known_ones() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "sped"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "speed" in done.stderr


def test_the_engines_compared_with_do_learn() -> None:
    config = TrainingConfig(field_size=20, seed=1)
    plain, batched = PlainEngine(config, Corpus()), BatchedEngine(config, Corpus(), SnnTorchNetwork)
    before = [weight.clone() for weight in plain.parameters]
    assert plain.step()["loss"] > 0
    assert any((old != new).any() for old, new in zip(before, plain.parameters, strict=True))
    assert 0 < batched.step() <= 12
