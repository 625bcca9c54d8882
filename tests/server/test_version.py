"""The release: every saved state, and all that goes out of this program, says which version of it was at work."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from quadra import __version__
from quadra.errors import DamagedFileError
from quadra.reports.history_export import json_pieces
from quadra.storage.layout import FILES, SYSTEM, WEIGHTS
from quadra.storage.save_record import dump, parse, peek
from tests.helpers.state_helpers import new_run, opened, record, train


def entries(**changes: Any) -> dict[str, Any]:
    """What the file says of a save."""
    values: dict[str, Any] = json.loads(dump(record(**changes)))
    return values


def assert_names_its_version(folder: Path) -> None:
    assert all((folder / name).is_file() for name in FILES)
    kept = peek(folder / WEIGHTS)
    assert kept is not None
    assert kept.program == __version__
    assert pickle.loads((folder / SYSTEM).read_bytes())["program"] == __version__


def test_every_saved_state_names_the_version_that_saved_it(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as state:
        earlier = new_run(state, 3, "stopped")
        state.save_slot("kept")
        new_run(state, 2, "stopped")
        train(state, 1)
        assert state.save_state()
    assert_names_its_version(tmp_path / "state")
    assert_names_its_version(tmp_path / "state" / "runs" / earlier)
    (named,) = (tmp_path / "state" / "slots").iterdir()
    assert_names_its_version(named)
    for save in (tmp_path / "state" / "saves").glob("*.pth"):
        kept = peek(save)
        assert kept is not None
        assert kept.program == __version__


def test_a_state_from_before_that_is_loaded_as_one_that_does_not_say(tmp_path: Path) -> None:
    without = {name: value for name, value in entries(program="0.1.0").items() if name != "program"}
    assert parse(json.dumps(without).encode(), tmp_path) == record()
    assert parse(dump(record(program="2.0.0rc1")), tmp_path).program == "2.0.0rc1"


@pytest.mark.parametrize("program", ["", "1" * 41, "1.0\n", "<b>", 1, ["1.0"]])
def test_a_version_that_is_none_is_no_record(program: object, tmp_path: Path) -> None:
    forged = {**entries(), "program": program}
    with pytest.raises(DamagedFileError):
        parse(json.dumps(forged).encode(), tmp_path)


def test_a_history_that_goes_out_names_the_version(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as state:
        new_run(state, 3)
        text = "".join(json_pieces(state.history.rows(), {"run": state.run.id}))
    assert json.loads(text)["program"] == __version__
