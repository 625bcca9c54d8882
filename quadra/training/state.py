"""TrainingState: one run in memory and the state directory in which its saved states live; for scripts, and for the worker."""

from __future__ import annotations

import logging
import os
import secrets
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quadra.config import TrainingConfig
from quadra.errors import LoadError, RefusedError, SaveError, StaleRulesError
from quadra.model.corpus import BUILT_IN_NAME
from quadra.model.engine import Engine
from quadra.model.history import History
from quadra.states.alert_rules import Rule
from quadra.states.load_order import LoadReport
from quadra.states.manage import StateManager
from quadra.states.own_texts import corpus_path, id_of, open_corpus
from quadra.states.restore import complete_config, slowness
from quadra.storage.catalog import Catalog, read_catalog
from quadra.storage.files.durable import read_file
from quadra.storage.folder import StateFolder
from quadra.storage.labels import checked_name
from quadra.storage.layout import WEIGHTS
from quadra.storage.pending_save import Receipt
from quadra.storage.restore_points import Retention
from quadra.storage.save_record import Ended, SaveRecord
from quadra.storage.saved_state import read
from quadra.storage.system_file import complete_files
from quadra.storage.writer_process import WriterProcess
from quadra.training.loading import Loader
from quadra.training.run import Run, require_run
from quadra.training.saving import Saving

log = logging.getLogger("quadra")


class TrainingState:
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
        self.folder = folder if isinstance(folder, StateFolder) else StateFolder(folder)
        self._defaults = config or TrainingConfig()  # of new runs
        self._no_history = History()
        self.saving = Saving(self.folder, writer, retention)
        self.saved_states = StateManager(self.folder, self.saving.restore_points)
        self._loader = Loader(self.saving, self.saved_states, self._defaults)

    @property
    def shelf(self) -> StateManager:
        """The former name of `saved_states`, for scripts."""
        return self.saved_states

    def close(self) -> None:
        """Saves what is unsaved, then releases the folder."""
        if not self.folder.is_held:
            return
        self.saving.finish_pending()
        if self.saving.is_unsaved:
            self.save_state()
        self.release()

    def release(self) -> None:
        """Releases the folder without saving; a write that the disk has not finished holds it until it has."""
        if self.is_initialized:
            self.engine.corpus.close()
        self.saving.close()

    def __enter__(self) -> TrainingState:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_initialized(self) -> bool:
        """Whether a run is in memory."""
        return self.saving.run is not None

    @property
    def run(self) -> Run:
        """The run in memory; raises RefusedError before `initialize` or `load_state`."""
        return require_run(self.saving.run)

    @property
    def engine(self) -> Engine:
        """The engine of the run in memory; raises RefusedError as `run` does."""
        return self.run.engine

    @property
    def slowness(self) -> tuple[str, ...]:
        """A warning where torch must train on the CPU; none before a run is in memory."""
        return slowness(self.engine) if self.is_initialized else ()

    @property
    def config(self) -> TrainingConfig:
        """The configuration of the run in memory, or that of new runs."""
        return self.run.config if self.is_initialized else self._defaults

    @property
    def history(self) -> History:
        """The history of the run in memory; an empty one where there is none."""
        return self.run.history if self.is_initialized else self._no_history

    @property
    def iteration_count(self) -> int:
        """The good iterations of the run in memory."""
        return len(self.history)

    @property
    def loss_history(self) -> NDArray[np.float32]:
        """The loss of every iteration, shape (iteration_count,)."""
        return self.history.series("loss")

    @property
    def reward_history(self) -> NDArray[np.float32]:
        """The reward of every iteration, shape (iteration_count,)."""
        return self.history.series("reward")

    @property
    def variance_history(self) -> NDArray[np.float32]:
        """The variance of the core field after every iteration, shape (iteration_count,)."""
        return self.history.series("variance")

    @property
    def field_mean_history(self) -> NDArray[np.float32]:
        """The mean of the core field after every iteration, shape (iteration_count,)."""
        return self.history.series("mean")

    def identity(self) -> dict[str, Any]:
        """Returns what the run in memory is, or new runs will be, by the names of `training.view.Status`."""
        run = self.saving.run
        corpus = None if run is None else run.engine.corpus
        return {
            "run": None if run is None else run.id,
            "parent": None if run is None else run.parent,
            "field_size": self.config.field_size,
            "seed": self.config.seed,
            "corpus": corpus.name if corpus else self._defaults.corpus or BUILT_IN_NAME,
            "own_text": id_of(corpus.reference) if corpus else None,
            "slow_because": None if run is None else run.engine.slow_because,
        }

    def catalog(self) -> Catalog:
        """Returns the saved states in the folder."""
        return read_catalog(self.folder.layout)

    def initialize(
        self, field_size: int | None = None, seed: int | None = None, corpus: str | None = None
    ) -> SaveRecord | None:
        """Begins a new run in memory; what is unsaved of the present one is saved first, saved states stay.

        `corpus`: as `states.own_texts.corpus_path` takes it.

        Returns the record of that save, if there was one. Raises ConfigurationError, CorpusError or SaveError; the
        present run then stays as it is.
        """
        config, directory = self._defaults, self.folder.path
        path = corpus_path(corpus, config.corpus, directory)
        config = complete_config(
            replace(
                config,
                field_size=config.field_size if field_size is None else field_size,
                seed=config.seed if seed is None else seed,
                corpus=path,
            )
        )
        text = open_corpus(path, directory)
        text.require_utf8()
        engine = Engine(config, text)
        saved_first = self.save().record if self.saving.is_unsaved else None
        self.saving.hold(Run(engine, secrets.token_hex(8)))
        return saved_first

    def step(self) -> dict[str, Any]:
        """Trains one iteration; returns its metrics. Raises IntegrityError after three void ones, CorpusError.

        On a field so large that one copy of it must serve both, a save that is under way is waited for (SaveTimeoutError).
        """
        if self.saving.must_wait:
            self.saving.wait()
        return self.run.step().as_dict()

    def save_state(self) -> bool:
        """Saves; durable when it returns True. False, with the reason logged, when it failed."""
        try:
            self.save()
        except (SaveError, RefusedError) as error:
            log.error("Failed to save state: %s", error)  # noqa: TRY400  # the reason, not a traceback, is for people
            return False
        return True

    def save(self, ended: Ended | None = None) -> Receipt:
        """Saves all three files at this iteration, durably. Raises SaveError; the previous saved state is then intact.

        `ended`: "stopped" makes this run the one that Load takes by default.
        """
        return self.saving.save(ended)

    def load_state(self, source: str | None = None) -> bool:
        """Loads a saved state. False, with the reason logged, when there is none or none could be loaded."""
        try:
            report = self.load(source)
        except (LoadError, SaveError) as error:
            log.error("Failed to load state: %s", error)  # noqa: TRY400  # the reason, not a traceback, is for people
            return False
        for text in report.remarks():
            log.warning(text)
        return True

    def load(self, source: str | None = None, newest: bool = False, discard_unsaved: bool = False) -> LoadReport:
        """Replaces the run in memory by a saved one; what is unsaved is saved first, unless it is to be discarded.

        `source`: id of a saved state as `states.listing` has them, default: the run that was last stopped or loaded, or the
        newest of all where `newest` is true. A run that cannot be read is given up for the newest one that can; raises a
        LoadError when there is none, SaveError when what is unsaved could not be saved. The run in memory then stays as it is.
        """
        return self._loader.load(source, newest, discard_unsaved)

    def save_slot(self, name: str, overwrite: bool = False) -> str:
        """Saves, and keeps the state as it is now under a name; returns its id.

        Raises SaveError, ConfigurationError, RefusedError or NameTakenError.
        """
        checked_name(name)
        self.run  # noqa: B018  # raises where there is no run
        self.save()
        return self.keep_as_slot(name, overwrite)

    def keep_as_slot(self, name: str, overwrite: bool = False) -> str:
        """Keeps what was just saved in full under a name; returns its id. Raises what `save_slot` raises, and OSError."""
        path = self.folder.path
        return self.saved_states.add_slot(name, complete_files(read(path), read_file(path / WEIGHTS)), overwrite)

    def go_on_as_new_run(self) -> Receipt:
        """Holds the folder that now stands at the path, where it was exchanged, and saves the run in memory there as a new one,
        with its own text and its alert rules.

        Raises SaveError, FolderUnusableError or FolderLockedError; the run then stays in memory, unsaved.
        """
        run = self.run
        self.saving.finish_pending()
        self.folder.reacquire()
        run.id = secrets.token_hex(8)
        self.saving.hold(run)
        remarks = self.saved_states.ensure_text(run.engine.corpus)  # first: what is saved can then be continued at once
        receipt = self.save()
        for remark in (*remarks, *self.saved_states.alert_rules.try_write(run.id, run.alert_rules)):
            log.warning(remark)
        return receipt

    def change_alert_rules(
        self, rules: tuple[Rule, ...], run_id: str | None = None, seen: tuple[Rule, ...] | None = None
    ) -> None:
        """Makes these the alert rules of the run in memory, durably. Raises SaveError, and RefusedError where there is no
        run, or not the one that they are meant for, or its rules are not those that were seen; they then stay as they are."""
        run = self.run
        if run_id not in (None, run.id):
            raise RefusedError("Another run is on the page by now; look at its rules before you change them.")
        if seen is not None and set(seen) != set(run.alert_rules):
            raise StaleRulesError(
                "The rules were changed elsewhere meanwhile; nothing was changed now. Look at the newest ones and try again."
            )
        self.saved_states.alert_rules.write(run.id, rules)
        run.alert_rules = rules

    def reset(self) -> None:
        """Clears memory and deletes every saved state in the folder; nothing that this program did not write."""
        self.folder.require_own()
        self.saving.finish_pending()
        self.saving.hold(None)
        self.folder.reset()
