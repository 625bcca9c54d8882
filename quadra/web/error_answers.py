"""Answers: errors as JSON with the right status code, and questions checked, the same for every part of the HTTP interface."""

from __future__ import annotations

from flask import Response, jsonify, request

from quadra.errors import (
    AccessError,
    ConfigurationError,
    LoadError,
    NameTakenError,
    NoSavedStateError,
    QuadraError,
    RefusedError,
    TokenRequiredError,
    TooManyAttemptsError,
    TooManyRequestsError,
    UnknownSourceError,
)
from quadra.web.payloads import shown

LARGEST_ANSWER = 20_000  # points of a history
LARGEST_ITERATION = 2**53 - 1

# The first class that an error is of.
_STATUS: tuple[tuple[type[QuadraError], int], ...] = (
    (ConfigurationError, 400),
    (UnknownSourceError, 404),
    (NoSavedStateError, 404),
    (LoadError, 409),
    (NameTakenError, 409),
    (RefusedError, 409),
    (TooManyRequestsError, 429),
    (TokenRequiredError, 401),
    (TooManyAttemptsError, 429),
    (AccessError, 403),
)


def status_of(error: QuadraError) -> int:
    """The HTTP status of an error; 500 where the client could have done nothing."""
    return next((number for kind, number in _STATUS if isinstance(error, kind)), 500)


def error_answer(code: str, message: str) -> Response:
    """The JSON of an error."""
    return jsonify({"error": {"code": code, "message": message}})


def whole_argument(name: str, default: int, least: int, most: int) -> int:
    """A whole number of the query string; raises ConfigurationError."""
    text = request.args.get(name, "")
    if text == "":
        return default
    if text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most:
        return int(text)
    raise ConfigurationError(name, f"must be a whole number from {least} to {most:,}, not {shown(text)}")
