"""Backups beside training: when they are made, that a bad network harms nobody, what is told, and the way back."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import expect

from quadra.backup.manifest import Manifest
from quadra.backup.remote import Remote
from quadra.backup.service import BackupService, Timing, service_for
from quadra.errors import (
    BackupError,
    DamagedFileError,
    QuadraError,
    RefusedError,
    UnknownSourceError,
    WorkerClosedError,
)
from quadra.storage.folder import StateFolder
from quadra.storage.layout import ALERTS, WEIGHTS
from quadra.storage.save_record import SaveRecord
from quadra.storage.saved_state import SavedState, read
from quadra.training.events import Message, StateSaved, TrainingStarted, TrainingStopped
from quadra.training.lifecycle import SystemState
from quadra.training.state import TrainingState
from quadra.training.view import BackupHealth, Settings
from quadra.training.worker import Worker
from quadra.web.app import create_app
from tests.browser.test_three_days import opened as page_of
from tests.browser.test_three_days import train_until, wait_for_iteration
from tests.helpers.browser import executable, running_browser
from tests.helpers.server import warm_server
from tests.helpers.state_helpers import (
    RUN_A,
    RUN_B,
    assert_same,
    assert_same_state,
    content,
    opened,
    saved_states,
    small_config,
    train,
    write_state,
)
from tests.server.test_app import refused

PATIENCE = 30.0  # seconds
SAVED, STOPPED = StateSaved(3, "", 1.0), TrainingStopped(by_itself=False, integrity_strikes=0)


class Place(Remote):
    """A place on this disk whose uploads can be made to fail or to hang."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder.as_uri())
        self.failures: list[Exception] = []  # of the next uploads
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.began = threading.Semaphore(0)
        self.names: list[str] = []

    def put(self, folder: Path, manifest: Manifest) -> int:
        self.began.release()
        assert self.goes_on.wait(PATIENCE)
        if self.failures:
            raise self.failures.pop(0)
        self.names.append(manifest.name)
        return super().put(folder, manifest)

    def iterations(self) -> list[int]:
        return [manifest.record.iteration_count for manifest in self.listed()]


class FakeTime:
    """A clock that is moved on by waiting."""

    def __init__(self) -> None:
        self.now, self.pauses = 0.0, list[float]()

    def wait(self, event: threading.Event, seconds: float | None) -> None:
        if seconds is None:
            event.wait()
        else:
            self.pauses.append(seconds)
            self.now += seconds

    def timing(self, **changes: float) -> Timing:
        return Timing(**{"clock": lambda: self.now, "wait": self.wait, "rest": 0.0, **changes})  # type: ignore[arg-type]


class Desk:
    """A Backup, what is read for it, and what it told."""

    def __init__(self, tmp_path: Path, timing: Timing = Timing(rest=0.0), every: int = 3) -> None:
        self.states = {RUN_A: saved_states(2)[0], RUN_B: saved_states(4, run=RUN_B)[0]}
        self.run: str | None = RUN_A
        self.trouble: Exception | None = None
        self.said: list[Message] = []
        self.shown: list[BackupHealth] = []
        self.seen: Future[None] = Future()  # what is shown is seen at once, but where a test has it otherwise
        self.seen.set_result(None)
        self._changed = threading.Condition()
        self.place = Place(tmp_path / "place")
        self.backup = BackupService(
            self.place, every, lambda: self.run, self._read, self._show, self.said.append, timing
        )
        self.backup.start()

    def _read(self, run: str, folder: Path) -> SaveRecord:
        trouble, self.trouble = self.trouble, None
        if trouble is not None:
            raise trouble
        return write_state(folder, self.states[run]) and self.states[run].record

    def _show(self, health: BackupHealth) -> Future[None]:
        with self._changed:
            self.shown.append(health)
            self._changed.notify_all()
        return self.seen

    def wait_for(self, accept: Callable[[BackupHealth], bool]) -> BackupHealth:
        """The first health, already shown or still to come, that is accepted."""
        with self._changed:
            assert self._changed.wait_for(lambda: any(map(accept, self.shown)), PATIENCE), self.shown
        return next(filter(accept, self.shown))

    def iteration(self, count: int) -> SavedState:
        """The run in memory has been trained and saved."""
        self.states[RUN_A] = saved_states(count)[0]
        return self.states[RUN_A]

    def close(self) -> None:
        self.place.goes_on.set()
        self.backup.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.close()


def error_of(answer: Future[Any]) -> QuadraError:
    with pytest.raises(QuadraError) as told:
        answer.result(PATIENCE)
    return told.value


def test_stop_is_backed_up_and_starting_is_not(desk: Desk) -> None:
    desk.backup.on_event(TrainingStarted())
    desk.backup.on_event(SAVED)
    assert desk.backup.health == BackupHealth(desk.place.shown_url, 3)
    desk.backup.on_event(STOPPED)
    health = desk.wait_for(lambda health: not health.pending and health.at is not None)
    assert (health.run, health.iteration_count) == (RUN_A, 2)
    (manifest,) = desk.place.listed()
    assert health.bytes_sent == manifest.size


@pytest.mark.parametrize("failure", [None, BackupError("no network")], ids=["made", "failed"])
def test_an_answer_comes_only_once_everybody_can_see_what_it_says(desk: Desk, failure: BackupError | None) -> None:
    desk.place.failures = [failure] if failure else []
    desk.seen = Future()
    answer = desk.backup.now()
    desk.wait_for(lambda health: health.at is not None or health.reason is not None)
    with pytest.raises(TimeoutError):
        answer.result(0.2)
    desk.seen.set_result(None)
    assert answer.exception(PATIENCE) is failure


def test_every_third_save_is_backed_up(desk: Desk) -> None:
    for count in (6, 9):
        desk.iteration(count)
        for _ in range(2):
            desk.backup.on_event(SAVED)
        assert not desk.backup.health.pending
        desk.backup.on_event(SAVED)
        desk.wait_for(lambda health, count=count: health.iteration_count == count and not health.pending)  # type: ignore[misc]
    assert sorted(desk.place.iterations()) == [6, 9]


def test_between_two_backups_while_training_there_is_a_rest(tmp_path: Path) -> None:
    time = FakeTime()
    desk = Desk(tmp_path, time.timing(rest=30.0), every=1)
    desk.backup.now().result(PATIENCE)
    desk.iteration(3)
    desk.wait_for(lambda health: health.at is not None and not health.pending)
    for time.now in (1.0, 29.0):
        desk.backup.on_event(SAVED)
        assert not desk.backup.health.pending
    time.now = 30.0
    desk.backup.on_event(SAVED)
    desk.wait_for(lambda health: health.iteration_count == 3)
    desk.close()


def test_without_automatic_ones_stop_and_the_end_are_backed_up_all_the_same(tmp_path: Path) -> None:
    desk = Desk(tmp_path, every=0)
    for _ in range(1000):
        desk.backup.on_event(SAVED)
    assert not desk.backup.health.pending
    assert desk.backup.close() is None
    assert desk.place.iterations() == [2]


def test_a_slow_network_queues_up_nothing_and_the_newest_state_wins(desk: Desk) -> None:
    desk.place.goes_on.clear()
    desk.backup.on_event(STOPPED)
    assert desk.place.began.acquire(timeout=PATIENCE)
    for count in range(3, 12):
        desk.iteration(count)
        for _ in range(10):
            desk.backup.on_event(SAVED)
    answer = desk.backup.now()
    desk.place.goes_on.set()
    assert answer.result(PATIENCE)["iteration_count"] == 11
    assert [name.split("/")[1].split("-")[0] for name in desk.place.names] == ["2", "11"]


def test_the_state_of_a_run_that_was_left_is_not_forgotten_for_that_of_the_next(desk: Desk) -> None:
    desk.place.failures = [BackupError("no network")]
    desk.backup.on_event(STOPPED)
    desk.wait_for(lambda health: health.reason is not None)
    desk.run = RUN_B
    assert desk.backup.now().result(PATIENCE)["iteration_count"] == 4
    assert sorted(desk.place.iterations()) == [2, 4]


def test_a_failure_is_told_once_and_tried_again_with_growing_bounded_pauses(tmp_path: Path) -> None:
    time = FakeTime()
    desk = Desk(tmp_path, time.timing(first_retry=2.0, longest_retry=60.0))
    desk.place.failures = [BackupError(f"cut {number}") for number in range(12)]
    answer = desk.backup.now()
    assert str(error_of(answer)) == "cut 0"
    health = desk.wait_for(lambda health: health.at is not None)
    assert len(time.pauses) == 12
    for number, pause in enumerate(time.pauses):
        whole = min(60.0, 2.0 * 2**number)
        assert whole / 2 <= pause <= whole
    assert (health.failing_since, health.reason, health.next_try) == (None, None, None)
    failing = [health for health in desk.shown if health.reason]
    assert {health.reason for health in failing} == {f"cut {number}" for number in range(12)}
    assert len({health.failing_since for health in failing}) == 1
    assert all(health.pending for health in failing)
    next_try, since = (datetime.fromisoformat(str(when)) for when in (failing[-1].next_try, failing[-1].failing_since))
    assert next_try > since
    assert [message.level for message in desk.said] == ["warning", "success"]
    assert "cut 0" in desk.said[0].text
    desk.close()


@given(st.integers(1, 10**9), st.floats(0, 1))
def test_no_pause_is_longer_than_the_longest_or_nothing(failures: int, chance: float) -> None:
    pause = Timing(first_retry=2.0, longest_retry=300.0, chance=lambda: chance).before_retry(failures)
    assert 1.0 <= pause <= 300.0


def test_who_asks_does_not_wait_for_the_next_try(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Timing(first_retry=10_000.0, longest_retry=10_000.0))
    desk.place.failures = [BackupError("no network")]
    error_of(desk.backup.now())
    assert desk.backup.now().result(PATIENCE)["iteration_count"] == 2
    desk.close()


def test_a_state_that_is_gone_is_given_up_and_the_next_one_is_not(desk: Desk) -> None:
    desk.trouble = UnknownSourceError("There is no saved state 'x'.")
    assert isinstance(error_of(desk.backup.now()), UnknownSourceError)
    assert "There is no saved state" in desk.said[0].text
    desk.wait_for(lambda health: health.pending)
    assert desk.backup.now().result(PATIENCE)["iteration_count"] == 2


def test_a_damaged_state_of_an_earlier_run_is_told_once_and_given_up(desk: Desk) -> None:
    desk.place.goes_on.clear()
    desk.backup.on_event(STOPPED)
    assert desk.place.began.acquire(timeout=PATIENCE)
    answer = desk.backup.now()
    desk.run, desk.trouble = RUN_B, DamagedFileError(WEIGHTS, "was altered")
    desk.place.goes_on.set()
    assert isinstance(error_of(answer), DamagedFileError)
    assert desk.backup.now().result(PATIENCE)["iteration_count"] == 4
    assert [message.text for message in desk.said] == [f"A state was not backed up: {WEIGHTS}: was altered"]


def test_a_state_whose_copy_was_cleared_away_is_copied_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    desk = Desk(tmp_path, Timing(first_retry=10_000.0, longest_retry=10_000.0))
    desk.place.failures = [BackupError("no network")]
    error_of(desk.backup.now())
    (copy,) = tmp_path.glob("quadra-backup-*")
    shutil.rmtree(copy)
    assert desk.backup.now().result(PATIENCE)["iteration_count"] == 2
    assert list(tmp_path.glob("quadra-backup-*")) == []
    desk.close()


def test_without_room_for_a_copy_the_wish_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(tmp_path, Timing(first_retry=10_000.0, longest_retry=10_000.0))
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
        assert "could not be copied" in str(error_of(desk.backup.now()))
    assert desk.backup.health.pending
    desk.backup.close()
    assert desk.place.iterations() == [2]


@pytest.mark.parametrize("trouble", [DamagedFileError(WEIGHTS, "was altered"), OSError(28, "No space left")])
def test_a_state_that_cannot_be_read_now_is_tried_again(tmp_path: Path, trouble: Exception) -> None:
    desk = Desk(tmp_path, FakeTime().timing())
    desk.trouble = trouble
    assert isinstance(error_of(desk.backup.now()), BackupError)
    desk.wait_for(lambda health: health.iteration_count == 2)
    assert any(str(trouble) in str(health.reason) for health in desk.shown)
    desk.close()


@pytest.mark.parametrize("where", ["reading", "sending"])
def test_what_nobody_foresaw_does_not_end_the_backups(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    desk = Desk(tmp_path, FakeTime().timing())
    if where == "reading":
        desk.trouble = ZeroDivisionError("oops")
    else:
        desk.place.failures = [ZeroDivisionError("oops")]
    assert "ZeroDivisionError: oops" in str(error_of(desk.backup.now()))
    desk.wait_for(lambda health: health.iteration_count == 2)
    assert "unexpectedly" in caplog.text
    desk.close()


def test_without_a_run_there_is_nothing_to_back_up(desk: Desk) -> None:
    desk.run = None
    assert isinstance(error_of(desk.backup.now()), RefusedError)
    desk.backup.on_event(STOPPED)
    assert not desk.backup.health.pending


def test_at_the_end_what_is_pending_gets_its_chance(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Timing(first_retry=10_000.0, longest_retry=10_000.0))
    desk.place.failures = [BackupError("no network")]
    error_of(desk.backup.now())
    assert desk.backup.close() is None
    assert desk.place.iterations() == [2]
    assert isinstance(error_of(desk.backup.now()), WorkerClosedError)


def test_at_the_end_a_place_that_fails_is_given_up_with_its_reason(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Timing(first_retry=10_000.0, longest_retry=10_000.0))
    desk.place.failures = [BackupError("no network")] * 2
    error_of(desk.backup.now())
    missed = desk.backup.close()
    assert missed is not None
    assert "no network" in missed
    assert desk.place.shown_url in missed


def test_at_the_end_a_place_that_hangs_is_given_up(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Timing(closing=0.01))
    desk.place.goes_on.clear()
    desk.backup.on_event(STOPPED)
    assert desk.place.began.acquire(timeout=PATIENCE)
    assert "no time left" in str(desk.backup.close())
    desk.place.goes_on.set()


# --- beside a real worker


class Site:
    """The web application on a real worker with a place for backups, or without one."""

    def __init__(self, folder: Path, place: Path | None) -> None:
        self.folder, config = folder, small_config()
        held = StateFolder(folder)
        self.worker = Worker(held, config, Settings(pace=None), lambda: TrainingState(held, config))
        self.backup = service_for(self.worker, place.as_uri(), 5, Timing(rest=0.0)) if place else None
        app, self._socketio, self._feed = create_app(self.worker, b"secret", self.backup)
        self.http, self._app = app.test_client(), app
        for part in (self.worker, self._feed):
            part.start()  # type: ignore[attr-defined]
        if self.backup:
            self.backup.start()

    def ask(self, event: str, **payload: Any) -> dict[str, Any]:
        client = self._socketio.test_client(self._app)
        try:
            answer = client.emit(event, payload, callback=True)
        finally:
            client.disconnect()
        assert isinstance(answer, dict)
        return answer

    def train(self, until: int) -> None:
        self.worker.start_training(until).result(PATIENCE)
        while self.worker.view().status.state is SystemState.TRAINING:
            self.worker.set_pace(None).result(PATIENCE)

    def shown(self) -> dict[str, Any] | None:
        told: dict[str, Any] | None = self.http.get("/api/status").json["backup"]
        return told

    def close(self) -> None:
        with suppress(WorkerClosedError):  # a test may have closed it
            self.worker.close().result(PATIENCE)
        if self.backup:
            self.backup.close()
        self._feed.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "state", tmp_path / "place")
    yield site
    site.close()


def test_a_stopped_run_comes_back_from_its_backup_and_continues_to_the_bit_after_a_reset(
    tmp_path: Path, site: Site
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
    assert_same_state(read(slot), before)
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


def with_text_and_rules(site: Site, until: int) -> tuple[str, str]:
    """Begin and train a run with its own text and an alert rule, and back it up; the text's id and the backup's name."""
    own: str = site.http.post("/api/corpus?name=mine.txt", data=TEXT).json["id"]
    assert site.ask("initialize_system", seed=7, corpus=own)["ok"]
    assert site.ask("set_alerts", rules=[RULE])["ok"]
    site.train(until)
    name: str = site.ask("backup_now")["name"]
    return own, name


def test_a_run_with_its_own_text_and_rules_continues_to_the_bit_on_a_machine_that_has_only_the_backup(
    tmp_path: Path, site: Site
) -> None:
    own, name = with_text_and_rules(site, 23)
    site.train(40)
    site.close()
    other = Site(tmp_path / "elsewhere", tmp_path / "place")
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
    tmp_path: Path, site: Site, harm: str
) -> None:
    own, name = with_text_and_rules(site, 3)
    site.close()
    text = tmp_path / "place" / "corpora" / f"{own}.txt"
    text.write_bytes(TEXT.swapcase()) if harm == "altered" else text.unlink()
    other = Site(tmp_path / "elsewhere", tmp_path / "place")
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
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("quadra.backup.manifest._largest_along", lambda _: 0)
        _, name = with_text_and_rules(site, 3)
    assert not (tmp_path / "place" / "corpora").exists()
    assert site.ask("restore_backup", name=name)["warnings"] == []  # its text is here
    site.close()
    other = Site(tmp_path / "elsewhere", tmp_path / "place")
    restored = other.ask("restore_backup", name=name)
    (warning,) = restored["warnings"]
    assert "Give the same text" in warning
    assert "not there any more" in " ".join(other.ask("load_state", source=restored["id"])["warnings"])
    other.close()


def test_rules_in_a_backup_that_cannot_be_read_are_told_and_the_state_comes_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("quadra.backup.service.exported_rules", lambda *_: {ALERTS: [b"no rules"]})
        _, name = with_text_and_rules(site, 3)
    restored = site.ask("restore_backup", name=name)
    (warning,) = restored["warnings"]
    assert "without alert rules" in warning


def test_a_disk_that_is_full_when_a_backup_is_fetched_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    _, name = with_text_and_rules(site, 3)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("quadra.backup.remote.write_file", full)
        answer = site.ask("restore_backup", name=name)
    assert (answer["ok"], answer["error"]["code"]) == (False, "backup_failed")
    assert "No space left on device" in answer["error"]["message"]


def test_saves_are_backed_up_while_training_and_a_place_that_hangs_holds_up_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, goes_on = threading.Event(), threading.Event()
    put = Remote.put

    def hanging(place: Remote, folder: Path, manifest: Manifest) -> int:
        began.set()
        assert goes_on.wait(PATIENCE)
        return put(place, folder, manifest)

    monkeypatch.setattr(Remote, "put", hanging)
    site.ask("initialize_system")
    site.worker.start_training().result(PATIENCE)
    assert began.wait(PATIENCE)
    count = site.worker.view().iteration_count
    while site.worker.view().iteration_count < count + 100:
        site.worker.set_pace(None).result(PATIENCE)
    stopped = site.ask("stop_training")
    assert stopped["ok"]
    shown = site.shown()
    assert shown is not None
    assert (shown["pending"], shown["at"]) == (True, None)
    goes_on.set()
    assert site.ask("backup_now")["iteration_count"] == stopped["iteration_count"]
    first = site.ask("list_backups")["backups"][-1]
    assert first["iteration_count"] < stopped["iteration_count"]
    assert first["ended"] == "cut off"


def test_a_damaged_backup_is_refused_by_the_name_of_its_file_and_nothing_is_taken(tmp_path: Path, site: Site) -> None:
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
    site = Site(tmp_path / "state", None)
    for event in ("backup_now", "list_backups", "restore_backup", "delete_backup"):
        assert site.ask(event, name="x")["error"]["code"] == "refused"
    assert site.shown() is None
    site.close()


def test_a_place_that_nothing_here_serves_is_refused_at_the_start(tmp_path: Path) -> None:
    assert "--backup-url" in refused(tmp_path, "--backup-url", "nowhere://bucket")


# --- the page, and the end of the server


@pytest.mark.skipif(executable() is None and not os.environ.get("CI"), reason="no Chromium is installed here")
def test_the_page_shows_the_newest_backup_makes_one_at_a_wish_says_why_they_fail_and_restores(tmp_path: Path) -> None:
    place = tmp_path / "place"
    options = ("--pace", "max", "--field-size", "8", "--seed", "3", "--backup-url", place.as_uri())
    with running_browser() as browser, warm_server(tmp_path / "state", *options) as server:
        page = page_of(browser, server.url)
        expect(page.locator("#backup-iteration-value")).to_have_text("none yet")
        expect(page.locator("#backup-button")).to_be_disabled()
        page.click("#initialize-button")
        train_until(page, 20)
        expect(page.locator("#backup-iteration-value")).to_have_attribute("data-value", "20")
        expect(page.locator("#backup-age-value")).to_have_text(re.compile(r"^just now$|^\d+(s|min) ago$"))
        page.click("#backup-button")
        expect(page.locator("#message-text")).to_have_text("Backed up: 20 iterations.")
        place.rename(tmp_path / "unplugged")
        place.write_text("no folder any more")
        page.click("#backup-button")
        trouble = page.locator("#backup-trouble")
        expect(trouble).to_contain_text("Backups fail since")
        expect(trouble).to_contain_text(place.as_uri())
        expect(page.locator("#message-text")).to_contain_text(place.as_uri())
        place.unlink()
        (tmp_path / "unplugged").rename(place)
        page.click("#backup-button")
        expect(trouble).to_be_hidden()
        page.click("#reset-button")
        page.click("#reset-confirm")
        expect(page.locator("#status-value")).to_have_attribute("data-value", "uninitialized")
        page.click("#restore-button")
        expect(page.locator("#restore-list")).to_contain_text("20 iterations")
        page.click("#restore-confirm")
        expect(page.locator("#status-value")).to_have_attribute("data-value", "ready")
        wait_for_iteration(page, 20)
        page.context.close()
        assert server.end() == 0


def test_a_server_that_ends_while_training_backs_up_its_last_save_or_says_that_it_could_not(
    tmp_path: Path,
) -> None:
    place = tmp_path / "place"
    options = ("--pace", "100", "--field-size", "8", "--resume", "--backup-every", "0", "--backup-url", place.as_uri())
    with warm_server(tmp_path / "state", *options) as server:
        server.wait_for("State saved")
        assert server.end() == 0
    (manifest,) = Remote(place.as_uri()).listed()
    assert manifest.record == read(tmp_path / "state").record
    place.rename(tmp_path / "unplugged")
    place.write_text("no folder any more")
    with warm_server(tmp_path / "state", *options) as server:
        server.wait_for("State saved")
        assert server.end() == 0
    assert any("not at" in line and place.as_uri() in line for line in server.lines)
