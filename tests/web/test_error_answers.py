"""Errors are JSON with a stable code and the right status, whoever raises them."""

from __future__ import annotations

import pytest
from flask import Flask

from quadra.errors import DamagedFileError, NameTakenError, QuadraError, SaveError
from quadra.web.error_answers import error_handlers
from tests.helpers.site import Site


def test_errors_are_json_with_the_right_status(site: Site) -> None:
    assert site.http.get("/nothing").json["error"]["code"] == "not_found"
    answer = site.http.post("/api/status")
    assert (answer.status_code, answer.json["error"]["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (DamagedFileError("a.pth", "is damaged"), 409, "damaged_file"),
        (NameTakenError("There is one."), 409, "name_taken"),
        (SaveError("No."), 500, "save_failed"),
        (QuadraError("No."), 500, "quadra_error"),
        (KeyError("x"), 500, "internal_error"),
    ],
)
def test_what_a_route_raises_is_answered_by_its_class(
    error: Exception, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Flask("under test")
    app.register_blueprint(error_handlers)

    @app.get("/")
    def fail() -> str:
        raise error

    answer = app.test_client().get("/")
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (status, code)
    assert ("unexpectedly" in caplog.text) == (code == "internal_error"), (
        "a failure of the server is logged, with where"
    )
