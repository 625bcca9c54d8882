"""What the worker shows to the other threads: immutable views of the system."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from quadra.config import TrainingConfig
from quadra.model.corpus import BUILT_IN_NAME
from quadra.model.history import History
from quadra.states.alert_rules import Rule
from quadra.states.own_texts import UploadedText, own_texts
from quadra.storage.catalog import Catalog, read_catalog
from quadra.storage.folder import StateFolder
from quadra.storage.reset import describe_deletable
from quadra.storage.restore_points import Best, Retention
from quadra.storage.save_record import RunEvents
from quadra.training.lifecycle import Phase

if TYPE_CHECKING:
    from quadra.model.engine import StepResult

SLOWEST_PACE = 0.01  # iterations a second
FASTEST_PACE = 1_000_000.0
ANSWER_WITHIN = 60.0  # seconds that a person has to say what becomes of a run whose folder was exchanged


@dataclass(frozen=True)
class SaveOutcome:
    """How the newest save went."""

    iteration_count: int
    saved_at: str
    duration_ms: float
    size: int = 0  # bytes of the weights file
    written: int = 0  # bytes in all


@dataclass(frozen=True)
class SaveTrouble:
    """That saves fail, why, and since which iteration nothing has been saved."""

    iteration_count: int
    message: str
    since: int
    code: str = "save_failed"


@dataclass(frozen=True)
class SaveHealth:
    """How saves go beside training."""

    waiting: bool = False  # whether training waits for the disk, noticeably
    stalls: tuple[float, ...] = ()  # milliseconds that the newest saves held up training
    stall_worst_ms: float = 0.0  # of all saves of the run since it is in memory
    verified_iteration: int | None = None  # of the newest save that was read back and found whole
    verified_at: str | None = None
    free_bytes: int | None = None  # room on the disk, where it is little

    @property
    def stall_median_ms(self) -> float:
        """The median of the newest saves."""
        return round(statistics.median(self.stalls or (0.0,)), 3)

    def as_dict(self) -> dict[str, Any]:
        """Returns what pages and scripts are told."""
        shown = {name: value for name, value in vars(self).items() if name != "stalls"}
        return {**shown, "stall_median_ms": self.stall_median_ms}


@dataclass(frozen=True)
class BackupHealth:
    """How the backups to a remote place go."""

    place: str  # its address, without a password
    every: int  # saves between two backups while training
    run: str | None = None  # of the newest backup that this server has made
    iteration_count: int | None = None  # of that backup
    at: str | None = None  # when it was complete there
    pending: bool = False  # whether a state waits, or is being sent
    failing_since: str | None = None
    reason: str | None = None  # why the last attempt failed
    next_try: str | None = None
    bytes_sent: int = 0  # since this server started


@dataclass(frozen=True)
class WorkerSettings:
    """How the worker trains and saves, whichever run it holds."""

    save_every: int = 10  # iterations between two saves; 0: only Stop saves
    pace: float | None = 10.0  # iterations a second; None: no limit
    retention: Retention = field(default=Retention())
    rescue: bool = False  # whether training that ended by integrity strikes goes back to a good state by itself
    resume: bool = False  # whether training shall begin by itself and go on until it is stopped
    # Then it goes on as a new run by itself; asked for when settings are made, so that a test can change it in a server.
    answer_within: float = field(default_factory=lambda: ANSWER_WITHIN)


@dataclass(frozen=True)
class Rescue:
    """The last good state before training ended by integrity strikes."""

    struck_at: int  # iteration
    state: str  # id of a saved state
    iteration_count: int  # of that state


@dataclass(frozen=True)
class Status:
    """What changes by commands and saves, not by steps."""

    phase: Phase
    run: str | None
    field_size: int
    seed: int | None
    corpus: str
    device: str
    pace: float | None
    until: int | None
    save_every: int
    catalog: Catalog
    state_dir: str
    deletes: tuple[str, ...]  # what a reset would delete, in words
    last_save: SaveOutcome | None = None
    trouble: SaveTrouble | None = None
    save_health: SaveHealth = field(default=SaveHealth())
    retention: Retention = field(default=Retention())  # of restore points
    best: Best | None = None  # of the run, as of the save that is shown
    parent: str | None = None  # the state that the run went on from, `<run>@<iteration>`
    run_events: RunEvents = field(default=RunEvents())  # what happened to the run besides training
    backup: BackupHealth | None = None  # None: no place for backups was given
    alert_rules: tuple[Rule, ...] = ()  # of the run
    own_text: str | None = None  # id of the own text that the run trains on; None: another corpus
    texts: tuple[UploadedText, ...] = ()  # own texts that new runs can train on
    new_run: TrainingConfig = field(default=TrainingConfig())  # what a new run gets where nothing else is asked for
    rescue: Rescue | None = None  # what is offered since training has ended by integrity strikes
    slow_because: str | None = None  # why torch trains the run on the CPU; None: it does not
    keeps_names: bool = True  # whether the disk can promise that names of files outlive a power cut
    must_train: bool = False  # whether training is due without a command, so that its absence is a problem

    @property
    def is_training_missing(self) -> bool:
        """Whether nothing is trained although that is due."""
        return self.must_train and self.phase is not Phase.TRAINING

    @classmethod
    def first(cls, config: TrainingConfig, settings: WorkerSettings, folder: StateFolder) -> Status:
        """Returns the status before anything is in memory."""
        return cls(
            phase=Phase.UNINITIALIZED, run=None, field_size=config.field_size, seed=config.seed,
            corpus=config.corpus or BUILT_IN_NAME, device=config.device, pace=settings.pace, until=None,
            save_every=settings.save_every, catalog=read_catalog(folder.layout), state_dir=str(folder.path),
            deletes=describe_deletable(folder.layout), retention=settings.retention,
            texts=own_texts(folder.path), new_run=config, keeps_names=folder.keeps_names, must_train=settings.resume,
        )  # fmt: skip


class View(NamedTuple):
    """The system at one instant, as every other thread may see it."""

    status: Status
    history: History
    iteration_count: int
    result: StepResult | None
    unsaved_iterations: int
    iterations_per_second: float
