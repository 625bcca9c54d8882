"""What the page tests share, because each of it takes long to begin: a browser, pages that are loaded anew, and a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.helpers.browser import running_browser
from tests.helpers.pages import FAST, NEEDS_BROWSER, Lab, SharedPage, lasting_server
from tests.helpers.server import Client, Server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(NEEDS_BROWSER)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture(scope="package")
def shared(browser: Browser) -> SharedPage:
    return SharedPage(browser)


@pytest.fixture(scope="package")
def shared_other(browser: Browser) -> SharedPage:
    """In a browser of its own: it stores nothing where the first one does."""
    return SharedPage(browser)


@pytest.fixture(scope="package")
def pages(shared: SharedPage, shared_other: SharedPage) -> tuple[SharedPage, SharedPage]:
    return shared, shared_other


@pytest.fixture(scope="package")
def shared_lab(pages: tuple[SharedPage, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("shared") / "state"
    with lasting_server(pages, folder, *FAST) as server, Client(server.url) as client:
        yield Lab(folder, server, client)


@pytest.fixture
def lab(shared_lab: Lab) -> Lab:
    """A server with nothing in its folder and in memory, as fast as it can be."""
    shared_lab.reset()
    return shared_lab


@pytest.fixture
def server(lab: Lab) -> Server:
    return lab.server


@pytest.fixture
def page(shared: SharedPage, server: Server) -> Page:
    """The dashboard of that server, as a new browser finds it."""
    return shared.visit(server.url)


@pytest.fixture
def other(shared_other: SharedPage, server: Server) -> Page:
    """The same in another browser."""
    return shared_other.visit(server.url)
