"""What is under `tests/stress`, each for a short while: run with `python -m pytest --stress tests/stress`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers.server import ROOT

SHORT = {
    "compile": (),
    "copies": ("--copies", "50"),
    "deaf": ("1.5",),
    "fuzz": ("1000",),
    "kill": ("--rounds", "10"),
    "long_day": ("--minutes", "3"),
    "reliability_matrix": ("--only", "auto-save"),
    "schema": ("20",),
}


@pytest.mark.process
@pytest.mark.parametrize("name", SHORT)
def test_a_short_run_finds_nothing(name: str) -> None:
    command = [sys.executable, "-m", f"tests.stress.{name}", *SHORT[name]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_script_has_a_short_run() -> None:
    scripts = {path.stem for path in (ROOT / "tests" / "stress").glob("*.py")}
    assert scripts - {"__init__", "busy", "test_scripts"} == set(SHORT)
