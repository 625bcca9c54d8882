"""Saves that several tests of this folder commit."""

from __future__ import annotations

from pathlib import Path

import pytest

from quadra.storage.saved_state import SavedState
from tests.helpers.state_helpers import RUN_B, saved_states, write_state


@pytest.fixture(scope="module")
def saves() -> list[SavedState]:
    """Five saves of one run."""
    return saved_states(2, 3, 5, 6, 9)


@pytest.fixture
def folder(tmp_path: Path, saves: list[SavedState]) -> Path:
    """A folder with the newest save of the run."""
    return write_state(tmp_path / "state", saves[-1])


@pytest.fixture(scope="module")
def other() -> SavedState:
    """The first save of another run."""
    return saved_states(4, run=RUN_B, seed=2)[0]
