"""The login page: where a person brings the token, and is given a cookie instead."""

from __future__ import annotations

from flask import Blueprint, Response, redirect, render_template, request

from quadra.errors import AccessError, TooManyAttemptsError
from quadra.version import __version__
from quadra.web.access_gate import LOGIN, add_wait, set_cookie
from quadra.web.access_rules import Role
from quadra.web.error_answers import status_of
from quadra.web.services import services

_LONGEST_ADDRESS = 2000  # characters of the address that a login leads back to
_TROUBLES = {
    "wrong_token": "The link that you opened has another token than this server.",
    TooManyAttemptsError.code: "Too many wrong tokens came from your address. Try again in some minutes.",
}

login_routes = Blueprint("login", __name__)


@login_routes.get(LOGIN)
def login_page() -> Response:
    """Answers the page that asks for the token."""
    trouble = _TROUBLES.get(request.args.get("trouble", ""))
    return _page(trouble, 200, _address_of(request.args.get("next", "")))


@login_routes.post(LOGIN)
def login() -> Response:
    """Exchanges the token for a cookie."""
    access, address = services().access, _address_of(request.form.get("next", ""))
    token = request.form.get("token", "").strip()
    try:
        role = Role.OPERATOR if access.is_open else access.role_of_token(token, request.remote_addr or "")
    except AccessError as error:
        answer = _page(error.message, status_of(error), address)
        add_wait(answer, error)
        return answer
    moved = redirect(f"./{address}", 303)
    if not access.is_open:
        set_cookie(moved, request, access, role)
    return moved  # type: ignore[return-value]  # Flask's own class of answer


def _page(trouble: str | None, status: int, address: str) -> Response:
    html = render_template(
        "login.html", asset=services().files.address, version=__version__, trouble=trouble, next_address=address
    )
    answer = Response(html, status, mimetype="text/html")
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["Referrer-Policy"] = "same-origin"  # with none at all a form's origin would be withheld too
    return answer


def _address_of(text: str) -> str:
    """Where a login leads, relative to the root of the site; what is put behind `./` cannot lead to another one."""
    return text if len(text) <= _LONGEST_ADDRESS and text.isprintable() else ""
