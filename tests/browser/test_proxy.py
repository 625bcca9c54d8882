"""The dashboard behind real reverse proxies, with TLS and a path prefix, as docs/proxy.md sets them up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, WebSocket

from tests.helpers.pages import FAST, begin_run, train_until, wait_until_ready
from tests.helpers.proxies import missing, running_proxy
from tests.helpers.server import Server, warm_server

TOKEN = "token-of-the-proxy"


def installed(proxy: str) -> object:
    lacking = missing(proxy)
    return pytest.param(proxy, marks=pytest.mark.skipif(lacking is not None, reason=f"{lacking} is not installed"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("behind") / "state"
    with warm_server(folder, "--proxy", "--token", TOKEN, *FAST) as server:
        yield server


class Visit:
    """One browser at an address, and what it has sent."""

    def __init__(self, browser: Browser, address: str) -> None:
        self.sockets: list[WebSocket] = []
        self.requests: list[str] = []
        self.page: Page = browser.new_context(ignore_https_errors=True, bypass_csp=True).new_page()
        self.page.on("websocket", lambda opened: self.sockets.append(opened))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)

    def bring(self, token: str) -> None:
        self.page.fill("#token-input", token)
        self.page.click("button")
        wait_until_ready(self.page)


@pytest.mark.complaints("status of 401")  # before the token is there
@pytest.mark.rotates(1)
@pytest.mark.parametrize("proxy", [installed("nginx"), installed("caddy")])
def test_the_page_works_behind_a_proxy_with_tls_and_a_prefix(
    proxy: str, server: Server, browser: Browser, tmp_path: Path
) -> None:
    with running_proxy(proxy, tmp_path, urlsplit(server.url).port or 0) as address:
        visit = Visit(browser, address.rstrip("/"))
        page = visit.page
        assert page.url == f"{address}login"
        visit.bring(TOKEN)
        assert page.url == address

        (cookie,) = page.context.cookies()
        assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Strict")
        assert cookie["path"] == "/quadra/"

        begin_run(page)
        train_until(page, 40)

        # What the page got live came over a WebSocket, and over nothing else.
        secure = address.replace("https:", "wss:")
        assert [socket.url.split("?")[0] for socket in visit.sockets] == [f"{secure}socket.io/"]
        assert "transport=websocket" in visit.sockets[0].url
        assert [url for url in visit.requests if "transport=polling" in url] == []
        own = f"{address.removesuffix('quadra/')}"
        assert {url for url in visit.requests if url.startswith(own) and not url.startswith(address[:-1])} == set()

        csv = page.get_attribute("#run-downloads a", "href")
        assert len(page.request.get(f"{address}{csv}").text().splitlines()) == 41
        ids = [state["id"] for state in page.request.get(f"{address}api/states").json()["states"]][:2]
        page.goto(f"{address}compare?ids={','.join(ids)}")
        page.wait_for_selector("html[data-ready=true]")
        page.click("a >> text=Dashboard")
        page.wait_for_url(address)

        foreign = page.request.post(f"{address}api/states", headers={"Origin": "https://evil.example"})
        assert (foreign.status, foreign.json()["error"]["code"]) == (403, "foreign_origin")
        page.context.close()


@pytest.mark.parametrize("proxy", [installed("nginx"), installed("caddy")])
def test_a_proxy_lets_no_stranger_in(proxy: str, server: Server, browser: Browser, tmp_path: Path) -> None:
    with running_proxy(proxy, tmp_path, urlsplit(server.url).port or 0) as address:
        context = browser.new_context(ignore_https_errors=True, bypass_csp=True)
        answers = [context.request.get(f"{address}{path}") for path in ("api/status", "api/history.csv", "metrics")]
        assert [answer.status for answer in answers] == [401] * 3
        assert context.request.get(f"{address}health").json() == {"status": "healthy"}
        context.close()
