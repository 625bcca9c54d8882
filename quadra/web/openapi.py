"""The description of the HTTP interface, for programs that generate clients and for those that test servers."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from quadra.version import __version__

DESCRIPTION = Path(__file__).with_name("openapi.json")


@cache
def document() -> str:
    """Returns the OpenAPI document as JSON."""
    described = json.loads(DESCRIPTION.read_text(encoding="utf-8"))
    described["info"]["version"] = __version__
    return json.dumps(described, indent=2)
