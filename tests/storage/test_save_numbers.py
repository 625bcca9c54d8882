"""Save numbers: which save is newer hangs on a counter in the folder, whatever the clock said when it was made."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quadra import TrainingState
from quadra.errors import SaveError
from quadra.states.listing import StateListing
from quadra.states.transfer import mark_imported, verify_import
from quadra.storage.catalog import read_catalog
from quadra.storage.folder import StateFolder
from quadra.storage.layout import FILES, RESTORE_POINTS, RUNS, SAVES, WEIGHTS, StateLayout
from quadra.storage.save_numbers import SaveNumbers
from quadra.storage.save_record import LARGEST_NUMBER, peek, resealed
from quadra.training import saving
from tests.helpers.state_helpers import new_run, opened, train, write_earlier

YEARS = st.floats(-30.0, 30.0)


class Clock:
    """Stands for `datetime` where the time of a save is asked for; it can be set to any day."""

    ahead = timedelta()

    def now(self, zone: tzinfo) -> datetime:
        return datetime(2026, 6, 1, tzinfo=zone) + self.ahead


@contextmanager
def clock() -> Iterator[Clock]:
    with pytest.MonkeyPatch.context() as patch:
        stands = Clock()
        patch.setattr(saving, "datetime", stands)
        yield stands


def change_record(file: Path, **changes: Any) -> None:
    """Seal a weights file with another record."""
    record = peek(file)
    assert record is not None
    file.write_bytes(b"".join(map(bytes, resealed(file.read_bytes(), replace(record, **changes)))))


def without_numbers(folder: Path) -> None:
    """The folder as a version that did not number saves has left it."""
    for file in folder.rglob("*.pth"):
        change_record(file, save_number=0)


def import_from(elsewhere: Path, state: TrainingState) -> str:
    """Import the present state of another folder; returns its id."""
    with TemporaryDirectory() as temporary:
        arrived = Path(temporary)
        for name in FILES:
            shutil.copy(elsewhere / name, arrived / name)
        mark_imported(arrived, verify_import(arrived))
        return state.saved_states.import_folder(arrived, "")


def test_a_run_that_was_saved_while_the_clock_was_years_ahead_is_older_than_the_one_that_came_after_it(
    tmp_path: Path,
) -> None:
    with clock() as at:
        with opened(tmp_path) as state:
            at.ahead = timedelta(days=1)
            new_run(state, 5, "stopped")
            at.ahead = -timedelta(days=3650)
            later = new_run(state, 8)
        with opened(tmp_path) as state:
            report = state.load(newest=True)
    assert (report.record.run, report.record.iteration_count) == (later, 8)
    assert report.newer is None


# One thing that is done in a folder, and how many years the clock is wrong meanwhile.
ACTIONS = st.tuples(st.sampled_from(["new run", "train on", "load oldest", "import", "open anew"]), YEARS)


@settings(max_examples=8)
@given(st.lists(ACTIONS, min_size=3, max_size=6))
def test_the_newest_is_what_was_saved_last_wherever_the_clock_jumps(actions: list[tuple[str, float]]) -> None:
    with TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as root, clock() as at:
        folder, elsewhere = Path(root) / "here", Path(root) / "elsewhere"
        with opened(elsewhere, seed=9) as state:
            new_run(state, 2, "stopped")
        state = opened(folder)
        saved = [new_run(state, 1, "stopped")]  # ids in the order in which they were saved last
        try:
            for action, years in actions:
                at.ahead = timedelta(days=365 * years)
                state = carry_out(action, state, elsewhere, saved)
                runs = [name for name in saved if not name.startswith("slot-")]
                assert [found.id for found in state.catalog().states] == runs[::-1]
                listed = [entry.id for entry in StateListing(state.folder.layout).entries() if "@" not in entry.id]
                assert listed == saved[::-1]
        finally:
            state.close()
        with opened(folder) as state:
            assert state.load(newest=True).record.run == [name for name in saved if not name.startswith("slot-")][-1]


def carry_out(action: str, state: TrainingState, elsewhere: Path, saved: list[str]) -> TrainingState:
    """Do it, and note what was saved last; returns the state, which may be another one."""
    if action == "open anew":
        folder = state.folder.path
        state.close()
        state = opened(folder)
        state.load(newest=True)
        named = state.run.id
    elif action == "import":
        named = import_from(elsewhere, state)
    elif action == "new run":
        named = new_run(state, 1, "stopped")
    elif action == "load oldest":
        named = next(name for name in saved if not name.startswith("slot-"))
        state.load(named)
    else:
        train(state, 1)
        state.save()
        named = state.run.id
    saved[:] = [*(name for name in saved if name != named), named]
    return state


def test_saves_of_before_there_were_numbers_come_before_all_others_by_date(tmp_path: Path) -> None:
    with clock() as at, opened(tmp_path) as state:
        runs = []
        for days in (20, 40, 30):
            at.ahead = timedelta(days=days)
            runs.append(new_run(state, 2, "stopped"))
    without_numbers(tmp_path)
    early, late, between = runs
    assert [found.id for found in read_catalog(StateLayout(tmp_path)).states] == [late, between, early]
    with clock() as at, opened(tmp_path) as state:
        at.ahead = -timedelta(days=900)
        numbered = new_run(state, 2, "stopped")
        assert [found.id for found in state.catalog().states] == [numbered, late, between, early]
        assert state.catalog().states[0].save_number == 1


@pytest.mark.parametrize("where", [SAVES, RUNS, "slots", RESTORE_POINTS])
def test_the_next_number_follows_the_largest_one_that_is_left_anywhere_in_the_folder(
    tmp_path: Path, where: str
) -> None:
    with opened(tmp_path) as state:
        new_run(state, 120)
        state.save_slot("kept")
        train(state, 1)
        state.save()
        new_run(state, 1, "stopped")
        train(state, 1)
        state.save()
    files = [file for file in tmp_path.rglob("*.pth") if file.relative_to(tmp_path).parts[0] == where]
    assert files
    for file in set(tmp_path.rglob("*.pth")) - set(files):
        file.unlink()
    for file in files:
        change_record(file, save_number=1000)
    with StateFolder(tmp_path) as folder:
        assert [folder.save_numbers.next(), folder.save_numbers.next()] == [1001, 1002]


def test_a_state_of_the_earlier_generation_that_is_imported_gets_a_number_too(tmp_path: Path) -> None:
    write_earlier(tmp_path / "elsewhere")
    with opened(tmp_path / "here") as state:
        before = new_run(state, 1, "stopped")
        slot = import_from(tmp_path / "elsewhere", state)
        after = new_run(state, 1, "stopped")
        assert [entry.id for entry in state.saved_states.listing.entries()] == [after, slot, before]
        assert state.load(slot).record.iteration_count == 4
    with StateFolder(tmp_path / "here") as folder:
        numbers = [entry.save_number for entry in StateListing(folder.layout).entries()]
        assert folder.save_numbers.next() == max(numbers) + 1


def test_a_state_that_somebody_put_there_meanwhile_is_followed_by_the_next_load(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        earlier = new_run(state, 1, "stopped")
        own = new_run(state, 2, "stopped")
        change_record(tmp_path / RUNS / earlier / WEIGHTS, save_number=500)
        state.load(own)
        assert [found.save_number for found in state.catalog().states] == [501, 500]


def test_a_forged_number_leaves_saves_possible(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        new_run(state, 1, "stopped")
    change_record(tmp_path / WEIGHTS, save_number=LARGEST_NUMBER)
    with opened(tmp_path) as state:
        newer = new_run(state, 2, "stopped")
        assert state.catalog().states[0].id == newer
        assert state.catalog().states[0].save_number == LARGEST_NUMBER
    change_record(tmp_path / WEIGHTS, save_number=LARGEST_NUMBER + 1)
    assert [file for file, _ in read_catalog(StateLayout(tmp_path)).unreadable] == [tmp_path / WEIGHTS]


def test_where_the_folder_cannot_be_searched_the_save_fails_and_the_next_one_searches_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = SaveNumbers(StateLayout(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(StateLayout, "earlier_saves", raise_io_error)
        with pytest.raises(SaveError, match="cannot be listed: Input/output error"):
            numbers.next()
    assert numbers.next() == 1


def raise_io_error(_: StateLayout) -> None:
    raise OSError(errno.EIO, "Input/output error")
