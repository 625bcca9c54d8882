"""Answers: errors as JSON with the right status code, the same for every part of the HTTP interface."""

from __future__ import annotations

from flask import Response, jsonify

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
    UnknownSourceError,
)

# The first class that an error is of.
_STATUS: tuple[tuple[type[QuadraError], int], ...] = (
    (ConfigurationError, 400),
    (UnknownSourceError, 404),
    (NoSavedStateError, 404),
    (LoadError, 409),
    (NameTakenError, 409),
    (RefusedError, 409),
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
