"""Opening a saved state beside its owner, who goes on saving meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from quadra.states import read_only
from quadra.storage.files.durable import read_file
from quadra.storage.layout import StateLayout
from quadra.storage.saved_state import read
from tests.helpers.state_helpers import new_run, opened, small_config, train


def test_the_three_files_belong_together_though_saves_come_while_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path / "state") as state:
        run = new_run(state, 5, "stopped")

        def after_saves(path: Path) -> bytes:
            for _ in range(2):  # the second one counts on rows that the first one has brought to the metrics
                train(state, 3)
                state.save("stopped")
            return read_file(path)

        monkeypatch.setattr(read_only, "read_file", after_saves)
        _, files = read_only.open_files(StateLayout(tmp_path / "state"), run, small_config())
    copy = tmp_path / "copy"
    copy.mkdir()
    for name, pieces in files.items():
        (copy / name).write_bytes(b"".join(pieces))
    found = read(copy)
    assert (found.record.iteration_count, len(found.rows), found.damaged) == (11, 11, ())
