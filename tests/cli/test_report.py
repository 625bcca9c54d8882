"""`python -m quadra.report`: writes the report of a folder, leaves the folder alone, and says why where it wrote nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from quadra.cli.report import CANNOT_REPORT, main
from quadra.storage.layout import METRICS, WEIGHTS
from quadra.storage.saved_state import SavedState, read
from tests.helpers.documents import Document
from tests.helpers.state_helpers import files_of, saved_states, write_earlier, write_state

(STATE,) = saved_states(30)


def test_the_command_line_writes_the_report_of_a_folder_and_leaves_the_folder_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_state(tmp_path / "my run", STATE)
    before = files_of(folder)
    monkeypatch.chdir(tmp_path)
    assert main([str(folder)]) == 0
    assert capsys.readouterr().out == "Report written: quadramatrix-aaaaaaaa-30.html\n"
    default = Document((tmp_path / "quadramatrix-aaaaaaaa-30.html").read_text(encoding="utf-8"))
    assert default.of("bdi") == ["my run"]
    output = tmp_path / "other.html"
    assert main([str(folder), "--output", str(output), "--name", "<b>", "--note", "for you"]) == 0
    other = Document(output.read_text(encoding="utf-8"))
    assert (other.of("bdi"), other.of("p")[1]) == (["<b>"], "for you")
    assert files_of(folder) == before


def test_the_command_line_looks_again_where_a_file_was_replaced_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_state(tmp_path / "state", STATE)
    whole = (folder / METRICS).read_bytes()
    (folder / METRICS).unlink()

    def read_late(place: Path) -> SavedState:
        try:
            return read(place)
        finally:
            (place / METRICS).write_bytes(whole)

    monkeypatch.setattr("quadra.reports.html_report.read", read_late)
    assert main([str(folder), "--output", str(tmp_path / "a.html")]) == 0


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What the command line says on stderr, in one line; it must end with its code and write nothing else."""
    assert main([str(argument) for argument in arguments]) == CANNOT_REPORT == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("No report was written. ")
    assert told.err.count("\n") == 1
    return told.err


def test_the_command_line_says_why_it_wrote_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.html"
    assert "nowhere: this is not a folder" in refusal(capsys, tmp_path / "nowhere", "--output", output)
    assert "oscillator_weights.pth: is not there" in refusal(capsys, tmp_path, "--output", output)
    folder = write_state(tmp_path / "state", STATE)
    assert "cannot be written" in refusal(capsys, folder, "--output", tmp_path / "no" / "folder" / "a.html")
    whole = (folder / WEIGHTS).read_bytes()
    assert "saved state's file" in refusal(capsys, folder, "--output", folder / WEIGHTS)
    assert (folder / WEIGHTS).read_bytes() == whole
    (folder / WEIGHTS).write_bytes(whole[:-100])
    assert WEIGHTS in refusal(capsys, folder, "--output", output)
    earlier = write_earlier(tmp_path / "earlier")
    assert "earlier generation" in refusal(capsys, earlier, "--output", output)
    assert not output.exists()
