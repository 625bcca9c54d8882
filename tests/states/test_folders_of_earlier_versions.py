"""A folder that an earlier version saved loads as it was, and goes on to the bits that it would have had.

`version_0_1_0` was saved after 60 iterations. `version_0_1_0_digests.json` has the digests that the same version found right
after loading it ("60") and after training on to 200 ("200"), `version_0_1_0_processor.json` the processor on which it did.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
import torch
from llvmlite import binding

from quadra import TrainingConfig, TrainingState
from quadra.cli.prove import main
from quadra.reports import prove
from tests.helpers.state_helpers import assert_same, content, new_run, train

DATA = Path(__file__).parents[1] / "data"
CONFIG = TrainingConfig(field_size=24, seed=7)
DIGESTS: dict[str, dict[str, str]] = json.loads((DATA / "version_0_1_0_digests.json").read_text(encoding="utf-8"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the folder."""
    return shutil.copytree(DATA / "version_0_1_0", tmp_path / "state")


def digests(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Every leaf by its path: SHA-256 of the bytes of a tensor or array, the text of anything else."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from digests(each, f"{path}/{key}")
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield from digests(each, f"{path}/{number}")
    elif isinstance(value, torch.Tensor | np.ndarray):
        array = value.numpy() if isinstance(value, torch.Tensor) else np.ascontiguousarray(value)
        yield path, hashlib.sha256(array.tobytes()).hexdigest()
    else:
        yield path, repr(value)


def is_processor_of_the_digests() -> bool:
    """Whether kernels are compiled here as they were there; with vectors of another width, sums are rounded otherwise."""
    features = binding.get_host_cpu_features()
    here = {
        "cpu": numba.config.CPU_NAME or binding.get_host_cpu_name(),
        "features": numba.config.CPU_FEATURES or sorted(name for name, is_there in features.items() if is_there),
    }
    there: dict[str, Any] = json.loads((DATA / "version_0_1_0_processor.json").read_text(encoding="utf-8"))
    return here == there


def test_a_folder_of_version_0_1_0_loads_to_the_bit(folder: Path) -> None:
    with TrainingState(folder, CONFIG) as state:
        assert state.load_state()
        assert state.iteration_count == 60
        assert dict(digests(content(state))) == DIGESTS["60"]


def test_a_folder_of_version_0_1_0_goes_on_to_the_same_bits_in_one_go_and_with_a_save_in_between(
    folder: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(folder, tmp_path / "other")
    with TrainingState(other, CONFIG) as state:
        assert state.load_state()
        train(state, 70)
        state.save()
    with TrainingState(folder, CONFIG) as in_one_go, TrainingState(other, CONFIG) as in_two:
        for state, count in ((in_one_go, 140), (in_two, 70)):
            assert state.load_state()
            train(state, count)
        assert_same(content(in_one_go), content(in_two))


@pytest.mark.skipif(
    not is_processor_of_the_digests(), reason="the first 60 iterations are rounded otherwise on this processor"
)
def test_on_the_processor_that_saved_it_version_0_1_0_itself_went_on_to_these_bits(
    folder: Path, tmp_path: Path
) -> None:
    with TrainingState(folder, CONFIG) as loaded, TrainingState(tmp_path / "new", CONFIG) as uninterrupted:
        assert loaded.load_state()
        train(loaded, 140)
        new_run(uninterrupted, 200)
        assert_same(content(loaded), content(uninterrupted))
        assert dict(digests(content(loaded))) == DIGESTS["200"]


def test_a_folder_of_version_0_1_0_is_proved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prove, "_train", prove.train)  # in this process, which is faster
    assert main([str(folder), "--iterations", "10"]) == 0
