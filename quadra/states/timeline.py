"""Marks: where along a run's curves saved states stand, and where it, or another run from it, was begun by going back."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from quadra.errors import BadFileError
from quadra.states.listing import SLOT_PREFIX
from quadra.storage.catalog import Catalog, SavedSummary, read_catalog, summarize
from quadra.storage.labels import Label, read_labels
from quadra.storage.layout import WEIGHTS, StateLayout, iteration_of


@dataclass(frozen=True)
class Segment:
    """Of a run's iterations, the first `until` were trained as this run: it itself, or one that it went on from."""

    run: str
    until: int
    parent: str | None

    def holds(self, run: str, iteration: int) -> bool:
        """Whether this state of some run is on the curve."""
        return run == self.run and iteration <= self.until


def timeline_of(layout: StateLayout, run: str | None, parent: str | None, iteration_count: int) -> dict[str, Any]:
    """What stands along the curve of the run in memory, as pages and scripts are told; reads the ends of a few files.

    `saves`: iterations of restore points and earlier saves, ascending; `named`: states that somebody named; `branches`: where
    a run was left by going back, `went_on` true where it is this run that was begun there.
    """
    if run is None:
        return {"run": None, "saves": [], "named": [], "branches": []}
    catalog, labels = read_catalog(layout), _labels(layout)
    stretches = list(_stretches(catalog, run, parent, iteration_count))
    saves = set(_saves(layout, catalog, labels, stretches))
    return {
        "run": run,
        "saves": sorted(saves),
        "named": sorted(_named(layout, catalog, labels, stretches, saves), key=lambda mark: mark["iteration"]),
        "branches": sorted(_branches(catalog, stretches), key=lambda mark: mark["iteration"]),
    }


def _labels(layout: StateLayout) -> Mapping[str, Label]:
    """Nothing where the names cannot be read, which is told where the states are listed."""
    try:
        return read_labels(layout.path)
    except BadFileError:
        return {}


def _stretches(catalog: Catalog, run: str, parent: str | None, until: int) -> Iterator[Segment]:
    """The run itself, what it went on from, what that went on from, and so on as far as it is still there."""
    known = {state.id: state for state in catalog.states}
    seen: set[str] = set()
    while run not in seen:
        seen.add(run)
        yield Segment(run, until, parent)
        if parent is None:
            return
        run, _, at = parent.partition("@")
        until = min(until, int(at))
        parent = known[run].parent if run in known else None


def _saves(
    layout: StateLayout, catalog: Catalog, labels: Mapping[str, Label], stretches: list[Segment]
) -> Iterator[int]:
    for stretch in stretches:
        for file in layout.points_of(stretch.run):
            iteration = iteration_of(file)
            if iteration <= stretch.until and not _is_deleted(labels, f"{stretch.run}@{iteration}"):
                yield iteration
    for copy in catalog.copies:
        if _is_on(stretches, copy.id, copy.iteration_count):
            yield copy.iteration_count


def _named(
    layout: StateLayout, catalog: Catalog, labels: Mapping[str, Label], stretches: list[Segment], saves: Collection[int]
) -> Iterator[dict[str, Any]]:
    for state, summary in (*_slots(layout), *((copy.id, copy) for copy in catalog.states)):
        if _is_on(stretches, summary.id, summary.iteration_count) and not _is_deleted(labels, state):
            yield from _mark(state, summary.iteration_count, labels)
    for stretch in stretches:
        for iteration in saves:
            state = f"{stretch.run}@{iteration}"
            if iteration <= stretch.until and not _is_deleted(labels, state):
                yield from _mark(state, iteration, labels)


def _slots(layout: StateLayout) -> Iterator[tuple[str, SavedSummary]]:
    for folder in layout.slot_folders():
        with contextlib.suppress(BadFileError):  # `check` names it
            yield SLOT_PREFIX + folder.name, summarize(folder / WEIGHTS, folder)


def _mark(state: str, iteration: int, labels: Mapping[str, Label]) -> Iterator[dict[str, Any]]:
    label = labels.get(state)
    if label is not None and label.name:
        yield {"iteration": iteration, "name": label.name, "id": state}


def _branches(catalog: Catalog, stretches: list[Segment]) -> Iterator[dict[str, Any]]:
    for stretch in stretches:
        if stretch.parent is not None:
            run, _, at = stretch.parent.partition("@")
            yield {"iteration": int(at), "run": run, "went_on": True}
    own = {stretch.run for stretch in stretches}
    for state in catalog.states:
        run, _, at = (state.parent or "").partition("@")
        if at and state.id not in own and _is_on(stretches, run, int(at)):
            yield {"iteration": int(at), "run": state.id, "went_on": False}


def _is_on(stretches: list[Segment], run: str, iteration: int) -> bool:
    return any(stretch.holds(run, iteration) for stretch in stretches)


def _is_deleted(labels: Mapping[str, Label], state: str) -> bool:
    return state in labels and labels[state].deleted_at is not None
