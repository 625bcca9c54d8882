"""SaveStore: three files, one commit; at every instant the folder holds the previous save or the new one, complete."""

from __future__ import annotations

import contextlib
import copy
import itertools
import marshal
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from quadra.errors import FolderChangedError, SaveError
from quadra.model.history import checksum_of
from quadra.model.packing import packed
from quadra.storage.folder import StateFolder
from quadra.storage.layout import (
    FILES,
    METRICS,
    METRICS_COPY,
    RESTORE_POINTS,
    SAVES,
    SYSTEM,
    WEIGHTS,
)
from quadra.storage.pending_save import Receipt
from quadra.storage.save_record import peek
from quadra.storage.save_store import MOST_TAIL, Save, SaveStore
from quadra.storage.saved_state import SavedState, read, read_save
from tests.helpers.state_helpers import (
    RUN_A,
    SYNCS_AND_RENAMES,
    Crash,
    assert_same_state,
    commit,
    continued,
    fault,
    files_of,
    save_of,
)

FULL = OSError(28, "No space left on device")


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


# --- saves that are cut off, or fail


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
