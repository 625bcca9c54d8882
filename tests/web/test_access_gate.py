"""The gate of the whole web application: every route and every event, as strangers, watchers and operators meet it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from quadra.training.lifecycle import Phase
from quadra.web import access_gate
from quadra.web.access_rules import COOKIE_AGE, MOST_ATTEMPTS, ON_THIS_MACHINE, Role
from quadra.web.events import FOR_WATCHERS
from tests.helpers.site import LAB, TOKEN, WATCH, Lab

NAVIGATION = {"Accept": "text/html,*/*"}
POLLING = "/socket.io/?EIO=4&transport=polling"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def code(answer: TestResponse) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["error"]["code"]


def paths(shared: Lab) -> list[str]:
    """Every address of the application, with something in the place of its variables."""
    rules = [rule.rule for rule in shared.app.url_map.iter_rules()]
    return [
        rule.replace("<state>", "x").replace("<source>", "x").replace("<version>/<path:path>", "x/y") for rule in rules
    ]


@pytest.mark.parametrize("client", ["lab", "here"])
def test_a_foreign_origin_reaches_no_route_by_any_method(
    client: str, shared: Lab, request: pytest.FixtureRequest
) -> None:
    http: FlaskClient = request.getfixturevalue(client)
    for path in [*paths(shared), POLLING, "/no/such/path"]:
        for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
            for origin in ("http://evil.example", "null", "https://localhost", ""):
                answer = http.open(path, method=method, headers={"Origin": origin, **bearer(TOKEN)})
                assert code(answer) == (403, "foreign_origin"), (method, path, origin)
                assert not [name for name in answer.headers.keys() if name.startswith("Access-Control")]  # noqa: SIM118


def test_a_foreign_origin_opens_no_websocket(here: FlaskClient) -> None:
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Origin": "http://evil.example"}
    assert code(here.get("/socket.io/?EIO=4&transport=websocket", headers=upgrade)) == (403, "foreign_origin")


def test_its_own_origin_passes(here: FlaskClient) -> None:
    for origin, host in (("http://localhost", "localhost"), ("http://[::1]:5000", "[::1]:5000")):
        for path in ("/api/status", POLLING, "/"):
            assert here.get(path, headers={"Origin": origin, "Host": host}).status_code == 200


def test_no_answer_carries_a_header_that_lets_other_sites_read_it(here: FlaskClient) -> None:
    for path in ("/", "/api/status", "/api/history.csv", "/health"):
        assert not [name for name, _ in here.get(path).headers if name.startswith("Access-Control")]


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_cannot_use_an_address_as_a_picture_a_script_or_a_frame(here: FlaskClient, site: str) -> None:
    for mode, target in (("no-cors", "image"), ("no-cors", "script"), ("navigate", "iframe"), ("navigate", "object")):
        sent = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": target}
        assert code(here.get("/api/status", headers=sent)) == (403, "foreign_origin")
    link = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert here.get("/", headers=link).status_code == 200
    assert code(here.post("/api/states", headers=link)) == (403, "foreign_origin")


@pytest.mark.parametrize("client", ["lab", "here"])
def test_a_rebound_name_reaches_no_route_and_no_socket(
    client: str, shared: Lab, request: pytest.FixtureRequest
) -> None:
    http: FlaskClient = request.getfixturevalue(client)
    for path in [*paths(shared), POLLING]:
        for host in ("evil.example", "evil.example:5000", ""):
            sent = {"Host": host, "Origin": f"http://{host}", **bearer(TOKEN)}
            assert code(http.get(path, headers=sent)) == (403, "unknown_host"), (path, host)


def test_a_name_that_was_allowed_and_an_address_are_known(lab: FlaskClient) -> None:
    for host in ("lab.example:5000", "192.168.1.5:5000"):
        assert lab.get("/api/status", headers={"Host": host, **bearer(TOKEN)}).status_code == 200


def test_without_a_token_nothing_but_health_the_login_and_its_files_is_there(shared: Lab, lab: FlaskClient) -> None:
    refused = []
    for path in paths(shared):
        answer = lab.get(path)
        if answer.status_code == 401:
            assert answer.get_json()["error"]["code"] == "token_required"
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            refused.append(path)
    assert sorted(set(paths(shared)) - set(refused)) == ["/assets/x/y", "/health", "/login"]
    assert lab.get("/health").get_json() == {"status": "healthy"}
    assert {"initialized", "version"} < set(lab.get("/health", headers=bearer(WATCH)).get_json())
    for path in (
        "//api/status",
        "/assets/../api/status",
        "/login/../api/status",
        "/health/",
        "/LOGIN",
        "/socket.io/../api/status",
    ):
        assert b"iteration_count" not in lab.get(path).data, path


def test_the_link_of_the_terminal_becomes_a_cookie_and_a_clean_address(lab: FlaskClient) -> None:
    answer = lab.get(f"/compare?ids=a,b&token={TOKEN}", headers=NAVIGATION)
    assert (answer.status_code, answer.headers["Location"]) == (303, "./compare?ids=a%2Cb")
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("quadra=operator.")
    for flag in ("HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={COOKIE_AGE}"):
        assert flag in cookie.split("; ")
    assert "Secure" not in cookie
    assert TOKEN not in cookie
    assert lab.get("/api/status").get_json()["role"] == "operator"
    assert lab.get(f"/?token={TOKEN}").headers["Location"] == "./"


def test_over_tls_the_cookie_is_secure_and_each_port_has_its_own(lab: FlaskClient) -> None:
    secure = lab.get(f"/?token={TOKEN}", base_url="https://lab.example:8443").headers["Set-Cookie"]
    assert "Secure" in secure.split("; ")
    assert secure.startswith("quadra-8443=")


def test_a_wrong_token_is_refused_everywhere(shared: Lab, lab: FlaskClient) -> None:
    assert code(lab.get("/api/status", headers=bearer("not-this-one"))) == (401, "token_required")
    page = lab.post("/login", data={"token": "not-this-one"})
    assert page.status_code == 401
    assert "This is not the server" in page.text
    assert not shared.socket("not-this-one").is_connected()


def test_too_many_wrong_tokens_are_answered_with_when_to_try_again(lab: FlaskClient) -> None:
    for _ in range(MOST_ATTEMPTS):
        lab.get("/api/status", headers=bearer("not-this-one"))
    answer = lab.get("/api/status", headers=bearer(TOKEN))
    assert code(answer) == (429, "too_many_attempts")
    assert 0 < int(answer.headers["Retry-After"]) <= 600
    assert lab.get(f"/?token={TOKEN}", headers=NAVIGATION).headers["Location"] == "./login?trouble=too_many_attempts"
    page = lab.post("/login", data={"token": TOKEN})
    assert page.status_code == 429
    assert "Try again in" in page.text
    elsewhere = lab.get("/api/status", headers=bearer(TOKEN), environ_overrides={"REMOTE_ADDR": "10.0.0.9"})
    assert elsewhere.status_code == 200


@pytest.mark.usefixtures("lab")
def test_sockets_guess_no_more_often_than_others(shared: Lab) -> None:
    for _ in range(MOST_ATTEMPTS):
        assert not shared.socket("not-this-one").is_connected()
    assert not shared.socket(TOKEN).is_connected()


def test_a_missing_token_is_no_attempt(shared: Lab, lab: FlaskClient) -> None:
    for _ in range(MOST_ATTEMPTS + 1):
        lab.get("/api/status")
        assert not shared.socket().is_connected()
    assert lab.get("/api/status", headers=bearer(TOKEN)).status_code == 200


def test_a_forged_cookie_opens_nothing(lab: FlaskClient) -> None:
    lab.get(f"/?token={WATCH}")
    told = lab.get_cookie("quadra")
    assert told is not None
    lab.set_cookie("quadra", told.value.replace("watcher", "operator"))
    assert code(lab.get("/api/status")) == (401, "token_required")


@pytest.mark.usefixtures("lab")
def test_a_socket_is_let_in_by_bearer_or_by_its_first_message_and_else_told_why(shared: Lab) -> None:
    assert shared.socket(TOKEN).is_connected()
    assert shared.socket(None, **bearer(TOKEN)).is_connected()
    for auth in (None, {}, {"token": 5}, {"token": None}, "token", [TOKEN]):
        client = shared.socketio.test_client(shared.app, auth=auth)
        assert not client.is_connected(), auth


def test_a_socket_that_is_refused_learns_the_code(lab: FlaskClient) -> None:
    opened = json.loads(lab.get(POLLING).text[1:])
    lab.post(f"{POLLING}&sid={opened['sid']}", data="40", content_type="text/plain")
    answer = lab.get(f"{POLLING}&sid={opened['sid']}").text
    assert answer.startswith("44")
    assert json.loads(answer[2:])["data"] == {"code": "token_required"}


def test_sockets_that_have_not_said_who_they_are_hold_few_permits(lab: FlaskClient) -> None:
    inside: list[int] = []

    def lasting(_environ: Any, start_response: Any) -> list[bytes]:
        """Like a WebSocket it lasts while the next one comes."""
        inside.append(1)
        codes.append(lab.application.test_client().get(POLLING).status_code)
        start_response("200 OK", [])
        return [b""]

    codes: list[int] = []
    headers: Any = lab.application.wsgi_app
    headers._app._app = lasting
    lab.get(POLLING)
    assert len(inside) == access_gate.MOST_UNKNOWN
    assert codes == [503, *[200] * (access_gate.MOST_UNKNOWN - 1)]
    codes.clear()
    lab.get(POLLING)
    assert len(inside) == 2 * access_gate.MOST_UNKNOWN, "every permit was given back"


def socket_events(shared: Lab) -> list[str]:
    """Every event that has a handler, whoever has registered it."""
    return sorted(set(shared.socketio.server.handlers["/"]) - {"connect", "disconnect"})


@pytest.mark.usefixtures("lab")
def test_a_watcher_can_send_no_event_but_those_named_for_watchers(shared: Lab) -> None:
    watcher, before = shared.socket(WATCH), shared.worker.view().status
    events = socket_events(shared)
    assert {"initialize_system", "start_training", "reset_system", "set_pace", "save_slot", "backup_now"} <= set(events)
    for event in sorted(set(events) - set(FOR_WATCHERS)):
        answer = watcher.emit(event, {}, callback=True)
        assert (answer["ok"], answer["error"]["code"]) == (False, "watching_only"), event
    told = [packet["args"][0] for packet in watcher.get_received() if packet["name"] == "status_message"]
    assert len(told) == len(events) - len(FOR_WATCHERS)
    assert shared.worker.view().status == before
    assert shared.worker.view().status.phase is Phase.UNINITIALIZED


@pytest.mark.usefixtures("lab")
def test_a_handler_of_any_name_and_way_of_registering_is_refused_to_watchers(shared: Lab) -> None:
    heard: list[str] = []
    shared.socketio.on_event("added_later", lambda *_: heard.append("added_later"))
    shared.socketio.on("added_by_decorator")(lambda *_: heard.append("added_by_decorator"))
    watcher, operator = shared.socket(WATCH), shared.socket(TOKEN)
    for event in ("added_later", "added_by_decorator"):
        assert watcher.emit(event, callback=True)["error"]["code"] == "watching_only"
        assert heard == []
        operator.emit(event)
        assert heard == [event]
        heard.clear()


@pytest.mark.usefixtures("lab")
def test_an_event_that_is_named_for_watchers_is_theirs(shared: Lab) -> None:
    shared.socketio._for_watchers = frozenset({"look_closer"})
    shared.socketio.on_event("look_closer", lambda *_: {"ok": True})
    assert shared.socket(WATCH).emit("look_closer", callback=True) == {"ok": True}


def test_a_watcher_sees_what_the_operator_sees(shared: Lab, lab: FlaskClient) -> None:
    for path in ("/", "/api/status", "/api/history", "/api/history.csv", "/api/states"):
        seen = [lab.get(path, headers=bearer(token)) for token in (TOKEN, WATCH)]
        assert [answer.status_code for answer in seen] == [200, 200], path
    watcher = shared.socket(WATCH)
    shared.socketio.emit("metrics_update", {"iteration": 1})
    assert "metrics_update" in [packet["name"] for packet in watcher.get_received()]


def test_a_watcher_can_use_no_unsafe_method_anywhere(shared: Lab, lab: FlaskClient) -> None:
    for path in paths(shared):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            if path not in access_gate.PUBLIC and not path.startswith(access_gate.ASSETS):
                assert code(lab.open(path, method=method, headers=bearer(WATCH))) == (403, "watching_only"), path


@pytest.mark.usefixtures("lab")
def test_an_operator_presses_buttons(shared: Lab) -> None:
    assert shared.socket(TOKEN).emit("set_pace", {"iterations_per_second": 5}, callback=True)["ok"]
    shared.site(ON_THIS_MACHINE)
    assert shared.socket().emit("set_pace", {"iterations_per_second": 10}, callback=True)["ok"]


def test_a_proxys_headers_are_believed_only_where_it_was_said_that_there_is_one(shared: Lab) -> None:
    told = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "lab.example", "X-Forwarded-Prefix": "/quadra"}
    told |= {"X-Forwarded-For": "203.0.113.7", "Host": "127.0.0.1:5000", "Origin": "https://lab.example"}
    assert code(shared.site(LAB).get(f"/?token={TOKEN}", headers=told)) == (403, "foreign_origin")
    behind = shared.site(replace(LAB, is_loopback=True, behind_proxy=True))
    answer = behind.get(f"/?token={TOKEN}", headers=told)
    assert answer.status_code == 303
    assert {"Secure", "Path=/quadra/"} <= set(answer.headers["Set-Cookie"].split("; "))
    for _ in range(MOST_ATTEMPTS):
        behind.get("/api/status", headers={**told, **bearer("not-this-one")})
    assert behind.get("/api/status", headers={**told, **bearer(TOKEN)}).status_code == 429
    other = {**told, **bearer(TOKEN), "X-Forwarded-For": "203.0.113.8"}
    assert behind.get("/api/status", headers=other).status_code == 200


def test_the_role_is_what_the_token_says(lab: FlaskClient) -> None:
    for token, role in ((TOKEN, Role.OPERATOR), (WATCH, Role.WATCHER)):
        assert lab.get("/api/status", headers=bearer(token)).get_json()["role"] == role
        assert f'data-role="{role}"' in lab.get("/", headers=bearer(token)).text
