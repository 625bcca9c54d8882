"""Options of the server: `python app.py` and the installed command take the same, with the same defaults."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

import app
from quadra.cli import states
from quadra.cli.serve_options import parse, refusal_of
from quadra.defaults import ServerDefaults
from quadra.errors import ConfigurationError, CorpusError, FolderLockedError, QuadraError
from quadra.model.corpus import Corpus
from quadra.paths import expanded
from quadra.storage.layout import StateLayout
from tests.helpers.state_helpers import new_run, opened


def constants() -> dict[str, object]:
    """What a user can edit at the top of app.py."""
    return {name.lower(): value for name, value in vars(app).items() if name.isupper() and name != "TYPE_CHECKING"}


def test_the_constants_of_app_py_are_the_defaults_of_the_command() -> None:
    assert app.defaults() == ServerDefaults()
    assert constants() == vars(ServerDefaults())


@pytest.mark.parametrize("field", [field.name for field in fields(ServerDefaults)])
def test_a_constant_that_is_edited_reaches_the_options(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    edited = {"log_format": "json"}.get(field, "7")
    monkeypatch.setattr(app, field.upper(), edited)
    options = parse([], {}, defaults=app.defaults())
    found = getattr(options, field)
    assert str(found[0] if isinstance(found, list) else found) in (edited, f"{edited}.0")


def test_every_default_is_an_option_and_the_environment_wins_over_it() -> None:
    options = vars(parse([], {}))
    assert set(options) - set(vars(ServerDefaults())) == {"resume", "variables"}
    assert parse([], {"QUADRA_PORT": "7"}).port == 7
    assert parse(["--port", "8"], {"QUADRA_PORT": "7"}).port == 8


def test_a_refusal_begins_with_the_name_that_was_called(capsys: pytest.CaptureFixture[str]) -> None:
    for program in ("app.py", "quadramatrix serve"):
        with pytest.raises(SystemExit) as ended:
            parse(["--port", "none"], {}, program)
        assert ended.value.code == 2
        assert capsys.readouterr().err == f"{program}: argument --port: invalid whole number value: 'none'\n"
        with pytest.raises(SystemExit):
            parse([], {"QUADRA_RESUME": "perhaps"}, program)
        assert capsys.readouterr().err == f"{program}: QUADRA_RESUME must be 1 or 0, not 'perhaps'\n"


VALUES = [field.name for field in fields(ServerDefaults)]


@pytest.mark.parametrize("field", [*VALUES, "resume"])
def test_an_empty_environment_variable_counts_as_not_set(field: str) -> None:
    assert vars(parse([], {f"QUADRA_{field.upper()}": ""})) == vars(parse([], {}))


@pytest.mark.parametrize(
    ("field", "value"),
    [("port", "none"), ("port", "70000"), ("pace", "0"), ("seed", "1.5"), ("log_format", "xml"), ("save_every", "-1")],
)
def test_an_error_names_the_environment_variable_that_a_value_came_from(
    field: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse([], {f"QUADRA_{field.upper()}": value})
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert f"QUADRA_{field.upper()}" in told
    assert "--" not in told
    assert told.count("\n") == 1
    assert getattr(parse([f"--{field.replace('_', '-')}", "5" if field != "log_format" else "json"], {}), field)


def test_a_bad_environment_variable_is_no_matter_where_the_command_line_wins() -> None:
    assert parse(["--port", "8"], {"QUADRA_PORT": "none"}).port == 8


@pytest.mark.parametrize(
    ("error", "field"),
    [
        (ConfigurationError("field_size", "must be from 2 to 1,000,000, not 1"), "field_size"),
        (CorpusError("The corpus is not there."), "corpus"),
        (FolderLockedError("The folder is in use."), "state_dir"),
    ],
)
def test_a_refused_start_names_what_brought_the_value(error: QuadraError, field: str) -> None:
    option = f"--{field.replace('_', '-')}"
    variable = f"QUADRA_{field.upper()}"
    assert refusal_of(parse([], {variable: "7"}), error) == f"{variable}: {error}"
    assert variable not in refusal_of(parse([option, "7"], {variable: "7"}), error)


def test_a_tilde_is_the_home_folder_in_every_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "text.txt").write_text("one\n")
    assert parse(["--log-file", "~/server.log"], {}).log_file == tmp_path / "server.log"
    assert parse([], {"QUADRA_LOG_FILE": "~/server.log"}).log_file == tmp_path / "server.log"
    assert Corpus("~/text.txt").reference == str(tmp_path / "text.txt")
    assert StateLayout("~/state").path == tmp_path / "state"
    monkeypatch.setenv("QUADRA_STATE_DIR", "~/elsewhere")
    assert states.parser().parse_args(["list"]).state_dir == tmp_path / "elsewhere"
    assert states.parser().parse_args(["list", "--state-dir", "~/other"]).state_dir == tmp_path / "other"
    monkeypatch.setenv("QUADRA_STATE_DIR", "")
    assert states.parser().parse_args(["list"]).state_dir == Path(states.STATE_DIR)
    assert expanded("~nobody of this name/x") == Path("~nobody of this name/x")


def test_a_run_on_a_text_in_the_home_folder_keeps_it_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "text.txt").write_text("one\n")
    for _ in range(2):
        with opened(tmp_path / "state", corpus="~/text.txt") as state:
            if not state.load_state():
                new_run(state, 2, "stopped")
            else:
                assert state.load().remarks() == []
