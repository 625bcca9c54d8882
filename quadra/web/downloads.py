"""Answers that a browser keeps as files, under a name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import quote

from flask import Response


def download(pieces: Iterable[str] | Iterable[bytes], kind: str, name: str) -> Response:
    """Returns an answer whose content a browser keeps as a file."""
    return Response(pieces, mimetype=kind, headers={"Content-Disposition": _attachment(name)})


def _attachment(name: str) -> str:
    """The header for a safe name; one that is not ASCII in the form of RFC 6266, behind what is left of it in ASCII."""
    plain = re.sub(r"[^\w.-]+", "", unicodedata.normalize("NFKD", name), flags=re.ASCII)
    also = "" if plain == name else f"; filename*=UTF-8''{quote(name)}"
    return f'attachment; filename="{plain}"{also}'
