"""Progress: how far a load, a restored backup or an upload has come, measured in bytes that pass, and how long it still takes."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quadra import byte_progress
from quadra.backup.manifest import manifest_of
from quadra.backup.remote import Remote
from quadra.byte_progress import carried, digest_of, measured, passed
from quadra.byte_progress import expect as expect_bytes
from quadra.model.history import History, checksum_of
from quadra.storage.files import durable
from quadra.storage.files.durable import read_file, write_file
from quadra.storage.layout import SAVES, WEIGHTS
from quadra.training import progress_events
from quadra.training.events import CommandProgress
from quadra.training.progress_events import PAUSE, SOON, Progress
from quadra.training.state import TrainingState
from tests.helpers.backup_site import BackupSite
from tests.helpers.state_helpers import new_run, opened, saved_states, train, write_state

SMALL = 20_000  # bytes beside the state that a load looks at: the list of states, and the system state
Told = list[tuple[str, int, int]]


def load_told(state: TrainingState, source: str | None = None) -> Told:
    """What a load tells."""
    told: Told = []
    with measured(lambda *how: told.append(how)):
        state.load(source)
    return told


def assert_true(told: Told) -> None:
    """What was expected at the beginning is what has passed at the end, and nothing goes back on the way."""
    _, first, expected = told[0]
    _, done, _ = told[-1]
    assert first == 0
    assert abs(done - expected) < SMALL < expected
    passed_by = [done for _, done, _ in told]
    assert passed_by == sorted(passed_by)
    assert len(told) > 8


def big(state: TrainingState, rows: int = 40_000) -> None:
    """A run whose history is long."""
    state.initialize()
    train(state, 1)
    state.engine.iteration = rows
    state.run.history = History(np.random.default_rng(0).random((rows, 4), dtype=np.float32))


def test_a_load_tells_the_bytes_that_pass_and_knows_their_number_from_the_beginning(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        big(state)
        state.save("stopped")
        for _ in range(3):
            state.save()
    with opened(tmp_path) as state:
        assert len(list((tmp_path / SAVES).iterdir())) > 1
        assert_true(load_told(state))


@pytest.mark.parametrize("rows", [2, 40_000])
def test_a_load_of_another_run_is_told_as_truly(tmp_path: Path, rows: int) -> None:
    with opened(tmp_path, field_size=2000) as state:
        for _ in range(2):
            big(state, rows)
            state.save("stopped")
    with opened(tmp_path, field_size=2000) as state:
        (earlier,) = (kept.id for kept in state.catalog().states if kept.folder != tmp_path)
        assert_true(load_told(state, earlier))


def test_going_back_is_told_as_truly(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        big(state)
        slot = state.save_slot("before")
        new_run(state, 1, "stopped")
        told = load_told(state, slot)
    again = max(place for place, (_, done, _) in enumerate(told) if done == 0)  # its run is loaded instead
    assert_true(told[again:])


def test_where_a_state_is_damaged_the_next_one_is_measured_anew(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        big(state)
        state.save("stopped")
        state.save()
    content = bytearray((tmp_path / WEIGHTS).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / WEIGHTS).write_bytes(content)
    with opened(tmp_path) as state:
        told = load_told(state)
    begins = [place for place, (_, done, _) in enumerate(told) if done == 0]
    assert len(begins) == 2
    assert told[-1][1] > told[begins[1]][2] / 2


def test_where_nobody_asks_nothing_is_counted() -> None:
    expect_bytes("Reading", 10)
    passed(5)
    told: Told = []
    with measured(lambda *how: told.append(how)):
        passed(5)  # before anything is expected there is nothing to tell
        expect_bytes("Reading", 10)
        passed(4)
        passed(8)
    passed(1)
    assert told == [("Reading", 0, 10), ("Reading", 4, 10), ("Reading", 12, 12)]


def test_work_on_another_thread_counts_where_it_is_carried_there() -> None:
    told: Told = []
    with measured(lambda *how: told.append(how)):
        expect_bytes("Writing", 10)
        for work in (lambda: passed(3), carried(lambda: passed(4))):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
    assert told[1:] == [("Writing", 4, 10)]


def test_what_is_read_and_written_in_pieces_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_LARGEST_READ", "_LARGEST_WRITE"):
        monkeypatch.setattr(durable, name, 1000)
    monkeypatch.setattr(byte_progress, "PIECE", 1000)
    content = os.urandom(4321)
    told: Told = []
    with measured(lambda *how: told.append(how)):
        expect_bytes("All", 3 * len(content))
        write_file(tmp_path / "file", [content])
        assert read_file(tmp_path / "file") == content
        assert digest_of(content).hexdigest() == hashlib.sha256(content).hexdigest()
    assert told[-1] == ("All", 3 * 4321, 3 * 4321)
    assert len(told) == 1 + 3 * 5


@pytest.mark.parametrize("count", [0, 1, 3000])
def test_the_checksum_of_a_history_is_that_of_its_bytes(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_progress, "PIECE", 1000)
    rows = np.random.default_rng(0).random((count, 4), dtype=np.float32)
    expected = hashlib.sha256(rows.tobytes()).hexdigest()
    assert checksum_of(rows) == expected
    assert History(rows).checksum() == expected


# --- what is told of it, and how often


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_progress_is_told_a_few_times_a_second_at_most_and_not_of_what_is_quick() -> None:
    clock, told = Clock(), list[CommandProgress]()
    progress = Progress("load", told.append, clock)
    progress("Reading", 0, 1000)
    for tenth in range(1, 101):
        clock.now = 100.0 + tenth / 10.0
        progress("Reading", 10 * tenth, 1000)
        if clock.now - 100.0 < SOON - 0.05:
            assert told == []
    assert 10.0 / PAUSE * 0.6 <= len(told) <= 10.0 / PAUSE
    assert {(one.name, one.command, one.doing, one.total) for one in told} == {("progress", "load", "Reading", 1000)}
    for one in told:
        assert one.seconds_left == pytest.approx(10.0 - one.done / 100.0, abs=0.06)


def test_the_rest_is_reckoned_at_the_speed_of_what_is_being_done_now() -> None:
    clock, told = Clock(), list[CommandProgress]()
    progress = Progress("restore", told.append, clock)
    progress("Fetching", 0, 100)
    clock.now += 50.0
    progress("Fetching", 100, 100)
    progress("Checking", 0, 1000)  # quicker by far
    clock.now += 1.0
    progress("Checking", 500, 1000)
    assert [(one.doing, one.seconds_left) for one in told] == [("Fetching", 0.0), ("Checking", 1.0)]
    progress("Keeping", 0, 1000)
    clock.now += PAUSE / 2
    progress("Keeping", 1, 1000)
    clock.now += PAUSE
    progress("Waiting", 0, 1000)
    assert told[-1].seconds_left is None  # nothing can be said of it yet


# --- backups and uploads


def test_a_backup_that_is_fetched_tells_every_byte(tmp_path: Path) -> None:
    state = saved_states(3, field_size=200)[0]
    folder = write_state(tmp_path / "state", state)
    (tmp_path / "fetched").mkdir()
    manifest = manifest_of(folder, state.record, "2026-01-02T03:04:05.678Z")
    place = Remote((tmp_path / "place").as_uri())
    place.put(folder, manifest)
    told: Told = []
    with measured(lambda *how: told.append(how)):
        place.fetch(manifest.name, tmp_path / "fetched")
    assert told[0] == ("Fetching", 0, manifest.size)
    assert told[-1] == ("Fetching", manifest.size, manifest.size)


@pytest.mark.parametrize("way", ["restore", "import"])
def test_how_far_a_check_of_what_comes_in_has_come_is_told_to_the_browsers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    site = BackupSite(tmp_path / "state", tmp_path / "place")
    try:
        site.ask("initialize_system", field_size=2000)
        site.train(3)
        name = site.ask("backup_now")["name"]
        archive = site.http.get(f"/api/states/{site.worker.view().status.run}/archive").data
        for constant in ("SOON", "PAUSE"):
            monkeypatch.setattr(progress_events, constant, 0.0)
        events: list[dict[str, Any]] = []
        site.worker.listen(
            lambda event: events.append(dict(vars(event))) if isinstance(event, CommandProgress) else None
        )
        if way == "restore":
            assert site.ask("restore_backup", name=name)["ok"]
        else:
            (tmp_path / "state.zip").write_bytes(archive)
            with (tmp_path / "state.zip").open("rb") as stream:
                assert site.http.post("/api/states", data={"archive": (stream, "state.zip")}).status_code == 200
    finally:
        site.close()
    assert {event["command"] for event in events} == {way}
    doing = list(dict.fromkeys(event["doing"] for event in events))
    assert doing == (["Fetching", "Checking and keeping"] if way == "restore" else ["Checking and keeping"])
    checked = [event for event in events if event["doing"] == doing[-1]]
    assert checked[-1]["done"] == pytest.approx(checked[0]["total"], rel=0.1)
