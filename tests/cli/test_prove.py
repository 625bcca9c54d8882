"""`python -m quadra.prove`: the proof is made beside a live run, is able to come out otherwise, and is printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quadra import read_saved
from quadra.cli.prove import CANNOT_PROVE, main
from quadra.reports import prove
from quadra.states.listing import StateListing
from quadra.storage.layout import METRICS, WEIGHTS, StateLayout
from tests.helpers.fault_loops import FIRST, opened
from tests.helpers.state_helpers import files_of, train, write_earlier


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder with a run of seven iterations."""
    with opened(tmp_path / "state", FIRST) as state:
        state.initialize()
        train(state, 7)
    return tmp_path / "state"


@pytest.mark.long
def test_a_saved_state_beside_a_live_run_continues_to_the_same_bits_and_nothing_in_its_folder_changes(
    saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files_of(saved)
    with opened(saved, FIRST) as state:
        assert state.load_state()
        before = files_of(saved)
        assert main([str(saved), "--iterations", "5", "--json"]) == 0
        assert files_of(saved) == before
        certificate = json.loads(capsys.readouterr().out)
        train(state, 5)
        expected = prove.digests(state.engine.state_dict(), state.history.rows())
    assert certificate["in_one_go"] == certificate["in_halves"] == expected
    assert certificate["iteration_count"] == 7
    assert certificate["run"] == read_saved(saved).record.run
    assert {"torch", "numpy", "numba", "python", "quadramatrix"} == set(certificate["versions"])


def test_endings_that_are_not_the_same_are_told(
    saved: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    endings = iter(({"field": "a", "wins": "b"}, {"field": "a", "wins": "b"}, {"field": "a", "wins": "c"}))
    monkeypatch.setattr(prove, "_train", lambda folder, iterations: next(endings))
    assert main([str(saved)]) == 1
    told = capsys.readouterr().out
    assert "Not the same: wins." in told
    assert "DIFFERENT wins" in told
    assert "same      field" in told


@pytest.mark.parametrize("name", [WEIGHTS, METRICS])
def test_a_damaged_or_missing_file_is_named_and_proves_nothing(
    saved: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (saved / name).read_bytes()
    (saved / name).write_bytes(whole[:-40] + bytes(40))
    assert main([str(saved)]) == CANNOT_PROVE
    (saved / name).unlink()
    assert main([str(saved)]) == CANNOT_PROVE
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count(name) == 2


def test_any_saved_state_can_be_proved_by_its_id_or_name(
    saved: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prove, "_train", prove.train)  # in this process, which is faster
    with opened(saved, FIRST) as state:
        state.load()
        slot = state.save_slot("seven")
        train(state, 2)
        state.save()
        assert main([str(saved), "--state", "seven", "--iterations", "2", "--json"]) == 0
        certificate = json.loads(capsys.readouterr().out)
        expected = prove.digests(state.engine.state_dict(), state.history.rows())
    assert certificate["iteration_count"] == 7
    assert certificate["in_one_go"] == expected
    (saved / "slots" / slot.removeprefix("slot-") / METRICS).write_bytes(b"")
    for name in ("seven", "nothing"):
        assert main([str(saved), "--state", name]) == CANNOT_PROVE
        assert capsys.readouterr().err.count("\n") == 1


def test_a_state_of_the_earlier_generation_must_be_loaded_before_it_is_proved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_earlier(tmp_path / "state")
    before = files_of(folder)
    (entry,) = StateListing(StateLayout(folder)).entries()
    for arguments in ([], ["--state", entry.id]):
        assert main([str(folder), *arguments]) == CANNOT_PROVE
        assert "Load it once, then prove it." in capsys.readouterr().err
    assert files_of(folder) == before


def test_a_number_of_iterations_below_one_is_refused(saved: Path) -> None:
    with pytest.raises(SystemExit):
        main([str(saved), "--iterations", "0"])
