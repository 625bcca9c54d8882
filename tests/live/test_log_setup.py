"""Logs: one object a line where that was asked for, exact lines where not, and never more than their room on the disk."""

from __future__ import annotations

import io
import json
import logging
import logging.handlers
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quadra.errors import ConfigurationError
from quadra.live.console import Console
from quadra.live.log_setup import Logs, LogSettings
from quadra.training.events import LoadFailed, StateSaved
from tests.helpers.server import Client, warm_server

log = logging.getLogger("quadra.test")


@pytest.fixture
def unchanged() -> Iterator[None]:
    """The process logs afterwards as it did before."""
    root, quadra = logging.getLogger(), logging.getLogger("quadra")
    handlers, level, hooks = list(root.handlers), quadra.level, (sys.excepthook, threading.excepthook)
    yield
    for handler in [handler for handler in root.handlers if handler not in handlers]:
        root.removeHandler(handler)
        handler.close()
    quadra.setLevel(level)
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(capture=False)


pytestmark = pytest.mark.usefixtures("unchanged")


def fail() -> None:
    raise ValueError("one\ntwo")


def lines_of(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


def objects_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_is_one_object_a_line_whatever_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    Logs(LogSettings("json"))
    log.warning("a disk\nof %s", "naïve ✓")
    try:
        fail()
    except ValueError:
        log.exception("It failed")
    thread = threading.Thread(target=fail, name="helper")
    thread.start()
    thread.join()
    told, failed, escaped = objects_of(capsys.readouterr().err)
    assert (told["level"], told["logger"], told["message"]) == ("warning", "quadra.test", "a disk\nof naïve ✓")
    assert "exception" not in told
    assert told["time"].endswith("Z")
    assert "ValueError: one\ntwo" in failed["exception"]
    assert escaped["message"] == "Thread helper ended unexpectedly"
    assert "ValueError: one\ntwo" in escaped["exception"]


def test_text_says_when_where_and_how_bad_and_nothing_sent_looks_like_a_line_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Logs(LogSettings())
    log.warning("named %s", "x\n2026-01-01T00:00:00.000Z ERROR quadra: forged")
    (line,) = capsys.readouterr().err.splitlines()
    moment, level, name, *_ = line.split()
    assert (len(moment), moment[-1], level, name) == (24, "Z", "WARNING", "quadra.test:")
    assert "x\\n2026" in line


def test_what_is_no_trouble_is_for_the_file_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Logs(LogSettings("text", tmp_path / "server.log"))
    log.info("an earlier save stays")
    log.error("the disk is full")
    (shown,) = capsys.readouterr().err.splitlines()
    assert shown.endswith("the disk is full")
    assert [line.partition(": ")[2] for line in lines_of(tmp_path / "server.log")] == [
        "an earlier save stays",
        "the disk is full",
    ]


def test_the_terminals_lines_stay_exact_and_are_kept(tmp_path: Path) -> None:
    assert terminal(Logs(LogSettings("text", tmp_path / "server.log"))) == [
        "✓ State saved: 100 iterations",
        "✗ Failed to load state: broken",
    ]
    kept = lines_of(tmp_path / "server.log")
    assert [line.split(" ", 1)[1] for line in kept] == [
        "INFO quadra.terminal: ✓ State saved: 100 iterations",
        "ERROR quadra.terminal: ✗ Failed to load state: broken",
    ]


def test_with_json_each_line_of_the_terminal_is_the_message_of_an_object(tmp_path: Path) -> None:
    printed = terminal(Logs(LogSettings("json", tmp_path / "server.log")))
    assert printed == lines_of(tmp_path / "server.log")
    saved, failed = objects_of("\n".join(printed))
    assert (saved["event"], saved["level"], saved["message"]) == ("saved", "info", "✓ State saved: 100 iterations")
    assert (failed["event"], failed["level"]) == ("load_failed", "error")
    assert "✓ State saved: 100 iterations" in printed[0]  # a grep for the exact line still finds it


def terminal(logs: Logs) -> list[str]:
    """What the terminal shows of two events."""
    raw = io.BytesIO()
    console = Console(io.TextIOWrapper(raw, encoding="utf-8", write_through=True), logs.line)
    console.start()
    console.on_event(StateSaved(100, "", 1.0))
    console.on_event(LoadFailed("broken", nothing_there=False))
    console.close()
    return raw.getvalue().decode().splitlines()


def test_the_files_stay_within_their_room_and_the_newest_lines_are_there(tmp_path: Path) -> None:
    budget = 20_000
    logs = Logs(LogSettings("text", tmp_path / "server.log", budget))
    for number in range(2000):
        logs.line(f"line {number}", "message", logging.INFO)
        if number % 100 == 0:
            assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= budget
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["server.log", *(f"server.log.{number}" for number in (1, 2, 3, 4))]
    kept = [int(line.rsplit(" ", 1)[1]) for file in [*files[:0:-1], files[0]] for line in lines_of(file)]
    assert kept == list(range(kept[0], 2000))
    assert sum(path.stat().st_size for path in files) > budget / 2


def test_a_file_that_cannot_be_written_is_told_once_and_ends_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = Logs(LogSettings("text", tmp_path / "server.log"))

    def full(*_: object) -> bool:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(logging.handlers.RotatingFileHandler, "shouldRollover", full)
        assert [logs.line(str(number), "message", logging.INFO) for number in range(3)] == ["0", "1", "2"]
    (told,) = capsys.readouterr().err.splitlines()
    assert "server.log" in told
    assert "No space left on device" in told
    logs.line("again", "message", logging.INFO)
    assert lines_of(tmp_path / "server.log")[-1].endswith(": again")
    assert capsys.readouterr().err == ""


def test_a_file_that_could_not_be_written_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    for file in (tmp_path / "missing" / "server.log", tmp_path):
        with pytest.raises(ConfigurationError, match="log") as refused:
            LogSettings(file=file).check()
        assert refused.value.field == "log_file"
    LogSettings(file=tmp_path / "server.log").check()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
def test_all_that_a_server_says_is_json_where_that_was_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "server.log"
    options = ("--field-size", "8", "--log-format", "json", "--log-file", str(file), "--seed", "1")
    with warm_server(tmp_path / "state", *options) as server:
        with Client(server.url) as client:
            client.ask("load_state")
            client.ask("start_training", {"until": 3})
            server.wait_for("State saved: 3 iterations")
        assert server.end() == 0
    said = objects_of("\n".join(server.lines))
    assert [one["message"] for one in said if one["event"] == "load_failed"] == ["No saved state found"]
    assert "✓ State saved: 3 iterations" in [one["message"] for one in said if one["event"] == "saved"]
    assert lines_of(file) == server.lines
