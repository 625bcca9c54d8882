"""The command lines that a report gives: what is typed is exactly what was trained."""

from __future__ import annotations

import contextlib
import io
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from quadra.cli.serve_options import parse
from quadra.config import TrainingConfig
from quadra.reports.reproduction import CHECKSUM, FOLDER, changed_settings, reproduction
from tests.helpers.state_helpers import new_run, opened, small_config

HOSTILE_PATHS = ["/texts/a b.txt", '/it\'s "here"/$HOME/`x`;rm.txt', "/line\nbreak", "/\\back", "/ünï/ÿ"]


def printed_by(program: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(folder)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(program, "program", "exec"), {})
    return output.getvalue().strip()


def test_the_program_prints_the_checksum_of_an_interrupted_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = tmp_path / 'the "text" of it\'s own.txt'
    corpus.write_text("one\ntwo words\nthree of them\n", encoding="utf-8")
    with opened(tmp_path / "state", corpus=str(corpus), epochs=2) as state:
        new_run(state, 4, "stopped")
    with opened(tmp_path / "state") as state:
        state.load()
        state.step()
        made = reproduction(state.engine.config, str(corpus), 5)
        expected = state.history.checksum()
    assert made.command is None
    assert printed_by(made.program, tmp_path, monkeypatch) == expected
    read = shlex.split(CHECKSUM)
    assert read[:2] == ["python", "-c"]
    assert printed_by(read[2], tmp_path, monkeypatch) == expected


@pytest.mark.parametrize("corpus", [None, *HOSTILE_PATHS])
def test_the_server_of_the_command_makes_new_runs_with_the_same_configuration(corpus: str | None) -> None:
    config = TrainingConfig(field_size=37, seed=2**53 - 1, threads=3, device="cuda:1")
    command = reproduction(config, corpus, 1000).command
    assert command is not None
    words = shlex.split(command)
    assert words[:2] == ["python", "app.py"]
    options = parse(words[2:], {})
    names = ("field_size", "seed", "corpus", "device", "threads")
    assert TrainingConfig(**{name: getattr(options, name) for name in names}) == replace(config, corpus=corpus)
    assert (options.state_dir, options.pace) == (FOLDER, None)


def test_the_command_of_a_plain_run_is_short() -> None:
    made = reproduction(TrainingConfig(seed=0, threads=1), None, 10)
    assert made.command == "python app.py --state-dir reproduction --seed 0 --field-size 100 --pace max"


@pytest.mark.parametrize("corpus", [None, *HOSTILE_PATHS])
def test_the_program_has_every_setting_that_is_not_the_default(corpus: str | None) -> None:
    config = small_config(syntropy_decays=(0.5, 0.25), learning_rate=0.1 + 0.2, exploration=0.0)
    made = reproduction(config, corpus, 3)
    assert made.command is None
    found: dict[str, TrainingConfig] = {}
    exec(made.program.split("with TrainingState")[0], found)
    assert replace(found["config"], threads=1) == replace(config, corpus=corpus)


def test_no_threads_and_one_thread_are_the_same_setting() -> None:
    assert changed_settings(TrainingConfig()) == changed_settings(TrainingConfig(threads=1)) == {}
    assert changed_settings(TrainingConfig(threads=2, seed=4)) == {"threads": 2, "seed": 4}
