"""Folders of the earlier generation, which had no checksums: whatever their files hold, nothing but our own errors comes of it.

Each run draws some of the cases; --all tries all of them.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from quadra.errors import BadFileError, IntegrityError, LoadError
from quadra.reports.check import check
from quadra.states.transfer import verify_import
from quadra.storage.layout import METRICS, RUNS, SYSTEM, WEIGHTS
from quadra.training.state import TrainingState
from tests.helpers.mutations import cut, empty, flipped, inserted, lengthened, zeroed
from tests.helpers.rotation import Draw
from tests.helpers.state_helpers import earlier_metrics, earlier_weights, new_run, opened, train, write_earlier

OLD = "b" * 16  # the folder of the earlier generation beside a good run
SEEDS = range(300)
Damage = Callable[[Path, Random], None]
JUNK: tuple[Any, ...] = (
    *(None, True, -1, 0, 10**400, -(10**5000), 2**63, 0.5, 1e308, -1e308, float("nan"), float("inf"), 5e-324, 1j),
    *("", "0.5", "\ud800", "x" * 5000, b"bytes", [], [[]], {}, {"a": {}}, (1, 2), [None] * 4, [0.1] * 4, [10**400] * 4),
    *(np.float64(0.25), np.float32("nan"), np.int64(-(2**63)), np.arange(4), np.arange(4.0), np.zeros((2, 2))),
    *(np.array([1, 2, 3, 4], np.uint64) << np.uint64(63), np.array([True] * 4), np.array(1.0), np.zeros(4, np.longdouble)),
)  # fmt: skip
TENSORS: tuple[Any, ...] = (
    *(torch.zeros(0), torch.zeros(6), torch.zeros(7), torch.zeros(6, 6), torch.full((6,), 1e30), torch.tensor(1.0)),
    *(torch.full((6,), float("nan")), torch.zeros(6, dtype=torch.int64), torch.zeros(6, dtype=torch.bool)),
    *(torch.zeros(6, dtype=torch.complex64), torch.zeros(6, dtype=torch.float64), torch.zeros(6).expand(6, 6)),
    *(torch.zeros(1, 6), torch.zeros(6, dtype=torch.bfloat16), torch.zeros(6, requires_grad=True)),
)  # fmt: skip


def bytes_changed(folder: Path, chance: Random) -> None:
    file = folder / chance.choice((WEIGHTS, METRICS, SYSTEM))
    damage = chance.choice((flipped, flipped, flipped, cut, zeroed, lengthened, inserted, empty))
    file.write_bytes(damage(file.read_bytes(), chance))


def files_exchanged(folder: Path, chance: Random) -> None:
    one, other = (folder / name for name in chance.sample((WEIGHTS, METRICS, SYSTEM), 2))
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content) if chance.random() < 0.5 else other.unlink()


def values_changed(folder: Path, chance: Random) -> None:
    name = chance.choice((WEIGHTS, METRICS, METRICS, SYSTEM))
    if name == WEIGHTS:
        weights = earlier_weights()
        put_junk(weights, chance, (*TENSORS, *TENSORS, *JUNK))
        torch.save(weights, folder / name)
        return
    system = {"field_size": 6, "is_initialized": True, "integrity_strikes": 2}
    values = earlier_metrics() if name == METRICS else system
    put_junk(values, chance, JUNK)
    (folder / name).write_bytes(pickle.dumps(values, chance.randint(2, 5)))


def put_junk(values: dict[Any, Any], chance: Random, junk: tuple[Any, ...]) -> None:
    """Replaces, adds or removes an entry, at any depth."""
    place: Any = values
    while True:
        key = chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
        inner = place[key]
        if not isinstance(inner, (dict, list)) or not inner or chance.random() < 0.3:
            break
        place = inner
    if chance.random() < 0.1:
        del place[key]
    elif chance.random() < 0.1 and isinstance(place, dict):
        place[chance.choice(("0.7", 0.5, 3, "", None, 10**400))] = chance.choice(junk)
    else:
        place[key] = chance.choice(junk)


@pytest.fixture(scope="module")
def good_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    with opened(folder) as state:
        new_run(state, 3, "stopped")
    return folder


@pytest.mark.parametrize("damage", [bytes_changed, files_exchanged, values_changed], ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("is_alone", [True, False], ids=["alone", "beside a good run"])
def test_a_damaged_folder_is_loaded_whole_or_given_up_and_never_more(
    good_run: Path, tmp_path: Path, damage: Damage, is_alone: bool, draw: Draw
) -> None:
    for seed in draw(SEEDS, 5):
        folder = tmp_path / "state"
        if not is_alone:
            shutil.copytree(good_run, folder)
        old = write_earlier(folder if is_alone else folder / RUNS / OLD)
        damage(old, Random(seed))
        try:
            assert_good_or_named(folder, old, is_alone)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
        shutil.rmtree(folder)


def assert_good_or_named(folder: Path, old: Path, is_alone: bool) -> None:
    files = {file.name for file in old.iterdir()}
    is_taken = files == {WEIGHTS, METRICS, SYSTEM} and is_imported(old)
    findings = check(folder)
    assert all(finding.text.isprintable() or "\n" not in finding.text for finding in findings)
    with opened(folder) as state:
        assert_listed(state)
        ids = [listed.id for listed in state.catalog().states if listed.folder == old]
        try:
            report = state.load(ids[0] if ids else None)
        except LoadError:
            assert is_alone
            assert not is_taken
            assert not all(finding.is_good for finding in findings)
            return
        is_legacy = any("earlier generation" in warning for warning in report.warnings)
        assert is_legacy or not is_alone
        assert is_taken or not is_legacy
        assert is_legacy or not all(finding.is_good for finding in findings)
        assert np.isfinite(state.history.rows()).all()
        with contextlib.suppress(IntegrityError):  # numbers may be so large that no iteration is good
            train(state, 1)
        assert state.save_state()
        assert_listed(state)
        json.dumps(state.identity(), allow_nan=False)
    with opened(folder) as state:
        assert state.load_state()


def is_imported(folder: Path) -> bool:
    """Whether an upload of the files would be taken."""
    try:
        imported = verify_import(folder)
    except BadFileError:
        return False
    json.dumps({name: value for name, value in vars(imported).items() if name != "state"}, allow_nan=False)
    return True


def assert_listed(state: TrainingState) -> None:
    entries: list[Mapping[str, Any]] = [entry.as_dict() for entry in state.saved_states.listing.entries()]
    json.dumps(entries, allow_nan=False)
    json.dumps([listed.as_dict() for listed in state.catalog().states], allow_nan=False)
