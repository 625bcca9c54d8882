"""Fields: what clients send, checked. Each function raises a ConfigurationError that names the field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from quadra.errors import ConfigurationError


def fields(payload: tuple[Any, ...]) -> Mapping[str, Any]:
    """The fields of a message: an object, or nothing."""
    given = payload[0] if payload else None
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ConfigurationError("payload", f"must be an object of fields, not a {type(given).__name__}")
    return given


def whole(given: Mapping[str, Any], name: str, least: int, most: int) -> int | None:
    """A whole number of a range, or None where it is left out."""
    value = given.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a browser's JSON has one kind of number
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and least <= value <= most):
        return value
    raise ConfigurationError(name, f"must be a whole number from {least} to {most:,}, not {shown(value)}")


def whole_or_infinity(digits: str) -> float:
    """A number of JSON; one with hundreds of digits becomes infinity, which is then refused by its field's name."""
    return int(digits) if len(digits) < 40 else math.inf


def text(given: Mapping[str, Any], name: str) -> str | None:
    """A text, or None where it is left out."""
    value = given.get(name)
    if value is None or isinstance(value, str):
        return value
    raise ConfigurationError(name, f"must be text, not {shown(value)}")


def required_text(given: Mapping[str, Any], name: str) -> str:
    """A text that must be there. Raises ConfigurationError."""
    value = text(given, name)
    if value is None:
        raise ConfigurationError(name, "must be given")
    return value


def switch(given: Mapping[str, Any], name: str) -> bool:
    """True or false; left out: false."""
    value = given.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise ConfigurationError(name, f"must be true or false, not {shown(value)}")


def pace(given: Mapping[str, Any]) -> float | None:
    """Iterations a second, or None for no limit."""
    name = "iterations_per_second"
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ConfigurationError(name, f"must be a number, or null for no limit, not {shown(value)}")
    return float(value)


def shown(value: object) -> str:
    """A value as a message repeats it."""
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"
