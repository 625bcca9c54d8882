"""The login page: it leads back to where somebody came from, to no other site, and says what went wrong."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.helpers.site import TOKEN

NAVIGATION = {"Accept": "text/html,*/*"}


def code(answer: TestResponse) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["error"]["code"]


def test_a_browser_without_a_token_is_led_to_the_login_and_back(lab: FlaskClient) -> None:
    answer = lab.get("/compare?ids=a,b", headers=NAVIGATION)
    assert (answer.status_code, answer.headers["Location"]) == (303, "./login?next=compare%3Fids%3Da%252Cb")
    deep = lab.get("/api/states/x/report", headers=NAVIGATION)
    assert deep.headers["Location"] == "../../../login?next=api%2Fstates%2Fx%2Freport"
    page = lab.get(answer.headers["Location"].removeprefix("."))
    assert 'value="compare?ids=a%2Cb"' in page.text
    entered = lab.post("/login", data={"token": f" {TOKEN} ", "next": "compare?ids=a%2Cb"})
    assert (entered.status_code, entered.headers["Location"]) == (303, "./compare?ids=a%2Cb")
    assert lab.get("/").status_code == 200


@pytest.mark.parametrize(
    "place", ["//evil.example", "http://evil.example", "\\\\evil.example", "/\\evil", "javascript:x"]
)
def test_a_login_leads_to_no_other_site(lab: FlaskClient, place: str) -> None:
    location = lab.post("/login", data={"token": TOKEN, "next": place}).headers["Location"]
    assert location.startswith("./")
    assert lab.post("/login", data={"token": TOKEN, "next": "x\r\nSet-Cookie: a=b"}).headers["Location"] == "./"


def test_a_wrong_token_in_a_link_says_so_on_the_login_page(lab: FlaskClient) -> None:
    answer = lab.get("/?token=not-this-one", headers=NAVIGATION)
    assert answer.headers["Location"] == "./login?trouble=wrong_token"
    assert "another token than this server" in lab.get("/login?trouble=wrong_token").text
    assert "call 555" not in lab.get("/login?trouble=call+555").text
    assert code(lab.get("/api/status?token=not-this-one")) == (401, "token_required")
