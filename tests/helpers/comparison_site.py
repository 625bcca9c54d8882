"""A small application that compares saved states of its own, some of which cannot be opened."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
from flask import Flask, Response, send_from_directory

from quadra.errors import DamagedFileError, FolderUnusableError, NoSavedStateError, QuadraError, UnknownSourceError
from quadra.storage.layout import WEIGHTS
from quadra.storage.saved_state import SavedState
from quadra.web import services
from quadra.web.error_answers import error_handlers
from quadra.web.pages import STATIC, page_routes
from quadra.web.routes_states import state_routes
from tests.helpers.state_helpers import REPOSITORY, RUN_B, saved_states

EARLY, LATE = saved_states(30, 60)
(WIDER,) = saved_states(40, run=RUN_B, field_size=12, seed=5)
LOST = replace(LATE, rows=np.where(np.arange(60)[:, None] < 20, np.nan, LATE.rows), warnings=("20 rows are lost.",))
FORGED = replace(LATE, engine={**LATE.engine, "syntropy": {}})
STATES: dict[str, tuple[str, SavedState]] = {
    "early": ("Before <b>all</b>", EARLY), "late": ("Stopped at 60", LATE), "wider": ("Another size", WIDER),
    "lost": ("With lost rows", LOST), "forged": ("Forged", FORGED),
}  # fmt: skip
FAILURES: dict[str, QuadraError] = {
    "damaged": DamagedFileError(WEIGHTS, "its checksum does not fit its content: it was altered or damaged"),
    "empty": NoSavedStateError("No saved state found"),
    "unplugged": FolderUnusableError("The state directory is gone."),
}


def open_state(name: str) -> tuple[str, SavedState]:
    if name in FAILURES:
        raise FAILURES[name]
    if name not in STATES:
        raise UnknownSourceError(f"There is no saved state {name!r} in the state directory.")
    return STATES[name]


def application() -> Flask:
    """An application with the error handlers of the dashboard's."""
    app = Flask("test", root_path=str(REPOSITORY), static_folder=None, template_folder="templates")
    app.extensions[services.NAME] = SimpleNamespace(
        states=SimpleNamespace(open=open_state), files=SimpleNamespace(address=lambda path: f"files/{path}")
    )
    for blueprint in (error_handlers, page_routes, state_routes):
        app.register_blueprint(blueprint)

    @app.get("/files/<path:path>")
    def files(path: str) -> Response:
        return send_from_directory(STATIC, path)

    return app
