"""The key of the browsers' cookies: the same at every start where a file can keep it, and in memory, said once, where not."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest

from quadra.cli import secret_key as module
from quadra.cli.secret_key import secret_key, secret_key_file
from quadra.paths import ROOT


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state folder of a user of an installed program."""
    monkeypatch.setattr(module, "IS_INSTALLED", True)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def test_in_a_checkout_it_lies_beside_the_program() -> None:
    assert secret_key_file({"XDG_STATE_HOME": "/elsewhere"}) == ROOT / "instance" / "secret_key"


def test_an_installed_program_keeps_it_among_the_users_state(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert secret_key_file({"XDG_STATE_HOME": str(installed)}) == installed / "quadramatrix" / "secret_key"
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = tmp_path / ".local" / "state" / "quadramatrix" / "secret_key"
    assert secret_key_file({}) == secret_key_file({"XDG_STATE_HOME": "not/absolute"}) == expected


def test_every_start_has_the_same_and_only_its_user_can_read_it(
    installed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = secret_key()
    assert len(key) == 64
    assert secret_key() == key
    assert stat.S_IMODE((installed / "quadramatrix" / "secret_key").stat().st_mode) == 0o600
    assert caplog.records == []


def test_where_no_file_can_keep_it_each_start_has_its_own_and_says_so_once(
    installed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    installed.write_text("a file where the folder would be")
    first, second = secret_key(), secret_key()
    assert first != second
    assert len(first) == 32
    assert len(caplog.records) == 2
    assert caplog.records[0].levelno == logging.WARNING
    assert str(installed / "quadramatrix" / "secret_key") in caplog.text


@pytest.mark.usefixtures("installed")
def test_a_user_without_a_home_has_one_in_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr(Path, "home", no_home)
    assert len(secret_key()) == 32
    assert "no home folder" in caplog.text
