"""Loading: what the Load button does, in four steps that stand here one below the other: choose, read, adopt, tidy.

A run that cannot be read is given up for the newest one that can. A restore point or a named state is loaded as it is, or not
at all, and goes on as a run of its own.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, replace
from pathlib import Path

from quadra.byte_progress import expect
from quadra.config import TrainingConfig
from quadra.errors import BadFileError, FolderError, LoadError, SaveError
from quadra.model.engine import Engine
from quadra.states.listing import branch_of
from quadra.states.load_order import (
    LoadReport,
    bytes_of_load,
    damaged_saves,
    first_loadable,
    iterations_reached,
    load_attempts,
    load_failure,
    requested_state,
    set_aside_damaged,
)
from quadra.states.manage import StateManager
from quadra.states.restore import read_any_format, restore
from quadra.storage.catalog import Catalog, SavedSummary, read_catalog, summarize
from quadra.storage.layout import ID, RUNS, WEIGHTS
from quadra.storage.save_record import SaveRecord
from quadra.storage.saved_state import SavedState
from quadra.training.run import Run
from quadra.training.saving import Saving


@dataclass(frozen=True)
class Choice:
    """Which run shall be loaded."""

    asked: SavedSummary  # as it was listed first
    first: SavedSummary | None  # as it is listed now: what is tried first
    catalog: Catalog  # the saved states as they are now
    is_default: bool  # whether nobody has named one
    saved_first: SaveRecord | None  # of the run that was in memory, where it had unsaved iterations


@dataclass(frozen=True)
class RestoredState:
    """A saved state that was read and found whole, and the engine that continues it."""

    summary: SavedSummary
    saved: SavedState
    engine: Engine
    warnings: tuple[str, ...]
    failures: tuple[tuple[Path, BadFileError], ...] = ()  # of the states that could not be read before it


class Loader:
    """Replaces the run in memory by a saved one; where that fails it stays as it is."""

    def __init__(self, saving: Saving, saved_states: StateManager, defaults: TrainingConfig) -> None:
        self._saving, self._saved_states, self._defaults = saving, saved_states, defaults
        self._folder = saving.folder

    def load(self, source: str | None = None, newest: bool = False, discard_unsaved: bool = False) -> LoadReport:
        """Loads a saved state; `TrainingState.load` says more."""
        if discard_unsaved or not self._saving.is_unsaved:
            self._saving.finish_pending()
            self._folder.reacquire()  # where another one was put in its place, and nothing of ours would be lost
        if source is not None and not ID.fullmatch(source):
            return self._load_as_new_run(source, discard_unsaved)
        choice = self._choose(source, newest, discard_unsaved)
        restored = self._read(choice)
        warnings = self._adopt(restored)
        return self._tidy(choice, restored, warnings)

    def _choose(self, source: str | None, newest: bool, discard_unsaved: bool) -> Choice:
        """Returns what is to be loaded, once the run in memory is saved."""
        asked = requested_state(read_catalog(self._folder.layout), source, newest)
        saved_first = self._save_what_is_unsaved(discard_unsaved)
        catalog = read_catalog(self._folder.layout)  # anew: that save may have moved files to another place
        first = next((state for state in catalog.states if state.id == asked.id), catalog.default)
        return Choice(asked, first, catalog, source is None, saved_first)

    def _read(self, choice: Choice) -> RestoredState:
        """Returns the first state in the load order that can be read. Raises LoadError where none can."""
        failures = list(choice.catalog.unreadable)
        attempts = load_attempts(choice.catalog, choice.first, self._folder.layout)
        found = first_loadable(attempts, failures, self._restore)
        if found is None:
            self._saving.forget_folder()
            raise LoadError(" ".join(load_failure(file, error) for file, error in dict(failures).items()))
        return replace(found[1], failures=tuple(failures))

    def _adopt(self, restored: RestoredState) -> tuple[str, ...]:
        """Makes the restored run the one in memory; returns what a person should know."""
        run = Run.restored(restored.saved, restored.engine)
        self._saving.hold(run, restored.saved.record)
        run.alert_rules, remarks = self._saved_states.alert_rules.load(run.id)
        run.events = run.events.with_load(run.iteration_count)
        return (*restored.warnings, *remarks)

    def _tidy(self, choice: Choice, restored: RestoredState, warnings: tuple[str, ...]) -> LoadReport:
        """Sets aside what is damaged, and makes the run the present one on disk."""
        summary, saved, catalog = restored.summary, restored.saved, choice.catalog
        failures = dict([*restored.failures, *damaged_saves(catalog)])
        gave_up = tuple(set_aside_damaged(self._folder, file, error) for file, error in failures.items())
        warnings += self._make_present(restored)
        is_unlisted = choice.is_default and self._folder.path / WEIGHTS in dict(catalog.unreadable)
        return LoadReport(
            record=saved.record,
            warnings=warnings,
            gave_up=gave_up,
            newer=catalog.without(list(failures)).newer_than(summary),
            asked=choice.asked,
            fell_back=summary is not choice.first or summary.is_earlier_save or is_unlisted,
            reached=iterations_reached(choice.asked, summary, saved.logs),
            saved_first=choice.saved_first,
        )

    def _load_as_new_run(self, state_id: str, discard_unsaved: bool) -> LoadReport:
        """Loads a restore point, a named state or the like: it goes on as a run of its own, and no other run is changed."""
        listed = self._saved_states.listing.find(state_id)
        summary = summarize(listed.file, listed.folder)
        original = self._restore(summary, goes_back=True)  # before a save, which may supersede it
        saved_first = self._save_what_is_unsaved(discard_unsaved)
        branch = branch_of(read_catalog(self._folder.layout), listed)
        if branch is not None:
            return replace(self.load(branch, discard_unsaved=discard_unsaved), saved_first=saved_first)
        parent = original.saved.record.state
        record = replace(original.saved.record, run=secrets.token_hex(8), sequence=0, parent=parent)
        restored = replace(original, saved=replace(original.saved, record=record, logs={}, damaged=()))
        run = Run.restored(restored.saved, restored.engine)
        self._saving.hold(run, record)
        warnings = (*restored.warnings, *self._make_present(restored))
        run.alert_rules, remarks = self._saved_states.alert_rules.load(run.id, state_id, listed.run)
        return LoadReport(
            record=record,
            warnings=(*warnings, *remarks),
            gave_up=(),
            newer=None,
            asked=summary,
            fell_back=False,
            reached=record.iteration_count,
            saved_first=saved_first,
            went_on_from=parent,
        )

    def _restore(self, summary: SavedSummary, salvage: bool = False, goes_back: bool = False) -> RestoredState:
        """Returns a saved state and its engine. Raises a BadFileError."""
        expect("Reading and checking", bytes_of_load(summary, self._folder.layout, goes_back))
        saved = read_any_format(summary.file, summary.folder, self._defaults, salvage)
        return RestoredState(summary, saved, *restore(saved, self._defaults, self._folder.path))

    def _save_what_is_unsaved(self, discard_unsaved: bool) -> SaveRecord | None:
        return None if discard_unsaved or not self._saving.is_unsaved else self._saving.save().record

    def _make_present(self, restored: RestoredState) -> tuple[str, ...]:
        """Makes the run in memory the present one on disk; a failure is a warning only, since the load went well."""
        summary, saved = restored.summary, restored.saved
        try:
            target = self._folder.set_aside((error.path for error in saved.damaged), leave=True)
            remarks = () if target is None else (f"The damaged files were set aside in {target}.",)
            own = (
                summary.folder == self._folder.path and summary.id == saved.record.run
            )  # not of the earlier generation
            is_present = own and (summary.file.name == WEIGHTS or not os.path.lexists(self._folder.path / WEIGHTS))
            self._saving.make_present(saved if is_present else None)
        except (SaveError, FolderError, OSError) as error:
            return (f"The state was loaded, but could not be made the present one on disk: {error}",)
        try:
            self._folder.remove_run(saved.record.run)
        except OSError as error:
            return (*remarks, f"An older copy of this run in {RUNS}/ could not be removed: {error}")
        return remarks
