"""SecurityHeaders: what browsers are told about every answer, so that a page can load and reach nothing that is not ours.

The policy names no `unsafe-inline`: styles and scripts are files. Scripts come from here or from the CDN, where the page also
names their checksum. `connect-src` names the WebSocket's address too, since not every browser takes 'self' for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

CDN = "https://cdn.jsdelivr.net"
POLICY = "Content-Security-Policy"
_DIRECTIVES = {
    "default-src": "'self'",
    "script-src": f"'self' {CDN}",
    "style-src": "'self'",
    "img-src": "'self' data: blob:",
    "font-src": "'self'",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",  # frame-ancestors, for browsers that do not know it
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_HOST = re.compile(r"[A-Za-z0-9.-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")


class SecurityHeaders:
    """WSGI middleware that has the headers on every answer, those of Socket.IO included; a header that is there stays."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Callable[[bytes], object]:
            there = {name.lower() for name, _ in headers}
            wanted = {POLICY: policy_for(environ.get("HTTP_HOST", "")), **_ALWAYS}
            added = [(name, value) for name, value in wanted.items() if name.lower() not in there]
            return start_response(status, headers + added, *more)

        return self._app(environ, start)


def policy_for(host: str) -> str:
    """Returns the policy of a page that was asked for under the address `host`, a name with or without a port."""
    sockets = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
    directives = {**_DIRECTIVES, "connect-src": f"'self'{sockets}"}
    return "; ".join(f"{name} {value}" for name, value in directives.items())
