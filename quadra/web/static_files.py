"""Static files, held in memory and answered before Flask looks at a request.

A page asks for dozens of them at once, and of what Flask does for a request they need nothing.
"""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.wrappers import Response

from quadra.errors import TooManyRequestsError
from quadra.web.access_gate import ASSETS
from quadra.web.rate_limits import HttpLimits

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_YEAR = 365 * 24 * 3600  # seconds
_ALWAYS = {"Cache-Control": f"public, max-age={_YEAR}, immutable"}


class StaticFiles:
    """The files of a folder, and some that are others joined, at addresses that change with their content."""

    def __init__(self, folder: Path, joined: Mapping[str, Iterable[str]]) -> None:
        """`joined`: for each file that is to be there besides, the files that it consists of, in order."""
        self._contents = _read(folder)
        for name, parts in joined.items():
            self._contents[name] = b"\n".join(self._contents[part] for part in parts)
        self._tags = {path: hashlib.sha256(content).hexdigest()[:16] for path, content in self._contents.items()}
        self.version = hashlib.sha256(repr(sorted(self._tags.items())).encode()).hexdigest()[:12]

    def address(self, path: str) -> str:
        """Returns where a file is, relative to the root of the site; no browser shows an old one from there."""
        return f"assets/{self.version}/{path}"

    def answer(self, path: str, environ: WSGIEnvironment) -> Response | None:
        """Returns the answer to a request for a file, for a part of it, or whether it is still the same; None: no such file.

        Raises RequestedRangeNotSatisfiable.
        """
        content = self._contents.get(path)
        if content is None:
            return None
        kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
        answer = Response(content, headers=_ALWAYS, mimetype=kind)
        answer.set_etag(self._tags[path])
        return answer.make_conditional(environ, accept_ranges=True, complete_length=len(content))


class FilesFirst:
    """WSGI middleware that answers the requests for files that are there, and leaves all others to the application."""

    def __init__(self, app: WSGIApplication, files: StaticFiles, limits: HttpLimits) -> None:
        self._app, self._files, self._limits = app, files, limits

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        answer = self._answer(environ) or self._app
        return answer(environ, start_response)

    def _answer(self, environ: WSGIEnvironment) -> Response | None:
        path, method = environ.get("PATH_INFO", ""), environ["REQUEST_METHOD"]
        if not path.startswith(ASSETS) or method not in ("GET", "HEAD"):
            return None
        try:
            found = self._files.answer(path.removeprefix(ASSETS).partition("/")[2], environ)
            if found is not None:
                self._limits.acquire(environ.get("REMOTE_ADDR", ""), method, path)
        except (RequestedRangeNotSatisfiable, TooManyRequestsError):
            return None  # the application comes to the same, and says it in the form of all its errors
        return found


def _read(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
