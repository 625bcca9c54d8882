"""Saved states as archives, out and in, and texts that new runs can train on.

What comes in is written into a folder of its own, verified, and handed to the worker; nothing of it stays otherwise.
"""

from __future__ import annotations

import logging
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import SpooledTemporaryFile
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO, cast

from flask import Blueprint, Response, jsonify, request
from werkzeug.formparser import FormDataParser

from quadra.byte_progress import expect
from quadra.errors import BadArchiveError, BadFileError, CorpusError, FolderUnusableError
from quadra.states.own_texts import LARGEST_TEXT, LONGEST_TEXT_NAME, UploadedText, write_received
from quadra.storage.layout import UPLOADED_TEXT
from quadra.training.progress_events import progress
from quadra.web.downloads import download
from quadra.web.error_answers import error_answer
from quadra.web.services import services

if TYPE_CHECKING:
    from werkzeug.datastructures import FileStorage

    from quadra.storage.files.durable import Piece

log = logging.getLogger("quadra.web")

LARGEST_UPLOAD = 2_000_000_000  # bytes
ARCHIVE = "archive"  # field of an upload
_LARGEST_FIELDS = 500_000  # bytes of the fields that are no files, and of what is parsed at once
_MOST_PARTS = 200  # fields of an upload, each of which may be an open file; a folder with more goes into an archive
_IN_MEMORY = 1 << 16  # bytes of a file that is sent or built; more of it is on disk
_PIECE = 1 << 18  # bytes
_LONGEST_NAME = 10 * LONGEST_TEXT_NAME  # characters of a text's name that are looked at
_MOST_NAMED = 20  # names of skipped files in an answer


upload_routes = Blueprint("uploads", __name__)
_one_at_a_time = Lock()  # a large state is in memory while it is verified


@upload_routes.get("/api/states/<state>/archive")
def archive(state: str) -> Response | tuple[Response, int]:
    """Answers a saved state as an archive of its three files."""
    name, files = services().states.archive(state)
    return _archive(name, files, services().worker.uploads_folder())


@upload_routes.post("/api/states")
def import_state() -> Response | tuple[Response, int]:
    """Takes a saved state from elsewhere, once it is verified."""
    request.max_content_length = LARGEST_UPLOAD
    worker = services().worker
    try:
        with (
            _upload(worker.uploads_folder()) as (name, folder, skipped),
            _one_at_a_time,
            progress("import", worker.publisher.publish),
        ):
            # Read and checked, read to be marked and written so, read again, checked, numbered and written under its name.
            sizes = [file.stat().st_size for file in folder.iterdir()]
            expect("Checking and keeping", 7 * sum(sizes))
            warnings = _verified(folder)
            imported = services().commands.import_folder(folder, name).result()
    except (BadArchiveError, BadFileError) as error:
        return error_answer(error.code, error.message), 400
    return jsonify({"skipped": skipped, "warnings": warnings, **imported})


@upload_routes.post("/api/corpus")
def keep_text() -> Response | tuple[Response, int]:
    """Takes a text that new runs can train on; the body is the text."""
    request.max_content_length = LARGEST_TEXT
    try:
        with _folder(services().worker.uploads_folder(), "The text") as folder:
            text = _received(folder / UPLOADED_TEXT)
            return jsonify(services().commands.keep_text(folder / UPLOADED_TEXT, text).result())
    except CorpusError as error:
        return error_answer(error.code, error.message), 400


def _received(target: Path) -> UploadedText:
    name = request.args.get("name", "")[:_LONGEST_NAME]
    try:
        return write_received(iter(partial(request.stream.read, _PIECE), b""), target, name)
    except OSError as error:
        raise FolderUnusableError(f"The text cannot be written: {error.strerror}.") from error


def _archive(called: str, files: Mapping[str, Iterable[Piece]], parent: Path) -> Response:
    from quadra.states.transfer import safe_name, write_archive

    name = safe_name(called)
    stream = _spooled(parent)
    try:
        write_archive(stream, files, name)
        size = stream.seek(0, 2)
        stream.seek(0)
    except BaseException as error:
        stream.close()
        if isinstance(error, OSError):
            raise FolderUnusableError(f"The archive cannot be made: {error.strerror}.") from error
        raise
    answer = download(iter(partial(stream.read, _PIECE), b""), "application/zip", f"{name}.zip")
    answer.call_on_close(stream.close)
    answer.content_length = size
    answer.headers["Cache-Control"] = "no-store"  # the next save makes another one of it
    return answer


@contextmanager
def _upload(parent: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """Yields the name, the folder with the three files, and what was skipped of the request; removes the folder afterwards."""
    from quadra.states.transfer import unpack, write_files

    with ExitStack() as stack:
        try:
            name, files = _fields(parent, stack)
            folder = stack.enter_context(_folder(parent, "What was uploaded"))
            if [field for field, _ in files] == [ARCHIVE]:
                skipped = unpack(cast("BinaryIO", files[0][1].stream), folder, LARGEST_UPLOAD)
            else:
                skipped = write_files(_by_name(files), folder, LARGEST_UPLOAD)
        except OSError as error:
            raise FolderUnusableError(f"What was uploaded cannot be written: {error.strerror}.") from error
        yield name, folder, _shortened(skipped)


def _fields(parent: Path, stack: ExitStack) -> tuple[str, list[tuple[str, FileStorage]]]:
    """Returns the name and the files of the request, which is read to its end; `stack` closes them."""
    if request.mimetype != "multipart/form-data":  # another kind of form would be read into memory as a whole
        raise BadArchiveError("Send a form of files (multipart/form-data): one archive, or the three files of a state.")
    parser = FormDataParser(
        stream_factory=lambda *_, **__: _spooled(parent),
        max_form_memory_size=_LARGEST_FIELDS,
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
    """Verifies what was unpacked and marks it as imported; returns what a person should know."""
    from quadra.states.transfer import mark_imported, verify_import

    arrival = verify_import(folder)
    mark_imported(folder, arrival)
    return list(arrival.warnings)


def _shortened(skipped: tuple[str, ...]) -> list[str]:
    more = len(skipped) - _MOST_NAMED
    return [*skipped[:_MOST_NAMED], *([f"and {more} more"] if more > 0 else [])]


@contextmanager
def _folder(parent: Path, what: str) -> Iterator[Path]:
    """Yields a new folder, and removes it where it still stands. Raises FolderUnusableError, which names `what`."""
    folder = parent / f"upload-{secrets.token_hex(8)}"
    try:
        folder.mkdir()
    except OSError as error:
        raise FolderUnusableError(f"{what} cannot be written: {error.strerror}.") from error
    try:
        yield folder
    finally:
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:  # it has become a saved state, or was removed already
            pass
        except OSError as error:
            log.warning("%s could not be removed: %s", folder, error)


def _spooled(parent: Path) -> BinaryIO:
    return cast("BinaryIO", SpooledTemporaryFile(_IN_MEMORY, "w+b", dir=str(parent)))
