"""The commands that change saved states; each holds the folder as long as it runs.

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

from quadra.cli.output import complain, confirm, printable, say
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

ALL = Retention(budget=sys.maxsize)  # the server decides how much is kept: nothing is thinned here


@contextmanager
def held_states(options: argparse.Namespace) -> Iterator[StateManager]:
    """Yields the state manager of a folder that is held; removes states that were deleted more than an hour ago."""
    with _held_folder(options) as (_, manager):
        yield manager
        manager.purge(datetime.now(UTC))


@contextmanager
def _held_folder(options: argparse.Namespace) -> Iterator[tuple[StateFolder, StateManager]]:
    with StateFolder(options.state_dir) as folder:
        manager = StateManager(folder, RestorePoints(folder.layout, ALL))
        manager.repair_labels()
        yield folder, manager


def save(options: argparse.Namespace) -> int:
    """Makes the state that Load takes by default a named state."""
    from quadra.states.read_only import read_files

    name = checked_name(options.name)
    layout = require_states(options.state_dir)
    with held_states(options) as manager:
        default = _default(layout)
        entry, files = read_files(layout, default, TrainingConfig())
        slot = manager.add_slot(name, files, options.overwrite)
    say(f"Saved as {printable(name)!r}: {slot}, iteration {entry.iteration_count} of run {entry.run}.")
    return 0


def _default(layout: StateLayout) -> str:
    catalog = read_catalog(layout)
    if catalog.default is not None:
        return catalog.default.id
    if catalog.unreadable:
        raise LoadError(" ".join(f"{error}." for _, error in catalog.unreadable))
    raise NoSavedStateError("No saved state found")


def load(options: argparse.Namespace) -> int:
    """Makes a state the one that Load takes by default."""
    require_states(options.state_dir)
    with _held_folder(options) as (folder, manager):
        return _load(options, folder, find_state(manager.listing.entries(), options.state))


def roll_back(options: argparse.Namespace) -> int:
    """Does the same for the newest state of a run that is not after an iteration."""
    layout = require_states(options.state_dir)
    with _held_folder(options) as (folder, manager):
        entries = [entry for entry in manager.listing.entries() if entry.label.deleted_at is None]
        run = _run(entries, options.run) if options.run is not None else _default(layout)
        entry = _nearest([entry for entry in entries if entry.run == run], run, options.iteration)
        where = "at" if entry.iteration_count == options.iteration else "the nearest before"
        say(f"Going back to {entry.id} ({', '.join(entry.kinds)}), {where} iteration {options.iteration}.")
        return _load(options, folder, entry)


def _run(entries: Sequence[ListedState], text: str) -> str:
    return find_state([entry for entry in entries if entry.id == entry.run], text).run


def _nearest(entries: Sequence[ListedState], run: str, iteration: int) -> ListedState:
    before = [entry for entry in entries if entry.iteration_count <= iteration]
    if before:  # of several at one iteration, one that is no copy under a name
        return max(before, key=lambda entry: (entry.iteration_count, not entry.id.startswith(SLOT_PREFIX)))
    first = min((entry.iteration_count for entry in entries), default=None)
    lack = "has no saved state" if first is None else f"has no saved state before iteration {first}"
    raise UnknownSourceError(f"Run {run} {lack}; iteration {iteration} cannot be gone back to.")


def _load(options: argparse.Namespace, folder: StateFolder, entry: ListedState) -> int:
    """Loads a state and prints the outcome. Raises SaveError where Load would still take another one by default."""
    from quadra.training.state import TrainingState  # here, since it brings torch along

    with TrainingState(folder, _config_of(options, folder.layout, entry), retention=ALL) as state:
        state.saved_states.repair_labels()
        report = state.load(entry.id)
        _print_remarks(report)
        default = state.catalog().default
        if default is None or (default.id, default.iteration_count) != (state.run.id, state.iteration_count):
            raise SaveError("The state could be read, but Load still takes another one by default.")
        say(f"Load now takes run {state.run.id} at iteration {state.iteration_count} by default.")
        return FAILED if report.fell_back or report.gave_up else 0


def _config_of(options: argparse.Namespace, layout: StateLayout, entry: ListedState) -> TrainingConfig:
    """Returns defaults under which a load changes nothing: on another device the generator of samples would start afresh."""
    from quadra.model.flat_tensors import require_device
    from quadra.states.read_only import read_state

    wanted = TrainingConfig(field_size=entry.field_size or TrainingConfig.field_size, corpus=options.corpus)
    with contextlib.suppress(BadFileError, ConfigurationError):  # the load reports it
        _, saved = read_state(layout, entry.id, wanted)
        if saved.config.device != wanted.device:
            require_device(saved.config.device)
            return replace(wanted, device=saved.config.device)
    return wanted


def _print_remarks(report: LoadReport) -> None:
    print_line: Callable[[str], None] = complain if report.fell_back or report.gave_up else say
    for remark in report.remarks():
        print_line(printable(remark))


def name(options: argparse.Namespace) -> int:
    """Gives a state another name, or none."""
    entry = _change_label(options, name=options.name)
    say(f"{entry.id} is named {printable(entry.label.name)!r}." if entry.label.name else f"{entry.id} has no name.")
    return 0


def note(options: argparse.Namespace) -> int:
    """Gives a state another note, or none."""
    entry = _change_label(options, note=options.text)
    say(f"{entry.id} has the note {printable(entry.label.note)!r}." if entry.label.note else f"{entry.id} has no note.")
    return 0


def pin(options: argparse.Namespace) -> int:
    """Pins a state, or unpins it."""
    entry = _change_label(options, pinned=options.pinned)
    say(f"{entry.id} is {'' if options.pinned else 'not '}pinned. {entry.as_dict()['kept']}")
    return 0


def _change_label(
    options: argparse.Namespace, name: str | None = None, note: str | None = None, pinned: bool | None = None
) -> ListedState:
    require_states(options.state_dir)
    with held_states(options) as manager:
        entry = find_state(manager.listing.entries(), options.state)
        manager.label(entry.id, name, note, pinned)
        return find_state(manager.listing.entries(), entry.id)


def delete(options: argparse.Namespace) -> int:
    """Marks a state to be removed in an hour, once somebody has confirmed it."""
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
    if not confirm(question):
        raise RefusedError("Nothing was deleted.")


def undelete(options: argparse.Namespace) -> int:
    """Undoes a deletion."""
    require_states(options.state_dir)
    with held_states(options) as manager:
        entry = find_deleted(manager.listing.entries(), options.state)
        manager.undelete(entry.id)
    say(f"Taken back: {entry.id}.")
    return 0
