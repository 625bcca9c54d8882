"""A state directory says of itself what is whole and what is not, and is left as it is."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from quadra.reports import check
from quadra.storage.layout import METRICS, RESET_MARKER, RUNS, SAVES, SYSTEM, WEIGHTS
from tests.helpers.state_helpers import REPOSITORY, files_of, new_run, opened, train


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two runs, the present one with earlier saves."""
    path = tmp_path / "state"
    with opened(path) as state:
        new_run(state, 2, "stopped")
        new_run(state, 2, "stopped", seed=2)
        for _ in range(4):
            train(state, 1)
            state.save()
    return path


def flip(path: Path, place: int = 200) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0x10
    path.write_bytes(content)


def bad(folder: Path) -> list[str]:
    return [finding.text for finding in check.check(folder) if not finding.is_good]


def test_a_whole_folder_is_said_to_be_whole(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files_of(folder)
    assert check.main([str(folder)]) == 0
    told = capsys.readouterr().out
    assert "Everything is whole." in told
    assert told.count(": whole") == 2 + len(list((folder / SAVES).glob("*.pth")))
    assert files_of(folder) == before


def test_it_is_a_command(folder: Path) -> None:
    command = [sys.executable, "-m", "quadra.check", str(folder)]
    assert subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False).returncode == 0
    flip(folder / WEIGHTS)
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"BAD {WEIGHTS}" in done.stdout


@pytest.mark.parametrize("name", [WEIGHTS, METRICS, SYSTEM, f"{SAVES}/history.pkl", f"{SAVES}/0.pth"])
def test_every_damaged_file_of_the_present_run_is_named(folder: Path, name: str) -> None:
    flip(folder / name)
    findings = bad(folder)
    assert len(findings) == 1
    assert Path(name).name in findings[0]


@pytest.mark.parametrize("name", [WEIGHTS, METRICS, SYSTEM])
def test_every_damaged_file_of_an_earlier_run_is_named(folder: Path, name: str) -> None:
    (run,) = (folder / RUNS).iterdir()
    flip(run / name)
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


def test_an_empty_folder_has_nothing_bad(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main([str(tmp_path)]) == 0
    assert "no saved state" in capsys.readouterr().out


def test_a_folder_that_is_not_there_is_told_apart_from_a_damaged_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check.main([str(tmp_path / "nowhere")]) == check.CANNOT_LOOK
    assert "cannot be checked" in capsys.readouterr().err


def test_a_folder_can_be_checked_beside_its_owner(folder: Path) -> None:
    with opened(folder) as state:
        state.load()
        for _ in range(5):
            train(state, 1)
            writing = state.begin_save()
            assert bad(folder) == []
            writing.result(30)
            state.collect_save()


def test_nothing_in_a_folder_can_run_code(folder: Path, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "ran",))

    (folder / SYSTEM).write_bytes(pickle.dumps(Bomb()))
    (folder / METRICS).write_bytes(pickle.dumps({"loss_history": Bomb()}))
    assert len(bad(folder)) == 2
    assert not (tmp_path / "ran").exists()
