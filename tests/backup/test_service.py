"""Backups beside training: when they are made, that a bad network harms nobody, what is told, and the way back."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadra.backup.manifest import Manifest
from quadra.backup.remote import Remote
from quadra.backup.service import BackupService, Timing
from quadra.errors import (
    BackupError,
    DamagedFileError,
    QuadraError,
    RefusedError,
    UnknownSourceError,
    WorkerClosedError,
)
from quadra.storage.layout import WEIGHTS
from quadra.storage.save_record import SaveRecord
from quadra.storage.saved_state import SavedState, read
from quadra.training.events import Message, StateSaved, TrainingStarted, TrainingStopped
from quadra.training.view import BackupHealth
from tests.helpers.backup_site import BackupSite
from tests.helpers.server import refused_start, warm_server
from tests.helpers.state_helpers import (
    RUN_A,
    RUN_B,
    saved_states,
    write_state,
)
from tests.helpers.waiting import PATIENCE

SAVED, STOPPED = StateSaved(3, "", 1.0), TrainingStopped(by_itself=False, integrity_strikes=0)


class FlakyRemote(Remote):
    """A remote on this disk whose uploads can be made to fail or to hang."""

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
    """A backup service, the states that it copies, and what it shows and says."""

    def __init__(self, tmp_path: Path, timing: Timing = Timing(rest=0.0), every: int = 3) -> None:
        self.states = {RUN_A: saved_states(2)[0], RUN_B: saved_states(4, run=RUN_B)[0]}
        self.run: str | None = RUN_A
        self.trouble: Exception | None = None
        self.said: list[Message] = []
        self.shown: list[BackupHealth] = []
        self.seen: Future[None] = Future()  # what is shown is seen at once, but where a test has it otherwise
        self.seen.set_result(None)
        self._changed = threading.Condition()
        self.remote = FlakyRemote(tmp_path / "place")
        self.backup = BackupService(
            self.remote, every, lambda: self.run, self._copy, self._show, self.said.append, timing
        )
        self.backup.start()

    def _copy(self, run: str, folder: Path) -> SaveRecord:
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
        self.remote.goes_on.set()
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
    assert desk.backup.health == BackupHealth(desk.remote.shown_url, 3)
    desk.backup.on_event(STOPPED)
    health = desk.wait_for(lambda health: not health.pending and health.at is not None)
    assert (health.run, health.iteration_count) == (RUN_A, 2)
    (manifest,) = desk.remote.listed()
    assert health.bytes_sent == manifest.size


@pytest.mark.parametrize("failure", [None, BackupError("no network")], ids=["made", "failed"])
def test_an_answer_comes_only_once_everybody_can_see_what_it_says(desk: Desk, failure: BackupError | None) -> None:
    desk.remote.failures = [failure] if failure else []
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
    assert sorted(desk.remote.iterations()) == [6, 9]


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
    assert desk.remote.iterations() == [2]


def test_a_slow_network_queues_up_nothing_and_the_newest_state_wins(desk: Desk) -> None:
    desk.remote.goes_on.clear()
    desk.backup.on_event(STOPPED)
    assert desk.remote.began.acquire(timeout=PATIENCE)
    for count in range(3, 12):
        desk.iteration(count)
        for _ in range(10):
            desk.backup.on_event(SAVED)
    answer = desk.backup.now()
    desk.remote.goes_on.set()
    assert answer.result(PATIENCE)["iteration_count"] == 11
    assert [name.split("/")[1].split("-")[0] for name in desk.remote.names] == ["2", "11"]


def test_the_state_of_a_run_that_was_left_is_not_forgotten_for_that_of_the_next(desk: Desk) -> None:
    desk.remote.failures = [BackupError("no network")]
    desk.backup.on_event(STOPPED)
    desk.wait_for(lambda health: health.reason is not None)
    desk.run = RUN_B
    assert desk.backup.now().result(PATIENCE)["iteration_count"] == 4
    assert sorted(desk.remote.iterations()) == [2, 4]


def test_a_failure_is_told_once_and_tried_again_with_growing_bounded_pauses(tmp_path: Path) -> None:
    time = FakeTime()
    desk = Desk(tmp_path, time.timing(first_retry=2.0, longest_retry=60.0))
    desk.remote.failures = [BackupError(f"cut {number}") for number in range(12)]
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
    desk.remote.failures = [BackupError("no network")]
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
    desk.remote.goes_on.clear()
    desk.backup.on_event(STOPPED)
    assert desk.remote.began.acquire(timeout=PATIENCE)
    answer = desk.backup.now()
    desk.run, desk.trouble = RUN_B, DamagedFileError(WEIGHTS, "was altered")
    desk.remote.goes_on.set()
    assert isinstance(error_of(answer), DamagedFileError)
    assert desk.backup.now().result(PATIENCE)["iteration_count"] == 4
    assert [message.text for message in desk.said] == [f"A state was not backed up: {WEIGHTS}: was altered"]


def test_a_state_whose_copy_was_cleared_away_is_copied_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    desk = Desk(tmp_path, Timing(first_retry=10_000.0, longest_retry=10_000.0))
    desk.remote.failures = [BackupError("no network")]
    error_of(desk.backup.now())
    (copy,) = tmp_path.glob("quadra-scratch-*")
    shutil.rmtree(copy)
    assert desk.backup.now().result(PATIENCE)["iteration_count"] == 2
    assert list(tmp_path.glob("quadra-scratch-*")) == []
    desk.close()


def test_without_room_for_a_copy_the_request_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(tmp_path, Timing(first_retry=10_000.0, longest_retry=10_000.0))
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
        assert "could not be copied" in str(error_of(desk.backup.now()))
    assert desk.backup.health.pending
    desk.backup.close()
    assert desk.remote.iterations() == [2]


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
        desk.remote.failures = [ZeroDivisionError("oops")]
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
    desk.remote.failures = [BackupError("no network")]
    error_of(desk.backup.now())
    assert desk.backup.close() is None
    assert desk.remote.iterations() == [2]
    assert isinstance(error_of(desk.backup.now()), WorkerClosedError)


def test_at_the_end_a_place_that_fails_is_given_up_with_its_reason(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Timing(first_retry=10_000.0, longest_retry=10_000.0))
    desk.remote.failures = [BackupError("no network")] * 2
    error_of(desk.backup.now())
    missed = desk.backup.close()
    assert missed is not None
    assert "no network" in missed
    assert desk.remote.shown_url in missed


def test_at_the_end_a_place_that_hangs_is_given_up(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Timing(closing=0.01))
    desk.remote.goes_on.clear()
    desk.backup.on_event(STOPPED)
    assert desk.remote.began.acquire(timeout=PATIENCE)
    assert "no time left" in str(desk.backup.close())
    desk.remote.goes_on.set()


# --- with a real worker


@pytest.fixture
def site(tmp_path: Path) -> Iterator[BackupSite]:
    site = BackupSite(tmp_path / "state", tmp_path / "place")
    yield site
    site.close()


def test_saves_are_backed_up_while_training_and_a_place_that_hangs_holds_up_nothing(
    site: BackupSite, monkeypatch: pytest.MonkeyPatch
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


def test_a_place_that_nothing_here_serves_is_refused_at_the_start(tmp_path: Path) -> None:
    assert "--backup-url" in refused_start(tmp_path, "--backup-url", "nowhere://bucket")


@pytest.mark.process
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
