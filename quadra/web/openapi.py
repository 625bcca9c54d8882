"""The description of the HTTP interface, for programs that generate clients and for those that test servers.

Paths and their descriptions stand in `openapi.json`; what is sent and answered is described by the types that check it.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from quadra.version import __version__
from quadra.web.events import EVENTS
from quadra.web.payloads import Points
from quadra.web.response_types import RESPONSES

PATHS = Path(__file__).with_name("openapi.json")
_REFERENCE = "#/components/schemas/{name}"


@cache
def document() -> str:
    """Returns the OpenAPI document as JSON."""
    described = json.loads(PATHS.read_text(encoding="utf-8"))
    described["info"]["version"] = __version__
    payloads = {command.payload: command.payload.__name__ for command in EVENTS.values()}
    _, schemas = msgspec.json.schema_components([*RESPONSES, *payloads], ref_template=_REFERENCE)
    described["components"]["schemas"] = schemas
    described["components"]["parameters"] |= _parameters()
    described["x-socketio-events"] = {
        event: {
            "payload": {"$ref": _REFERENCE.format(name=payloads[command.payload])},
            "for-watchers": command.is_for_watchers,
        }
        for event, command in EVENTS.items()
    }
    return json.dumps(described, indent=2)


def _parameters() -> dict[str, Any]:
    """Returns the parameters of a history's query by their names."""
    schema = msgspec.json.schema(Points)["$defs"]["Points"]
    return {name: _parameter(name, field) for name, field in schema["properties"].items()}


def _parameter(name: str, field: dict[str, Any]) -> dict[str, Any]:
    default = field.get("default")
    limits = {**field.get("anyOf", [field])[0]}  # what stands beside it is null, which a query cannot say
    description = limits.pop("description")
    if default is not None:
        limits["default"] = default
    values = [limits, {"const": "", "description": "As if it were left out."}]
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": {"anyOf": values},
    }
