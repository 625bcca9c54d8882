"""The pages hold nothing inline, link what is there, and tell the browser at once what it will need."""

from __future__ import annotations

import re
from posixpath import dirname, join, normpath

from quadra.web.pages import FIRST, STATIC, modules_of
from tests.helpers.site import Site


def test_the_page_is_served_with_versioned_files(site: Site) -> None:
    page = site.http.get("/").text
    for name in ("Initialize System", "Start Training", "Stop Training", "Load Saved State", "Reset System"):
        assert name in page
    address = page.split('href="assets/')[1].split('"')[0]
    answer = site.http.get(f"/assets/{address}")
    assert answer.status_code == 200
    assert "immutable" in answer.headers["Cache-Control"]


def test_the_page_holds_no_inline_script_or_style(site: Site) -> None:
    page = site.http.get("/").text
    assert "<style" not in page
    assert " style=" not in page
    assert " onclick=" not in page
    assert all(" src=" in tag.split(">")[0] for tag in page.split("<script")[1:])


def test_files_outside_static_cannot_be_reached(site: Site) -> None:
    for path in ("../app.py", "%2e%2e/app.py", "..%2fapp.py", "//etc/passwd"):
        assert site.http.get(f"/assets/x/{path}").status_code in (308, 404)


def test_every_module_that_the_page_needs_is_told_to_the_browser_at_once(site: Site) -> None:
    page = site.http.get("/").text
    told = {part.split('.js"')[0] for part in page.split("/js/")[1:]} - {"library_loader", "theme"}
    imported = {
        normpath(join(dirname(module), name))
        for module in told
        for name in re.findall(r' from "(\.[\w./]+)\.js"', (STATIC / "js" / f"{module}.js").read_text())
    }
    assert told >= imported | {"main"}
    assert len(told) == page.count("modulepreload")


def test_what_is_shown_first_is_asked_for_in_the_head_and_never_kept(site: Site) -> None:
    page = site.http.get("/").text
    for address in FIRST:
        assert page.index(f'as="fetch" crossorigin href="{address}"') < page.index("<script")
        assert site.http.get(f"/{address}").headers["Cache-Control"] == "no-store"


def test_the_modules_that_are_needed_later_are_not_fetched_before_the_page_asks_for_them(site: Site) -> None:
    at_once, later = site.http.get("/").text.split("<template id")
    names = [[part.split('.js"')[0] for part in text.split("/js/")[1:]] for text in (at_once, later)]
    assert set(names[0]) == {*modules_of("main"), "library_loader", "theme"}
    assert set(names[1]) == set(modules_of("deferred")) - set(modules_of("main"))
    assert len(names[0]) <= len(names[1]) + 2
