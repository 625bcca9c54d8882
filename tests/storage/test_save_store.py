"""SaveStore: three files, one commit; at every instant the folder holds the previous save or the new one, complete."""

from __future__ import annotations

import contextlib
import copy
import itertools
import marshal
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from quadra.errors import BadFileError, FolderChangedError, SaveError
from quadra.model.history import checksum_of
from quadra.model.packing import packed
from quadra.storage.catalog import read_catalog
from quadra.storage.folder import StateFolder
from quadra.storage.layout import (
    FILES,
    METRICS,
    METRICS_COPY,
    RESTORE_POINTS,
    RING,
    RUNS,
    SAVES,
    SET_ASIDE,
    SYSTEM,
    WEIGHTS,
    StateLayout,
)
from quadra.storage.pending_save import Receipt
from quadra.storage.save_record import FORMAT_VERSION, peek
from quadra.storage.save_store import MOST_TAIL, Save, SaveStore
from quadra.storage.saved_state import SavedState, read, read_save
from tests.helpers.state_helpers import (
    RUN_A,
    RUN_B,
    SYNCS_AND_RENAMES,
    Crash,
    assert_same_state,
    commit,
    continued,
    fault,
    files_of,
    save_of,
    saved_states,
    sealed_weights,
    write_earlier,
    write_state,
)

FULL = OSError(28, "No space left on device")


@pytest.fixture(scope="module")
def saves() -> list[SavedState]:
    """Five saves of one run."""
    return saved_states(2, 3, 5, 6, 9)


@pytest.fixture(scope="module")
def other() -> SavedState:
    """The first save of another run."""
    return saved_states(4, run=RUN_B, seed=2)[0]


def stretched(state: SavedState, sequence: int, count: int, full: bool = False) -> Save:
    """A save of that number, with a history of so many rows."""
    save = save_of(state, full)
    rows = np.random.default_rng(1).normal(size=(count, 4)).astype(np.float32)
    kept = replace(save.record, sequence=sequence, iteration_count=count, history_sha256=checksum_of(rows))
    snapshot = copy.copy(save.snapshot)
    snapshot.plain = packed({**marshal.loads(save.snapshot.plain), "iteration_count": count})
    return replace(save, record=kept, snapshot=snapshot, rows=rows)


# --- what a save leaves


def test_a_first_save_leaves_the_three_files_and_a_copy_of_the_metrics(tmp_path: Path, saves: list[SavedState]) -> None:
    commit(tmp_path, saves[0], full=False)
    assert set(files_of(tmp_path)) == {*FILES, f"{SAVES}/{METRICS_COPY}"}
    assert (tmp_path / METRICS).read_bytes() == (tmp_path / SAVES / METRICS_COPY).read_bytes()
    assert_same_state(read(tmp_path), saves[0])


def test_a_full_save_leaves_three_files_that_agree(tmp_path: Path, saves: list[SavedState]) -> None:
    for state in saves:
        (receipt,) = commit(tmp_path, state)
        assert receipt.full
        assert_same_state(read(tmp_path), state)
        metrics, system = (pickle.loads((tmp_path / name).read_bytes()) for name in (METRICS, SYSTEM))
        weights = torch.load(tmp_path / WEIGHTS, weights_only=True)
        assert {held["iteration_count"] for held in (metrics, system, weights)} == {len(state.rows)}
        assert metrics["run"] == system["run"] == RUN_A
        assert len(metrics["loss_history"]) == len(state.rows)
        assert (tmp_path / METRICS).read_bytes() == (tmp_path / SAVES / METRICS_COPY).read_bytes()


def test_an_auto_save_changes_the_weights_alone_and_is_complete(tmp_path: Path, saves: list[SavedState]) -> None:
    commit(tmp_path, saves[0])
    before = files_of(tmp_path)
    for state in saves[1:]:
        (receipt,) = commit(tmp_path, state, full=False)
        assert not receipt.full
        assert receipt.record == replace(state.record, metrics_rows=2)
        assert read(tmp_path).record == receipt.record
        assert_same_state(read(tmp_path), state)
        after = files_of(tmp_path)
        assert {name for name, content in before.items() if after[name] != content} <= {WEIGHTS, f"{SAVES}/0.pth"}
        assert {name for name in (METRICS, SYSTEM) if after[name] != before[name]} == set()


def test_metrics_grow_in_place_and_only_by_their_new_rows(tmp_path: Path, saves: list[SavedState]) -> None:
    with StateFolder(tmp_path) as held:
        store = SaveStore(held)
        store.commit(stretched(saves[0], 1, 1000))
        paths = [tmp_path / METRICS, tmp_path / SAVES / METRICS_COPY]
        numbers = [path.stat().st_ino for path in paths]
        for sequence in range(2, 6):
            before = paths[0].read_bytes()
            store.commit(stretched(saves[0], sequence, 1000 + 200 * sequence, full=True))
            after = paths[0].read_bytes()
            assert sum(one != two for one, two in zip(before, after, strict=False)) == 1
            assert len(after) > len(before)
            assert paths[1].read_bytes() == after
        assert [path.stat().st_ino for path in paths] == numbers


def test_the_metrics_are_extended_every_few_hundred_rows_though_no_full_save_is_asked_for(
    tmp_path: Path, saves: list[SavedState]
) -> None:
    with StateFolder(tmp_path) as held:
        store = SaveStore(held)
        for sequence, count in enumerate(range(10, 2000, 50), start=1):
            record = store.commit(stretched(saves[0], sequence, count)).record
            known = pickle.loads((tmp_path / METRICS).read_bytes())["iteration_count"]
            assert count - known <= MOST_TAIL
            assert count - record.metrics_rows <= 2 * (MOST_TAIL + 50)
            assert read(tmp_path).rows.tobytes() == stretched(saves[0], sequence, count).rows.tobytes()


def test_weights_are_completed_by_metrics_of_before_their_last_extension_too(
    tmp_path: Path, saves: list[SavedState]
) -> None:
    """A copy of the folder that is made beside training may have caught the metrics at that time."""
    folder, copied = tmp_path / "state", tmp_path / "copied"
    copied.mkdir()
    with StateFolder(folder) as held:
        store = SaveStore(held)
        store.commit(stretched(saves[0], 1, 5))
        for sequence, count in enumerate(range(100, 2000, 100), start=2):
            (copied / METRICS).write_bytes((folder / METRICS).read_bytes())
            store.commit(stretched(saves[0], sequence, count, full=sequence % 5 == 0))
            (copied / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes())
            assert len(read(copied).rows) == count


def test_a_receipt_says_what_was_written(tmp_path: Path, saves: list[SavedState]) -> None:
    def sizes() -> dict[str, int]:
        return {name: len(content) for name, content in files_of(tmp_path).items()}

    with StateFolder(tmp_path) as held:
        first = SaveStore(held).commit(stretched(saves[0], 1, 1000))
    assert first.size == sizes()[WEIGHTS]
    assert first.written == sum(
        size for name, size in sizes().items() if not name.startswith(RESTORE_POINTS)
    )  # second names
    before = sizes()
    with continued(tmp_path) as store:
        auto = store.commit(stretched(saves[1], 2, 1050))
        assert auto.written == auto.size == sizes()[WEIGHTS]
        full = store.commit(stretched(saves[1], 3, 1100, full=True))
    grown = 2 * (sizes()[METRICS] - before[METRICS] + 1)
    assert full.written == sizes()[WEIGHTS] + sizes()[SYSTEM] + grown
    assert grown < sizes()[METRICS]


def test_a_thousand_iterations_saved_a_few_at_a_time_take_seventeen_kilobytes(
    tmp_path: Path, saves: list[SavedState]
) -> None:
    with StateFolder(tmp_path) as held:
        store = SaveStore(held)
        for count in range(10, 1001, 10):
            store.commit(stretched(saves[0], count // 10, count, full=True))
    assert (tmp_path / METRICS).stat().st_size <= 17_000


# --- the earlier saves


def test_the_last_ten_saves_are_kept_besides_the_newest(tmp_path: Path, saves: list[SavedState]) -> None:
    plain, newest = save_of(saves[0], full=False), 40
    with StateFolder(tmp_path) as held:
        store = SaveStore(held)
        for sequence in range(1, newest + 1):
            store.commit(replace(plain, record=replace(plain.record, sequence=sequence)))
        kept = {
            file.name: record.sequence for file in held.layout.earlier_saves() if (record := peek(file)) is not None
        }
    assert sorted(kept.values()) == list(range(newest - 10, newest))
    assert set(kept) == set(RING[:10])
    assert not list((tmp_path / SAVES).glob(".*"))


def test_every_earlier_save_is_a_whole_state(tmp_path: Path, saves: list[SavedState]) -> None:
    with StateFolder(tmp_path) as held:
        store = SaveStore(held)
        for number, state in enumerate(saves):
            store.commit(save_of(state, full=number % 2 == 0))
        kept = {peek(file): file for file in held.layout.earlier_saves()}
    assert [record.sequence for record in kept if record is not None] == [1, 2, 3, 4]
    for record, file in kept.items():
        assert record is not None
        assert_same_state(read_save(file, tmp_path), saves[record.sequence - 1])


def test_only_saves_that_a_later_one_has_followed_are_earlier_saves(tmp_path: Path, saves: list[SavedState]) -> None:
    for number in range(1, 60):
        folder = tmp_path / str(number)
        commit(folder, saves[0])
        with continued(folder) as store, contextlib.suppress(Crash), fault(number, Crash()) as cut:
            store.commit(save_of(saves[1], full=False))
        present = read(folder).record.sequence
        kept = [record.sequence for file in StateLayout(folder).earlier_saves() if (record := peek(file)) is not None]
        assert all(sequence <= present for sequence in kept)
        if not cut.happened:
            assert kept == [1]
            return
    pytest.fail("the save never succeeded")


# --- another run's files in the place of the first save


def test_a_new_runs_first_save_keeps_the_other_run_as_three_complete_files(
    tmp_path: Path, saves: list[SavedState], other: SavedState
) -> None:
    commit(tmp_path, *saves[:3], full=False)
    with StateFolder(tmp_path) as held:
        SaveStore(held).commit(save_of(other))
    assert_same_state(read(tmp_path), other)
    run = tmp_path / RUNS / RUN_A
    assert set(files_of(run)) == set(FILES)
    kept = read(run)
    assert_same_state(kept, saves[2])
    assert kept.damaged == ()
    assert StateLayout(tmp_path).earlier_saves() == []
    assert not (tmp_path / SET_ASIDE).exists()


@pytest.mark.parametrize("spoil", ["altered", "rubbish", "empty", "newer"])
def test_a_run_whose_newest_save_is_bad_is_kept_at_its_newest_intact_one_and_the_bad_file_set_aside(
    tmp_path: Path, saves: list[SavedState], other: SavedState, spoil: str
) -> None:
    commit(tmp_path, *saves[:3])
    content = (tmp_path / WEIGHTS).read_bytes()
    newer = replace(saves[2], record=replace(saves[2].record, format_version=FORMAT_VERSION + 1))
    bad = {
        "altered": content[:2000] + bytes([content[2000] ^ 1]) + content[2001:],
        "rubbish": b"rubbish",
        "empty": b"",
        "newer": sealed_weights(newer),
    }[spoil]
    (tmp_path / WEIGHTS).write_bytes(bad)
    with StateFolder(tmp_path) as held:
        SaveStore(held).commit(save_of(other))
    assert_same_state(read(tmp_path), other)
    assert_same_state(read(tmp_path / RUNS / RUN_A), saves[1])
    (aside,) = (tmp_path / SET_ASIDE).iterdir()
    assert files_of(aside) == {WEIGHTS: bad}


def test_a_run_of_which_several_saves_are_bad_is_kept_at_the_next_and_all_bad_files_set_aside(
    tmp_path: Path, saves: list[SavedState], other: SavedState
) -> None:
    commit(tmp_path, *saves)
    for file in (tmp_path / WEIGHTS, tmp_path / SAVES / "3.pth"):
        content = file.read_bytes()
        file.write_bytes(content[:2000] + bytes([content[2000] ^ 1]) + content[2001:])
    with StateFolder(tmp_path) as held:
        SaveStore(held).commit(save_of(other))
    assert_same_state(read(tmp_path / RUNS / RUN_A), saves[2])
    (aside,) = (tmp_path / SET_ASIDE).iterdir()
    assert set(files_of(aside)) == {WEIGHTS, "3.pth"}


@pytest.mark.parametrize("name", [METRICS, f"{SAVES}/{METRICS_COPY}", SYSTEM])
def test_a_run_with_one_other_bad_file_is_kept_whole_and_the_file_set_aside(
    tmp_path: Path, saves: list[SavedState], other: SavedState, name: str
) -> None:
    commit(tmp_path, *saves[:3])
    (tmp_path / name).write_bytes(b"rubbish")
    with StateFolder(tmp_path) as held:
        SaveStore(held).commit(save_of(other))
    assert_same_state(read(tmp_path / RUNS / RUN_A), saves[2])
    (aside,) = (tmp_path / SET_ASIDE).iterdir()
    assert list(files_of(aside).values()) == [b"rubbish"]


def test_files_of_which_nothing_can_be_read_are_set_aside_and_never_overwritten(
    tmp_path: Path, other: SavedState
) -> None:
    for name in FILES:
        (tmp_path / name).write_bytes(f"rubbish {name}".encode())
    with StateFolder(tmp_path) as held:
        SaveStore(held).commit(save_of(other))
    (aside,) = (tmp_path / SET_ASIDE).iterdir()
    assert files_of(aside) == {name: f"rubbish {name}".encode() for name in FILES}
    assert_same_state(read(tmp_path), other)


@pytest.mark.parametrize("name", [None, METRICS, f"{SAVES}/{METRICS_COPY}", SYSTEM])
def test_a_first_look_at_a_folder_of_the_same_run_sets_bad_files_aside_and_nothing_else(
    tmp_path: Path, saves: list[SavedState], name: str | None
) -> None:
    commit(tmp_path, *saves[:3])
    if name is not None:
        (tmp_path / name).write_bytes(b"rubbish")
    with StateFolder(tmp_path) as held:
        SaveStore(held).commit(save_of(saves[3]))
    assert_same_state(read(tmp_path), saves[3])
    aside = [files_of(place) for place in sorted((tmp_path / SET_ASIDE).glob("*"))]
    assert aside == ([] if name is None else [{Path(name).name: b"rubbish"}])
    assert StateLayout(tmp_path).run_folders() == []


def test_a_folder_of_the_earlier_generation_is_kept_as_it_is(tmp_path: Path, other: SavedState) -> None:
    original = files_of(write_earlier(tmp_path))
    with StateFolder(tmp_path) as held:
        SaveStore(held).commit(save_of(other))
    (run,) = (tmp_path / RUNS).iterdir()
    assert files_of(run) == original


def test_a_run_that_is_kept_already_is_not_kept_again(
    tmp_path: Path, saves: list[SavedState], other: SavedState
) -> None:
    commit(tmp_path, saves[0])
    run = write_state(tmp_path / RUNS / RUN_A, saves[1])
    before = files_of(run)
    with StateFolder(tmp_path) as held:
        SaveStore(held).commit(save_of(other))
    assert files_of(run) == before
    assert not (tmp_path / SET_ASIDE).exists()


# --- saves that are cut off, or fail


class Log:
    """What is done to the files of a folder, in order."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.lines: list[str] = []
        self._folder = folder
        for name in ("fsync", "fdatasync"):
            patch.setattr(os, name, self._synced(getattr(os, name)))
        for name in ("replace", "link"):
            patch.setattr(os, name, self._named(name, getattr(os, name)))

    def _synced(self, sync: Callable[[int], None]) -> Callable[[int], None]:
        def logged(descriptor: int) -> None:
            self.lines.append(f"sync {self._name_of(descriptor)}")
            sync(descriptor)

        return logged

    def _named(self, name: str, function: Callable[..., None]) -> Callable[..., None]:
        def logged(source: Any, target: Any, **options: Any) -> None:
            self.lines.append(f"{name} {Path(source).name} {Path(target).name}")
            function(source, target, **options)

        return logged

    def _name_of(self, descriptor: int) -> str:
        """A name that needs no system of our own: the entry with the same number of device and file."""
        wanted = os.fstat(descriptor)
        for path in (self._folder, *sorted(self._folder.rglob("*"))):
            if os.path.samestat(path.stat(), wanted):
                return "folder" if path == self._folder else path.name
        return "something else"


KEEPING = [
    "sync .oscillator_weights.pth.tmp",
    "link oscillator_weights.pth .{slot}.tmp",
    "replace .{slot}.tmp {slot}",
    "replace .oscillator_weights.pth.tmp oscillator_weights.pth",
    "sync folder",
]


def calls_of_a_save(folder: Path, state: SavedState, full: bool) -> list[str]:
    with continued(folder) as store, pytest.MonkeyPatch.context() as patch:
        log = Log(folder, patch)
        store.commit(save_of(state, full))
    return log.lines


def test_an_auto_save_syncs_the_weights_keeps_the_last_one_renames_and_syncs_the_folder(
    tmp_path: Path, saves: list[SavedState]
) -> None:
    commit(tmp_path, saves[0])
    for number in (1, 2, 3):
        slot = RING[number - 1]
        assert calls_of_a_save(tmp_path, saves[number], full=False) == [line.format(slot=slot) for line in KEEPING]


def test_a_full_save_finishes_one_copy_of_the_metrics_before_it_touches_the_other_then_commits(
    tmp_path: Path, saves: list[SavedState]
) -> None:
    commit(tmp_path, saves[0])
    assert calls_of_a_save(tmp_path, saves[1], full=True) == [
        "sync metrics_history.pkl",  # the new block and its ending
        "sync metrics_history.pkl",  # the one byte
        "sync history.pkl",
        "sync history.pkl",
        *(line.format(slot="0.pth") for line in KEEPING),
        "sync .system_state.pkl.tmp",
        "replace .system_state.pkl.tmp system_state.pkl",
        "sync folder",
        "sync saves",
    ]


@pytest.mark.parametrize("full", [True, False], ids=["full", "auto"])
def test_a_crash_at_any_operation_leaves_the_previous_or_the_new_state(
    tmp_path: Path, saves: list[SavedState], full: bool
) -> None:
    seen = []
    for number in itertools.count(1):
        folder = tmp_path / str(number)
        commit(folder, saves[1])
        with continued(folder) as store, contextlib.suppress(Crash), fault(number, Crash()) as cut:
            store.commit(save_of(saves[2], full))
        state = read(folder)
        assert state.damaged == ()
        seen.append(state.record.sequence)
        expected = saves[1] if state.record.sequence == 2 else saves[2]
        assert_same_state(state, expected)
        if not cut.happened:
            break
    assert seen == sorted(seen)
    assert set(seen) == {2, 3}


@pytest.mark.all  # some places of it are drawn in tests/faults
def test_a_crash_anywhere_in_a_new_runs_first_save_leaves_the_other_run_whole(
    tmp_path: Path, saves: list[SavedState], other: SavedState
) -> None:
    for number in itertools.count(1):
        folder = tmp_path / str(number)
        commit(folder, saves[1], saves[2], full=False)
        with StateFolder(folder) as held, contextlib.suppress(Crash), fault(number, Crash()) as cut:
            SaveStore(held).commit(save_of(other))
        with StateFolder(folder):
            pass
        found: dict[tuple[str, int], SavedState] = {}
        for saved in read_catalog(StateLayout(folder)).copies:
            with contextlib.suppress(BadFileError):
                state = read_save(saved.file, saved.folder)
                found.setdefault((saved.id, saved.sequence), state)
        assert_same_state(found[RUN_A, 3], saves[2])
        if (RUN_B, 1) in found:
            assert_same_state(found[RUN_B, 1], other)
        if not cut.happened:
            break
    assert number > 15
    assert (RUN_B, 1) in found


@pytest.mark.rotates(1)
@pytest.mark.parametrize("full", [True, False], ids=["full", "auto"])
def test_a_save_that_fails_at_any_operation_says_so_leaves_a_whole_state_and_the_next_one_works(
    tmp_path: Path, saves: list[SavedState], full: bool
) -> None:
    for number in itertools.count(1):
        folder = tmp_path / str(number)
        commit(folder, saves[1])
        with continued(folder) as store:
            with fault(number, FULL, (*SYNCS_AND_RENAMES, "link", "ftruncate")) as failing:
                with contextlib.suppress(OSError):
                    store.commit(save_of(saves[2], full))
                    assert not failing.happened
            state = read(folder)
            assert_same_state(state, saves[1] if state.record.sequence == 2 else saves[2])
            store.commit(save_of(saves[3]))
            state = read(folder)
            assert_same_state(state, saves[3])
            assert state.damaged == ()
        assert not [name for name in files_of(folder) if ".tmp" in name]
        if not failing.happened:
            break
    assert number > (12 if full else 5)


def test_a_failed_append_is_not_appended_to(tmp_path: Path, saves: list[SavedState]) -> None:
    commit(tmp_path, saves[0])
    with continued(tmp_path) as store:
        with fault(1, FULL, ("ftruncate",)), pytest.raises(OSError, match="No space left"):
            store.commit(save_of(saves[1]))
        assert_same_state(read(tmp_path), saves[0])
        store.commit(save_of(saves[2]))
    state = read(tmp_path)
    assert_same_state(state, saves[2])
    assert state.damaged == ()


# --- what is never saved, and what is never overwritten


def exchange(folder: Path, backup: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(backup, folder)


def spoiled(state: SavedState, change: Callable[[Any], object]) -> Save:
    save = save_of(state)
    change(save)
    return save


@pytest.mark.parametrize(
    "change",
    [
        lambda save: save.snapshot.flat.__setitem__(5, np.nan),
        lambda save: save.snapshot.flat.__setitem__(-1, np.inf),
        lambda save: save.snapshot.rest["neuroplasticity"].update(mean_reward=float("nan")),
        lambda save: save.snapshot.rest["q_table"].update({"0.5": {"update_field": float("inf")}}),
        lambda save: save.rows.__setitem__((-1, 2), np.nan),
    ],
    ids=["first", "last", "mean reward", "Q-table", "history"],
)
def test_a_state_that_is_not_finite_is_never_saved(
    tmp_path: Path, saves: list[SavedState], change: Callable[[Any], object]
) -> None:
    commit(tmp_path, saves[0])
    before = files_of(tmp_path)
    with continued(tmp_path) as store, pytest.raises(SaveError, match="not finite"):
        store.commit(spoiled(replace(saves[1], rows=saves[1].rows.copy()), change))
    assert files_of(tmp_path) == before


def test_rows_that_are_marked_as_lost_are_saved(tmp_path: Path, saves: list[SavedState]) -> None:
    save = save_of(replace(saves[1], rows=saves[1].rows.copy()))
    save.rows[1] = np.nan
    with StateFolder(tmp_path) as held:
        assert isinstance(SaveStore(held).commit(save), Receipt)


@pytest.mark.parametrize(
    "how",
    [
        lambda folder, backup: shutil.copy(backup / WEIGHTS, folder / WEIGHTS),
        lambda folder, _: (folder / WEIGHTS).unlink(),
        lambda folder, _: (folder / WEIGHTS).write_bytes(b"rubbish"),
        lambda folder, _: [path.unlink() for path in folder.rglob("*") if path.is_file()],
        lambda folder, _: shutil.rmtree(folder),
        lambda folder, backup: exchange(folder, backup),
    ],
    ids=["an older save", "removed", "rubbish", "emptied", "the folder removed", "the folder exchanged"],
)
def test_what_somebody_else_has_changed_is_not_overwritten(
    tmp_path: Path, saves: list[SavedState], how: Callable[[Path, Path], object]
) -> None:
    folder, backup = tmp_path / "state", tmp_path / "backup"
    with StateFolder(folder) as held:
        store = SaveStore(held)
        store.commit(save_of(saves[0]))
        shutil.copytree(folder, backup)
        store.commit(save_of(saves[1]))
        how(folder, backup)
        before = files_of(folder) if folder.exists() else None
        for state in saves[2:4]:
            with pytest.raises(FolderChangedError):
                store.commit(save_of(state))
        assert (files_of(folder) if folder.exists() else None) == before
