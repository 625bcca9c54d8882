"""TrainingState: one run in memory (engine, history, identity) and the folder in which its saved states live."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadra import earlier, persistence
from quadra.catalog import Catalog, SavedSummary, iso, read_catalog, summarize
from quadra.config import TrainingConfig
from quadra.continuation import kept, text_for
from quadra.engine import Engine, StepResult
from quadra.errors import (
    BadFileError,
    DamagedFileError,
    FolderError,
    InaccessibleFileError,
    LoadError,
    NewerFormatError,
    NoSavedStateError,
    RefusedError,
    SaveError,
    UnknownSourceError,
)
from quadra.folder import FILES, WEIGHTS, StateFolder
from quadra.history import History
from quadra.persistence import SavedState
from quadra.records import Ended, Record
from quadra.text import Corpus

log = logging.getLogger("quadra")

_NOT_FINITE = "The state holds numbers that are not finite. The last good state on disk was kept."

_THREADS = 1  # of a step: on small fields more threads cost more than they bring


@dataclass(frozen=True)
class LoadReport:
    """What a load did: which state it restored, what it had to give up, and what a person should know."""

    record: Record
    warnings: tuple[str, ...]
    gave_up: tuple[str, ...]  # why each state that was tried before could not be loaded
    newer: SavedSummary | None  # a newer save of another run, which was cut off
    fell_back: bool  # whether another state was loaded than the one asked for
    saved_first: Record | None  # of the run that was in memory, where it had unsaved iterations

    def remarks(self) -> list[str]:
        """All that a person should know of this load, in sentences."""
        told = [*self.gave_up, *self.warnings]
        if self.fell_back:
            told.append(f"Went back to the newest intact saved state: {self.record.iteration_count} iterations.")
        if self.newer is not None:
            told.append(
                f"A newer run was cut off at {self.newer.iteration_count} iterations ({self.newer.saved_at}); "
                "it is kept and can be loaded too."
            )
        return told


class TrainingState:
    """A run and its state directory. Holds the directory until `close`; not for use from two threads at once.

    Raises FolderUnusableError or FolderLockedError when the directory cannot be had.
    """

    def __init__(self, folder: str | os.PathLike[str] | StateFolder, config: TrainingConfig | None = None) -> None:
        self.folder = folder if isinstance(folder, StateFolder) else StateFolder(folder)
        self._defaults = config or TrainingConfig()
        self._forget()

    def _forget(self) -> None:
        """No run is in memory."""
        self._engine: Engine | None = None
        self.history = History()
        self.run: str | None = None
        self.last_result: StepResult | None = None
        self._sequence = 0  # of the run's newest save
        self._chosen = 0
        self._ended: Ended = "cut off"
        self._saved_iteration = 0
        self._trusts_files = False  # whether this run's files in the folder are known to be whole

    def close(self) -> None:
        """Save what is unsaved, then release the folder."""
        if not self.folder.is_held:
            return
        if self.unsaved_iterations:
            self.save_state()
        self.release()

    def release(self) -> None:
        """Release the folder without saving."""
        if self._engine is not None:
            self._engine.corpus.close()
        self.folder.close()

    def __enter__(self) -> TrainingState:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_initialized(self) -> bool:
        """Whether a run is in memory."""
        return self._engine is not None

    @property
    def engine(self) -> Engine:
        """The run's engine; raises RefusedError before `initialize` or `load_state`."""
        if self._engine is None:
            raise RefusedError("There is no run in memory. Initialize a new one or load a saved state first.")
        return self._engine

    @property
    def config(self) -> TrainingConfig:
        """The configuration of the run in memory, or that of new runs."""
        return self._defaults if self._engine is None else self._engine.config

    @property
    def iteration_count(self) -> int:
        """Good iterations of the run in memory."""
        return len(self.history)

    @property
    def unsaved_iterations(self) -> int:
        """Iterations that only memory holds."""
        return self.iteration_count - self._saved_iteration

    @property
    def loss_history(self) -> NDArray[np.float32]:
        """Loss of every iteration, shape (iteration_count,)."""
        return self.history.series("loss")

    @property
    def reward_history(self) -> NDArray[np.float32]:
        """Reward of every iteration, shape (iteration_count,)."""
        return self.history.series("reward")

    @property
    def variance_history(self) -> NDArray[np.float32]:
        """Variance of the core field after every iteration, shape (iteration_count,)."""
        return self.history.series("variance")

    @property
    def field_mean_history(self) -> NDArray[np.float32]:
        """Mean of the core field after every iteration, shape (iteration_count,)."""
        return self.history.series("mean")

    def catalog(self) -> Catalog:
        """The saved states in the folder."""
        return read_catalog(self.folder)

    def initialize(self, field_size: int | None = None, seed: int | None = None) -> Record | None:
        """Begin a new run in memory; what is unsaved of the present one is saved first, saved states stay.

        Returns the record of that save, if there was one. Raises ConfigurationError, CorpusError or SaveError; the
        present run then stays as it is.
        """
        config = self._defaults
        config = _complete(
            replace(
                config,
                field_size=config.field_size if field_size is None else field_size,
                seed=config.seed if seed is None else seed,
            )
        )
        engine = Engine(config, Corpus(config.corpus))
        saved_first = self._save_what_is_unsaved()
        self._forget()
        self._engine = engine
        self.run = secrets.token_hex(8)
        return saved_first

    def step(self) -> dict[str, Any]:
        """Train one iteration; returns its metrics. Raises IntegrityError after three void ones, CorpusError."""
        result = self.engine.step()
        self.history.append(result.loss, result.reward, result.variance, result.mean)
        self.last_result = result
        self._ended = "cut off"
        return result.as_dict()

    def save_state(self) -> bool:
        """Save; durable when it returns True. False, with the reason logged, when it failed."""
        try:
            self.save()
        except (SaveError, RefusedError) as error:
            log.error("Failed to save state: %s", error)  # noqa: TRY400  # the reason, not a traceback, is for people
            return False
        return True

    def save(self, ended: Ended | None = None) -> Record:
        """Save the state at this iteration, durably. Raises SaveError; the previous saved state is then intact.

        `ended`: "stopped" makes this run the one that Load takes by default.
        """
        try:
            chosen = self.catalog().last_choice + 1 if ended == "stopped" else self._chosen
            state = self._snapshot(ended or self._ended, chosen)
            persistence.require_finite(state)
            self._claim_folder()
            persistence.write(self.folder.path, state)
        except (SaveError, RefusedError):
            raise
        except DamagedFileError as error:
            raise SaveError(f"{_NOT_FINITE} ({error})") from error
        except FolderError as error:
            raise SaveError(str(error)) from error
        except OSError as error:
            raise SaveError(f"{error.strerror or error} ({error.filename or self.folder.path})") from error
        except Exception as error:
            log.exception("A save failed unexpectedly")
            raise SaveError(f"{type(error).__name__}: {error}") from error
        record = state.record
        self._sequence, self._chosen, self._ended = record.sequence, record.chosen, record.ended
        self._saved_iteration = record.iteration_count
        self._trusts_files = True
        return record

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

    def load(self, source: str | None = None, newest: bool = False) -> LoadReport:
        """Replace the run in memory by a saved one; what is unsaved is saved first.

        `source`: id of a saved state, default: the contract's default, or the newest of all where `newest` is true.
        A state that cannot be read is given up for the newest one that can; raises a LoadError when there is none,
        SaveError when what is unsaved could not be saved. The run in memory then stays as it is.
        """
        asked = self._asked_for(self.catalog(), source, newest).id
        saved_first = self._save_what_is_unsaved()
        catalog = self.catalog()  # anew: that save may have moved files to another place
        first = next((state for state in catalog.states if state.id == asked), catalog.default)
        failures = list(catalog.unreadable)
        for candidate in catalog.candidates(first) if first else ():
            try:
                state = self._read(candidate)
                engine, warnings = self._revive(state)
            except BadFileError as error:
                failures.append((candidate.folder, error))
                continue
            self._adopt(state, engine)
            gave_up = tuple(self._give_up(place, error) for place, error in failures)
            warnings += self._save_as_loaded(candidate)
            newer = catalog.without([place for place, _ in failures]).newer_than(candidate)
            return LoadReport(state.record, warnings, gave_up, newer, candidate.id != asked, saved_first)
        self._trusts_files = False
        raise LoadError(" ".join(_reason(place, error) for place, error in failures))

    def reset(self) -> None:
        """Clear memory and delete every saved state in the folder; nothing that this program did not write."""
        self._forget()
        self.folder.reset()

    def _asked_for(self, catalog: Catalog, source: str | None, newest: bool) -> SavedSummary:
        if source is not None:
            for listed in catalog.states:
                if listed.id == source:
                    return listed
            raise UnknownSourceError(f"There is no saved state {source!r} in {self.folder.path}.")
        state = catalog.newest if newest else catalog.default
        if state is not None:
            return state
        if catalog.unreadable:
            raise LoadError(" ".join(_reason(place, error) for place, error in catalog.unreadable))
        raise NoSavedStateError("No saved state found")

    def _save_what_is_unsaved(self) -> Record | None:
        return self.save() if self._engine is not None and self.unsaved_iterations else None

    def _read(self, candidate: SavedSummary) -> SavedState:
        try:
            return persistence.read(candidate.folder)
        except persistence.NotSealedError as unsealed:
            config = _complete(self._defaults)
            corpus, _ = text_for({"path": config.corpus, "fingerprint": None}, self._defaults.corpus)
            state = earlier.convert(candidate.folder, unsealed.weights, config, corpus)
            persistence.require_finite(state)
            # A run of its own: the original files are then set aside as a run, not overwritten.
            return replace(state, record=replace(state.record, run=secrets.token_hex(8)))

    def _revive(self, state: SavedState) -> tuple[Engine, tuple[str, ...]]:
        """An engine that continues a saved state, and what a person should know of the difference."""
        threads = self._defaults.threads or state.config.threads
        config = _complete(replace(state.config, device=self._defaults.device, threads=threads))
        corpus, warnings = text_for(state.engine["corpus"], self._defaults.corpus)
        engine = Engine(config, corpus)
        try:
            engine.load_state_dict(state.engine)
        except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            raise DamagedFileError(WEIGHTS, f"its content does not fit the model: {error!r}") from error
        return engine, (*state.warnings, *warnings, *kept(config, self._defaults))

    def _give_up(self, place: Path, error: BadFileError) -> str:
        """Set a damaged state aside, now that another one is loaded; returns what a person should know."""
        if isinstance(error, (NewerFormatError, InaccessibleFileError)):
            return _reason(place, error)
        try:
            target = self.folder.set_aside_damaged(place)
        except (OSError, FolderError) as failure:
            return f"{_reason(place, error)} Its files could not be set aside: {failure}"
        return f"{_reason(place, error)} Its files were set aside in {target}."

    def _adopt(self, state: SavedState, engine: Engine) -> None:
        self._forget()
        self._engine = engine
        self.history = History(state.rows)
        if len(state.rows):
            self.last_result = engine.result(*state.rows[-1].tolist())
        self.run = state.record.run
        self._sequence, self._chosen, self._ended = state.record.sequence, state.record.chosen, state.record.ended
        self._saved_iteration = state.record.iteration_count

    def _save_as_loaded(self, source: SavedSummary) -> tuple[str, ...]:
        """Make the loaded run the present one on disk, as the one chosen last; a failure is a warning only."""
        self._chosen = self.catalog().last_choice + 1
        try:
            self.save()
        except SaveError as error:
            return (f"The state was loaded, but could not be made the present one on disk: {error}",)
        if source.folder != self.folder.path and source.id == self.run:
            try:
                self.folder.remove_run(source.id)
            except OSError as error:
                return (f"An older copy of this run in {source.folder} could not be removed: {error}",)
        return ()

    def _claim_folder(self) -> None:
        """Before this run's files stand in the folder: another run's are kept as a run, unreadable ones set aside."""
        path = self.folder.path
        if not any(os.path.lexists(path / name) for name in FILES):
            return
        try:
            present = summarize(path)
            if present.id == self.run:
                self._verify_unless_trusted(path)
            elif not self._is_kept(present):
                self._verify(path)
                self.folder.set_aside_run(present.id)
        except BadFileError as error:
            target = self.folder.set_aside_damaged(path)
            log.warning("Files that could not be read were set aside in %s: %s", target, error)

    def _verify_unless_trusted(self, path: Path) -> None:
        if not self._trusts_files:
            self._verify(path)

    def _verify(self, path: Path) -> None:
        """Raise a BadFileError unless the state in a folder is whole."""
        with contextlib.suppress(persistence.NotSealedError):  # the earlier generation had no checksums
            persistence.read(path)

    def _is_kept(self, present: SavedSummary) -> bool:
        """Whether this save stands in `runs/` already: a copy made then is complete, the present files may not be."""
        return any(copy.id == present.id and copy.sequence >= present.sequence and copy.folder != self.folder.path
                   for copy in self.catalog().copies)  # fmt: skip

    def _snapshot(self, ended: Ended, chosen: int) -> SavedState:
        engine = self.engine
        record = Record(
            run=self.run or "", sequence=self._sequence + 1, iteration_count=self.iteration_count,
            saved_at=iso(datetime.now(UTC)), ended=ended, chosen=chosen, field_size=engine.config.field_size,
            seed=engine.config.seed or 0, history_sha256=self.history.checksum(),
        )  # fmt: skip
        return SavedState(record, engine.config, engine.state_dict(), self.history.rows())


def _complete(config: TrainingConfig) -> TrainingConfig:
    """The configuration with its seed and thread count fixed, because a run's bits depend on them."""
    seed = secrets.randbelow(2**32) if config.seed is None else config.seed
    return replace(config, seed=seed, threads=config.threads or _THREADS)


def _reason(place: Path, error: BadFileError) -> str:
    return f"The saved state in {place} cannot be loaded: {error}."
