"""Options of the server: `python app.py` and the installed command take the same, with the same defaults."""

from __future__ import annotations

from dataclasses import fields

import pytest

import app
from quadra.cli.serve_options import parse
from quadra.defaults import ServerDefaults


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
    assert set(options) - set(vars(ServerDefaults())) == {"resume"}
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
