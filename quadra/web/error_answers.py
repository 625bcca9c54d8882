"""Errors as answers: JSON with a stable code and the right status to a request, an acknowledgement to an event."""

from __future__ import annotations

import logging
from typing import Any

from flask import Blueprint, Response, jsonify, request
from flask_socketio import SocketIO
from werkzeug.exceptions import HTTPException

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

log = logging.getLogger("quadra.web")

error_handlers = Blueprint("errors", __name__)

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
    """Returns the HTTP status of an error; 500 where the client could have done nothing."""
    return next((number for kind, number in _STATUS if isinstance(error, kind)), 500)


def error_answer(code: str, message: str) -> Response:
    """Returns the JSON of an error."""
    return jsonify({"error": {"code": code, "message": message}})


def client() -> str:
    """Returns the id of the client that the present event comes from."""
    return request.sid  # type: ignore[attr-defined,no-any-return]  # Flask-SocketIO adds it to the request


def refuse_event(socketio: SocketIO, client: str, code: str, message: str) -> dict[str, Any]:
    """Tell a client why nothing is done, and return the acknowledgement that says so."""
    socketio.emit("status_message", {"message": message, "type": "error"}, to=client)
    return {"ok": False, "error": {"code": code, "message": message}}


@error_handlers.app_errorhandler(HTTPException)
def http_error(error: HTTPException) -> tuple[Response, int]:
    """Answers what Flask and Werkzeug refuse."""
    code = (error.name or "error").lower().replace(" ", "_")
    return error_answer(code, error.description or "The request failed."), error.code or 500


@error_handlers.app_errorhandler(QuadraError)
def our_error(error: QuadraError) -> tuple[Response, int]:
    """Answers an error of our own tree."""
    return error_answer(error.code, error.message), status_of(error)


@error_handlers.app_errorhandler(Exception)
def unexpected(error: Exception) -> tuple[Response, int]:
    """Answers what nobody expected, and logs it."""
    log.error("A request failed unexpectedly", exc_info=error)
    return error_answer("internal_error", "The request failed unexpectedly; the terminal says why."), 500
