"""What is no alert rule is named; rules are kept with the run: durably, over loads and restarts, and on other machines."""

from __future__ import annotations

import errno
import io
import math
import zipfile
from pathlib import Path
from typing import Any

import pytest

from quadra import TrainingState
from quadra.cli import states
from quadra.errors import BadFileError, ConfigurationError, DamagedFileError, MissingFileError, RefusedError, SaveError
from quadra.reports.check import check
from quadra.states.alert_rules import (
    KINDS,
    MOST_RULES,
    OF_SERIES,
    SAVES_FAILING,
    STRIKES,
    Rule,
    as_list,
    dump,
    exported_rules,
    parse,
    read_rules,
    rules_from,
)
from quadra.states.read_only import read_files
from quadra.states.transfer import mark_imported, unpack, verify_import, write_archive
from quadra.storage.layout import ALERTS, SET_ASIDE, StateLayout
from quadra.storage.reset import describe_deletable
from tests.helpers.state_helpers import Crash, fault, files_of, new_run, small_config, train

LOSS, REWARD, FINISHED = Rule("loss_above", 0.5), Rule("reward_below", -1.25), Rule("run_finished")
BAD = [b"", b"null", b"[]", b'{"runs": []}', b'{"runs": {"a": 1}}', b'{"runs": {"a": [{"kind": "x"}]}}', b"[" * 10_000]


def opened(folder: Path) -> TrainingState:
    return TrainingState(folder, small_config(time_steps=2, epochs=1))


def with_rules(state: TrainingState, *rules: Rule, count: int = 2) -> str:
    """A saved run with these rules; returns its id."""
    run = new_run(state, count)
    state.save()
    state.change_alert_rules(rules)
    return run


def test_every_message_names_what_and_where() -> None:
    for kind in KINDS:
        threshold = 3.0 if kind in (*OF_SERIES, STRIKES) else None
        message = Rule(kind, threshold).message(12_345, 4.5 if threshold else None)
        assert "iteration 12,345" in message
        assert ("3" in message and "(4.5)" in message) == (threshold is not None)
    assert "7 times" in Rule("loss_above", 1.0).message(9, 2.0, 7)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ("loss_above", "rules"),
        ([1], r"rules\[0\]"),
        ([{}], r"rules\[0\].kind"),
        ([{"kind": ["loss_above"]}], r"rules\[0\].kind"),
        ([{"kind": "run_finished"}, {"kind": "mean_above", "threshold": 1}], r"rules\[1\].kind"),
        ([{"kind": "loss_above"}], r"rules\[0\].threshold"),
        *(
            ([{"kind": "loss_above", "threshold": bad}], r"rules\[0\].threshold")
            for bad in (True, "1", math.nan, math.inf, -math.inf, 1e31, 10**400, [1])
        ),
        *(
            ([{"kind": STRIKES, "threshold": bad}], r"rules\[0\].threshold")
            for bad in (0, -1, 1.5, 10**10, None, math.nan)
        ),
        ([{"kind": "run_finished"}, {"kind": "run_finished", "threshold": 3}], r"rules\[1\]"),
        ([{"kind": "loss_above", "threshold": number} for number in range(MOST_RULES + 1)], "rules"),
    ],
)
def test_what_is_no_rule_is_refused_by_its_fields_name(given: Any, field: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{field} ") as refused:
        rules_from(given)
    assert len(str(refused.value)) < 300


def test_rules_are_read_as_they_are_told() -> None:
    rules = tuple(Rule(kind, 2.0 if kind in (*OF_SERIES, STRIKES) else None) for kind in KINDS)
    assert rules_from(as_list(rules)) == rules
    assert rules_from([{"kind": "saves_failing", "threshold": "x", "other": 1}]) == (Rule(SAVES_FAILING),)


def test_rules_come_back_with_their_run_and_after_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        first = with_rules(state, LOSS, FINISHED)
        state.initialize()
        assert state.run.alert_rules == ()
        second = with_rules(state, REWARD)
        assert state.load(first).warnings == ()
        assert state.run.alert_rules == (LOSS, FINISHED)
    with opened(tmp_path) as state:
        state.load(second)
        assert state.run.alert_rules == (REWARD,)
        state.change_alert_rules(())
    with opened(tmp_path) as state:
        state.load(second)
        assert state.run.alert_rules == ()


def test_rules_are_those_of_the_run_that_they_are_meant_for(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        with pytest.raises(RefusedError):
            state.change_alert_rules((LOSS,))
        run = with_rules(state, LOSS)
        state.initialize()
        with pytest.raises(RefusedError, match="Another run"):
            state.change_alert_rules((REWARD,), run)
        assert read_rules(tmp_path) == {run: (LOSS,)}


def test_going_back_takes_the_rules_along_and_leaves_those_of_the_run_that_was_left(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        run = with_rules(state, LOSS, count=2)
        slot = state.save_slot("here")
        train(state, 2)
        state.save()
        state.load(f"{run}@2")
        assert state.run.id != run
        assert state.run.alert_rules == (LOSS,)
        state.change_alert_rules((LOSS, REWARD))
        train(state, 1)
        branch = state.run.id
        state.load(run)
        assert state.run.alert_rules == (LOSS,)
        state.load(slot)
        assert state.run.alert_rules == (LOSS,)
    with opened(tmp_path) as state:
        state.load(branch)
        assert state.run.alert_rules == (LOSS, REWARD)


def test_rules_travel_with_an_exported_state(tmp_path: Path) -> None:
    with opened(tmp_path / "here") as state:
        run = with_rules(state, LOSS, REWARD)
        entry, files = read_files(StateLayout(tmp_path / "here"), run, small_config())
    archive = io.BytesIO()
    write_archive(archive, {**files, **exported_rules(tmp_path / "here", run, entry.id)}, "a")
    arrived = tmp_path / "arrived"
    arrived.mkdir()
    assert unpack(archive, arrived, 1 << 24) == ()
    arrival = verify_import(arrived)
    assert arrival.warnings == ()
    mark_imported(arrived, arrival)
    with opened(tmp_path / "there") as state:
        slot = state.saved_states.import_folder(arrived, "from there")
        assert not state.is_initialized
        state.load(slot)
        assert state.run.alert_rules == (LOSS, REWARD)


@pytest.mark.parametrize("how", ["archive", "folder"])
def test_rules_travel_on_the_command_line(tmp_path: Path, how: str) -> None:
    def ask(place: str, *arguments: object) -> int:
        return states.main([*map(str, arguments), "--state-dir", str(tmp_path / place)])

    with opened(tmp_path / "here") as state:
        run = with_rules(state, LOSS)
    if how == "archive":
        assert ask("here", "export", run, "--output", tmp_path / "out.zip") == 0
    assert ask("there", "import", tmp_path / ("out.zip" if how == "archive" else "here"), "--name", "x") == 0
    assert ask("there", "load", "x") == 0
    with opened(tmp_path / "there") as state:
        state.load()
        assert state.run.alert_rules == (LOSS,)


def test_a_state_directory_that_is_imported_as_a_whole_brings_the_rules_of_its_run(tmp_path: Path) -> None:
    with opened(tmp_path / "here") as state:
        with_rules(state, FINISHED)
        state.initialize()
        with_rules(state, LOSS)
        state.save()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        for name, content in files_of(tmp_path / "here").items():
            packed.writestr(f"backup/{name}", content)
    arrived = tmp_path / "arrived"
    arrived.mkdir()
    assert f"backup/{ALERTS}" not in unpack(archive, arrived, 1 << 24)
    with opened(tmp_path / "there") as state:
        state.load(state.saved_states.import_folder(arrived, "x"))
        assert state.run.alert_rules == (LOSS,)


@pytest.mark.parametrize("content", BAD)
def test_damaged_rules_in_an_upload_are_told_and_the_state_is_taken(tmp_path: Path, content: bytes) -> None:
    with opened(tmp_path / "here") as state:
        run = with_rules(state, LOSS)
        _, files = read_files(StateLayout(tmp_path / "here"), run, small_config())
    archive, arrived = io.BytesIO(), tmp_path / "arrived"
    arrived.mkdir()
    write_archive(archive, {**files, ALERTS: [content]}, "a")
    unpack(archive, arrived, 1 << 24)
    assert "without alert rules" in verify_import(arrived).warnings[0]
    with opened(tmp_path / "there") as state:
        state.load(state.saved_states.import_folder(arrived, "x"))
        assert state.run.alert_rules == ()


@pytest.mark.parametrize("content", BAD)
def test_a_damaged_file_is_set_aside_and_told_and_the_run_loads(tmp_path: Path, content: bytes) -> None:
    with opened(tmp_path) as state:
        run = with_rules(state, LOSS)
    (tmp_path / ALERTS).write_bytes(content)
    assert [finding.is_good for finding in check(tmp_path) if "alert rules" in finding.text] == [False]
    with opened(tmp_path) as state:
        report = state.load(run)
        assert any("alert rules are lost" in text and SET_ASIDE in text for text in report.remarks())
        assert state.run.alert_rules == ()
        state.change_alert_rules((REWARD,))
        assert read_rules(tmp_path) == {run: (REWARD,)}
        train(state, 1)
    assert [path.read_bytes() for path in (tmp_path / SET_ASIDE).rglob(ALERTS)] == [content]


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    foreign = tmp_path / "mine.json"
    foreign.write_bytes(dump({"a": (LOSS,)}))
    with opened(tmp_path / "state") as state:
        (tmp_path / "state" / ALERTS).symlink_to(foreign)
        with_rules(state, REWARD)
    assert parse(foreign.read_bytes(), foreign) == {"a": (LOSS,)}


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), Crash()], ids=["full", "crash"])
def test_whatever_call_fails_the_rules_are_the_old_or_the_new_ones(tmp_path: Path, error: BaseException) -> None:
    with opened(tmp_path) as state:
        run = with_rules(state, LOSS)
        for number in range(1, 40):
            old, new = state.run.alert_rules, (LOSS, Rule("loss_above", float(number)))
            failing = None
            try:
                with fault(number, error) as failing:
                    state.change_alert_rules(new)
            except SaveError as told:
                assert "stay as they were: No space left" in str(told)
                assert state.run.alert_rules == old
            except Crash:
                pass
            kept = read_rules(tmp_path)[run]
            assert kept in (old, new)
            if failing is not None and not failing.happened:
                break
            state.change_alert_rules((LOSS,))
        else:
            pytest.fail("the change never succeeded")
        assert kept == new


def test_rules_that_cannot_be_read_now_are_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path) as state:
        run = with_rules(state, LOSS)
        real = Path.open

        def unreadable(path: Path, *arguments: Any, **options: Any) -> Any:
            if path.name == ALERTS:
                raise PermissionError(errno.EACCES, "Permission denied")
            return real(path, *arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", unreadable)
            with pytest.raises(SaveError, match="Permission denied"):
                state.change_alert_rules((REWARD,))
            assert any("cannot be read" in text for text in state.load(run).remarks())
        assert read_rules(tmp_path) == {run: (LOSS,)}


def test_reset_deletes_the_rules_and_a_new_run_has_none(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        with_rules(state, LOSS)
        assert ALERTS in describe_deletable(state.folder.layout)
        state.reset()
        assert not (tmp_path / ALERTS).exists()
        assert not state.is_initialized
        new_run(state, 1)
        assert state.run.alert_rules == ()


def test_a_run_that_goes_on_as_a_new_one_keeps_its_rules(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as state:
        with_rules(state, LOSS)
        (tmp_path / "state").rename(tmp_path / "gone")
        (tmp_path / "state").mkdir()
        with pytest.raises(SaveError):
            state.change_alert_rules((REWARD,))
        state.go_on_as_new_run()
        assert read_rules(tmp_path / "state") == {state.run.id: (LOSS,)}


def test_the_file_is_bounded(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        (tmp_path / ALERTS).write_bytes(dump({f"{number:016x}": (LOSS,) for number in range(1000)}))
        run = with_rules(state, *(Rule("loss_above", float(number)) for number in range(MOST_RULES)))
        book = read_rules(tmp_path)
        assert len(book) == 1000
        assert len(book[run]) == MOST_RULES
        assert f"{0:016x}" not in book
    with pytest.raises(DamagedFileError):
        parse(dump({"x" * 41: (LOSS,)}), Path(ALERTS))


def test_no_file_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        read_rules(tmp_path)
    assert exported_rules(tmp_path, "a", "a") == {}
    (tmp_path / ALERTS).write_text("?")
    with pytest.raises(BadFileError):
        read_rules(tmp_path)
    assert exported_rules(tmp_path, "a", "a") == {}
