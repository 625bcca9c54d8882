"""`python -m quadra.check`: the findings are printed, and the exit code says how they came out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from quadra.cli.check import CANNOT_CHECK, main
from quadra.storage.layout import SAVES, WEIGHTS
from tests.helpers.state_helpers import REPOSITORY, files_of, flip_bit, write_two_runs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_two_runs(tmp_path / "state")


def test_a_whole_folder_is_said_to_be_whole(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files_of(folder)
    assert main([str(folder)]) == 0
    output = capsys.readouterr().out
    assert "Everything is whole." in output
    assert output.count(": whole") == 2 + len(list((folder / SAVES).glob("*.pth")))
    assert files_of(folder) == before


@pytest.mark.process
def test_it_is_a_command(folder: Path) -> None:
    command = [sys.executable, "-m", "quadra.check", str(folder)]
    flip_bit(folder / WEIGHTS)
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"BAD {WEIGHTS}" in done.stdout


def test_an_empty_folder_has_nothing_bad(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 0
    assert "no saved state" in capsys.readouterr().out


def test_a_folder_that_is_not_there_is_told_apart_from_a_damaged_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "nowhere")]) == CANNOT_CHECK
    assert "cannot be checked" in capsys.readouterr().err
