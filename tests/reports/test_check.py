"""A state directory says of itself what is whole and what is not, and is left as it is."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest

from quadra.reports.check import check
from quadra.storage.layout import METRICS, RESET_MARKER, RUNS, SAVES, SYSTEM, WEIGHTS
from tests.helpers.state_helpers import flip_bit, opened, train, write_two_runs
from tests.helpers.waiting import PATIENCE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_two_runs(tmp_path / "state")


def bad(folder: Path) -> list[str]:
    return [finding.text for finding in check(folder) if not finding.is_good]


@pytest.mark.parametrize("name", [WEIGHTS, METRICS, SYSTEM, f"{SAVES}/history.pkl", f"{SAVES}/0.pth"])
def test_every_damaged_file_of_the_present_run_is_named(folder: Path, name: str) -> None:
    flip_bit(folder / name)
    findings = bad(folder)
    assert len(findings) == 1
    assert Path(name).name in findings[0]


@pytest.mark.parametrize("name", [WEIGHTS, METRICS, SYSTEM])
def test_every_damaged_file_of_an_earlier_run_is_named(folder: Path, name: str) -> None:
    (run,) = (folder / RUNS).iterdir()
    flip_bit(run / name)
    (finding,) = bad(folder)
    assert f"{RUNS}/{run.name}" in finding
    assert name in finding


@pytest.mark.parametrize("name", [WEIGHTS, METRICS, SYSTEM])
def test_a_file_that_is_not_there_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert any(name in text for text in bad(folder))


def test_a_system_state_of_another_run_is_named(folder: Path) -> None:
    (run,) = (folder / RUNS).iterdir()
    shutil.copy(run / SYSTEM, folder / SYSTEM)
    (finding,) = bad(folder)
    assert "another run" in finding


def test_a_reset_that_was_cut_off_is_told(folder: Path) -> None:
    (folder / RESET_MARKER).touch()
    assert any("reset" in text for text in bad(folder))


def test_a_folder_can_be_checked_beside_its_owner(folder: Path) -> None:
    with opened(folder) as state:
        state.load()
        for _ in range(5):
            train(state, 1)
            pending = state.saving.begin()
            assert bad(folder) == []
            pending.wait(PATIENCE)
            state.saving.collect()


def test_nothing_in_a_folder_can_run_code(folder: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "ran",))

    (folder / SYSTEM).write_bytes(pickle.dumps(Bomb()))
    (folder / METRICS).write_bytes(pickle.dumps({"loss_history": Bomb()}))
    assert len(bad(folder)) == 2
    assert not (tmp_path / "ran").exists()
