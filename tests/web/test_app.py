"""What stands around the whole application."""

from __future__ import annotations

from flask.testing import FlaskClient

from tests.helpers.site import Site


def test_another_origin_cannot_open_a_socket(site: Site) -> None:
    own = site.http.get("/socket.io/?EIO=4&transport=polling", headers={"Origin": "http://localhost"})
    foreign = site.http.get("/socket.io/?EIO=4&transport=polling", headers={"Origin": "http://evil.example"})
    assert own.status_code == 200
    assert foreign.status_code == 403


def test_what_is_refused_at_the_gate_has_the_security_headers_too(lab: FlaskClient) -> None:
    refused = lab.get("/api/status")
    assert refused.status_code == 401
    assert "Content-Security-Policy" in refused.headers
