"""Saved states without a browser: every command does what it says, refuses in one line, and tells it by its exit code."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from quadra import __main__, read_saved
from quadra.cli import output as terminal
from quadra.cli import show, states
from quadra.config import TrainingConfig
from quadra.states.listing import StateListing
from quadra.states.read_only import read_state
from quadra.storage.catalog import read_catalog
from quadra.storage.labels import Label, read_labels, write_labels
from quadra.storage.layout import LABELS, LABELS_COPY, SET_ASIDE, WEIGHTS, StateLayout
from tests.helpers.fault_loops import FIRST, fingerprint, opened
from tests.helpers.state_helpers import REPOSITORY, assert_same_state, files_of, new_run, run_python, train
from tests.helpers.waiting import PATIENCE

NAME = "before the change"


class Made:
    """A state directory with two runs, restore points and a named state; `says` is what a command printed."""

    def __init__(self, path: Path, earlier: str, run: str, slot: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.path, self.earlier, self.run, self.slot = path, earlier, run, slot
        self._capsys = capsys
        self.says = self.complains = ""

    def ask(self, *arguments: str) -> int:
        """The exit code of a command on this folder."""
        self._capsys.readouterr()
        try:
            code = states.main(["--state-dir", str(self.path), *arguments])
        except SystemExit as ended:
            code = int(str(ended.code))
        self.says, self.complains = self._capsys.readouterr()
        return code

    def data(self, *arguments: str) -> dict[str, Any]:
        """What a command that succeeds prints, as strict JSON."""
        assert self.ask(*arguments, "--json") == 0
        found: dict[str, Any] = json.loads(self.says, parse_constant=_refuse_constant)
        return found

    def refused(self, *arguments: str) -> str:
        """The one line that a refused command ends with; nothing was changed."""
        before = files_of(self.path)
        assert self.ask(*arguments) == states.NOT_DONE
        assert files_of(self.path) == before
        assert self.complains.count("\n") == 1
        return self.complains

    def ids(self) -> list[str]:
        return [entry.id for entry in StateListing(StateLayout(self.path)).entries() if entry.label.deleted_at is None]

    def label(self, state: str) -> Label:
        return StateListing(StateLayout(self.path)).label(state)


def _refuse_constant(name: str) -> NoReturn:
    raise AssertionError(f"{name} is not strict JSON")


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str, str]:
    path = tmp_path_factory.mktemp("pattern") / "state"
    with opened(path, FIRST) as state:
        earlier = new_run(state, 20, "stopped")
        run = new_run(state, 100, "stopped", seed=2)
        for _ in range(2):
            train(state, 10)
            state.save("stopped")
        slot = state.save_slot(NAME)
    return path, earlier, run, slot


@pytest.fixture
def made(pattern: tuple[Path, str, str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Made:
    path, *ids = pattern
    shutil.copytree(path, tmp_path / "state")
    return Made(tmp_path / "state", *ids, capsys)


def bits(folder: Path, state: str) -> str:
    _, saved = read_state(StateLayout(folder), state, TrainingConfig())
    return fingerprint(saved.engine, saved.rows)


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[200] ^= 0x10
    file.write_bytes(content)


# --- looking


def test_every_state_is_listed_in_columns_that_are_aligned(made: Made) -> None:
    assert made.ask("list") == 0
    header, *rows = made.says.split("\n\n")[0].splitlines()
    assert [row.split()[0] for row in rows] == made.ids()
    assert {row[: header.index("SAVED") - 2].split()[-1] for row in rows} == {"20", "100", "110", "120"}
    assert all(row[header.index("SAVED") - 2 :].startswith("  20") for row in rows)
    assert [row[header.index("NAME") :] for row in rows if made.slot in row] == [NAME]
    assert f"Load takes {made.run} by default." in made.says


@pytest.mark.parametrize("columns", [20, 40, 80, 100, 200])
def test_on_a_terminal_no_line_is_longer_than_it_is_wide(
    made: Made, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert made.ask("note", made.slot, "a long story " * 20) == 0
    monkeypatch.setattr(show, "terminal_width", lambda: columns)
    assert made.ask("list") == 0
    lines = made.says.split("\n\n")[0].splitlines()
    assert all(len(line) <= max(columns, len(made.slot)) for line in lines)
    assert set(made.ids()) <= {line.split()[0] for line in lines}


def test_the_list_for_programs_has_what_the_page_is_told_and_the_default(made: Made) -> None:
    told = made.data("list")
    assert told["default"] == made.run
    assert told["states"] == [entry.as_dict() for entry in StateListing(StateLayout(made.path)).entries()]


def test_an_empty_folder_has_an_empty_list_and_one_that_is_not_there_is_refused_and_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert states.main(["list", "--json", "--state-dir", str(tmp_path / "empty")]) == 0
    assert json.loads(capsys.readouterr().out) == {"states": [], "default": None}
    for command in (["list"], ["show", "a"], ["save", "a"], ["load", "a"], ["rollback", "1"], ["pin", "a"]):
        for name in ("nowhere", "empty"):
            if (command, name) != (["list"], "empty"):
                assert states.main([*command, "--state-dir", str(tmp_path / name)]) == states.NOT_DONE
                assert name in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


def test_files_that_cannot_be_read_are_counted_beside_the_list(made: Made) -> None:
    (made.path / "runs" / made.earlier / WEIGHTS).write_bytes(b"nothing")
    assert made.ask("list") == 0
    assert made.earlier not in made.says
    assert "1 file of a saved state cannot be read" in made.complains


def test_all_of_one_state_is_shown_and_verified(made: Made) -> None:
    assert made.ask("note", made.slot, "why it is\nkept") == 0
    told = made.data("show", made.slot)
    saved = read_saved(made.path / "slots" / made.slot.removeprefix("slot-"))
    assert told["configuration"] == {**saved.config.as_dict(), "seed": 2}
    assert (told["iteration_count"], told["title"], told["note"]) == (120, NAME, "why it is\nkept")
    assert told["verification"]["whole"]
    assert told["verification"]["sealed"]
    assert made.ask("show", made.slot) == 0
    for text in (
        NAME,
        "why it is kept",
        "Kept until you delete it.",
        "*  field_size",
        told["verification"]["weights_sha256"],
    ):
        assert text in made.says


def test_a_damaged_state_is_shown_as_not_whole_and_every_use_of_it_ends_with_code_1(made: Made) -> None:
    damage(made.path / "runs" / made.earlier / WEIGHTS)
    assert made.ask("show", made.earlier) == states.NOT_WHOLE
    assert f"NOT WHOLE: {WEIGHTS}" in made.says
    assert made.ask("show", made.earlier, "--json") == states.NOT_WHOLE
    assert json.loads(made.says)["verification"]["code"] == "damaged_file"
    for command in (["compare", made.run, made.earlier], ["history", made.earlier, "--csv"], ["report", made.earlier]):
        assert made.ask(*command) == states.NOT_WHOLE
        assert made.says == ""
        assert WEIGHTS in made.complains
        assert made.complains.count("\n") == 1


def test_states_are_compared_in_words_and_in_full(made: Made) -> None:
    told = made.data("compare", made.earlier, NAME, f"{made.run}@100")
    assert told["ids"] == [made.earlier, made.slot, f"{made.run}@100"]
    assert [state["iteration_count"] for state in told["states"]] == [20, 120, 100]
    assert made.ask("compare", made.earlier, NAME, f"{made.run}@100") == 0
    lines = [line.split() for line in made.says.splitlines()]
    assert ["seed", "1", "2", "2"] in lines
    assert ["changed", "cells", *map(str, told["q_tables"]["changed"])] in lines
    rates = next(layer for layer in told["firing_rates"]["layers"] if layer["layer"] == "fc1")
    assert ["field_update.fc1", *map(terminal.figure, rates["rates"])] in lines
    weights = told["layers"][0]
    assert [f"{weights['network']}.{weights['tensor']}", *map(terminal.figure, weights["relative"])] in lines


def test_states_that_are_the_same_differ_in_nothing(made: Made) -> None:
    assert made.ask("compare", made.run, made.slot) == 0
    assert "the same in all of them" in made.says
    assert ["changed", "cells", "0", "0"] in [line.split() for line in made.says.splitlines()]
    assert "at least two" in made.refused("compare", made.run)


def test_a_report_and_a_history_are_written_where_one_says(made: Made, tmp_path: Path) -> None:
    page, table, whole = tmp_path / "page.html", tmp_path / "rows.csv", tmp_path / "rows.json"
    assert made.ask("report", made.slot, "--output", str(page)) == 0
    assert NAME in page.read_text(encoding="utf-8")
    assert made.ask("history", made.slot, "--csv", "--output", str(table)) == 0
    assert len(table.read_bytes().split(b"\r\n")) == 1 + 120 + 1
    assert made.ask("history", made.slot, "--csv") == 0
    assert made.says.encode() == table.read_bytes()
    assert made.ask("history", made.slot, "--json", "--output", str(whole)) == 0
    told = json.loads(whole.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    assert (told["name"], told["run"], len(told["loss"])) == (NAME, made.run, 120)


def test_a_report_has_a_name_of_its_own_where_none_is_given(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert made.ask("report", made.earlier) == 0
    assert [file.name for file in Path().iterdir()] == [f"quadramatrix-{made.earlier[:8]}-20.html"]


@pytest.mark.parametrize("name", [WEIGHTS, LABELS, "new.html", f"../{WEIGHTS}"])
def test_no_output_takes_the_place_of_a_saved_states_file(made: Made, name: str) -> None:
    output = str(made.path / name)
    assert "own file" in made.refused("report", made.slot, "--output", output)
    assert "own file" in made.refused("history", made.slot, "--csv", "--output", output)


def test_an_output_that_cannot_be_written_is_named(made: Made, tmp_path: Path) -> None:
    assert "nowhere" in made.refused("report", made.slot, "--output", str(tmp_path / "nowhere" / "page.html"))


# --- which state is meant


@pytest.mark.parametrize("length", [8, 12, 16])
def test_an_id_may_be_cut_short_and_a_name_given_in_its_place(made: Made, length: int) -> None:
    for text, state in (
        (made.run[:length], made.run),
        (f"{made.run[:length]}@100", f"{made.run}@100"),
        (made.slot[:length], made.slot),
        (NAME, made.slot),
        (f"  {NAME} ", made.slot),
    ):
        assert made.data("show", text)["id"] == state


def test_what_may_be_several_states_is_refused_with_all_of_them(made: Made) -> None:
    assert made.ask("name", made.run, NAME) == made.ask("name", f"{made.run}@100", NAME) == 0
    told = made.refused("load", NAME)
    assert all(state in told for state in (made.run, f"{made.run}@100", made.slot))
    assert made.data("show", made.run)["id"] == made.run
    for text in ("", "@100", f"{made.run}@1", f"{made.run}@", "nothing", "slot-x", made.run.upper() + "x"):
        assert "no saved state" in made.refused("load", text)


def test_a_name_that_is_also_the_beginning_of_an_id_is_refused_and_the_id_itself_is_not(made: Made) -> None:
    assert made.ask("name", made.slot, made.run[:6]) == 0
    told = made.refused("pin", made.run[:6])
    assert made.run in told
    assert made.slot in told
    assert made.ask("pin", made.run) == 0


# --- changing


def test_the_run_that_load_takes_is_saved_under_a_name_to_the_bit(made: Made) -> None:
    assert made.ask("save", "kept") == 0
    slot = next(state for state in made.ids() if made.label(state).name == "kept")
    assert slot in made.says
    saved = read_saved(made.path / "slots" / slot.removeprefix("slot-"))
    assert_same_state(saved, read_saved(made.path))
    assert "already" in made.refused("save", "KEPT")
    assert made.ask("save", "KEPT", "--overwrite") == 0
    assert slot not in made.ids()
    assert "empty" in made.refused("save", " ")


def test_another_run_becomes_the_default_and_nothing_of_the_present_one_is_lost(made: Made) -> None:
    before = {state: bits(made.path, state) for state in made.ids()}
    assert made.ask("load", made.earlier) == 0
    assert f"run {made.earlier} at iteration 20" in made.says
    default = read_catalog(StateLayout(made.path)).default
    assert default is not None
    assert default.id == made.earlier
    assert {state: bits(made.path, state) for state in before} == before


@pytest.mark.parametrize("state", ["point", "slot"])
def test_a_state_that_was_loaded_trains_on_to_the_same_bits(made: Made, state: str) -> None:
    with opened(made.path, FIRST) as live:
        live.load(made.run)
        train(live, 7)
        expected = fingerprint(live.engine.state_dict(), live.history.rows())
        live.release()
    assert made.ask("load", f"{made.run}@110" if state == "point" else made.slot) == 0
    with opened(made.path, FIRST) as live:
        live.load()
        train(live, 127 - live.iteration_count)
        assert fingerprint(live.engine.state_dict(), live.history.rows()) == expected


def test_a_load_that_had_to_fall_back_says_so_and_ends_with_code_1(made: Made) -> None:
    damage(made.path / "runs" / made.earlier / WEIGHTS)
    assert made.ask("load", made.earlier) == states.NOT_WHOLE
    assert WEIGHTS in made.complains
    assert f"run {made.run} at iteration 120" in made.says


@pytest.mark.parametrize(("asked", "found", "where"), [(110, 110, "at"), (119, 110, "before"), (104, 100, "before")])
def test_a_roll_back_takes_the_nearest_state_before_and_says_which(
    made: Made, asked: int, found: int, where: str
) -> None:
    state = f"{made.run}@{found}"
    before = bits(made.path, state)
    assert made.ask("rollback", str(asked)) == 0
    assert f"Going back to {state} (" in made.says
    assert f"{where} iteration {asked}." in made.says
    default = read_catalog(StateLayout(made.path)).default
    assert default is not None
    assert default.parent == state
    assert bits(made.path, default.id) == before


def test_a_roll_back_is_of_the_run_that_is_named_and_deleted_states_do_not_count(made: Made) -> None:
    assert "before iteration 100" in made.refused("rollback", "99")
    assert "before iteration 20" in made.refused("rollback", "19", "--run", made.earlier[:8])
    assert made.ask("rollback", "50", "--run", made.earlier) == 0
    assert f"Going back to {made.earlier} (run)" in made.says
    assert made.ask("rollback", "120", "--run", made.run) == 0
    assert made.ask("delete", f"{made.run}@110", "--yes") == 0
    assert made.ask("rollback", "119", "--run", made.run) == 0
    assert f"Going back to {made.run}@100 (" in made.says
    assert made.ask("rollback", "-3") == made.ask("rollback", "x") == states.NOT_DONE


def test_names_notes_and_pins_are_given_and_taken_away(made: Made) -> None:
    point = f"{made.run}@100"
    for command in (["name", point, "a name"], ["note", point, "two\nlines"], ["pin", point]):
        assert made.ask(*command) == 0
    assert made.label(point) == Label("a name", "two\nlines", pinned=True)
    assert made.ask("list") == 0
    assert "a name; pinned; two lines" in made.says
    for command in (["name", point, ""], ["note", point, ""], ["unpin", point]):
        assert made.ask(*command) == 0
    assert made.label(point) == Label()
    assert "characters" in made.refused("name", point, "x" * 121)
    assert "empty" in made.refused("name", made.slot, "")


def test_what_is_deleted_is_listed_apart_and_taken_back(made: Made) -> None:
    assert made.ask("delete", NAME, "--yes") == 0
    assert made.ask("list") == 0
    assert made.slot not in made.says
    assert [entry["id"] for entry in made.data("list", "--deleted")["states"]] == [made.slot]
    assert "was deleted" in made.refused("load", NAME)
    assert made.ask("undelete", NAME) == 0
    assert made.slot in made.ids()
    assert "not deleted" in made.refused("undelete", NAME)
    assert "no deleted state" in made.refused("undelete", "nothing")
    assert "run on the page" in made.refused("delete", made.run, "--yes")


@pytest.mark.parametrize(
    ("answer", "is_meant"), [("y\n", True), ("Yes\n", True), ("\n", False), ("no\n", False), ("", False)]
)
def test_a_deletion_is_asked_about_on_a_terminal(
    made: Made, answer: str, is_meant: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin = io.StringIO(answer)
    monkeypatch.setattr(sys, "stdin", stdin)
    assert "--yes" in made.refused("delete", made.slot)
    assert stdin.tell() == 0
    monkeypatch.setattr(stdin, "isatty", lambda: True)
    assert made.ask("delete", made.slot) == (0 if is_meant else states.NOT_DONE)
    assert f"Delete {made.slot} (slot, iteration 120)? [y/N]" in made.complains
    assert (made.slot in made.ids()) is not is_meant


def test_what_looks_works_beside_a_live_holder_and_what_changes_is_refused_with_its_number(
    made: Made, tmp_path: Path
) -> None:
    output = str(tmp_path / "out")
    with opened(made.path, FIRST):
        for command in (
            ["list"], ["show", NAME], ["compare", NAME, made.earlier], ["report", NAME, "--output", output],
            ["history", NAME, "--csv"],
        ):  # fmt: skip
            assert made.ask(*command) == 0
        for command in (
            ["save", "x"], ["load", NAME], ["rollback", "110"], ["name", NAME, "x"], ["note", NAME, "x"], ["pin", NAME],
            ["unpin", NAME], ["delete", NAME, "--yes"], ["undelete", NAME],
        ):  # fmt: skip
            told = made.refused(*command)
            assert f"in use by process {os.getpid()}" in told
            assert "page" in told


def test_names_that_cannot_be_read_are_told_and_set_aside_by_the_first_change(made: Made) -> None:
    for name in (LABELS, LABELS_COPY):
        (made.path / name).write_bytes(b"{")
    assert made.ask("list") == states.NOT_WHOLE
    assert LABELS in made.complains
    assert made.ask("load", made.earlier) == 0
    assert any((made.path / SET_ASIDE).iterdir())
    assert made.ask("list") == 0


def test_nothing_in_a_name_is_obeyed_by_the_terminal(made: Made) -> None:
    labels = read_labels(made.path)
    write_labels(made.path, {**labels, made.slot: replace(labels[made.slot], name="\x1b[2Ja\x07", note="\u202eb\r\nc")})
    for command in (["list"], ["show", made.slot], ["pin", made.slot], ["compare", made.slot, made.run]):
        assert made.ask(*command) == 0
        assert not {"\x1b", "\x07", "\u202e", "\r"} & set(made.says)
    assert made.ask("list") == 0
    assert r"\x1b[2Ja\x07; pinned; \u202eb c" in made.says


def test_a_disk_that_fails_is_one_line(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> NoReturn:
        raise OSError(28, "No space left on device", "labels.json")

    monkeypatch.setattr("quadra.states.manage.write_labels", full)
    assert made.refused("pin", made.slot) == "No space left on device (labels.json)\n"


# --- as a program


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "quadra", *map(str, arguments)]
    return subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=PATIENCE, **options
    )


@pytest.mark.process
def test_exit_codes_reach_the_shell_and_the_folder_may_come_from_the_environment(made: Made) -> None:
    environment = {**os.environ, "QUADRA_STATE_DIR": str(made.path), "PYTHONIOENCODING": "ascii"}
    assert made.ask("name", made.earlier, "première") == 0
    listed = run("states", "list", env=environment)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert r"premi\xe8re" in listed.stdout
    refused = run("states", "load", "nothing", env=environment)
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    damage(made.path / WEIGHTS)
    assert run("states", "show", made.run, env=environment).returncode == 1


@pytest.mark.process
def test_a_reader_that_goes_away_ends_it_quietly(made: Made) -> None:
    command = [sys.executable, "-m", "quadra", "states", "--state-dir", str(made.path), "list", "--json"]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(PATIENCE) == 0


@pytest.mark.process
def test_a_list_takes_no_torch_along(made: Made) -> None:
    code = "import sys; from quadra.__main__ import main; main(sys.argv[1:]); print('torch' in sys.modules)"
    assert run_python(code, "states", "--state-dir", made.path, "list").splitlines()[-1] == "False"


def test_one_name_tells_of_every_command_and_hands_on_to_it(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main([]) == 0
    told = capsys.readouterr().out
    assert all(f"  {name} " in told for name in ("serve", "states", "check", "prove", "report"))
    assert __main__.main(["check", str(made.path)]) == 0
    assert "Everything is whole." in capsys.readouterr().out
    assert __main__.main(["report", str(made.path / "nowhere")]) == 2
    assert __main__.main(["prove", str(made.path / "nowhere")]) == 2
    assert __main__.main(["states", "--state-dir", str(made.path), "show", NAME]) == 0
    assert __main__.main(["train"]) == 2
    assert "'train'" in capsys.readouterr().err


# --- text


def test_wide_signs_are_counted_as_wide() -> None:
    lines = terminal.aligned([["漢字", "1"], ["e\u0301", "22"], ["abcdef", "3"]], right=[1])
    assert lines == ["漢字     1", "e\u0301       22", "abcdef   3"]
    assert terminal.truncated("漢字漢字", 7) == "漢字..."
    assert terminal.truncated("abc", 3) == "abc"


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (402_300, "402.3 kB"), (2_300_000_000, "2.3 GB")],
)
def test_sizes_are_told_in_words(count: int, told: str) -> None:
    assert terminal.size_of(count) == told


def test_a_figure_that_is_not_known_is_a_dash() -> None:
    assert [terminal.figure(value) for value in (None, 0.25, 1234.0, 0.0)] == ["-", "0.2500", "1234", "0.000"]
