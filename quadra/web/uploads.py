"""Saved states over HTTP: one goes out as an archive, one comes in as an archive or as its three files.

What comes in is unpacked into a folder of its own, verified, and handed to whoever keeps saved states; nothing stays of it
otherwise.
"""

from __future__ import annotations

import logging
import re
import secrets
import shutil
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import SpooledTemporaryFile
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import quote

from flask import Flask, Response, jsonify, request
from werkzeug.formparser import FormDataParser

from quadra.byte_progress import expect
from quadra.errors import BadArchiveError, BadFileError, FolderUnusableError, UnknownSourceError
from quadra.training.events import Publish
from quadra.training.progress_events import progress
from quadra.web.error_answers import error_answer

if TYPE_CHECKING:
    from werkzeug.datastructures import FileStorage

    from quadra.storage.files.durable import Piece

log = logging.getLogger("quadra.web")

LARGEST_UPLOAD = 2_000_000_000  # bytes
ARCHIVE = "archive"  # field of an upload
_LARGEST_TEXT = 500_000  # bytes of the fields that are no files, and of what is parsed at once
_MOST_PARTS = 200  # fields of an upload, each of which may be an open file; a folder with more goes into an archive
_IN_MEMORY = 1 << 16  # bytes of a file that is sent or built; more of it is on disk
_PIECE = 1 << 18  # bytes
_MOST_TOLD = 20  # names of skipped files in an answer


def add_transfer(
    app: Flask,
    open_files: Callable[[str], tuple[str, Mapping[str, Iterable[Piece]]]],
    take: Callable[[Path, str], Mapping[str, Any]],
    uploads: Callable[[], Path],
    publish: Publish,
) -> None:
    """Add `GET /api/states/<id>/archive` and `POST /api/states`.

    `open_files`: what a state is called (`transfer.archive_name`) and its three files; raises UnknownSourceError. `take`:
    keeps the verified state in a folder, which it may move, under a name, "" where none was given; what it returns is
    the answer. `uploads`: a folder that is there, on the disk of the saved states, for what is under way. `publish`: is told
    how far the check of an upload has come.
    """
    one_at_a_time = Lock()  # a large state is in memory while it is verified

    @app.get("/api/states/<state>/archive")
    def api_archive(state: str) -> Response | tuple[Response, int]:
        try:
            called, files = open_files(state)
        except UnknownSourceError as error:
            return error_answer(error.code, error.message), 404
        return _archive(called, files, uploads())

    @app.post("/api/states")
    def api_upload() -> Response | tuple[Response, int]:
        request.max_content_length = LARGEST_UPLOAD
        try:
            with _upload(uploads()) as (name, folder, skipped), one_at_a_time, progress("import", publish):
                # Read and checked, read to be marked and written so, read again and written under its name.
                sizes = [file.stat().st_size for file in folder.iterdir()]
                expect("Checking and keeping", 6 * sum(sizes))
                warnings = _verified(folder)
                answer = {"skipped": skipped, "warnings": warnings, **take(folder, name)}
        except (BadArchiveError, BadFileError) as error:
            return error_answer(error.code, error.message), 400
        return jsonify(answer)


def _archive(called: str, files: Mapping[str, Iterable[Piece]], place: Path) -> Response:
    from quadra.states.transfer import safe_name, write_archive

    name = safe_name(called)
    stream = _spooled(place)
    try:
        write_archive(stream, files, name)
        size = stream.seek(0, 2)
        stream.seek(0)
    except BaseException as error:
        stream.close()
        if isinstance(error, OSError):
            raise FolderUnusableError(f"The archive cannot be made: {error.strerror}.") from error
        raise
    answer = Response(iter(partial(stream.read, _PIECE), b""), mimetype="application/zip")
    answer.call_on_close(stream.close)
    answer.content_length = size
    answer.headers["Content-Disposition"] = _attachment(f"{name}.zip")
    answer.headers["Cache-Control"] = "no-store"  # the next save makes another one of it
    return answer


def _attachment(name: str) -> str:
    """The header for a safe name; one that is not ASCII in the form of RFC 6266, behind what is left of it in ASCII."""
    plain = re.sub(r"[^\w.-]+", "", unicodedata.normalize("NFKD", name), flags=re.ASCII)
    also = "" if plain == name else f"; filename*=UTF-8''{quote(name)}"
    return f'attachment; filename="{plain}"{also}'


@contextmanager
def _upload(place: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """The name, the folder with the three files, and what was skipped of the request; the folder goes afterwards."""
    from quadra.states.transfer import unpack, write_files

    with ExitStack() as stack:
        try:
            name, files = _fields(place, stack)
            folder = stack.enter_context(_folder(place))
            if [field for field, _ in files] == [ARCHIVE]:
                skipped = unpack(cast("BinaryIO", files[0][1].stream), folder, LARGEST_UPLOAD)
            else:
                skipped = write_files(_by_name(files), folder, LARGEST_UPLOAD)
        except OSError as error:
            raise FolderUnusableError(f"What was uploaded cannot be written: {error.strerror}.") from error
        yield name, folder, _told(skipped)


def _fields(place: Path, stack: ExitStack) -> tuple[str, list[tuple[str, FileStorage]]]:
    """The name and the files of the request, which is read to its end; `stack` closes them."""
    if request.mimetype != "multipart/form-data":  # another kind of form would be read into memory as a whole
        raise BadArchiveError("Send a form of files (multipart/form-data): one archive, or the three files of a state.")
    parser = FormDataParser(
        stream_factory=lambda *_, **__: _spooled(place),
        max_form_memory_size=_LARGEST_TEXT,
        max_form_parts=_MOST_PARTS,
    )
    _, form, files = parser.parse(request.stream, request.mimetype, request.content_length, request.mimetype_params)
    found = list(files.items(multi=True))
    for _, file in found:
        stack.callback(file.close)
    return form.get("name", "").strip(), [(field, file) for field, file in found if file.filename]


def _by_name(files: Iterable[tuple[str, FileStorage]]) -> dict[str, BinaryIO]:
    named: dict[str, BinaryIO] = {}
    for field, file in files:
        name = file.filename or ""
        if field == ARCHIVE:
            raise BadArchiveError("Send one archive, or the three files of a saved state, not both.")
        if name in named:
            raise BadArchiveError(f"The file {name!r:.80} was uploaded twice; nothing was taken.")
        named[name] = cast("BinaryIO", file.stream)
    return named


def _verified(folder: Path) -> list[str]:
    """Verify what was unpacked, and mark it as come from elsewhere; returns what a person should know."""
    from quadra.states.transfer import mark_imported, verify_import

    arrival = verify_import(folder)
    mark_imported(folder, arrival)
    return list(arrival.warnings)


def _told(skipped: tuple[str, ...]) -> list[str]:
    more = len(skipped) - _MOST_TOLD
    return [*skipped[:_MOST_TOLD], *([f"and {more} more"] if more > 0 else [])]


@contextmanager
def _folder(place: Path) -> Iterator[Path]:
    """A new folder, which is removed afterwards where it still stands."""
    folder = place / f"upload-{secrets.token_hex(8)}"
    folder.mkdir()
    try:
        yield folder
    finally:
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:  # it has become a saved state, or was removed already
            pass
        except OSError as error:
            log.warning("%s could not be removed: %s", folder, error)


def _spooled(place: Path) -> BinaryIO:
    return cast("BinaryIO", SpooledTemporaryFile(_IN_MEMORY, "w+b", dir=str(place)))
