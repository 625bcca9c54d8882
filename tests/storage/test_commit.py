"""The commit: what is synced and renamed, in which order, and which earlier saves are kept."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quadra.storage.commit import FEWEST_KEPT, MOST_KEPT, RING_BYTES, ring_index
from quadra.storage.folder import StateFolder
from quadra.storage.layout import (
    RING,
    SAVES,
    StateLayout,
)
from quadra.storage.save_record import peek
from quadra.storage.save_store import SaveStore
from quadra.storage.saved_state import SavedState, read
from tests.helpers.state_helpers import (
    Crash,
    commit,
    continued,
    fault,
    save_of,
)


@pytest.mark.parametrize(("size", "kept"), [(1, MOST_KEPT), (RING_BYTES // 4, 4), (RING_BYTES, FEWEST_KEPT)])
def test_as_many_earlier_saves_are_kept_as_fit_but_never_less_than_two(size: int, kept: int) -> None:
    slots = [ring_index(sequence, size) for sequence in range(1, 3 * kept + 1)]
    assert slots == list(range(kept)) * 3
    assert max(slots) < len(RING)


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
