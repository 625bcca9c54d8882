"""Opening a saved state beside its owner, who goes on saving meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from quadra.errors import DamagedFileError, UnknownSourceError
from quadra.states import read_only
from quadra.states.read_only import retrying
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
        _, files = read_only.read_files(StateLayout(tmp_path / "state"), run, small_config())
    copy = tmp_path / "copy"
    copy.mkdir()
    for name, pieces in files.items():
        (copy / name).write_bytes(b"".join(pieces))
    found = read(copy)
    assert (found.record.iteration_count, len(found.rows), found.damaged) == (11, 11, ())


class Files:
    """A read that fails a few times before it succeeds."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.failures, self.error, self.reads = failures, error, 0

    def read(self) -> str:
        self.reads += 1
        if self.reads <= self.failures:
            raise self.error
        return "content"


def test_a_read_is_tried_again_while_files_are_bad_and_no_more_often_than_asked_for() -> None:
    bad = DamagedFileError("a file", "is damaged")
    for failures in range(3):
        files = Files(failures, bad)
        assert retrying(files.read, attempts=3) == "content"
        assert files.reads == failures + 1
    files = Files(3, bad)
    with pytest.raises(DamagedFileError):
        retrying(files.read, attempts=3)
    assert files.reads == 3


def test_what_is_no_bad_file_is_not_tried_again() -> None:
    files = Files(1, UnknownSourceError("There is no such state."))
    with pytest.raises(UnknownSourceError):
        retrying(files.read)
    assert files.reads == 1
