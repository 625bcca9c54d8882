"""The documentation: it builds as a site without a warning, and every link in it leads somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.state_helpers import REPOSITORY

MOST_LINES = 200  # of the README
PAGES = [
    *REPOSITORY.glob("*.md"),
    *(page for page in (REPOSITORY / "docs").rglob("*.md") if "_build" not in page.parts),
]
LINK = re.compile(r"\]\((?!https?:|<)([^)#\s]*)(?:#([^)\s]*))?\)")
CODE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The names that headings of a page are linked by."""
    titles = re.findall(r"^#+ (.+)$", CODE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.process
@pytest.mark.long
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    options = ("-q", "-W", "--keep-going", "-b", "html", "-d", str(tmp_path / "cache"))
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, "docs", str(tmp_path / "site")],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (built.returncode, built.stderr) == (0, "")
    assert (tmp_path / "site" / "search.html").is_file()
    assert (tmp_path / "site" / "guide" / "dashboard.html").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_every_link_leads_to_a_file_and_to_a_heading_in_it(page: Path) -> None:
    for path, anchor in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {path}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {path}#{anchor}"


def test_the_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def test_every_file_that_a_page_names_is_there() -> None:
    ours = re.compile(r"`((?:tests|quadra|static|templates|benchmarks|deploy)/[\w./]+\.\w+)`")
    named = {name for page in PAGES for name in ours.findall(page.read_text(encoding="utf-8"))}
    assert {name for name in named if not (REPOSITORY / name).exists()} == set()


NAMED = re.compile(r"`([\w./]+\.(?:py|js))::([\w.]+)`")


def is_defined(name: str, source: str) -> bool:
    """Whether a file of Python or JavaScript defines a class, function, method or constant."""
    defined = rf"\b(?:def|class|function|const)\s+{name}\b|^\s*(?:async |static |#)*{name}(?:\s*[:=][^=]|\(.*\)\s*{{)"
    return re.search(defined, source, re.MULTILINE) is not None


def test_every_class_function_and_constant_that_a_page_names_is_where_it_says() -> None:
    named = {found for page in PAGES for found in NAMED.findall(page.read_text(encoding="utf-8"))}
    assert len(named) > 50
    sources = {path: (REPOSITORY / path).read_text(encoding="utf-8") for path, _ in named}
    assert {
        f"{path}::{names}" for path, names in named for name in names.split(".") if not is_defined(name, sources[path])
    } == set()
