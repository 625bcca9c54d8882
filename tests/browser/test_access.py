"""How people come in, in a real browser: the terminal's link, the login page, watchers, and pages of other sites."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import websocket
from playwright.sync_api import Page, expect

from tests.helpers.pages import SharedPage, begin_run, lasting_server, phase_is, wait_until_ready
from tests.helpers.server import Client, Server, warm_server

WATCH = "token-for-watchers"
WATCHING = re.compile("^Watching only")
OPTIONS = ("--watch-token", WATCH, "--pace", "max", "--field-size", "8", "--seed", "3")


@pytest.fixture(scope="module")
def server(pages: tuple[SharedPage, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with lasting_server(pages, tmp_path_factory.mktemp("guarded") / "state", *OPTIONS) as server:
        yield server


@pytest.fixture(scope="module")
def link(server: Server) -> str:
    """What the terminal shows."""
    line = next((line for line in server.lines if "?token=" in line), None) or server.wait_for("?token=")
    return line.split()[-1]


@pytest.fixture
def page(shared: SharedPage, server: Server) -> Page:
    """A browser that has not been here, with a small screen."""
    shared.prepared(server.url, 360, 740)
    return shared.page


def test_the_terminals_link_opens_the_dashboard_and_leaves_no_token_in_the_address(
    server: Server, link: str, page: Page
) -> None:
    page.goto(link)
    wait_until_ready(page)
    assert page.url == f"{server.url}/"
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert cookie["value"].startswith("operator.")
    assert page.evaluate("document.cookie") == ""
    begin_run(page)
    page.fill("#until-input", "20")
    page.click("#start-button")
    expect(page.locator("#iteration-value")).to_have_attribute("data-value", "20")


@pytest.mark.complaints("status of 40[14]")  # before the token is there, and of states that are not
def test_a_stranger_is_asked_for_the_token_told_when_it_is_wrong_and_let_in_when_it_is_right(
    server: Server, link: str, page: Page
) -> None:
    page.goto(f"{server.url}/compare?ids=a,b")
    assert page.url.startswith(f"{server.url}/login")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    expect(page.locator("#token-input")).to_be_focused()
    page.keyboard.type("not this one")
    page.keyboard.press("Enter")
    expect(page.locator("#login-trouble")).to_contain_text("not the server's token")
    page.fill("#token-input", link.partition("=")[2])
    page.keyboard.press("Enter")
    page.wait_for_url(f"{server.url}/compare?ids=a%2Cb")
    page.wait_for_selector("html[data-ready=failed]")


@pytest.mark.complaints("status of 404")  # of states that are not there
def test_a_link_on_another_site_leads_in_whoever_has_come_in_before(server: Server, link: str, page: Page) -> None:
    page.goto(link)
    wait_until_ready(page)
    page.route("http://elsewhere.example/", lambda route: route.fulfill(
        content_type="text/html", body=f'<a href="{server.url}/compare?ids=a,b">the lab</a>'
    ))  # fmt: skip
    page.goto("http://elsewhere.example/")
    page.click("a")
    page.wait_for_url(f"{server.url}/compare?ids=a%2Cb")
    page.wait_for_selector("html[data-ready=failed]")


def test_a_watcher_sees_everything_and_finds_no_button_that_changes_anything(
    server: Server, link: str, page: Page, shared_other: SharedPage
) -> None:
    shared_other.prepared(server.url)
    operator = shared_other.page
    operator.goto(link)
    wait_until_ready(operator)
    begin_run(operator)  # so that what the watcher sees is of this run
    page.goto(f"{server.url}/?token={WATCH}")
    wait_until_ready(page)
    expect(page.locator(".watching")).to_contain_text("Watching only.")
    operator.click("#start-button")
    page.wait_for_function("() => Chart.getChart('loss-chart').data.labels.at(-1) > 10")
    phase_is(page, "training")
    operator.click("#stop-button")
    phase_is(page, "ready")
    for name in (
        "initialize",
        "start",
        "stop",
        "load",
        "reset",
        "slot",
        "best",
        "backup",
        "restore",
        "rescue",
        "branch",
    ):
        expect(page.locator(f"#{name}-button")).to_be_disabled()
        expect(page.locator(f"#{name}-button")).to_have_attribute("title", WATCHING)
    for name in ("pace", "until", "field-size", "seed"):
        expect(page.locator(f"#{name}-input")).to_be_disabled()

    page.click("#states-button")
    page.click("[aria-label^='More about']")
    expect(page.locator("#import-button")).to_be_disabled()
    expect(page.locator("#back-button")).to_be_disabled()
    for text in ("Load", "Pin", "Prove it", "Keep name and note"):
        expect(page.locator("#states-rows button", has_text=re.compile(f"^{text}$")).first).to_be_disabled()
    assert page.locator("#states-rows a[download]").count() == 4
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_watcher_is_told_of_no_button_that_only_others_can_press(shared: SharedPage, tmp_path: Path) -> None:
    options = ("--token", "the token of operators", *OPTIONS)

    def said(state: str) -> str:
        shared.page.goto(shared.prepared(f"{server.url}/?token={WATCH}"))
        wait_until_ready(shared.page)
        phase_is(shared.page, state)
        return str(
            shared.page.evaluate(
                """() => {
                    const copy = document.body.cloneNode(true);
                    copy.querySelectorAll("button, dialog, script, noscript, [hidden]").forEach((part) => part.remove());
                    return copy.textContent;
                }"""
            )
        )

    with warm_server(tmp_path / "state", *options) as server:
        with Client(server.url, {"token": "the token of operators"}) as operator:
            texts = [said("uninitialized")]
            assert operator.ask("initialize_system")["ok"]
            texts.append(said("ready"))
            assert operator.ask("start_training", {"until": 5})["ok"]
            server.wait_for("State saved: 5")
        shared.leave()
        assert server.end(signal.SIGTERM) == 0
    with warm_server(tmp_path / "state", *options) as server:
        texts.append(said("uninitialized"))
        shared.leave()
    assert "Saved state: 5 iterations" in texts[2]
    for text in texts:
        assert re.findall(r"[^.]*(?:Press |Load Saved State|Initialize System|initialize or load)[^.]*", text) == []


@pytest.mark.complaints("status of 403")
def test_what_a_watchers_page_sends_all_the_same_is_refused(server: Server, link: str, page: Page) -> None:
    del link
    page.goto(f"{server.url}/?token={WATCH}")
    wait_until_ready(page)
    answer = page.evaluate(
        "fetch('api/states', { method: 'POST', body: new FormData() }).then((answer) => answer.json())"
    )
    assert answer["error"]["code"] == "watching_only"
    page.evaluate("document.getElementById('initialize-button').click()")
    expect(page.locator("#message-text")).to_contain_text("Initialize System: Watching only")
    page.evaluate(
        """async () => {
            const { openSocket, send } = await import(document.querySelector('link[href*="/js/core/connection"]').href);
            const socket = openSocket().connect();
            await new Promise((connected) => socket.once("connect", connected));
            globalThis.refused = await send(socket, "initialize_system", {});
        }"""
    )
    assert page.evaluate("refused.error.code") == "watching_only"


def test_a_socket_of_another_sites_page_is_refused_at_its_handshake(server: Server) -> None:
    address = server.url.replace("http:", "ws:") + "/socket.io/?EIO=4&transport=websocket"
    for origin, host in (("http://evil.example", None), ("http://evil.example", "evil.example"), ("null", None)):
        with pytest.raises(websocket.WebSocketBadStatusException) as caught:
            websocket.create_connection(address, origin=origin, host=host, timeout=30)
        assert caught.value.status_code == 403
    websocket.create_connection(address, origin=server.url, timeout=30).close()


@pytest.mark.complaints("ERR_CONNECTION_REFUSED|WebSocket|status of 401")
def test_a_page_that_is_open_asks_for_the_token_when_the_server_has_a_new_one(
    shared: SharedPage, tmp_path: Path
) -> None:
    page = shared.page
    with warm_server(tmp_path / "state", *OPTIONS, "--token", "the first token") as first:
        page.goto(shared.prepared(f"{first.url}/?token=the+first+token"))
        wait_until_ready(page)
        assert [line for line in first.lines if "the first token" in line] == []
        assert first.end(signal.SIGTERM) == 0
    port = first.url.rpartition(":")[2]
    with warm_server(tmp_path / "state", *OPTIONS, "--token", "the second token", "--port", port) as second:
        page.wait_for_url(f"{second.url}/login")
        page.fill("#token-input", "the second token")
        page.click("button")
        wait_until_ready(page)
        shared.leave()


def test_a_program_brings_its_token_with_the_connection(server: Server, link: str) -> None:
    with (
        Client(server.url, {"token": link.partition("=")[2]}) as operator,
        Client(server.url, {"token": WATCH}) as watcher,
    ):
        assert operator.ask("set_pace", {"iterations_per_second": None})["ok"]
        assert watcher.ask("set_pace", {"iterations_per_second": 1})["error"]["code"] == "watching_only"
