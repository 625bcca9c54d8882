"""add_pages(app, files): the dashboard's page."""

from __future__ import annotations

import re
from posixpath import dirname, join, normpath

from flask import Flask, Response, abort, render_template, request
from werkzeug.wrappers import Response as PlainResponse

from quadra.paths import STATIC
from quadra.version import __version__
from quadra.web.access_gate import role
from quadra.web.static_files import StaticFiles

DASHBOARD_SHEET = "css/dashboard.css"
_SHEETS = (
    *("theme", "layout", "parts", "controls", "board", "marks", "dialogs"),
    *("states", "alerts", "log", "inside", "settings", "watching"),
)
# A page with one sheet is there sooner than one with thirteen.
JOINED = {DASHBOARD_SHEET: [f"css/{name}.css" for name in _SHEETS]}
# What `loader.js` asks for first: the browser does so before a script has run.
FIRST = ("api/status", "api/history?points=4000")
_IMPORTED = re.compile(r'^(?:import|export)\b[^;]*?\bfrom "(\.[\w./]+)\.js"', re.MULTILINE)


def add_pages(app: Flask, files: StaticFiles) -> None:
    """Register the dashboard, and the files for what is not answered before Flask."""
    modules = modules_of("main")
    later = [name for name in modules_of("later") if name not in modules]

    @app.get("/")
    def dashboard() -> Response:
        html = render_template(
            "dashboard.html",
            asset=files.address,
            sheet=DASHBOARD_SHEET,
            first=FIRST,
            modules=modules,
            later=later,
            version=__version__,
            role=role(),
        )
        page = Response(html, mimetype="text/html")
        page.headers["Cache-Control"] = "no-cache"
        return page

    @app.get("/assets/<version>/<path:path>")
    def assets(version: str, path: str) -> PlainResponse:
        del version  # it only makes the address new
        return files.answer(path, request.environ) or abort(404)


def modules_of(start: str) -> list[str]:
    """The ES modules that one needs, by their paths below `js`, itself first.

    A browser that is told them at once need not find them one by one.
    """
    found = [start]
    for name in found:
        source = (STATIC / "js" / f"{name}.js").read_text(encoding="utf-8")
        names = dict.fromkeys(normpath(join(dirname(name), other)) for other in _IMPORTED.findall(source))
        found += [other for other in names if other not in found]
    return found
