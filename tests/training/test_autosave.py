"""Saves beside training: what is shown waits for what is durable, a slow disk holds training up, a hanging one does not."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quadra import TrainingState
from quadra.errors import QuadraError, RefusedError, SaveError
from quadra.storage.folder import StateFolder
from quadra.storage.layout import METRICS, SET_ASIDE, WEIGHTS
from quadra.storage.pending_save import Receipt
from quadra.storage.save_record import peek
from quadra.storage.save_store import Save, SaveStore
from quadra.training import autosave
from quadra.training.autosave import AutoSave
from quadra.training.events import Message, StateSaved
from quadra.training.lifecycle import Phase
from quadra.training.publisher import Publisher
from quadra.training.view import Status, WorkerSettings
from tests.helpers.bench import CONFIG, Bench
from tests.helpers.state_helpers import assert_same, content, files_of, new_run, opened, train
from tests.helpers.waiting import PATIENCE

FULL = OSError(28, "No space left on device")


class Disk:
    """Stands before every commit of every store: can hold it back, fail it, and tell what was asked of it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.free = threading.Event()
        self.free.set()
        self.asked = threading.Semaphore(0)  # released at every commit
        self.error: Exception | None = None
        self.held: list[Save] = []
        commit = SaveStore.commit

        def watched(store: SaveStore, save: Save) -> Receipt:
            self.held.append(save)
            self.asked.release()
            assert self.free.wait(PATIENCE)
            if self.error is not None:
                raise self.error
            return commit(store, save)

        patch.setattr(SaveStore, "commit", watched)

    def hold(self) -> None:
        self.free.clear()

    def let_go(self) -> None:
        self.free.set()

    def await_commit(self) -> Save:
        """The next save that reaches the disk."""
        assert self.asked.acquire(timeout=PATIENCE)
        return self.held[-1]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk(monkeypatch)
    yield disk
    disk.let_go()


@pytest.fixture
def bench(tmp_path: Path, disk: Disk) -> Iterator[Bench]:
    bench = Bench(tmp_path / "state", WorkerSettings(pace=None, answer_within=3600.0))
    bench.worker.initialize().result(PATIENCE)
    yield bench
    disk.let_go()
    disk.error = None
    if bench.folder.is_held:
        with contextlib.suppress(SaveError):  # of a folder that a test has exchanged
            bench.worker.close().result(PATIENCE)


def waits_for_the_disk(bench: Bench) -> bool:
    return bench.worker.view().status.save_health.waiting


def test_what_is_shown_is_at_most_the_interval_ahead_of_what_is_durable(bench: Bench, disk: Disk) -> None:
    disk.hold()
    bench.worker.start_training().result(PATIENCE)
    assert disk.await_commit().record.iteration_count == 10
    bench.until(lambda: waits_for_the_disk(bench))
    assert bench.state is not None
    assert bench.state.iteration_count == 20  # training went on beside the save, then waited
    assert bench.worker.view().iteration_count == 10
    assert bench.worker.view().result is not None
    assert bench.worker.view().result.iteration == 10
    assert not bench.all_of(StateSaved)
    disk.let_go()
    bench.until(lambda: bench.worker.view().iteration_count > 20)
    assert not waits_for_the_disk(bench)


def test_at_any_speed_no_view_is_more_than_the_interval_ahead_of_the_last_durable_save(bench: Bench) -> None:
    worst = 0
    bench.worker.start_training().result(PATIENCE)
    while bench.worker.view().iteration_count < 500:
        shown = bench.worker.view().iteration_count  # before the disk is asked: it can only have gone on since
        worst = max(worst, shown - saved_iteration(bench.folder.path / WEIGHTS))
    bench.worker.stop_training().result(PATIENCE)
    assert 0 < worst <= 10


def saved_iteration(file: Path) -> int:
    try:
        record = peek(file)
    except QuadraError:
        return 0
    return 0 if record is None else record.iteration_count


def test_the_save_is_of_the_moment_it_was_asked_for_though_training_went_on(
    bench: Bench, disk: Disk, tmp_path: Path
) -> None:
    disk.hold()
    bench.worker.start_training().result(PATIENCE)
    disk.await_commit()
    bench.until(lambda: waits_for_the_disk(bench))
    disk.let_go()
    bench.until(lambda: bool(bench.all_of(StateSaved)))
    bench.worker.close().result(PATIENCE)
    assert bench.all_of(StateSaved)[0].iteration_count == 10
    with TrainingState(tmp_path / "plain", CONFIG) as plain:
        plain.initialize()
        for _ in range(10):
            plain.step()
        expected = plain.engine.state_dict()
    first = disk.held[0]
    assert first.record.iteration_count == 10
    assert first.snapshot.rest["iteration_count"] == 10
    assert first.snapshot.rest["q_table"] == expected["q_table"]


def test_at_most_one_write_is_in_flight(bench: Bench, disk: Disk) -> None:
    disk.hold()
    bench.worker.start_training().result(PATIENCE)
    disk.await_commit()
    bench.until(lambda: waits_for_the_disk(bench))
    assert len(disk.held) == 1
    assert bench.state is not None
    with pytest.raises(SaveError, match="not finished"):
        bench.state.saving.begin()


def test_a_disk_that_hangs_counts_as_failing_and_stop_answers(
    bench: Bench, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quadra.storage.pending_save.TIMEOUT", 0.3)
    disk.hold()
    bench.worker.start_training().result(PATIENCE)
    bench.until(lambda: bench.worker.view().status.trouble is not None)
    trouble = bench.worker.view().status.trouble
    assert trouble is not None
    assert (trouble.code, trouble.since) == ("save_timeout", 0)
    bench.until(lambda: bench.worker.view().iteration_count > 30)  # training goes on under the banner
    with pytest.raises(SaveError, match="has not answered"):
        bench.worker.stop_training().result(PATIENCE)
    assert bench.worker.view().status.phase is Phase.READY
    assert bench.worker.view().unsaved_iterations == bench.worker.view().iteration_count
    monkeypatch.setattr("quadra.storage.pending_save.TIMEOUT", PATIENCE)
    disk.let_go()
    bench.until(lambda: bench.worker.view().unsaved_iterations == 0)  # the late save ends, and what was owed follows
    saved = [event.iteration_count for event in bench.all_of(StateSaved)]
    assert saved == [10, bench.worker.view().iteration_count]
    assert bench.worker.view().status.trouble is None


def test_a_save_that_failed_is_tried_again_while_training_rests(
    bench: Bench, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quadra.training.autosave.RETRY", 0.05)
    disk.error = FULL
    bench.worker.start_training().result(PATIENCE)
    bench.until(lambda: bench.worker.view().iteration_count > 5)
    with pytest.raises(SaveError):
        bench.worker.stop_training().result(PATIENCE)
    assert bench.worker.view().status.trouble is not None
    disk.error = None
    bench.until(lambda: bench.worker.view().status.trouble is None)
    default = bench.worker.view().status.catalog.default
    assert default is not None
    assert (default.iteration_count, default.ended) == (bench.worker.view().iteration_count, "stopped")


def test_a_folder_whose_write_hangs_stays_held_after_close(
    bench: Bench, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quadra.storage.pending_save.TIMEOUT", 0.3)
    disk.hold()
    bench.worker.start_training(15).result(PATIENCE)
    disk.await_commit()
    with pytest.raises(SaveError):
        bench.worker.close().result(PATIENCE)
    assert bench.folder.is_held
    disk.let_go()
    bench.until(lambda: not bench.folder.is_held)


def test_while_saves_fail_progress_is_shown_under_a_banner_that_goes_by_itself(bench: Bench, disk: Disk) -> None:
    disk.error = FULL
    bench.worker.start_training().result(PATIENCE)
    bench.until(lambda: bench.worker.view().iteration_count > 35)
    trouble = bench.worker.view().status.trouble
    assert trouble is not None
    assert "No space left" in trouble.message
    assert trouble.since == 0
    disk.error = None
    bench.until(lambda: bench.worker.view().status.trouble is None)
    bench.worker.stop_training().result(PATIENCE)
    assert bench.worker.view().unsaved_iterations == 0


def test_saving_fails_and_nothing_is_lost_by_going_on(bench: Bench, disk: Disk, tmp_path: Path) -> None:
    disk.error = FULL
    bench.worker.start_training(25).result(PATIENCE)
    bench.until(lambda: bench.worker.view().status.phase is Phase.READY)
    disk.error = None
    bench.worker.start_training(30).result(PATIENCE)
    bench.until(lambda: bench.worker.view().status.phase is Phase.READY)
    bench.worker.close().result(PATIENCE)
    with TrainingState(tmp_path / "state", CONFIG) as state, TrainingState(tmp_path / "plain", CONFIG) as plain:
        assert state.load_state()
        plain.initialize(seed=state.config.seed)
        for _ in range(30):
            plain.step()
        assert_same(content(state), content(plain))


def test_stalls_and_the_verified_state_are_told(bench: Bench) -> None:
    bench.worker.start_training(25).result(PATIENCE)
    bench.until(lambda: bench.worker.view().status.phase is Phase.READY)
    saves = bench.worker.view().status.save_health
    assert 0.0 < saves.stall_median_ms <= saves.stall_worst_ms
    assert saves.verified_iteration == 25
    outcome = bench.worker.view().status.last_save
    assert outcome is not None
    assert outcome.size == (bench.folder.path / WEIGHTS).stat().st_size


def test_little_room_on_the_disk_is_told_while_there_is_still_some(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quadra.storage.folder.StateFolder.free_bytes", lambda _: 50_000_000)
    bench.worker.start_training(12).result(PATIENCE)
    bench.until(lambda: bench.worker.view().status.phase is Phase.READY)
    assert bench.worker.view().status.save_health.free_bytes == 50_000_000
    told = [event.text for event in bench.all_of(Message)]
    assert [text for text in told if "50 MB are free" in text] == ["Only 50 MB are free on the disk."]


# --- the folder changes under a live server


@pytest.fixture
def exchanged(bench: Bench, tmp_path: Path) -> dict[str, bytes]:
    """A backup of iteration 15 is put in the place of the folder while training runs; what then stands there."""
    bench.worker.start_training(15).result(PATIENCE)
    bench.until(lambda: bench.worker.view().status.phase is Phase.READY)
    shutil.copytree(bench.folder.path, tmp_path / "backup")
    bench.worker.start_training().result(PATIENCE)
    bench.until(lambda: bench.worker.view().iteration_count > 40)
    bench.folder.path.rename(tmp_path / "gone")
    shutil.copytree(tmp_path / "backup", bench.folder.path)
    bench.until(lambda: getattr(bench.worker.view().status.trouble, "code", None) == "folder_changed")
    return files_of(tmp_path / "backup")


def test_an_exchanged_folder_is_noticed_and_nothing_in_it_is_overwritten(
    bench: Bench, exchanged: dict[str, bytes]
) -> None:
    count = bench.worker.view().iteration_count
    bench.until(lambda: bench.worker.view().iteration_count > count + 30)
    trouble = bench.worker.view().status.trouble
    assert trouble is not None
    assert trouble.code == "folder_changed"
    with pytest.raises(SaveError, match="exchanged"):
        bench.worker.stop_training().result(PATIENCE)
    with pytest.raises(SaveError):
        bench.worker.load().result(PATIENCE)
    with pytest.raises(QuadraError):
        bench.worker.reset().result(PATIENCE)
    assert files_of(bench.folder.path) == exchanged


def test_what_stands_in_an_exchanged_folder_can_be_loaded(bench: Bench, exchanged: dict[str, bytes]) -> None:
    assert exchanged
    with pytest.raises(SaveError):
        bench.worker.stop_training().result(PATIENCE)
    answer = bench.worker.load(discard_unsaved=True).result(PATIENCE)
    assert answer["iteration_count"] == 15
    assert bench.worker.view().status.trouble is None
    bench.worker.start_training(30).result(PATIENCE)
    bench.until(lambda: bench.worker.view().status.phase is Phase.READY)
    assert saved_iteration(bench.folder.path / WEIGHTS) == 30


def test_the_run_in_memory_can_go_on_as_a_new_saved_run_beside_what_was_put_there(
    bench: Bench, exchanged: dict[str, bytes]
) -> None:
    assert exchanged
    before = bench.worker.view().status.run
    answer = bench.worker.save_as_new_run().result(PATIENCE)
    assert answer["run"] != before
    bench.worker.stop_training().result(PATIENCE)
    count = bench.worker.view().iteration_count
    states = {state.id: state.iteration_count for state in bench.worker.view().status.catalog.states}
    assert states == {before: 15, answer["run"]: count}
    bench.worker.load(before).result(PATIENCE)
    assert bench.worker.view().iteration_count == 15


def test_a_folder_that_is_still_ours_has_nothing_to_resolve(bench: Bench) -> None:
    with pytest.raises(RefusedError):
        bench.worker.save_as_new_run().result(PATIENCE)


def test_a_removed_folder_is_not_made_again_by_itself(bench: Bench, tmp_path: Path) -> None:
    bench.worker.start_training().result(PATIENCE)
    bench.until(lambda: bench.worker.view().iteration_count > 20)
    bench.folder.path.rename(tmp_path / "gone")
    bench.until(lambda: bench.worker.view().status.trouble is not None)
    count = bench.worker.view().iteration_count
    bench.until(lambda: bench.worker.view().iteration_count > count + 30)
    assert not bench.folder.path.exists()
    bench.worker.save_as_new_run().result(PATIENCE)
    bench.worker.stop_training().result(PATIENCE)
    assert saved_iteration(bench.folder.path / WEIGHTS) == bench.worker.view().iteration_count


@pytest.fixture
def unattended(tmp_path: Path) -> Iterator[Bench]:
    """A worker that nobody answers, and that does not wait long for it."""
    bench = Bench(tmp_path / "state", WorkerSettings(pace=None, answer_within=0.05))
    bench.worker.initialize().result(PATIENCE)
    bench.worker.start_training(15).result(PATIENCE)
    bench.until(lambda: bench.worker.view().status.phase is Phase.READY)
    yield bench
    with contextlib.suppress(SaveError):
        bench.worker.close().result(PATIENCE)


def went_on(bench: Bench, before: str | None) -> str:
    """The id of the new run as which the run in memory has gone on by itself, once it is told."""
    bench.until(lambda: any("goes on by itself" in message.text for message in bench.all_of(Message)))
    status = bench.worker.view().status
    assert status.trouble is None
    assert status.run not in (None, before)
    return str(status.run)


def test_a_weights_file_that_a_sync_tool_has_put_back_stops_saving_for_as_long_as_a_person_has_to_answer(
    unattended: Bench, tmp_path: Path
) -> None:
    folder, before = unattended.folder.path, unattended.worker.view().status.run
    old = (folder / WEIGHTS).read_bytes()
    unattended.worker.start_training().result(PATIENCE)
    unattended.until(lambda: unattended.worker.view().iteration_count > 60)
    (tmp_path / "old").write_bytes(old)
    (tmp_path / "old").replace(folder / WEIGHTS)
    new = went_on(unattended, before)
    unattended.until(lambda: saved_iteration(folder / WEIGHTS) > 100)
    assert old in [file.read_bytes() for file in (folder / SET_ASIDE).rglob(WEIGHTS)]
    unattended.worker.stop_training().result(PATIENCE)
    states = {state.id: state.iteration_count for state in unattended.worker.view().status.catalog.states}
    assert set(states) == {before, new}
    assert states[str(before)] > 15  # its own newest save, not what was put in its place
    assert unattended.worker.load().result(PATIENCE)["iteration_count"] == states[new]


def test_a_run_that_rests_in_an_exchanged_folder_goes_on_by_itself_beside_what_was_put_there(
    unattended: Bench, tmp_path: Path
) -> None:
    folder, before = unattended.folder.path, unattended.worker.view().status.run
    shutil.copytree(folder, tmp_path / "backup")
    unattended.worker.start_training().result(PATIENCE)
    unattended.until(lambda: unattended.worker.view().iteration_count > 40)
    folder.rename(tmp_path / "gone")
    shutil.copytree(tmp_path / "backup", folder)
    with contextlib.suppress(SaveError):
        unattended.worker.stop_training().result(PATIENCE)
    new = went_on(unattended, before)
    states = {state.id: state.iteration_count for state in unattended.worker.view().status.catalog.states}
    assert states == {before: 15, new: unattended.worker.view().iteration_count}


def test_where_the_exchanged_folder_cannot_be_had_it_is_told_and_tried_again(unattended: Bench, tmp_path: Path) -> None:
    folder, before = unattended.folder.path, unattended.worker.view().status.run
    shutil.copytree(folder, tmp_path / "backup")
    unattended.worker.start_training().result(PATIENCE)
    folder.rename(tmp_path / "gone")
    shutil.copytree(tmp_path / "backup", folder)
    with StateFolder(folder):
        unattended.until(
            lambda: any("could not go on as a new one" in told.text for told in unattended.all_of(Message))
        )
        assert unattended.worker.view().status.run == before
    went_on(unattended, before)


def test_a_removed_folder_is_not_made_again_though_nobody_answers(unattended: Bench, tmp_path: Path) -> None:
    before = unattended.worker.view().status.run
    unattended.worker.start_training().result(PATIENCE)
    unattended.folder.path.rename(tmp_path / "gone")
    unattended.until(lambda: unattended.worker.view().status.trouble is not None)
    count = unattended.worker.view().iteration_count
    unattended.until(lambda: unattended.worker.view().iteration_count > count + 200)
    assert not unattended.folder.path.exists()
    (tmp_path / "gone").rename(unattended.folder.path)  # as where a disk is mounted again
    unattended.until(lambda: unattended.worker.view().status.trouble is None)
    assert unattended.worker.view().status.run == before


@pytest.mark.parametrize("name", [WEIGHTS, METRICS])
def test_a_file_that_was_changed_under_a_live_server_is_never_overwritten_unseen(bench: Bench, name: str) -> None:
    bench.worker.start_training(15).result(PATIENCE)
    bench.until(lambda: bench.worker.view().status.phase is Phase.READY)
    changed = b"something else altogether"
    (bench.folder.path / name).write_bytes(changed)
    os.utime(bench.folder.path / name, (1.0, 1.0))
    bench.worker.start_training(30).result(PATIENCE)
    bench.until(lambda: bench.worker.view().status.phase is Phase.READY)
    kept = [file.read_bytes() for file in bench.folder.path.rglob(name)]
    assert changed in kept


def test_a_backup_put_in_place_of_the_folder_while_training_rests_is_simply_loaded(
    bench: Bench, tmp_path: Path
) -> None:
    bench.worker.start_training(15).result(PATIENCE)
    bench.until(lambda: bench.worker.view().status.phase is Phase.READY)
    shutil.copytree(bench.folder.path, tmp_path / "backup")
    bench.worker.start_training(25).result(PATIENCE)
    bench.until(lambda: bench.worker.view().status.phase is Phase.READY)
    bench.folder.path.rename(tmp_path / "gone")
    shutil.copytree(tmp_path / "backup", bench.folder.path)
    answer: dict[str, Any] = bench.worker.load().result(PATIENCE)
    assert answer["iteration_count"] == 15
    assert answer["warnings"] == []
    bench.worker.start_training(20).result(PATIENCE)
    bench.until(lambda: bench.worker.view().status.phase is Phase.READY)
    assert saved_iteration(bench.folder.path / WEIGHTS) == 20


def test_with_auto_save_switched_off_everything_is_shown_at_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "state", WorkerSettings(save_every=0, pace=None))
    bench.worker.initialize().result(PATIENCE)
    bench.worker.start_training().result(PATIENCE)
    bench.until(lambda: bench.worker.view().iteration_count > 50)
    assert not bench.all_of(StateSaved)
    bench.worker.close().result(PATIENCE)


class SavingUntilLookedAt:
    """A save that ends right after the first look at it."""

    run, iteration_count, must_wait, seconds_under_way = None, 20, False, 0.0

    def __init__(self) -> None:
        self.looks, self.was_taken, self.begun = 0, False, 0

    @property
    def is_under_way(self) -> bool:
        self.looks += 1
        return self.looks == 1

    def collect(self) -> None:
        self.looks += 1
        self.was_taken = self.was_taken or self.looks > 1

    def begin(self, **_: Any) -> None:
        assert self.was_taken, "a save was begun before the outcome of the last one was taken"
        self.begun += 1


def test_no_save_begins_before_the_outcome_of_the_last_one_is_taken(bench: Bench) -> None:
    saves, saving = bench.worker.autosave, SavingUntilLookedAt()
    saves.after_step(20)
    for _ in range(2):
        saves.before_step(saving)
    assert saving.begun == 1


def test_a_save_that_is_shown_late_does_not_hide_that_a_later_one_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path / "state") as state:
        publisher = Publisher(Status.first(CONFIG, WorkerSettings(), state.folder))
        saves = AutoSave(state.folder, WorkerSettings(), publisher, lambda: None)

        def save_after_ten() -> None:
            train(state, 10)
            saves.after_step(state.iteration_count)
            saves.before_step(state.saving)
            state.saving.wait()
            saves.before_step(state.saving)

        new_run(state, 10)
        saves.save(state.saving, None)
        monkeypatch.setattr(autosave, "SHOWN_EVERY", 3600.0)
        save_after_ten()
        (tmp_path / "state" / WEIGHTS).write_bytes(b"somebody else's")
        save_after_ten()
        monkeypatch.setattr(autosave, "SHOWN_EVERY", 0.0)
        saves.before_step(state.saving)
        shown = publisher.view.status
        assert shown.last_save is not None
        assert shown.trouble is not None
        assert shown.last_save.iteration_count == 20
        assert shown.trouble.code == "folder_changed"
