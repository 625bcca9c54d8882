"""The applications that the tests of web share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from quadra.web.access_rules import ON_THIS_MACHINE
from tests.helpers.site import LAB, Lab, Site
from tests.helpers.waiting import PATIENCE


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "state")
    yield site
    site.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("lab") / "state")
    yield lab
    lab.worker.close().result(PATIENCE)


@pytest.fixture
def lab(shared: Lab) -> FlaskClient:
    """A browser or program, not yet let in, of a server that asks for a token; its attempts are its own."""
    return shared.site(LAB)


@pytest.fixture
def here(shared: Lab) -> FlaskClient:
    """One of a server that only this machine reaches."""
    return shared.site(ON_THIS_MACHINE)
