"""Who may come in, decided without a web server: names, origins, tokens, cookies, attempts."""

from __future__ import annotations

import ast
import hmac
from dataclasses import replace

import pytest

from quadra.errors import (
    ConfigurationError,
    ForeignOriginError,
    TokenRequiredError,
    TooManyAttemptsError,
    UnknownHostError,
)
from quadra.web import access_rules
from quadra.web.access_rules import (
    COOKIE_AGE,
    MOST_ATTEMPTS,
    ON_THIS_MACHINE,
    WINDOW,
    Access,
    AccessRules,
    Role,
    access_rules_for,
    links,
)
from tests.helpers.state_helpers import REPOSITORY

TOKEN, WATCH = "a long token", "another token"
LAB = AccessRules(is_loopback=False, token=TOKEN, watch_token=WATCH, names=frozenset({"lab.example"}))


class Clock:
    """A clock that tests turn."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def door(rules: AccessRules = LAB, clock: Clock | None = None, key: bytes = b"key") -> Access:
    clock = clock or Clock()
    return Access(rules, key, clock, clock)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
def test_on_this_machine_no_token_is_asked_for(address: str) -> None:
    assert access_rules_for(address, None, None, [], behind_proxy=False) == ON_THIS_MACHINE


@pytest.mark.parametrize("address", ["0.0.0.0", "192.168.1.5", "::", "fe80::1"])
def test_on_any_other_address_a_token_is_generated_anew_each_time(address: str) -> None:
    first, second = (access_rules_for(address, None, None, [], behind_proxy=False) for _ in range(2))
    assert first.token is not None
    assert len(first.token) >= 32
    assert first.was_generated
    assert first.token != second.token


@pytest.mark.parametrize(
    "more",
    [{"behind_proxy": True}, {"names": ["lab.example"]}, {"watch_token": WATCH}],
    ids=lambda more: next(iter(more)),
)
def test_what_lets_others_reach_a_loopback_address_asks_for_a_token_too(more: dict[str, object]) -> None:
    asked: dict[str, object] = {"token": None, "watch_token": None, "names": [], "behind_proxy": False, **more}
    assert access_rules_for("127.0.0.1", **asked).was_generated  # type: ignore[arg-type]


def test_a_given_token_is_asked_for_on_this_machine_too() -> None:
    rules = access_rules_for("127.0.0.1", TOKEN, None, [], behind_proxy=False)
    assert (rules.token, rules.was_generated) == (TOKEN, False)


@pytest.mark.parametrize("token", ["short", "x" * 201, "tökens are ASCII", "with\nline feeds", " padded token "])
def test_a_token_that_cannot_be_used_is_refused_without_being_repeated(token: str) -> None:
    for field in ("token", "watch_token"):
        given = {"token": None, "watch_token": None, field: token}
        with pytest.raises(ConfigurationError) as caught:
            access_rules_for("127.0.0.1", names=[], behind_proxy=False, **given)
        assert caught.value.field == field
        assert token not in caught.value.message


def test_watchers_need_a_token_of_their_own() -> None:
    with pytest.raises(ConfigurationError, match="watch_token must differ"):
        access_rules_for("0.0.0.0", TOKEN, TOKEN, [], behind_proxy=False)


@pytest.mark.parametrize("name", ["", "a b", "http://lab.example", "lab.example/x", "ü.example", "*"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="allow_host"):
        access_rules_for("127.0.0.1", None, None, [name], behind_proxy=False)


def test_a_generated_token_stands_in_the_links_and_a_given_one_never() -> None:
    generated = replace(LAB, was_generated=True, token="made-here")
    assert links(generated, "192.168.1.5", 5000) == ["http://192.168.1.5:5000/?token=made-here"]
    assert links(generated, "::1", 5000) == ["http://[::1]:5000/?token=made-here"]
    assert links(generated, "0.0.0.0", 5000)[1] == "http://127.0.0.1:5000/?token=made-here"
    assert "0.0.0.0" not in "".join(links(generated, "0.0.0.0", 5000))
    assert links(LAB, "192.168.1.5", 5000) == ["http://192.168.1.5:5000/"]


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000", "localhost."]
)
def test_this_machines_own_names_are_known(host: str) -> None:
    door(ON_THIS_MACHINE).check_host(host)


@pytest.mark.parametrize(
    "host",
    [
        *(
            None,
            "",
            "evil.example",
            "evil.example:5000",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "0.0.0.0:5000",
        ),
        *("192.168.1.5", "[::1", "localhost:port", "x@localhost", "localhost/x", "a b", "2130706433", "0x7f.1"),
    ],
)
def test_a_rebound_or_broken_host_is_refused(host: str | None) -> None:
    with pytest.raises(UnknownHostError, match="--allow-host"):
        door(ON_THIS_MACHINE).check_host(host)


def test_elsewhere_addresses_the_machines_name_and_what_was_allowed_are_known() -> None:
    rules = access_rules_for("0.0.0.0", None, None, ["Lab.Example."], behind_proxy=False, host="box.lan")
    for host in (
        "192.168.1.5:5000",
        "[2001:db8::1]:5000",
        "lab.example:5000",
        "box.lan",
        access_rules.socket.gethostname(),
    ):
        door(rules).check_host(host)
    with pytest.raises(UnknownHostError):
        door(rules).check_host("evil.example")


@pytest.mark.parametrize(
    ("origin", "scheme", "host"),
    [
        (None, "http", "localhost:5000"),
        ("http://localhost:5000", "http", "localhost:5000"),
        ("http://LOCALHOST", "http", "localhost:80"),
        ("https://lab.example", "https", "lab.example:443"),
        ("http://[::1]:5000", "http", "[::1]:5000"),
    ],
)
def test_the_servers_own_pages_may_ask(origin: str | None, scheme: str, host: str) -> None:
    door().check_origin(origin, scheme, host)


@pytest.mark.parametrize(
    "origin",
    [
        *("http://evil.example", "http://localhost:5001", "https://localhost:5000", "http://localhost"),
        *(
            "http://127.0.0.1:5000",
            "http://localhost.evil.example:5000",
            "null",
            "",
            "http://[",
            "https://",
            "localhost:5000",
        ),
    ],
)
def test_every_other_origin_is_refused(origin: str) -> None:
    with pytest.raises(ForeignOriginError):
        door().check_origin(origin, "http", "localhost:5000")


def test_without_a_proxy_the_refusal_names_the_option_for_one() -> None:
    with pytest.raises(ForeignOriginError, match="--proxy"):
        door().check_origin("https://lab.example", "http", "lab.example")
    with pytest.raises(ForeignOriginError) as caught:
        door(replace(LAB, behind_proxy=True)).check_origin("https://evil.example", "https", "lab.example")
    assert "--proxy" not in caught.value.message


def test_each_token_gives_its_role_and_no_other_one_any() -> None:
    assert door().role_of_token(TOKEN, "10.0.0.1") is Role.OPERATOR
    assert door().role_of_token(WATCH, "10.0.0.1") is Role.WATCHER
    for wrong in ("", TOKEN[:-1], TOKEN + " ", TOKEN.upper(), "\ud800", "ü" * 300):
        with pytest.raises(TokenRequiredError):
            door().role_of_token(wrong, "10.0.0.1")
    with pytest.raises(TokenRequiredError):
        door(replace(LAB, watch_token=None)).role_of_token("", "10.0.0.1")


class Recorder:
    """Stands in for the module hmac and keeps what is compared."""

    def __init__(self) -> None:
        self.compared: list[tuple[bytes, bytes]] = []

    def compare_digest(self, one: bytes, other: bytes) -> bool:
        self.compared.append((one, other))
        return hmac.compare_digest(one, other)

    digest = staticmethod(hmac.digest)


def test_every_secret_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, at_the_door = Recorder(), door()
    monkeypatch.setattr(access_rules, "hmac", recorder)
    for token in (TOKEN, WATCH):
        at_the_door.role_of_token(token, "10.0.0.1")
    assert len(recorder.compared) == 4, "both tokens are compared, whichever it is"
    assert {len(side) for pair in recorder.compared for side in pair} == {32}, "digests, whose lengths tell nothing"
    assert at_the_door.role_of_cookie(at_the_door.cookie(Role.WATCHER)) is Role.WATCHER
    assert len(recorder.compared) == 5


def test_no_secret_is_compared_with_an_equals_sign() -> None:
    """What is compared by `==` in the module: names of roles and hosts, never a token or a signature."""
    tree = ast.parse((REPOSITORY / "quadra" / "web" / "access_rules.py").read_text(encoding="utf-8"))
    sides = [
        ast.unparse(side)
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare) and any(isinstance(sign, ast.Eq | ast.NotEq) for sign in node.ops)
        for side in (node.left, *node.comparators)
    ]
    secret = [side for side in sides if "token" in side or "signature" in side]
    assert secret == ["watch_token", "token"], "of the options at the start only"


def test_a_cookie_stands_for_its_role_until_it_is_too_old() -> None:
    clock = Clock()
    at_the_door = door(clock=clock)
    for role in Role:
        assert at_the_door.role_of_cookie(at_the_door.cookie(role)) is role
    cookie = at_the_door.cookie(Role.OPERATOR)
    clock.time += COOKIE_AGE - 1
    assert at_the_door.role_of_cookie(cookie) is Role.OPERATOR
    clock.time += 1
    assert at_the_door.role_of_cookie(cookie) is None


def test_a_cookie_survives_a_restart_with_the_same_token_and_no_other() -> None:
    operator, watcher = door().cookie(Role.OPERATOR), door().cookie(Role.WATCHER)
    assert door().role_of_cookie(operator) is Role.OPERATOR
    assert door(key=b"another").role_of_cookie(operator) is None
    assert door(replace(LAB, token="changed token")).role_of_cookie(operator) is None
    assert door(replace(LAB, token="changed token")).role_of_cookie(watcher) is Role.WATCHER
    assert door(replace(LAB, watch_token=None)).role_of_cookie(watcher) is None


def test_a_cookie_cannot_be_forged() -> None:
    at_the_door = door()
    role, expires, signature = at_the_door.cookie(Role.WATCHER).split(".")
    forged = [
        f"operator.{expires}.{signature}",
        f"{role}.{int(expires) + 1}.{signature}",
        f"{role}.{expires}.{signature[:-1]}{'0' if signature[-1] != '0' else '1'}",
        *(f"{role}.{expires}.", f"{role}.{expires}", f"{role}.x.{signature}", f"admin.{expires}.{signature}"),
        *("", ".", "..", "operator", "operator..", "\x00.1.2", "ü.ü.ü", f"{role}.{expires}.{'ü' * 64}"),
    ]
    assert [cookie for cookie in forged if at_the_door.role_of_cookie(cookie) is not None] == []


def test_a_cookie_of_the_form_before_itsdangerous_is_none() -> None:
    """Whoever has one is asked for the token again."""
    told = f"operator.{1000 + COOKIE_AGE}"
    key = hmac.digest(b"key", f"access operator {TOKEN}".encode(), "sha256")
    assert door().role_of_cookie(f"{told}.{hmac.digest(key, told.encode(), 'sha256').hex()}") is None


@pytest.mark.parametrize("role", Role)
def test_a_cookie_that_was_cut_is_none(role: Role) -> None:
    cookie = door().cookie(role)
    assert [cut for cut in range(len(cookie)) if door().role_of_cookie(cookie[:cut]) is not None] == []


def wrong(at_the_door: Access, address: str) -> None:
    with pytest.raises(TokenRequiredError):
        at_the_door.role_of_token("no such token", address)


def test_too_many_wrong_tokens_shut_the_door_to_an_address_even_for_the_right_one() -> None:
    clock = Clock()
    at_the_door = door(clock=clock)
    for _ in range(MOST_ATTEMPTS):
        wrong(at_the_door, "10.0.0.1")
        clock.time += 1
    with pytest.raises(TooManyAttemptsError) as caught:
        at_the_door.role_of_token(TOKEN, "10.0.0.1")
    assert caught.value.seconds == WINDOW - MOST_ATTEMPTS + 1
    assert at_the_door.role_of_token(TOKEN, "10.0.0.2") is Role.OPERATOR
    assert at_the_door.role_of_cookie(at_the_door.cookie(Role.OPERATOR)) is Role.OPERATOR
    clock.time += WINDOW - MOST_ATTEMPTS
    assert at_the_door.role_of_token(TOKEN, "10.0.0.1") is Role.OPERATOR


def test_the_right_token_between_two_guesses_wins_no_further_guesses() -> None:
    at_the_door = door()
    for _ in range(MOST_ATTEMPTS):
        assert at_the_door.role_of_token(WATCH, "10.0.0.1") is Role.WATCHER
        wrong(at_the_door, "10.0.0.1")
    with pytest.raises(TooManyAttemptsError):
        at_the_door.role_of_token("no such token", "10.0.0.1")


def test_a_network_of_ipv6_is_one_address() -> None:
    at_the_door = door()
    for number in range(MOST_ATTEMPTS):
        wrong(at_the_door, f"2001:db8:1:2::{number:x}")
    with pytest.raises(TooManyAttemptsError):
        at_the_door.role_of_token(TOKEN, "2001:db8:1:2:ffff::1")
    assert at_the_door.role_of_token(TOKEN, "2001:db8:1:3::1") is Role.OPERATOR


def test_what_is_remembered_of_attempts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_rules, "_MOST_ADDRESSES", 3)
    at_the_door = door()
    for number in range(9):
        wrong(at_the_door, f"10.0.0.{number}")
    assert list(at_the_door._attempts._times) == ["10.0.0.6", "10.0.0.7", "10.0.0.8"]
