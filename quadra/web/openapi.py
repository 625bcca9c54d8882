"""add_openapi(app): the description of the HTTP interface, for programs that generate clients and for those that test servers."""

from __future__ import annotations

import json
from pathlib import Path

from flask import Flask, Response

from quadra.version import __version__

DESCRIPTION = Path(__file__).with_name("openapi.json")


def add_openapi(app: Flask) -> None:
    """Register `GET /api/openapi.json`."""
    described = json.loads(DESCRIPTION.read_text(encoding="utf-8"))
    described["info"]["version"] = __version__
    content = json.dumps(described, indent=2)

    @app.get("/api/openapi.json")
    def api_openapi() -> Response:
        return Response(content, mimetype="application/json")
