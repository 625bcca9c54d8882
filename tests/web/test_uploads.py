"""Saved states over HTTP: archives go out, archives and files come in, and whatever is wrong leaves nothing behind."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask, request

from quadra.errors import QuadraError, UnknownSourceError
from quadra.states.transfer import archive_name
from quadra.storage.layout import FILES, METRICS, SYSTEM, WEIGHTS
from quadra.storage.save_record import peek
from quadra.training.events import Event
from quadra.web import services, uploads
from quadra.web.error_answers import error_handlers
from tests.helpers.archives import zipped
from tests.helpers.state_helpers import REPOSITORY, files_of, opened, saved_states, write_earlier, write_state

LARGEST_OTHERWISE = 1000  # bytes of a request to any other route


class Site:
    """An application with these routes alone; the states that it keeps are folders."""

    def __init__(self, place: Path) -> None:
        self.app = Flask("test")
        self.app.config["MAX_CONTENT_LENGTH"] = LARGEST_OTHERWISE
        self.kept, self.uploads = place / "kept", place / "uploads"
        self.kept.mkdir()
        self.uploads.mkdir()
        self.names: list[str] = []
        self.told: list[Event] = []
        self.fails_with: Exception | None = None
        self.leaves_the_folder = False
        self.app.post("/other")(lambda: str(len(request.get_data())))
        self.app.extensions[services.NAME] = SimpleNamespace(
            states=SimpleNamespace(archive=lambda state: self.open_files(state)),
            commands=SimpleNamespace(import_folder=self.import_folder),
            worker=SimpleNamespace(
                uploads_folder=lambda: self.uploads, publisher=SimpleNamespace(publish=self.told.append)
            ),
        )
        self.app.register_blueprint(error_handlers)
        self.app.register_blueprint(uploads.upload_routes)
        self.http = self.app.test_client()

    def open_files(self, state: str) -> tuple[str, Mapping[str, Iterable[bytes]]]:
        folder = self.kept / state
        if not folder.is_dir():
            raise UnknownSourceError(f"There is no saved state {state!r}.")
        return archive_name(state, "f" * 16, 5), {name: [(folder / name).read_bytes()] for name in FILES}

    def import_folder(self, folder: Path, name: str) -> Future[dict[str, Any]]:
        assert folder.parent == self.uploads
        assert {path.name for path in folder.iterdir()} == set(FILES)
        if self.fails_with is not None:
            raise self.fails_with
        self.names.append(name)
        number = len(self.names)
        if not self.leaves_the_folder:
            folder.rename(self.kept / str(number))
        imported: Future[dict[str, Any]] = Future()
        imported.set_result({"id": str(number)})
        return imported

    def post(self, files: Mapping[str, Any], headers: Mapping[str, str] | None = None, **fields: str) -> Any:
        return self.http.post("/api/states", data={**files, **fields}, headers=headers)

    def assert_nothing_stays(self) -> None:
        assert list(self.uploads.iterdir()) == []


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The three files of a state of five iterations."""
    return files_of(write_state(tmp_path_factory.mktemp("made"), *saved_states(5)))


def upload(content: bytes, name: str = "state.zip") -> tuple[io.BytesIO, str]:
    return io.BytesIO(content), name


def one_by_one(files: Mapping[str, bytes], folder: str = "") -> dict[str, tuple[io.BytesIO, str]]:
    """Three files, each in a field of any name."""
    return {f"field {number}": upload(files[name], folder + name) for number, name in enumerate(files)}


def test_a_state_goes_out_as_an_archive_and_comes_in_again(site: Site, files: dict[str, bytes]) -> None:
    assert site.post({"archive": upload(zipped(files))}, name=" my run ").json == {
        "id": "1", "skipped": [], "warnings": [],
    }  # fmt: skip
    assert site.names == ["my run"]
    answer = site.http.get("/api/states/1/archive")
    assert answer.status_code == 200
    assert answer.mimetype == "application/zip"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="quadramatrix-1-5.zip"'
    assert answer.content_length == len(answer.data)
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        assert archive.testzip() is None
        assert {name.split("/")[1] for name in archive.namelist()} == set(FILES)
    assert site.post({"archive": upload(answer.data)}).json["id"] == "2"
    assert files_of(site.kept / "2") == files_of(site.kept / "1")
    assert site.names[1] == ""
    site.assert_nothing_stays()


def test_what_came_in_is_marked_as_come_from_elsewhere_and_loads(site: Site, files: dict[str, bytes]) -> None:
    site.post({"archive": upload(zipped(files))})
    record = peek(site.kept / "1" / WEIGHTS)
    assert record is not None
    assert record.imported
    with opened(site.kept / "1") as state:
        assert state.load_state()
        assert state.iteration_count == 5


def test_three_files_are_taken_under_any_field(site: Site, files: dict[str, bytes]) -> None:
    assert site.post(one_by_one(files), name="three").json["id"] == "1"
    assert site.post({"files": [upload(files[name], f"state/{name}") for name in FILES]}).json["id"] == "2"
    everything = {**one_by_one(files, "state/"), "more": upload(b"x", "state/saves/0.pth")}
    assert site.post(everything).json == {"id": "3", "skipped": ["state/saves/0.pth"], "warnings": []}
    site.assert_nothing_stays()


def test_a_folder_of_the_earlier_generation_is_taken_and_said(site: Site, tmp_path: Path) -> None:
    old = files_of(write_earlier(tmp_path / "old"))
    for files in ({"archive": upload(zipped(old))}, one_by_one(old)):
        assert "earlier generation" in " ".join(site.post(files).json["warnings"])
    assert files_of(site.kept / "1") == files_of(site.kept / "2") == old


def test_of_many_skipped_files_some_are_told(site: Site, files: dict[str, bytes]) -> None:
    others = {f"other {number}": b"" for number in range(30)}
    told = site.post({"archive": upload(zipped({**files, **others}))}).json["skipped"]
    assert told == [*list(others)[:20], "and 10 more"]


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ('a"b\r\nX-Y: 1', 'attachment; filename="quadramatrix-a-b-X-Y-1-5.zip"'),
        ("../../x", 'attachment; filename="quadramatrix-x-5.zip"'),
        ("größer", "attachment; filename=\"quadramatrix-groer-5.zip\"; filename*=UTF-8''quadramatrix-gr%C3%B6%C3%9Fer-5.zip"),
        ("⑴", "attachment; filename=\"quadramatrix-1-5.zip\"; filename*=UTF-8''quadramatrix-%E2%91%B4-5.zip"),
        ("日", "attachment; filename=\"quadramatrix--5.zip\"; filename*=UTF-8''quadramatrix-%E6%97%A5-5.zip"),
    ],
)  # fmt: skip
def test_a_name_of_any_text_makes_a_header_that_is_whole(
    site: Site, files: dict[str, bytes], name: str, header: str
) -> None:
    site.open_files = lambda state: (  # type: ignore[method-assign]
        archive_name(name, "f" * 16, 5), {file: [files[file]] for file in FILES},
    )  # fmt: skip
    answer = site.http.get("/api/states/x/archive")
    assert answer.headers["Content-Disposition"] == header
    assert "X-Y" not in answer.headers


def test_an_unknown_state_is_not_found(site: Site) -> None:
    answer = site.http.get("/api/states/none/archive")
    assert answer.status_code == 404
    assert answer.json["error"]["code"] == "unknown_source"


def test_an_archive_that_cannot_be_made_is_an_error_and_no_half_file(
    site: Site, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.post({"archive": upload(zipped(files))})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("quadra.states.transfer.write_archive", full)
    answer = site.http.get("/api/states/1/archive")
    assert (answer.status_code, answer.json["error"]["code"]) == (500, "folder_unusable")


def test_a_bad_archive_says_what_is_wrong_and_leaves_nothing(site: Site, files: dict[str, bytes]) -> None:
    two = {name: content for name, content in files.items() if name != METRICS}
    bad: dict[str, tuple[dict[str, Any], str]] = {
        "no form of files": ({}, "multipart/form-data"),
        "no file": ({"archive": upload(b"", "")}, "no saved state"),
        "no archive": ({"archive": upload(b"text")}, "not a zip archive"),
        "a missing file": ({"archive": upload(zipped(two))}, METRICS),
        "two files": (one_by_one(two), METRICS),
        "a way out": ({"archive": upload(zipped({**files, "../x": b""}))}, "'../x'"),
        "both": ({"archive": upload(zipped(files)), **one_by_one(files)}, "not both"),
        "two archives": ({"archive": [upload(zipped(files)), upload(zipped(files))]}, "not both"),
        "a file twice": ({**one_by_one(files), "again": upload(b"", SYSTEM)}, "twice"),
    }
    for what, (sent, told) in bad.items():
        answer = site.post(sent)
        assert (answer.status_code, answer.json["error"]["code"]) == (400, "bad_archive"), what
        assert told in answer.json["error"]["message"], what
        site.assert_nothing_stays()
    assert site.names == []


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named_and_leaves_nothing(site: Site, files: dict[str, bytes], name: str) -> None:
    answer = site.post({"archive": upload(zipped({**files, name: files[name][:-9]}))})
    assert answer.status_code == 400
    assert answer.json["error"]["code"] == "damaged_file"
    assert name in answer.json["error"]["message"]
    assert site.names == []
    site.assert_nothing_stays()


def test_an_upload_is_removed_whether_it_is_taken_or_that_fails(site: Site, files: dict[str, bytes]) -> None:
    site.leaves_the_folder = True
    assert site.post({"archive": upload(zipped(files))}).json["id"] == "1"
    site.assert_nothing_stays()
    site.fails_with = QuadraError("no")
    assert site.post({"archive": upload(zipped(files))}).status_code == 500
    site.assert_nothing_stays()


def test_a_disk_that_is_full_is_told_as_such(
    site: Site, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("quadra.states.transfer.write_file", full)
    answer = site.post({"archive": upload(zipped(files))})
    assert (answer.status_code, answer.json["error"]["code"]) == (500, "folder_unusable")
    site.assert_nothing_stays()


def test_only_this_route_takes_much(site: Site, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    assert uploads.LARGEST_UPLOAD == 2_000_000_000
    archive = zipped({**files, "more": bytes(300_000)})
    assert site.post({"archive": upload(archive)}).status_code == 200
    assert site.http.post("/other", data=bytes(LARGEST_OTHERWISE + 1)).status_code == 413
    monkeypatch.setattr(uploads, "LARGEST_UPLOAD", len(archive))  # and there are the form's own bytes
    assert site.post({"archive": upload(archive)}).status_code == 413
    site.assert_nothing_stays()


def test_fields_without_number_or_end_are_refused(site: Site, files: dict[str, bytes]) -> None:
    assert site.post({f"field {number}": upload(b"", str(number)) for number in range(300)}).status_code == 413
    assert site.post({"archive": upload(zipped(files))}, name="x" * 600_000).status_code == 413
    site.assert_nothing_stays()


FORM = "multipart/form-data"


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/x-www-form-urlencoded", "", FORM, f"{FORM}; boundary=x"]
)
def test_a_request_that_is_no_form_of_files_is_refused(site: Site, content_type: str) -> None:
    answer = site.http.post("/api/states", data=b"--y\r\njunk", content_type=content_type)
    assert (answer.status_code, answer.json["error"]["code"]) == (400, "bad_archive")
    site.assert_nothing_stays()


def test_a_large_upload_stands_on_the_disk_of_the_states_and_not_in_memory(
    site: Site, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[Any] = []
    spooled = uploads.SpooledTemporaryFile

    def noted(size: int, mode: str, **options: Any) -> Any:
        places.append((size, options["dir"]))
        return spooled(size, mode, **options)

    monkeypatch.setattr(uploads, "SpooledTemporaryFile", noted)
    site.post({"archive": upload(zipped(files))})
    site.http.get("/api/states/1/archive").close()
    assert places == [(1 << 16, str(site.uploads))] * 2


def test_an_upload_folder_that_cannot_be_removed_is_logged_and_harms_nothing(
    site: Site, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def denied(_: object) -> None:
        raise PermissionError(13, "Permission denied")

    site.leaves_the_folder = True
    monkeypatch.setattr(shutil, "rmtree", denied)
    assert site.post({"archive": upload(zipped(files))}).status_code == 200
    assert "could not be removed" in caplog.text


@pytest.mark.process
def test_the_page_need_not_wait_for_torch() -> None:
    code = "import sys, quadra.web.uploads; print('torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


def test_every_file_of_a_request_and_of_an_answer_is_closed(
    site: Site, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    spooled = uploads.SpooledTemporaryFile

    def noted(*arguments: Any, **options: Any) -> Any:
        made.append(spooled(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(uploads, "SpooledTemporaryFile", noted)
    site.post({**one_by_one(files), "more": upload(b"", "")})
    site.post(one_by_one(dict.fromkeys(FILES, b"")))
    site.http.get("/api/states/1/archive").close()
    assert len(made) >= 7
    assert all(file.closed for file in made)
