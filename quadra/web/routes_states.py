"""Saved states for browsers and scripts: the list, the commands, and what is opened beside the worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from flask import Flask

from quadra.config import TrainingConfig
from quadra.live.feed import MOST_POINTS
from quadra.model.history import History
from quadra.reports.proof_queue import Proofs
from quadra.states.alert_rules import exported_rules
from quadra.states.listing import StateListing
from quadra.states.timeline import timeline_of
from quadra.storage.layout import StateLayout
from quadra.training.commands import Commands
from quadra.web.compare import add_compare
from quadra.web.error_answers import LARGEST_ANSWER, LARGEST_ITERATION, whole_argument
from quadra.web.payloads import required_text, switch, text, whole
from quadra.web.report import add_report
from quadra.web.uploads import add_transfer

if TYPE_CHECKING:
    from quadra.storage.files.durable import Piece
    from quadra.storage.saved_state import SavedState
    from quadra.training.worker import Worker

Command = Callable[[Mapping[str, Any]], Future[dict[str, Any]]]

_LONGEST_PROOF = 1_000_000  # iterations


def add_states(app: Flask, worker: Worker, states: Commands, asset: Callable[[str], str]) -> None:
    """Register the routes of the saved states."""
    layout, library, defaults = worker.layout, StateListing(worker.layout), worker.defaults

    @app.get("/api/states")
    def api_states() -> dict[str, Any]:
        return {
            "states": [entry.as_dict() for entry in library.entries()],
            "kept": vars(worker.view().status.retention),
        }

    @app.get("/api/marks")
    def api_marks() -> dict[str, Any]:
        view = worker.view()
        happened = view.status.happened._asdict()
        return {**timeline_of(layout, view.status.run, view.status.parent, view.iteration_count), **happened}

    @app.get("/api/states/<state>/history")
    def api_state_history(state: str) -> dict[str, Any]:
        title, saved = _opened(layout, state, defaults)
        start = whole_argument("start", 1, 1, LARGEST_ITERATION)
        end = whole_argument("end", len(saved.rows), 0, LARGEST_ITERATION)
        most = whole_argument("points", MOST_POINTS, 1, LARGEST_ANSWER)
        points = History(saved.rows).slice(start, end, most)
        told = {"total": points.total, "thinned": points.thinned, "run": saved.record.run, "name": title}
        return {**points.as_lists(), **told}

    add_compare(app, lambda state: _opened(layout, state, defaults), asset)
    add_report(app, lambda state: _opened(layout, state, defaults), lambda state: library.label(state).note)

    add_transfer(
        app,
        lambda state: _files(layout, state, defaults),
        lambda folder, name: states.import_folder(folder, name).result(),
        worker.uploads_folder,
        worker.publisher.publish,
    )


def _files(layout: StateLayout, state: str, defaults: TrainingConfig) -> tuple[str, Mapping[str, Iterable[Piece]]]:
    """What the archive of a state is called, and the files in it."""
    from quadra.states import (
        read_only,
        transfer,  # here, since they take torch along: a server must not wait for that
    )

    entry, files = read_only.read_portable_files(layout, state, defaults)
    rules = exported_rules(layout.path, entry.run, entry.id, entry.run)
    name = StateListing(layout).label(state).name
    return transfer.archive_name(name, entry.run, entry.iteration_count), {**files, **rules}


def state_events(worker: Worker, states: Commands) -> dict[str, Command]:
    """The Socket.IO events of the saved states."""
    proofs = Proofs(worker.layout, worker.defaults)
    return {
        "save_slot": lambda given: states.save_slot(required_text(given, "name"), switch(given, "overwrite")),
        "label_state": lambda given: states.label(
            required_text(given, "id"), text(given, "name"), text(given, "note"), _pinned(given)
        ),
        "delete_state": lambda given: states.delete(required_text(given, "id")),
        "undelete_state": lambda given: states.undelete(required_text(given, "id")),
        "prove_state": lambda given: proofs.prove(
            required_text(given, "id"), whole(given, "iterations", 1, _LONGEST_PROOF)
        ),
    }


def _pinned(given: Mapping[str, Any]) -> bool | None:
    return None if given.get("pinned") is None else switch(given, "pinned")


def _opened(layout: StateLayout, state: str, defaults: TrainingConfig) -> tuple[str, SavedState]:
    from quadra.states.read_only import read_state  # here, since it takes torch along: a server must not wait for that

    entry, saved = read_state(layout, state, defaults)
    return StateListing(layout).title(entry), saved
