"""TrainingState: one run in memory (engine, history, identity) and the folder in which its saved states live."""

from __future__ import annotations

import logging
import os
import secrets
from dataclasses import replace
from typing import Any

from quadra.byte_progress import expect
from quadra.config import TrainingConfig
from quadra.errors import (
    FolderError,
    LoadError,
    RefusedError,
    SaveError,
    StaleRulesError,
)
from quadra.model.engine import Engine
from quadra.model.history import History
from quadra.states.alert_rules import Rule
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
from quadra.states.own_texts import corpus_path, open_corpus
from quadra.states.restore import complete_config, read_any_format, restore
from quadra.storage.catalog import SavedSummary, summarize
from quadra.storage.files.durable import read_file
from quadra.storage.folder import StateFolder
from quadra.storage.labels import checked_name
from quadra.storage.layout import ID, RUNS, WEIGHTS
from quadra.storage.pending_save import Receipt
from quadra.storage.restore_points import Retention
from quadra.storage.save_record import SaveRecord
from quadra.storage.saved_state import SavedState, files_of, read
from quadra.storage.writer_process import WriterProcess
from quadra.training.saving import SavedRun

log = logging.getLogger("quadra")


class TrainingState(SavedRun):
    """A run and its state directory. Holds the directory until `close`; not for use from two threads at once.

    Raises FolderUnusableError or FolderLockedError when the directory cannot be had.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | StateFolder,
        config: TrainingConfig | None = None,
        writer: WriterProcess | None = None,
        retention: Retention | None = None,
    ) -> None:
        own = folder if isinstance(folder, StateFolder) else StateFolder(folder)
        super().__init__(own, config or TrainingConfig(), writer, retention)
        self.saved_states = StateManager(self.folder, self._store.points)

    @property
    def shelf(self) -> StateManager:
        """The former name of `saved_states`, for scripts."""
        return self.saved_states

    def close(self) -> None:
        """Save what is unsaved, then release the folder."""
        if not self.folder.is_held:
            return
        self._settle()
        if self.is_unsaved:
            self.save_state()
        self.release()

    def release(self) -> None:
        """Release the folder without saving; a write that the disk has not finished holds it until it has."""
        if self._engine is not None:
            self._engine.corpus.close()
        self._store.close(self._pending, self.folder.close)

    def __enter__(self) -> TrainingState:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def initialize(
        self, field_size: int | None = None, seed: int | None = None, corpus: str | None = None
    ) -> SaveRecord | None:
        """Begin a new run in memory; what is unsaved of the present one is saved first, saved states stay.

        `corpus`: as `quadra.corpora.chosen_path` takes it.

        Returns the record of that save, if there was one. Raises ConfigurationError, CorpusError or SaveError; the
        present run then stays as it is.
        """
        config, place = self._defaults, self.folder.path
        path = corpus_path(corpus, config.corpus, place)
        config = complete_config(
            replace(
                config,
                field_size=config.field_size if field_size is None else field_size,
                seed=config.seed if seed is None else seed,
                corpus=path,
            )
        )
        engine = Engine(config, open_corpus(path, place))
        saved_first = self._save_what_is_unsaved()
        self._forget()
        self._hold(engine)
        self.run = secrets.token_hex(8)
        return saved_first

    def step(self) -> dict[str, Any]:
        """Train one iteration; returns its metrics. Raises IntegrityError after three void ones, CorpusError.

        On a field so large that one copy of it must serve both, a save that is under way is waited for (SaveTimeoutError).
        """
        if self.must_wait_for_save:
            self.wait_for_save()
        strikes = self.engine.neuroplasticity.integrity_strikes
        try:
            result = self.engine.step()
        finally:
            if self.engine.neuroplasticity.integrity_strikes > strikes:
                self.happened = self.happened.and_struck(self.iteration_count + 1)
        self.history.append(result.loss, result.reward, result.variance, result.mean)
        self.last_result = result
        if result.iteration >= self.activity.due:
            self.activity.add(self.engine.activity_sample())
        self._ended = "cut off"
        return result.as_dict()

    def load_state(self, source: str | None = None) -> bool:
        """Load a saved state. False, with the reason logged, when there is none or none could be loaded."""
        try:
            report = self.load(source)
        except (LoadError, SaveError) as error:
            log.error("Failed to load state: %s", error)  # noqa: TRY400  # the reason, not a traceback, is for people
            return False
        for text in report.remarks():
            log.warning(text)
        return True

    def load(self, source: str | None = None, newest: bool = False, discard_unsaved: bool = False) -> LoadReport:
        """Replace the run in memory by a saved one; what is unsaved is saved first, unless it is to be discarded.

        `source`: id of a saved state as `states.listing` has them, default: the contract's default, or the newest of all
        where `newest` is true. A run that cannot be read is given up for the newest one that can; raises a LoadError when
        there is none, SaveError when what is unsaved could not be saved. The run in memory then stays as it is.
        """
        if discard_unsaved or not self.is_unsaved:
            self._settle()
            self.folder.reacquire()  # where another one was put in its place, and nothing of ours would be lost
        if source is not None and not ID.fullmatch(source):
            return self._go_back(source, discard_unsaved)
        asked = requested_state(self.catalog(), source, newest)
        saved_first = None if discard_unsaved else self._save_what_is_unsaved()
        catalog = self.catalog()  # anew: that save may have moved files to another place
        first = next((state for state in catalog.states if state.id == asked.id), catalog.default)
        failures = list(catalog.unreadable)
        found = first_loadable(load_attempts(catalog, first, self.folder.layout), failures, self._revived)
        if found is None:
            self._store.forget()
            raise LoadError(" ".join(load_failure(file, error) for file, error in dict(failures).items()))
        candidate, (state, engine, warnings) = found
        self._adopt(state, engine)
        self.rules, told = self.saved_states.alert_rules.load(state.record.run)
        warnings += told
        self.happened = self.happened.and_loaded(self.iteration_count)
        failures += damaged_saves(catalog)
        gave_up = tuple(set_aside_damaged(self.folder, file, error) for file, error in dict(failures).items())
        warnings += self._keep_as_loaded(candidate, state)
        newer = catalog.without([file for file, _ in failures]).newer_than(candidate)
        unlisted = source is None and self.folder.path / WEIGHTS in dict(catalog.unreadable)
        fell_back = candidate is not first or candidate.is_earlier_save or unlisted
        most = iterations_reached(asked, candidate, state.logs)
        return LoadReport(state.record, warnings, gave_up, newer, asked, fell_back, most, saved_first)

    def _go_back(self, source: str, discard_unsaved: bool) -> LoadReport:
        """Load a restore point, a named state or the like: it goes on as a run of its own, and no other run is changed."""
        entry = self.saved_states.listing.find(source)
        summary = summarize(entry.file, entry.folder)
        state, engine, warnings = self._revived(
            summary, salvage=False, goes_back=True
        )  # before a save, which may supersede it
        saved_first = None if discard_unsaved else self._save_what_is_unsaved()
        branch = branch_of(self.catalog(), entry)
        if branch is not None:
            return replace(self.load(branch, discard_unsaved=discard_unsaved), saved_first=saved_first)
        came_from = state.record.state
        fresh = replace(state.record, run=secrets.token_hex(8), sequence=0, parent=came_from)
        state = replace(state, record=fresh, logs={}, damaged=())
        self._adopt(state, engine)
        warnings += self._keep_as_loaded(summary, state)
        self.rules, told = self.saved_states.alert_rules.load(fresh.run, source, entry.run)
        warnings += told
        count = state.record.iteration_count
        return LoadReport(state.record, warnings, (), None, summary, False, count, saved_first, came_from)

    def save_slot(self, name: str, overwrite: bool = False) -> str:
        """Save, and keep the state as it is now under a name; returns its id.

        Raises SaveError, ConfigurationError, RefusedError or NameTakenError.
        """
        checked_name(name)
        self.engine  # noqa: B018  # raises where there is no run
        self.save()
        return self.keep_as_slot(name, overwrite)

    def keep_as_slot(self, name: str, overwrite: bool = False) -> str:
        """Keep what has just been saved in full under a name; returns its id. Raises what `save_slot` raises, and OSError."""
        place = self.folder.path
        return self.saved_states.add_slot(name, files_of(read(place), read_file(place / WEIGHTS)), overwrite)

    def go_on_as_new_run(self) -> Receipt:
        """Where the folder was exchanged: hold what now stands at its path, and save the run in memory there as a new one,
        with its own text and its alert rules.

        Raises SaveError, FolderUnusableError or FolderLockedError; the run then stays in memory, unsaved.
        """
        self.engine  # noqa: B018  # raises where there is no run
        self._settle()
        self.folder.reacquire()
        self._store.forget()
        self.run = secrets.token_hex(8)
        self._sequence = self._load_rank = self._saved_iteration = 0
        text_told = self.saved_states.ensure_text(
            self.engine.corpus
        )  # first: what is saved can then be continued at once
        receipt = self.save()
        for told in (*text_told, *self.saved_states.alert_rules.try_write(self.run, self.rules)):
            log.warning(told)
        return receipt

    def change_rules(
        self, rules: tuple[Rule, ...], run: str | None = None, seen: tuple[Rule, ...] | None = None
    ) -> None:
        """Make these the alert rules of the run in memory, durably. Raises SaveError, and RefusedError where there is no
        run, or not the one that they are meant for, or its rules are not those that were seen; they then stay as they are."""
        self.engine  # noqa: B018  # raises where there is no run
        if self.run is None or run not in (None, self.run):
            raise RefusedError("Another run is on the page by now; look at its rules before you change them.")
        if seen is not None and set(seen) != set(self.rules):
            raise StaleRulesError(
                "The rules were changed elsewhere meanwhile; nothing was changed now. Look at the newest ones and try again."
            )
        self.saved_states.alert_rules.write(self.run, rules)
        self.rules = rules

    def reset(self) -> None:
        """Clear memory and delete every saved state in the folder; nothing that this program did not write."""
        self.folder.require_own()
        self._settle()
        self._forget()
        self.folder.reset()

    def _save_what_is_unsaved(self) -> SaveRecord | None:
        return self.save().record if self.is_unsaved else None

    def _revived(
        self, candidate: SavedSummary, salvage: bool, goes_back: bool = False
    ) -> tuple[SavedState, Engine, tuple[str, ...]]:
        expect("Reading and checking", bytes_of_load(candidate, self.folder.layout, goes_back))
        state = read_any_format(candidate.file, candidate.folder, self._defaults, salvage)
        return state, *restore(state, self._defaults, self.folder.path)

    def _adopt(self, state: SavedState, engine: Engine) -> None:
        self._forget()
        self._hold(engine)
        self.history = History(state.rows)
        if len(state.rows):
            self.last_result = engine.result(*state.rows[-1].tolist())
        self.run, self.parent = state.record.run, state.record.parent
        self.happened = state.record.happened
        self._sequence, self._load_rank, self._ended = state.record.sequence, state.record.load_rank, state.record.ended
        self._saved_iteration = state.record.iteration_count

    def _keep_as_loaded(self, source: SavedSummary, state: SavedState) -> tuple[str, ...]:
        """Make the loaded run the present one on disk, as the one chosen last; a failure is a warning only."""
        try:
            target = self.folder.set_aside((error.path for error in state.damaged), leave=True)
            told = () if target is None else (f"The damaged files were set aside in {target}.",)
            own = source.folder == self.folder.path and source.id == state.record.run  # not of the earlier generation
            if own and (source.file.name == WEIGHTS or not os.path.lexists(self.folder.path / WEIGHTS)):
                self._store.adopt(state)
            self._load_rank = self._next_load_rank()
            self.save()
        except (SaveError, FolderError, OSError) as error:
            return (f"The state was loaded, but could not be made the present one on disk: {error}",)
        try:
            self.folder.remove_run(state.record.run)
        except OSError as error:
            return (*told, f"An older copy of this run in {RUNS}/ could not be removed: {error}")
        return told
