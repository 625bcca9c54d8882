"""Polling: messages that come and go in plain requests, where a client has no WebSocket; several of them share a request.

What engine.io cannot read of a request it drops as a whole and answers with OK, and so it does with more than 16 messages. Here
a request has room for as many messages as a client may send at once; what is more, or cannot be read, is refused, and the
session ends as it does on a WebSocket. Answers are kept short enough for clients that have the same limit of 16.

The library is pinned, and `tests/web/test_polling.py` holds it to what is used.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from engineio.payload import Payload
from flask_socketio import SocketIO
from werkzeug.wrappers import Response

from quadra.errors import ConfigurationError, QuadraError, TooManyRequestsError
from quadra.web.error_answers import status_of
from quadra.web.rate_limits import MESSAGES
from quadra.web.websocket_delivery import drop_transport

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("quadra.web")

MOST_IN_REQUEST = int(MESSAGES.burst)  # messages
MOST_IN_ANSWER = 16  # messages: clients in Python read no more at once
_PATH = "/socket.io/"


class PollingGate:
    """WSGI middleware that reads the messages of a polling request first; `largest` in bytes, more is left to engine.io."""

    def __init__(self, app: WSGIApplication, socketio: SocketIO, largest: int) -> None:
        Payload.max_decode_packets = MOST_IN_REQUEST
        self._app, self._server, self._largest = app, socketio.server, largest

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        answer = self._refusal(environ) if environ["REQUEST_METHOD"] == "POST" else None
        return (answer or self._app)(environ, start_response)

    def _refusal(self, environ: WSGIEnvironment) -> Response | None:
        """Returns the answer to a request whose messages cannot be taken, once its session is ended; None: they can."""
        session = "".join(parse_qs(environ.get("QUERY_STRING", "")).get("sid", [])[:1])
        length = int(environ.get("CONTENT_LENGTH") or 0)
        is_own = environ.get("PATH_INFO", "").startswith(_PATH) and session in self._server.eio.sockets
        if not is_own or length > self._largest:
            return None
        body = environ["wsgi.input"].read(length)
        environ["wsgi.input"] = io.BytesIO(body)
        error = problem_with(body)
        if error is None:
            return None
        what = "too many messages" if isinstance(error, TooManyRequestsError) else "what cannot be read"
        log.warning("A client sent %s: %s", what, error)
        drop_transport(self._server, session)
        content = json.dumps({"error": {"code": error.code, "message": str(error)}})
        return Response(content, status_of(error), mimetype="application/json")


def problem_with(body: bytes) -> QuadraError | None:
    """Returns why the messages in the body of a polling request cannot be taken; None: they can."""
    count = body.count(b"\x1e") + 1
    if count > MOST_IN_REQUEST:
        text = f"The request has {count} messages, {MOST_IN_REQUEST} are the most that a client may send at once. None was taken."
        return TooManyRequestsError(text, 1)
    try:
        Payload(encoded_payload=body.decode())
    except Exception as error:  # noqa: BLE001  # whatever it is, engine.io cannot read it either
        return ConfigurationError("body", f"cannot be read as messages of Engine.IO ({error}). None was taken")
    return None


def deliver_in_portions(connection: Any) -> None:
    """Has a session of engine.io answer a polling request with at most 16 messages, the rest with the next ones."""
    connection.poll = _portions_of(connection.poll, connection)


def _portions_of(poll: Callable[[], list[Any]], connection: Any) -> Callable[[], list[Any]]:
    waiting: list[Any] = []

    def next_portion() -> list[Any]:
        if not waiting:
            waiting.extend(poll())
        size = len(waiting) if connection.upgraded else MOST_IN_ANSWER  # a WebSocket has a frame for each
        portion, waiting[:] = waiting[:size], waiting[size:]
        return portion

    return next_portion
