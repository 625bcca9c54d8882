"""The static files: answered before Flask, with all that a browser may ask about them, and counted and guarded like all else."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from quadra.web.pages import DASHBOARD_SHEET, JOINED, STATIC
from quadra.web.rate_limits import Allowance, HttpLimits, count_request
from quadra.web.security_headers import POLICY
from quadra.web.static_files import FilesFirst, StaticFiles
from tests.helpers.site import Site

MAIN = "/assets/x/js/main.js"
PLENTY = Allowance(1.0, 1000.0)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site") / "state")
    yield site
    site.close()


@pytest.fixture
def http(site: Site) -> FlaskClient:
    return site.http


def files_of(folder: Path, **joined: list[str]) -> StaticFiles:
    (folder / "css").mkdir(exist_ok=True)
    for name in "ab":
        (folder / "css" / f"{name}.css").write_text(f".{name} {{}}")
    return StaticFiles(folder, {f"css/{name}.css": parts for name, parts in joined.items()})


def test_every_file_of_the_folder_is_served_as_it_is_with_its_kind(http: FlaskClient) -> None:
    kinds = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
    for file in filter(Path.is_file, STATIC.rglob("*")):
        answer = http.get(f"/assets/x/{file.relative_to(STATIC).as_posix()}")
        assert answer.status_code == 200, file
        assert answer.data == file.read_bytes()
        assert answer.content_length == file.stat().st_size
        assert answer.mimetype == kinds.get(file.suffix[1:], answer.mimetype), file
    assert http.get(MAIN).headers["Content-Type"] == "text/javascript; charset=utf-8"


def test_an_answer_may_be_kept_for_a_year_and_by_everybody(http: FlaskClient) -> None:
    assert http.get(MAIN).headers["Cache-Control"] == "public, max-age=31536000, immutable"


def test_an_address_with_another_version_leads_to_the_file_of_today(http: FlaskClient) -> None:
    address = http.get("/").text.split('src="')[1].split('"')[0]
    assert address.startswith("assets/")
    of_today = http.get(f"/{address}")
    of_another = http.get("/assets/000000000000/" + address.split("/", 2)[2])
    assert of_today.status_code == 200
    assert of_today.data == of_another.data


def test_who_has_a_file_already_is_told_so(http: FlaskClient) -> None:
    tag = http.get(MAIN).headers["ETag"]
    same = http.get(MAIN, headers={"If-None-Match": tag})
    assert (same.status_code, same.data, same.headers["ETag"]) == (304, b"", tag)
    assert "immutable" in same.headers["Cache-Control"]
    assert http.get(MAIN, headers={"If-None-Match": '"another"'}).status_code == 200
    assert http.get("/assets/x/js/theme.js").headers["ETag"] != tag


def test_a_head_has_the_headers_and_no_body(http: FlaskClient) -> None:
    whole, head = http.get(MAIN), http.head(MAIN)
    assert (head.status_code, head.data) == (200, b"")
    for name in ("Content-Length", "Content-Type", "ETag", "Cache-Control", POLICY):
        assert head.headers[name] == whole.headers[name]


def test_a_part_of_a_file_can_be_asked_for(http: FlaskClient) -> None:
    whole = http.get(MAIN)
    part = http.get(MAIN, headers={"Range": "bytes=3-9"})
    assert (part.status_code, part.data) == (206, whole.data[3:10])
    assert part.headers["Content-Range"] == f"bytes 3-9/{len(whole.data)}"
    other = {"Range": "bytes=3-9", "If-Range": '"another"'}
    assert http.get(MAIN, headers=other).data == whole.data
    beyond = http.get(MAIN, headers={"Range": f"bytes={len(whole.data)}-"})
    assert (beyond.status_code, beyond.get_json()["error"]["code"]) == (416, "requested_range_not_satisfiable")


@pytest.mark.parametrize("path", ["js/none.js", "js/", "js", "", "main.js", "css/Dashboard.css", "js/main.js/"])
def test_an_unknown_file_is_an_error_like_all_others(http: FlaskClient, path: str) -> None:
    answer = http.get(f"/assets/x/{path}")
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "path",
    ["../app.py", "js/../../app.py", "%2e%2e/app.py", "..%2fapp.py", "/etc/passwd", "..\\app.py", "js/../js/main.js"],
)
def test_no_way_leads_out_of_the_folder(http: FlaskClient, path: str) -> None:
    assert http.get(f"/assets/x/{path}").status_code in (308, 404)


def test_other_methods_are_answered_as_by_all_routes(http: FlaskClient) -> None:
    assert http.post(MAIN).status_code == 405
    assert set(http.options(MAIN).headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


def test_a_foreign_host_gets_no_file(http: FlaskClient) -> None:
    answer = http.get(MAIN, headers={"Host": "evil.example"})
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (403, "unknown_host")
    assert http.get(MAIN, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_a_file_has_the_headers_of_all_answers(http: FlaskClient) -> None:
    file, data = http.get(MAIN).headers, http.get("/health").headers
    for name in (
        POLICY,
        "X-Content-Type-Options",
        "X-Frame-Options",
        "Cross-Origin-Resource-Policy",
        "Referrer-Policy",
    ):
        assert file[name] == data[name]


def test_files_are_counted_once_each_and_refused_like_all_else(tmp_path: Path) -> None:
    app, limits = Flask("under test"), HttpLimits(Allowance(0.1, 3.0), PLENTY, PLENTY)
    app.before_request(partial(count_request, limits))
    app.wsgi_app = FilesFirst(app.wsgi_app, files_of(tmp_path), limits)  # type: ignore[method-assign]
    client = app.test_client()
    answers = [client.get("/assets/x/css/a.css") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].get_json()["error"]["code"] == "too_many_requests"
    assert int(answers[-1].headers["Retry-After"]) > 0


def test_the_sheets_of_the_dashboard_are_one_in_the_order_of_the_list(http: FlaskClient) -> None:
    page = http.get("/").text
    assert page.count('rel="stylesheet"') == 1
    sheet = http.get("/" + page.split('rel="stylesheet" href="')[1].split('"')[0])
    assert sheet.mimetype == "text/css"
    parts = [(STATIC / part).read_text(encoding="utf-8") for part in JOINED[DASHBOARD_SHEET]]
    assert sheet.text == "\n".join(parts)


def test_no_style_sheet_is_forgotten(http: FlaskClient) -> None:
    pages = http.get("/login").text + (STATIC.parent / "templates" / "compare.html").read_text()
    there = {f"css/{file.name}" for file in (STATIC / "css").iterdir()}
    of_others = {name for name in there if name.split("/")[1] in pages or f'"{Path(name).stem}"' in pages}
    assert set(JOINED[DASHBOARD_SHEET]) | of_others == there


def test_the_addresses_change_with_the_content_of_any_file_and_with_the_order_in_which_they_are_joined(
    tmp_path: Path,
) -> None:
    files = files_of(tmp_path, both=["css/a.css", "css/b.css"])
    assert files.address("css/a.css") == f"assets/{files.version}/css/a.css"
    assert files_of(tmp_path, both=["css/a.css", "css/b.css"]).version == files.version
    assert files_of(tmp_path, both=["css/b.css", "css/a.css"]).version != files.version
    (tmp_path / "more.txt").write_text("more")
    assert files_of(tmp_path, both=["css/a.css", "css/b.css"]).version != files.version
