"""Every answer tells the browser what it may load and do; that every page works under it is in `tests/browser/test_policy.py`."""

from __future__ import annotations

import pytest
from flask import Flask

from quadra.web.security_headers import CDN, SecurityHeaders, policy_for


def application() -> Flask:
    app = Flask("under test")

    @app.get("/own")
    def own() -> tuple[str, dict[str, str]]:
        return "", {"Content-Security-Policy": "default-src 'none'"}

    app.wsgi_app = SecurityHeaders(app.wsgi_app)  # type: ignore[method-assign]
    return app


def test_every_answer_has_them_errors_too() -> None:
    for path in ("/nothing", "/own"):
        headers = application().test_client().get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert len(headers.get_all("Content-Security-Policy")) == 1


def test_an_answer_keeps_a_policy_of_its_own() -> None:
    answer = application().test_client().get("/own")
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'"


def test_the_policy_allows_the_cdn_and_the_own_socket_and_nothing_inline() -> None:
    policy = dict(part.split(" ", 1) for part in policy_for("lab:5000").split("; "))
    assert policy["script-src"] == f"'self' {CDN}"
    assert policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["connect-src"] == "'self' ws://lab:5000 wss://lab:5000"
    assert "unsafe" not in policy_for("lab:5000")


@pytest.mark.parametrize("host", ["", "a; script-src *", "a b", "a\nb", "*", "[::1"])
def test_a_host_that_is_none_does_not_get_into_the_policy(host: str) -> None:
    assert "connect-src 'self'" in policy_for(host)
    assert "ws:" not in policy_for(host)


def test_the_policy_names_an_address_of_the_sixth_kind() -> None:
    assert "ws://[::1]:5000" in policy_for("[::1]:5000")
