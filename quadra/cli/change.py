"""What the command line changes in a folder of saved states; it holds the folder for as long as that takes.

Each command takes the parsed options and returns the exit code; raises a QuadraError (FolderLockedError where somebody else
holds the folder) or OSError.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from quadra.cli.output import complain, confirmed, say, shown
from quadra.cli.show import FAILED, look_up, require_states
from quadra.config import TrainingConfig
from quadra.errors import (
    BadFileError,
    ConfigurationError,
    LoadError,
    NoSavedStateError,
    RefusedError,
    SaveError,
    UnknownSourceError,
)
from quadra.states.listing import SLOT_PREFIX, ListedState
from quadra.states.load_order import LoadReport
from quadra.states.lookup import find_deleted, find_state
from quadra.states.manage import StateManager
from quadra.storage.catalog import read_catalog
from quadra.storage.folder import StateFolder
from quadra.storage.labels import checked_name
from quadra.storage.layout import StateLayout
from quadra.storage.restore_points import RestorePoints, Retention

ALL = Retention(budget=sys.maxsize)  # how much may be kept is for the server to say: nothing is thinned here


@contextmanager
def held_states(options: argparse.Namespace) -> Iterator[StateManager]:
    """The states of a folder, for changing; what was deleted long ago goes on this occasion."""
    with _held(options) as (_, manager):
        yield manager
        manager.purge(datetime.now(UTC))


@contextmanager
def _held(options: argparse.Namespace) -> Iterator[tuple[StateFolder, StateManager]]:
    with StateFolder(options.state_dir) as folder:
        manager = StateManager(folder, RestorePoints(folder.layout, ALL))
        manager.repair_labels()
        yield folder, manager


def save(options: argparse.Namespace) -> int:
    """What Load takes by default becomes a named state."""
    from quadra.states.read_only import read_files

    name = checked_name(options.name)
    layout = require_states(options.state_dir)
    with held_states(options) as manager:
        default = _default(layout)
        entry, files = read_files(layout, default, TrainingConfig())
        slot = manager.add_slot(name, files, options.overwrite)
    say(f"Saved as {shown(name)!r}: {slot}, iteration {entry.iteration_count} of run {entry.run}.")
    return 0


def _default(layout: StateLayout) -> str:
    catalog = read_catalog(layout)
    if catalog.default is not None:
        return catalog.default.id
    if catalog.unreadable:
        raise LoadError(" ".join(f"{error}." for _, error in catalog.unreadable))
    raise NoSavedStateError("No saved state found")


def load(options: argparse.Namespace) -> int:
    """A state becomes what Load takes by default."""
    require_states(options.state_dir)
    with _held(options) as (folder, manager):
        return _loaded(options, folder, find_state(manager.listing.entries(), options.state))


def roll_back(options: argparse.Namespace) -> int:
    """The same for the newest state of a run that is not after an iteration."""
    layout = require_states(options.state_dir)
    with _held(options) as (folder, manager):
        entries = [entry for entry in manager.listing.entries() if entry.label.deleted_at is None]
        run = _run(entries, options.run) if options.run is not None else _default(layout)
        entry = _nearest([entry for entry in entries if entry.run == run], run, options.iteration)
        where = "at" if entry.iteration_count == options.iteration else "the nearest before"
        say(f"Going back to {entry.id} ({', '.join(entry.kinds)}), {where} iteration {options.iteration}.")
        return _loaded(options, folder, entry)


def _run(entries: Sequence[ListedState], text: str) -> str:
    return find_state([entry for entry in entries if entry.id == entry.run], text).run


def _nearest(entries: Sequence[ListedState], run: str, iteration: int) -> ListedState:
    before = [entry for entry in entries if entry.iteration_count <= iteration]
    if before:  # of several at one iteration, one that is no copy under a name
        return max(before, key=lambda entry: (entry.iteration_count, not entry.id.startswith(SLOT_PREFIX)))
    first = min((entry.iteration_count for entry in entries), default=None)
    told = "has no saved state" if first is None else f"has no saved state before iteration {first}"
    raise UnknownSourceError(f"Run {run} {told}; iteration {iteration} cannot be gone back to.")


def _loaded(options: argparse.Namespace, folder: StateFolder, entry: ListedState) -> int:
    """Raises SaveError where the folder does not say so afterwards."""
    from quadra.training.state import TrainingState  # here, since it takes torch along

    with TrainingState(folder, _as_it_was(options, folder.layout, entry), retention=ALL) as state:
        state.saved_states.repair_labels()
        report = state.load(entry.id)
        _tell(report)
        default = state.catalog().default
        if default is None or (default.id, default.iteration_count) != (state.run.id, state.iteration_count):
            raise SaveError("The state could be read, but Load still takes another one by default.")
        say(f"Load now takes run {state.run.id} at iteration {state.iteration_count} by default.")
        return FAILED if report.fell_back or report.gave_up else 0


def _as_it_was(options: argparse.Namespace, layout: StateLayout, entry: ListedState) -> TrainingConfig:
    """The defaults under which a load changes nothing: on another device the generator of samples would start afresh."""
    from quadra.model.flat_tensors import require_device
    from quadra.states.read_only import read_state

    wanted = TrainingConfig(field_size=entry.field_size or TrainingConfig.field_size, corpus=options.corpus)
    with contextlib.suppress(BadFileError, ConfigurationError):  # told by the load
        _, saved = read_state(layout, entry.id, wanted)
        if saved.config.device != wanted.device:
            require_device(saved.config.device)
            return replace(wanted, device=saved.config.device)
    return wanted


def _tell(report: LoadReport) -> None:
    tell: Callable[[str], None] = complain if report.fell_back or report.gave_up else say
    for remark in report.remarks():
        tell(shown(remark))


def name(options: argparse.Namespace) -> int:
    """Another name, or none."""
    entry = _labelled(options, name=options.name)
    say(f"{entry.id} is named {shown(entry.label.name)!r}." if entry.label.name else f"{entry.id} has no name.")
    return 0


def note(options: argparse.Namespace) -> int:
    """Another note, or none."""
    entry = _labelled(options, note=options.text)
    say(f"{entry.id} has the note {shown(entry.label.note)!r}." if entry.label.note else f"{entry.id} has no note.")
    return 0


def pin(options: argparse.Namespace) -> int:
    """Keep a state, or let it go when its time comes."""
    entry = _labelled(options, pinned=options.pinned)
    say(f"{entry.id} is {'' if options.pinned else 'not '}pinned. {entry.as_dict()['kept']}")
    return 0


def _labelled(
    options: argparse.Namespace, name: str | None = None, note: str | None = None, pinned: bool | None = None
) -> ListedState:
    require_states(options.state_dir)
    with held_states(options) as manager:
        entry = find_state(manager.listing.entries(), options.state)
        manager.label(entry.id, name, note, pinned)
        return find_state(manager.listing.entries(), entry.id)


def delete(options: argparse.Namespace) -> int:
    """Have a state removed in an hour, once somebody has said that this is meant."""
    _, entry = look_up(options, options.state)
    if not options.yes:
        _require_yes(f"Delete {entry.id} ({', '.join(entry.kinds)}, iteration {entry.iteration_count})?")
    with held_states(options) as manager:
        manager.delete(entry.id)
    say(f"Deleted: {entry.id}. For an hour `undelete {entry.id}` takes it back.")
    return 0


def _require_yes(question: str) -> None:
    if not sys.stdin.isatty():
        raise RefusedError("Nothing was deleted: nobody can be asked here. Say that it is meant by --yes.")
    if not confirmed(question):
        raise RefusedError("Nothing was deleted.")


def take_back(options: argparse.Namespace) -> int:
    """Undo a deletion."""
    require_states(options.state_dir)
    with held_states(options) as manager:
        entry = find_deleted(manager.listing.entries(), options.state)
        manager.undelete(entry.id)
    say(f"Taken back: {entry.id}.")
    return 0
