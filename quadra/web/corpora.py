"""Own texts over HTTP, and the events of what is set while the server runs."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from flask import Flask, Response, jsonify, request

from quadra.errors import ConfigurationError, CorpusError, FolderUnusableError
from quadra.states.own_texts import LARGEST_TEXT, LONGEST_TEXT_NAME, UploadedText, write_received
from quadra.storage.layout import UPLOADED_TEXT
from quadra.training.commands import MOST_BETWEEN_SAVES, Commands
from quadra.web.error_answers import error_answer
from quadra.web.payloads import whole

_PIECE = 1 << 18  # bytes
_LONGEST_NAME = 10 * LONGEST_TEXT_NAME  # characters that are looked at


def add_corpora(
    app: Flask, keep: Callable[[Path, UploadedText], Future[dict[str, Any]]], uploads: Callable[[], Path]
) -> None:
    """Add `POST /api/corpus?name=`: the body is a text, which `keep` makes one that new runs can train on.

    `uploads`: a folder that is there, on the disk of the saved states, for what is under way.
    """

    @app.post("/api/corpus")
    def api_corpus() -> Response | tuple[Response, int]:
        request.max_content_length = LARGEST_TEXT
        try:
            with _folder(uploads()) as folder:
                text = _received(folder / UPLOADED_TEXT)
                return jsonify(keep(folder / UPLOADED_TEXT, text).result())
        except CorpusError as error:
            return error_answer(error.code, error.message), 400


def choice_events(commands: Commands) -> dict[str, Callable[[Mapping[str, Any]], Future[dict[str, Any]]]]:
    """The Socket.IO events of what is set while the server runs."""
    return {"set_save_every": lambda given: commands.set_save_every(_iterations(given))}


def _iterations(given: Mapping[str, Any]) -> int:
    value = whole(given, "iterations", 0, MOST_BETWEEN_SAVES)
    if value is None:
        raise ConfigurationError("iterations", "must be given: a whole number, 0 for no auto-save")
    return value


def _received(target: Path) -> UploadedText:
    name = request.args.get("name", "")[:_LONGEST_NAME]
    try:
        return write_received(iter(partial(request.stream.read, _PIECE), b""), target, name)
    except OSError as error:
        raise FolderUnusableError(f"The text cannot be written: {error.strerror}.") from error


@contextmanager
def _folder(place: Path) -> Iterator[Path]:
    """A new folder, which is removed afterwards."""
    folder = place / f"upload-{secrets.token_hex(8)}"
    try:
        folder.mkdir()
    except OSError as error:
        raise FolderUnusableError(f"The text cannot be written: {error.strerror}.") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # what stays goes at the next start
