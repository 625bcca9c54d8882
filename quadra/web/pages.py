"""Pages: the dashboard and the comparison, the files that they load, and the description of the HTTP interface."""

from __future__ import annotations

import re
from functools import cache
from posixpath import dirname, join, normpath
from typing import Any

from flask import Blueprint, Response, abort, render_template, request
from werkzeug.wrappers import Response as PlainResponse

from quadra.paths import STATIC
from quadra.version import __version__
from quadra.web.access_gate import role
from quadra.web.openapi import document
from quadra.web.services import services

DASHBOARD_SHEET = "css/dashboard.css"
_SHEETS = (
    *("theme", "layout", "parts", "controls", "board", "marks", "dialogs"),
    *("states", "alerts", "log", "inside", "settings", "watching"),
)
# A page with one sheet is there sooner than one with thirteen.
JOINED = {DASHBOARD_SHEET: [f"css/{name}.css" for name in _SHEETS]}
# What `library_loader.js` asks for first: the browser does so before a script has run.
FIRST = ("api/status", "api/history?points=4000")
_IMPORTED = re.compile(r'^(?:import|export)\b[^;]*?\bfrom "(\.[\w./]+)\.js"', re.MULTILINE)

page_routes = Blueprint("pages", __name__)


@page_routes.get("/")
def dashboard() -> Response:
    """Answers the dashboard."""
    at_once = modules_of("main")
    deferred = [name for name in modules_of("deferred") if name not in at_once]
    return _page("dashboard.html", sheet=DASHBOARD_SHEET, first=FIRST, modules=at_once, deferred=deferred, role=role())


@page_routes.get("/compare")
def comparison() -> Response:
    """Answers the page that sets saved states beside each other."""
    return _page("compare.html", modules=modules_of("compare/compare"))


@page_routes.get("/assets/<version>/<path:path>")
def asset(version: str, path: str) -> PlainResponse:
    """Answers a static file that was not answered before Flask."""
    del version  # it only makes the address new
    return services().files.answer(path, request.environ) or abort(404)


@page_routes.get("/api/openapi.json")
def openapi() -> Response:
    """Answers the description of the HTTP interface."""
    return Response(document(), mimetype="application/json")


@cache
def modules_of(start: str) -> tuple[str, ...]:
    """Returns the ES modules that one needs, by their paths below `js`, itself first.

    A browser that is told them at once need not find them one by one.
    """
    found = [start]
    for name in found:
        source = (STATIC / "js" / f"{name}.js").read_text(encoding="utf-8")
        names = dict.fromkeys(normpath(join(dirname(name), other)) for other in _IMPORTED.findall(source))
        found += [other for other in names if other not in found]
    return tuple(found)


def _page(template: str, **values: Any) -> Response:
    html = render_template(template, asset=services().files.address, version=__version__, **values)
    return Response(html, mimetype="text/html", headers={"Cache-Control": "no-cache"})
