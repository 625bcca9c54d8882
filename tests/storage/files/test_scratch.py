"""ScratchFolder: what a killed process leaves of its temporary folders goes at the next start, and nothing else does."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from quadra.storage.files.scratch import ScratchFolder, clear_leftovers, ensure_temporary_folder
from tests.helpers.server import ROOT

KILLED = """
import os, signal
from pathlib import Path
from quadra.storage.files.scratch import ScratchFolder
folder = ScratchFolder()
Path(folder.name, "inside").mkdir()
Path(folder.name, "inside", "file").write_text("left")
print(folder.name, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_scratch_folder_is_gone_when_it_is_done_with(parent: Path) -> None:
    with ScratchFolder() as name:
        assert Path(name).parent == parent
        Path(name, "file").write_text("some")
    assert list(parent.iterdir()) == []


@pytest.mark.process
def test_what_a_killed_process_left_is_cleared_away_by_the_next(parent: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED], cwd=ROOT, env={**os.environ, "TMPDIR": str(parent)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    left = Path(killed.stdout.strip())
    assert (left / "inside" / "file").exists()
    with ScratchFolder() as name:
        assert list(parent.iterdir()) == [Path(name)]


@pytest.mark.usefixtures("parent")
def test_a_folder_whose_process_lives_stays() -> None:
    with ScratchFolder() as name:
        clear_leftovers()
        with ScratchFolder():
            assert Path(name).is_dir()


def test_what_this_program_did_not_make_stays(parent: Path) -> None:
    (parent / "mine").mkdir()
    (parent / "mine" / "file").write_text("mine")
    (parent / "quadra-scratch-notes").mkdir()
    (parent / "quadra-scratch-abcdefgh").symlink_to(parent / "mine")
    clear_leftovers()
    assert (parent / "mine" / "file").read_text() == "mine"
    assert (parent / "quadra-scratch-notes").is_dir()
    assert (parent / "quadra-scratch-abcdefgh").is_symlink()


def test_a_new_folder_that_another_process_took_for_a_leftover_is_made_again(
    parent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, taken = tempfile.TemporaryDirectory.__init__, [True]

    def made_and_taken(self: ScratchFolder, *given: object, **options: object) -> None:
        make(self, *given, **options)  # type: ignore[call-overload]
        if taken:
            taken.pop()
            Path(self.name).rmdir()

    monkeypatch.setattr(tempfile.TemporaryDirectory, "__init__", made_and_taken)
    with ScratchFolder() as name:
        assert list(parent.iterdir()) == [Path(name)]


def test_where_the_system_has_no_place_for_temporary_files_the_fallback_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", "/proc/nothing")
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [os.environ["TMPDIR"]])
    with pytest.raises(FileNotFoundError):
        tempfile.gettempdir()
    ensure_temporary_folder(tmp_path / "not there" / "scratch")  # which cannot be made
    with pytest.raises(FileNotFoundError):
        ScratchFolder()
    ensure_temporary_folder(tmp_path / "scratch")
    with ScratchFolder() as name:
        assert Path(name).parent == tmp_path / "scratch"


def test_where_the_system_has_a_place_the_fallback_is_not_made(tmp_path: Path) -> None:
    ensure_temporary_folder(tmp_path / "scratch")
    assert not (tmp_path / "scratch").exists()
