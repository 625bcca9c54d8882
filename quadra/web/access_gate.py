"""AccessGate: every request and every socket passes it before anything else of the web application.

It stands around the whole application, Socket.IO included. A handler that is registered later is behind it too: an unsafe
method and an event are refused to watchers unless the event is named as one that they may send. `access_rules` decides.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from flask import Flask, request
from flask_socketio import ConnectionRefusedError as SocketRefusal
from flask_socketio import SocketIO
from werkzeug.wrappers import Request
from werkzeug.wrappers import Response as PlainResponse

from quadra.errors import (
    AccessError,
    ForeignOriginError,
    TokenRequiredError,
    TooManyAttemptsError,
    WatchingOnlyError,
)
from quadra.web.access_rules import COOKIE_AGE, Access, Role
from quadra.web.error_answers import client, refuse_event, status_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LOGIN = "/login"
SOCKETS = "/socket.io/"
ASSETS = "/assets/"
PUBLIC = (LOGIN, "/health")  # answered without a token; they tell nothing but whether the server is well
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
MOST_UNKNOWN = 16  # sockets at once that have not said yet who they are
_ROLE, _ADMITTED = "quadra.role", "quadra.admitted"  # in the environment of a request, where no client can write
_WATCHING = "You are watching only: the token you came in with may see everything and change nothing."
_MISSING = "This server asks for a token: open the link that its terminal shows, or send it as a bearer token."


def role() -> Role | None:
    """Returns the role of the present request or event; None on a public address that somebody asks for without a token."""
    found: Role | None = request.environ.get(_ROLE)
    return found


class AccessGate:
    """WSGI middleware that lets through what the access rules allow, and answers everything else itself."""

    def __init__(self, app: WSGIApplication, access: Access) -> None:
        self._app, self._access = app, access
        self._unknown = threading.BoundedSemaphore(MOST_UNKNOWN)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        asked = Request(environ)
        try:
            answer = self._answer(asked)
        except AccessError as error:
            answer = _refusal(asked, error)
        if answer is not None:
            return answer(environ, start_response)
        if asked.path.startswith(SOCKETS) and environ[_ROLE] is None:
            return self._socket_of_unknown(environ, start_response)
        return self._app(environ, start_response)

    def _answer(self, asked: Request) -> PlainResponse | None:
        """Returns an answer to be given at once, or None: the application answers. Raises AccessError."""
        self._access.check_host(asked.environ.get("HTTP_HOST"))
        self._access.check_origin(asked.headers.get("Origin"), asked.scheme, asked.host)
        _check_site(asked)
        if asked.method == "GET" and "token" in asked.args and asked.path != LOGIN and not self._access.is_open:
            return self._with_cookie(asked)
        found = asked.environ[_ROLE] = known_role(self._access, asked)
        if found is None and not _is_public(asked.path):
            raise TokenRequiredError(_MISSING)
        if found is Role.WATCHER and asked.method not in SAFE_METHODS and not _is_public(asked.path):
            raise WatchingOnlyError(_WATCHING)
        return None

    def _with_cookie(self, asked: Request) -> PlainResponse:
        """Returns a redirection to the same address without the token, which no history and no referrer shall keep."""
        granted = self._access.role_of_token(asked.args["token"], asked.remote_addr or "")
        rest = [(name, value) for name, value in asked.args.items(multi=True) if name != "token"]
        last = quote(asked.path.rpartition("/")[2])
        answer = _moved(f"./{last}{'?' + urlencode(rest) if rest else ''}")
        set_cookie(answer, asked, self._access, granted)
        return answer

    def _socket_of_unknown(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """A program may bring its token in the first message of its socket; until then it holds one of few permits."""
        with _permit(self._unknown) as give_back:
            if give_back is None:
                crowded = TokenRequiredError(f"Too many sockets without a token are open. {_MISSING}")
                return _json(crowded, 503)(environ, start_response)
            environ[_ADMITTED] = give_back
            return self._app(environ, start_response)


class GuardedSocketIO(SocketIO):  # type: ignore[misc]  # Flask-SocketIO ships no types
    """Socket.IO that admits a socket by its role, and takes from watchers only the events named for them."""

    def __init__(self, app: Flask, access: Access, for_watchers: Iterable[str], **options: Any) -> None:
        self._access = access
        self._for_watchers = frozenset(for_watchers)
        super().__init__(app, **options)

    def on(self, message: str, namespace: str | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Registers a handler behind the guard; every way to register one leads here."""
        register = super().on(message, namespace)

        def guard(handler: Callable[..., Any]) -> Callable[..., Any]:
            register(self._guarded(message, handler))
            return handler

        return guard

    def _guarded(self, message: str, handler: Callable[..., Any]) -> Callable[..., Any]:
        def connect(given: Any = None) -> None:
            self._admit(given)
            handler(given)

        def event(*payload: Any) -> Any:
            if role() is Role.OPERATOR or (role() is Role.WATCHER and message in self._for_watchers):
                return handler(*payload)
            return refuse_event(self, client(), WatchingOnlyError.code, _WATCHING)

        return {"connect": connect, "disconnect": handler}.get(message, event)

    def _admit(self, given: Any) -> None:
        try:
            found = known_role(self._access, request)
            if found is None:
                token = given.get("token") if isinstance(given, Mapping) else None
                if not isinstance(token, str):
                    raise TokenRequiredError(_MISSING)
                found = self._access.role_of_token(token, request.remote_addr or "")
        except AccessError as error:
            raise SocketRefusal(error.message, {"code": error.code}) from error
        request.environ[_ROLE] = found  # the socket's own, which all its events are handled with
        request.environ.pop(_ADMITTED, lambda: None)()


def known_role(access: Access, asked: Request) -> Role | None:
    """Returns the role by cookie or bearer token; None where neither came. Raises AccessError for a wrong token."""
    if access.is_open:
        return Role.OPERATOR
    kept = access.role_of_cookie(asked.cookies.get(_cookie_name(asked), ""))
    if kept is not None:
        return kept
    kind, _, token = asked.headers.get("Authorization", "").partition(" ")
    return access.role_of_token(token.strip(), asked.remote_addr or "") if kind.lower() == "bearer" else None


def set_cookie(answer: PlainResponse, asked: Request, access: Access, granted: Role) -> None:
    """Have the browser show a cookie instead of the token from now on."""
    answer.set_cookie(
        _cookie_name(asked),
        access.cookie(granted),
        max_age=COOKIE_AGE,
        path=f"{asked.root_path.rstrip('/')}/",
        secure=asked.is_secure,
        httponly=True,
        samesite="Strict",
    )


def add_wait(answer: PlainResponse, error: AccessError) -> None:
    """Say when to try again where that is known."""
    if isinstance(error, TooManyAttemptsError):
        answer.headers["Retry-After"] = str(error.seconds)


def _cookie_name(asked: Request) -> str:
    """Cookies know no ports: two servers of one machine must not take each other's."""
    return f"quadra-{asked.host.rpartition(':')[2]}" if asked.host[-1:].isdigit() and ":" in asked.host else "quadra"


def _is_public(path: str) -> bool:
    return path in PUBLIC or path.startswith((ASSETS, SOCKETS))  # a socket says who it is when it connects


def _check_site(asked: Request) -> None:
    """Raises ForeignOriginError for a picture, script or frame that another site's page asks for, which has no origin.

    A link on another site may lead here; the cookie does not come along.
    """
    site, mode, target = (asked.headers.get(f"Sec-Fetch-{name}", "") for name in ("Site", "Mode", "Dest"))
    is_link = mode == "navigate" and target == "document" and asked.method == "GET"
    if site in ("cross-site", "same-site") and not is_link:
        raise ForeignOriginError("A page of another site may not ask this server.")


def _is_navigation(asked: Request) -> bool:
    """Returns whether a person's browser asks for a page; programs and scripts ask for data."""
    return (
        asked.method == "GET"
        and "text/html" in asked.headers.get("Accept", "")
        and asked.headers.get("Sec-Fetch-Mode", "navigate") == "navigate"
    )


def _refusal(asked: Request, error: AccessError) -> PlainResponse:
    if isinstance(error, TokenRequiredError | TooManyAttemptsError) and _is_navigation(asked):
        return _moved(_login_address(asked, error))
    answer = _json(error, status_of(error))
    add_wait(answer, error)
    if isinstance(error, TokenRequiredError):
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


def _login_address(asked: Request, error: AccessError) -> str:
    """Returns the login page relative to the page that was asked for, which holds below any prefix of a proxy."""
    rest = {name: value for name, value in asked.args.items() if name != "token"}
    address = asked.path.lstrip("/") + (f"?{urlencode(rest)}" if rest else "")
    query = {"next": address} if address else {}
    if "token" in asked.args:
        query["trouble"] = "wrong_token" if isinstance(error, TokenRequiredError) else error.code
    return ("../" * (asked.path.count("/") - 1) or "./") + "login" + (f"?{urlencode(query)}" if query else "")


def _moved(address: str) -> PlainResponse:
    answer = PlainResponse(status=303, headers={"Location": address, "Cache-Control": "no-store"})
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer


def _json(error: AccessError, status: int) -> PlainResponse:
    content = json.dumps({"error": {"code": error.code, "message": error.message}})
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return PlainResponse(content, status, headers, mimetype="application/json")


@contextmanager
def _permit(permits: threading.BoundedSemaphore) -> Iterator[Callable[[], None] | None]:
    """Holds one of a few permits, and yields what gives it back early; yields None where all are held."""
    if not permits.acquire(blocking=False):
        yield None
        return
    once = threading.Lock()

    def give_back() -> None:
        if once.acquire(blocking=False):
            permits.release()

    try:
        yield give_back
    finally:
        give_back()
