"""Backups are listed, restored as named states and deleted: a restored run continues to the bit, and what is missing is said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from quadra.storage.layout import ALERTS, WEIGHTS
from quadra.storage.saved_state import read
from tests.helpers.backup_site import BackupSite
from tests.helpers.state_helpers import (
    assert_same,
    assert_same_state,
    content,
    opened,
    train,
)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[BackupSite]:
    site = BackupSite(tmp_path / "state", tmp_path / "place")
    yield site
    site.close()


def test_a_stopped_run_comes_back_from_its_backup_and_continues_to_the_bit_after_a_reset(
    tmp_path: Path, site: BackupSite
) -> None:
    assert site.ask("initialize_system", seed=7)["ok"]
    site.train(23)
    made = site.ask("backup_now")
    assert (made["ok"], made["iteration_count"]) == (True, 23)
    shown = site.shown()
    assert shown is not None
    assert (shown["iteration_count"], shown["run"], shown["reason"], shown["every"]) == (23, made["run"], None, 5)
    before = read(site.folder)
    assert site.ask("reset_system")["ok"]
    listed = site.ask("list_backups")
    assert listed["place"] == (tmp_path / "place").as_uri()
    newest = listed["backups"][0]
    assert (newest["name"], newest["iteration_count"]) == (made["name"], 23)
    assert newest["ended"] == "stopped"
    restored = site.ask("restore_backup", name=newest["name"])
    assert restored["iteration_count"] == 23
    states = site.http.get("/api/states").json["states"]
    assert [state["name"] for state in states] == [f"Backup of run {made['run'][:8]}, iteration 23"]
    slot = site.folder / "slots" / restored["id"].removeprefix("slot-")
    kept = read(slot)
    number = kept.record.save_number
    assert number > before.record.save_number  # it came into this folder after all that was saved there
    assert_same_state(kept, replace(before, record=replace(before.record, save_number=number)))
    assert site.ask("load_state", source=restored["id"])["iteration_count"] == 23
    site.train(40)
    site.close()
    with opened(site.folder, seed=7) as again, opened(tmp_path / "whole", seed=7) as whole:
        again.load()
        whole.initialize()
        train(whole, 40)
        assert_same(content(again), content(whole))


TEXT = "\n".join(f"Line {number} of a text of my own." for number in range(50)).encode()
RULE = {"kind": "loss_above", "threshold": 5.0}


def with_text_and_rules(site: BackupSite, until: int) -> tuple[str, str]:
    """Begin and train a run with its own text and an alert rule, and back it up; the text's id and the backup's name."""
    own: str = site.http.post("/api/corpus?name=mine.txt", data=TEXT).json["id"]
    assert site.ask("initialize_system", seed=7, corpus=own)["ok"]
    assert site.ask("set_alerts", rules=[RULE])["ok"]
    site.train(until)
    name: str = site.ask("backup_now")["name"]
    return own, name


def test_a_run_with_its_own_text_and_rules_continues_to_the_bit_on_a_machine_that_has_only_the_backup(
    tmp_path: Path, site: BackupSite
) -> None:
    own, name = with_text_and_rules(site, 23)
    site.train(40)
    site.close()
    other = BackupSite(tmp_path / "elsewhere", tmp_path / "place")
    (listed,) = (backup for backup in other.ask("list_backups")["backups"] if backup["name"] == name)
    assert (listed["own_text"], listed["alert_rules"]) == (True, True)
    restored = other.ask("restore_backup", name=name)
    assert restored["warnings"] == []
    assert [text["name"] for text in other.http.get("/api/status").json["texts"]] == ["mine.txt"]
    loaded = other.ask("load_state", source=restored["id"])
    assert loaded["iteration_count"] == 23
    assert other.http.get("/api/alerts").json["rules"] == [RULE]
    assert other.http.get("/api/status").json["own_text"] == own
    other.train(40)
    other.close()
    with opened(other.folder) as there, opened(site.folder) as here:
        there.load()
        here.load()
        assert_same(content(there), content(here))


@pytest.mark.parametrize("harm", ["gone", "altered"])
def test_a_backup_whose_text_is_not_whole_any_more_comes_back_with_a_word_about_it(
    tmp_path: Path, site: BackupSite, harm: str
) -> None:
    own, name = with_text_and_rules(site, 3)
    site.close()
    text = tmp_path / "place" / "corpora" / f"{own}.txt"
    text.write_bytes(TEXT.swapcase()) if harm == "altered" else text.unlink()
    other = BackupSite(tmp_path / "elsewhere", tmp_path / "place")
    restored = other.ask("restore_backup", name=name)
    assert restored["iteration_count"] == 3
    first, second = restored["warnings"]
    assert f"{own}.txt" in first
    assert "Give the same text" in second
    assert other.http.get("/api/status").json["texts"] == []
    assert other.http.post("/api/corpus", data=TEXT).json["id"] == own
    assert other.ask("load_state", source=restored["id"])["ok"]
    assert other.http.get("/api/status").json["own_text"] == own
    other.close()


def test_a_backup_from_before_texts_went_along_comes_back_and_the_text_that_is_here_is_found(
    tmp_path: Path, site: BackupSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("quadra.backup.manifest._largest_along", lambda _: 0)
        _, name = with_text_and_rules(site, 3)
    assert not (tmp_path / "place" / "corpora").exists()
    assert site.ask("restore_backup", name=name)["warnings"] == []  # its text is here
    site.close()
    other = BackupSite(tmp_path / "elsewhere", tmp_path / "place")
    restored = other.ask("restore_backup", name=name)
    (warning,) = restored["warnings"]
    assert "Give the same text" in warning
    assert "not there any more" in " ".join(other.ask("load_state", source=restored["id"])["warnings"])
    other.close()


def test_rules_in_a_backup_that_cannot_be_read_are_told_and_the_state_comes_back(
    site: BackupSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("quadra.backup.service.exported_rules", lambda *_: {ALERTS: [b"no rules"]})
        _, name = with_text_and_rules(site, 3)
    restored = site.ask("restore_backup", name=name)
    (warning,) = restored["warnings"]
    assert "without alert rules" in warning


def test_a_disk_that_is_full_when_a_backup_is_fetched_is_told(
    site: BackupSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, name = with_text_and_rules(site, 3)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("quadra.backup.remote.write_file", full)
        answer = site.ask("restore_backup", name=name)
    assert (answer["ok"], answer["error"]["code"]) == (False, "backup_failed")
    assert "No space left on device" in answer["error"]["message"]


def test_a_damaged_backup_is_refused_by_the_name_of_its_file_and_nothing_is_taken(
    tmp_path: Path, site: BackupSite
) -> None:
    site.ask("initialize_system")
    site.train(3)
    name = site.ask("backup_now")["name"]
    file = tmp_path / "place" / name / WEIGHTS
    file.write_bytes(bytes(file.stat().st_size))
    answer = site.ask("restore_backup", name=name)
    assert (answer["ok"], answer["error"]["code"]) == (False, "damaged_file")
    assert WEIGHTS in answer["error"]["message"]
    assert site.ask("restore_backup", name="../x")["error"]["code"] == "unknown_source"
    assert site.ask("restore_backup")["error"]["code"] == "invalid_value"
    assert not (site.folder / "slots").exists()
    assert site.ask("delete_backup", name=name) == {"ok": True, "name": name}
    assert name not in [backup["name"] for backup in site.ask("list_backups")["backups"]]


def test_without_a_place_each_request_is_refused_and_the_page_is_told_nothing(tmp_path: Path) -> None:
    site = BackupSite(tmp_path / "state", None)
    for event in ("backup_now", "list_backups", "restore_backup", "delete_backup"):
        assert site.ask(event, name="x")["error"]["code"] == "refused"
    assert site.shown() is None
    site.close()
