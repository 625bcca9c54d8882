"""Saved states go out as archives and come in again on the command line, to the bit, and nothing bad comes in."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from quadra import read_saved
from quadra.cli import states
from quadra.reports.check import check
from quadra.states.listing import ListedState, StateListing
from quadra.storage.layout import METRICS, SYSTEM, WEIGHTS, StateLayout
from tests.helpers.fault_loops import FIRST, fingerprint, opened
from tests.helpers.state_helpers import files_of, new_run, train, write_earlier


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, str]:
    """A folder, and its run, which is saved at 100 iterations and at 103."""
    with opened(tmp_path / "state", FIRST) as state:
        run = new_run(state, 100, "stopped")
        train(state, 3)
        state.save("stopped")
    return tmp_path / "state", run


def ask(folder: Path, *arguments: object) -> int:
    return states.main([*map(str, arguments), "--state-dir", str(folder)])


def only(folder: Path) -> ListedState:
    (entry,) = StateListing(StateLayout(folder)).entries()
    return entry


@pytest.mark.parametrize("iteration", [100, 103])
def test_a_state_that_went_out_and_came_in_elsewhere_trains_on_to_the_same_bits(
    saved: tuple[Path, str], iteration: int, tmp_path: Path
) -> None:
    folder, run = saved
    archive, elsewhere = tmp_path / "out.zip", tmp_path / "elsewhere"
    with opened(folder, FIRST) as state:
        state.load()
        assert ask(folder, "export", f"{run}@100" if iteration == 100 else run, "--output", archive) == 0
        train(state, 7)
        expected = fingerprint(state.engine.state_dict(), state.history.rows())
    assert ask(elsewhere, "import", archive, "--name", "from there") == 0
    assert only(elsewhere).label.name == "from there"
    assert ask(elsewhere, "load", "from there") == 0
    with opened(elsewhere, FIRST) as state:
        state.load()
        assert state.iteration_count == iteration
        train(state, 110 - iteration)
        assert fingerprint(state.engine.state_dict(), state.history.rows()) == expected
    assert all(finding.is_good for finding in check(elsewhere))


def test_an_archive_is_called_after_the_state_and_stands_where_one_is(
    saved: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, run = saved
    before = files_of(folder)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert ask(folder, "export", run) == 0
    (archive,) = Path().iterdir()
    assert archive.name in capsys.readouterr().out
    assert archive.name == f"quadramatrix-{run[:8]}-103.zip"
    with zipfile.ZipFile(archive) as members:
        assert {Path(name).name for name in members.namelist()} == {WEIGHTS, METRICS, SYSTEM}
    assert ask(folder, "export", run, "--output", folder / "out.zip") == states.NOT_DONE
    assert files_of(folder) == before


def test_a_folder_comes_in_under_its_own_name_and_a_second_time_under_another(
    saved: tuple[Path, str], tmp_path: Path
) -> None:
    folder, _ = saved
    for _ in range(2):
        assert ask(tmp_path / "elsewhere", "import", folder) == 0
    entries = StateListing(StateLayout(tmp_path / "elsewhere")).entries()
    assert sorted(entry.label.name for entry in entries) == ["state", "state (2)"]
    assert {entry.iteration_count for entry in entries} == {103}


def test_a_folder_of_the_earlier_generation_comes_in_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(tmp_path / "new", "import", write_earlier(tmp_path / "old")) == 0
    assert "earlier generation" in capsys.readouterr().out
    assert only(tmp_path / "new").label.name == "old"
    assert ask(tmp_path / "new", "load", "old") == 0
    assert read_saved(tmp_path / "new").record.iteration_count == 4


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda folder: (folder / METRICS).unlink(), states.NOT_DONE),
        (lambda folder: (folder / METRICS).write_bytes(b"x" * 100), states.NOT_WHOLE),
        (lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-9]), states.NOT_WHOLE),
        (shutil.rmtree, states.NOT_DONE),
    ],
    ids=["missing", "damaged", "cut short", "nothing"],
)
def test_what_is_no_whole_state_does_not_come_in_and_the_folder_is_not_touched(
    saved: tuple[Path, str], spoil: object, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = saved
    assert callable(spoil)
    spoil(folder)
    assert ask(tmp_path / "elsewhere", "import", folder) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert "check" not in told.err
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.zip").write_bytes(b"nothing")
    assert ask(tmp_path / "elsewhere", "import", tmp_path / "x.zip") == states.NOT_DONE
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "elsewhere").exists()


def test_beside_a_live_holder_states_go_out_but_none_comes_in(
    saved: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, run = saved
    with opened(folder, FIRST):
        assert ask(folder, "export", run, "--output", tmp_path / "out.zip") == 0
        before = files_of(folder)
        assert ask(folder, "import", tmp_path / "out.zip") == states.NOT_DONE
        assert files_of(folder) == before
    assert "in use by process" in capsys.readouterr().err
