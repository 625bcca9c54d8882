"""add_compare(app, open_state, asset): the page that sets saved states beside each other, and its data as JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, Response, render_template, request

from quadra.errors import (
    BadFileError,
    ConfigurationError,
    LoadError,
    NoSavedStateError,
    QuadraError,
    UnknownSourceError,
)
from quadra.version import __version__
from quadra.web.error_answers import error_answer, status_of
from quadra.web.pages import modules_of

if TYPE_CHECKING:
    from quadra.storage.saved_state import SavedState

FEWEST, MOST = 2, 8  # saved states that are compared at once
_LONGEST_ID = 200  # characters

# The first class that an error is of.
_STATUS: tuple[tuple[type[QuadraError], int], ...] = (
    (ConfigurationError, 400),
    (UnknownSourceError, 404),
    (NoSavedStateError, 404),
    (LoadError, 409),
)


def add_compare(app: Flask, open_state: Callable[[str], tuple[str, SavedState]], asset: Callable[[str], str]) -> None:
    """Register `/compare?ids=a,b` and `/api/compare?ids=a,b`, for 2 to 8 ids.

    `open_state`: the label and the state that an id names, or a QuadraError, which is answered as JSON: 404 where there is
    no such state, 409 where it cannot be read. `asset`: a static file's address, relative to the root of the site.
    """
    pages, modules = Blueprint("compare", __name__), modules_of("compare/compare")

    @pages.get("/compare")
    def compare_page() -> Response:
        page = Response(
            render_template("compare.html", asset=asset, modules=modules, version=__version__), mimetype="text/html"
        )
        page.headers["Cache-Control"] = "no-cache"
        return page

    @pages.get("/api/compare")
    def api_compare() -> dict[str, Any]:
        ids = _ids(request.args.get("ids", ""))
        from quadra.reports.compare import (
            compare,  # here, since it takes torch along: a server must not wait for that to start
        )

        return {"ids": ids, **compare([_opened(open_state, name) for name in ids])}

    @pages.errorhandler(QuadraError)
    def told(error: QuadraError) -> tuple[Response, int]:
        return error_answer(error.code, error.message), status_of(error)

    app.register_blueprint(pages)


def _ids(text: str) -> list[str]:
    """The ids of the query string; raises ConfigurationError."""
    ids = [name.strip() for name in text.split(",") if name.strip()]
    if not FEWEST <= len(ids) <= MOST:
        raise ConfigurationError(
            "ids", f"must name {FEWEST} to {MOST} saved states, with a comma between them, not {len(ids)}"
        )
    if any(len(name) > _LONGEST_ID for name in ids):
        raise ConfigurationError("ids", f"must be ids of saved states, of at most {_LONGEST_ID} characters each")
    return ids


def _opened(open_state: Callable[[str], tuple[str, SavedState]], name: str) -> tuple[str, SavedState]:
    try:
        return open_state(name)
    except BadFileError as error:
        unreadable = LoadError(f"The saved state {name!r} cannot be read. {error.message}.")
        unreadable.code = error.code  # what is wrong with it stays known to scripts
        raise unreadable from error
