"""Timeline: where along a run's curves saved states stand, and where it, or another run from it, began by going back."""

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
    """The iterations up to `until`, which were trained as this run: the present one, or one that it went on from."""

    run: str
    until: int
    parent: str | None

    def holds(self, run: str, iteration: int) -> bool:
        """Returns whether this state of some run is on the curve."""
        return run == self.run and iteration <= self.until


def timeline_of(layout: StateLayout, run: str | None, parent: str | None, iteration_count: int) -> dict[str, Any]:
    """Returns what stands along the curve of the run in memory, as pages and scripts have it; reads the ends of a few files.

    `saves`: iterations of restore points and earlier saves, ascending; `named`: states that somebody named; `branches`: where
    a run was left by going back, `went_on` true where it is this run that began there.
    """
    if run is None:
        return {"run": None, "saves": [], "named": [], "branches": []}
    catalog, labels = read_catalog(layout), _labels(layout)
    segments = list(_segments(catalog, run, parent, iteration_count))
    saves = set(_saves(layout, catalog, labels, segments))
    return {
        "run": run,
        "saves": sorted(saves),
        "named": sorted(_named(layout, catalog, labels, segments, saves), key=lambda mark: mark["iteration"]),
        "branches": sorted(_branches(catalog, segments), key=lambda mark: mark["iteration"]),
    }


def _labels(layout: StateLayout) -> Mapping[str, Label]:
    """Returns no labels where they cannot be read: a warning is given where the states are listed."""
    try:
        return read_labels(layout.path)
    except BadFileError:
        return {}


def _segments(catalog: Catalog, run: str, parent: str | None, until: int) -> Iterator[Segment]:
    """Yields the run itself, the run that it went on from, and so on as far as they are still there."""
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
    layout: StateLayout, catalog: Catalog, labels: Mapping[str, Label], segments: list[Segment]
) -> Iterator[int]:
    for segment in segments:
        for file in layout.restore_points_of(segment.run):
            iteration = iteration_of(file)
            if iteration <= segment.until and not _is_deleted(labels, f"{segment.run}@{iteration}"):
                yield iteration
    for copy in catalog.copies:
        if _is_on(segments, copy.id, copy.iteration_count):
            yield copy.iteration_count


def _named(
    layout: StateLayout, catalog: Catalog, labels: Mapping[str, Label], segments: list[Segment], saves: Collection[int]
) -> Iterator[dict[str, Any]]:
    for state, summary in (*_slots(layout), *((copy.id, copy) for copy in catalog.states)):
        if _is_on(segments, summary.id, summary.iteration_count) and not _is_deleted(labels, state):
            yield from _mark(state, summary.iteration_count, labels)
    for segment in segments:
        for iteration in saves:
            state = f"{segment.run}@{iteration}"
            if iteration <= segment.until and not _is_deleted(labels, state):
                yield from _mark(state, iteration, labels)


def _slots(layout: StateLayout) -> Iterator[tuple[str, SavedSummary]]:
    for folder in layout.slot_folders():
        with contextlib.suppress(BadFileError):  # `check` names it
            yield SLOT_PREFIX + folder.name, summarize(folder / WEIGHTS, folder)


def _mark(state_id: str, iteration: int, labels: Mapping[str, Label]) -> Iterator[dict[str, Any]]:
    label = labels.get(state_id)
    if label is not None and label.name:
        yield {"iteration": iteration, "name": label.name, "id": state_id}


def _branches(catalog: Catalog, segments: list[Segment]) -> Iterator[dict[str, Any]]:
    for segment in segments:
        if segment.parent is not None:
            run, _, at = segment.parent.partition("@")
            yield {"iteration": int(at), "run": run, "went_on": True}
    own = {segment.run for segment in segments}
    for state in catalog.states:
        run, _, at = (state.parent or "").partition("@")
        if at and state.id not in own and _is_on(segments, run, int(at)):
            yield {"iteration": int(at), "run": state.id, "went_on": False}


def _is_on(segments: list[Segment], run: str, iteration: int) -> bool:
    return any(segment.holds(run, iteration) for segment in segments)


def _is_deleted(labels: Mapping[str, Label], state_id: str) -> bool:
    return state_id in labels and labels[state_id].deleted_at is not None
