"""Which tests run, the seed of what rotates, where the tests work, and the browser of the page tests.

Tests work in memory where the machine has room for it, since thousands of them wait for a disk.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from playwright.sync_api import Browser

from tests.helpers.browser import complaints, running_browser
from tests.helpers.rotation import Draw, not_in_turn

_MEMORY = Path("/dev/shm")
_ROOM = 2 * 10**9  # bytes
_TESTS = Path(__file__).parent
_SEED = "QUADRA_TESTS_SEED"
_FOLDER_MARKERS = ("browser", "faults")  # a marker of the same name is on every test of these folders

# How long an example takes says something of the machine only. Each run tries the same examples, with --all other ones.
settings.register_profile(
    "same",
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
    database=None,
)
settings.register_profile(
    "other", max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("quadramatrix")
    group.addoption("--all", action="store_true", help="run the tests marked `all` and every case of what rotates too")
    group.addoption("--stress", action="store_true", help="run the tests under tests/stress too")
    group.addoption("--seed", type=int, help="draws what rotates; by default from the clock, and printed")


def pytest_configure(config: pytest.Config) -> None:
    if config.option.seed is None:  # workers inherit the environment, and must draw the same cases
        config.option.seed = int(os.environ.setdefault(_SEED, str(int(time.time()))))
    _let_bytecode_be_kept(config)
    settings.load_profile("other" if config.option.all else "same")
    is_roomy = os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM
    if is_roomy and "PYTEST_DEBUG_TEMPROOT" not in os.environ:
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(_MEMORY)


def _let_bytecode_be_kept(config: pytest.Config) -> None:
    """Keeps bytecode apart for this run where the environment forbids it: hundreds of processes would compile all again."""
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None) is None:
        return
    folder = tempfile.mkdtemp(prefix="quadra-bytecode-")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = folder
    sys.dont_write_bytecode = False


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if collection_path == _TESTS / "stress" and not config.option.stress else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(_TESTS).parts[0]
        if folder in _FOLDER_MARKERS:
            item.add_marker(folder)
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    if config.option.all:
        return
    left_out = {item for item in items if item.get_closest_marker("all")} | not_in_turn(items, config.option.seed)
    config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    items[:] = [item for item in items if item not in left_out]


def pytest_sessionstart(session: pytest.Session) -> None:
    _tell_seed(session.config)


def pytest_terminal_summary(exitstatus: int, config: pytest.Config) -> None:
    if exitstatus != pytest.ExitCode.OK:
        _tell_seed(config)


def _tell_seed(config: pytest.Config) -> None:
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None and not hasattr(config, "workerinput"):
        terminal.write_line(f"--seed {config.option.seed} draws the cases of this run again")


@pytest.fixture
def draw(request: pytest.FixtureRequest) -> Draw:
    """Draws some of what all passes: other things in each run, the same ones with the same --seed, everything with --all."""
    option = request.config.option
    return Draw(f"{option.seed} {request.node.nodeid}", option.all)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture(autouse=True)
def _no_page_complains_or_stays_open(request: pytest.FixtureRequest) -> Iterator[None]:
    """An error on a page's console, or one that a page threw, fails the test unless its marker `complaints` expects it.

    What a test opened and did not close, because it failed or forgot, would slow down every test after it.
    """
    if "browser" not in request.fixturenames:
        yield
        return
    browser: Browser = request.getfixturevalue("browser")
    shared = browser.contexts  # of the module's fixtures, which are made first
    yield
    expected = [pattern for marker in request.node.iter_markers("complaints") for pattern in marker.args]
    found = complaints(browser)
    for context in browser.contexts:
        if context not in shared:
            context.close()
    assert [text for text in found if not any(re.search(pattern, text) for pattern in expected)] == []
