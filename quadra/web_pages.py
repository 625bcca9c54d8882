"""add_pages(app): the dashboard's page, and its static files at addresses that change with their content."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from flask import Flask, Response, render_template, send_from_directory

from quadra import __version__
from quadra.web_access import role

ROOT = Path(__file__).resolve().parent.parent
STATIC = ROOT / "static"
_YEAR = 365 * 24 * 3600  # seconds
_IMPORTED = re.compile(r'^(?:import|export)\b[^;]*?\bfrom "\./(\w+)\.js"', re.MULTILINE)


def add_pages(app: Flask) -> Callable[[str], str]:
    """Register the dashboard and its files; returns a static file's address, relative to the root of the site."""
    version, modules = _fingerprint(STATIC), modules_of("main")

    def asset(path: str) -> str:
        """A relative address that changes with the content, so that no browser shows an old file."""
        return f"assets/{version}/{path}"

    @app.get("/")
    def dashboard() -> Response:
        html = render_template("dashboard.html", asset=asset, modules=modules, version=__version__, role=role())
        page = Response(html, mimetype="text/html")
        page.headers["Cache-Control"] = "no-cache"
        return page

    @app.get("/assets/<version>/<path:path>")
    def assets(version: str, path: str) -> Response:
        del version  # it only makes the address new
        answer = send_from_directory(STATIC, path, max_age=_YEAR)
        answer.headers["Cache-Control"] = f"public, max-age={_YEAR}, immutable"
        return answer

    return asset


def modules_of(start: str) -> list[str]:
    """The ES modules that one needs, itself first: a browser that is told them at once need not find them one by one."""
    found = [start]
    for name in found:
        source = (STATIC / "js" / f"{name}.js").read_text(encoding="utf-8")
        found += [other for other in dict.fromkeys(_IMPORTED.findall(source)) if other not in found]
    return found


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]
