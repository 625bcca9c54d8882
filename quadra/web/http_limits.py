"""add_limits(app): how many HTTP requests an address may make; further ones are answered 429 with Retry-After."""

from __future__ import annotations

import re

from flask import Flask, Response, request

from quadra.errors import TooManyRequestsError
from quadra.web.error_answers import error_answer, status_of
from quadra.web.rate_limits import EXPENSIVE, REQUESTS, UPLOADS, Allowance, Buckets

# They open saved states, which takes up to some tenths of a second of a processor each, or send every iteration there is.
_EXPENSIVE = re.compile(r"/api/(states/[^/]+/.*|compare|history\.csv|history\.json)")


class HttpLimits:
    """The buckets of all addresses."""

    def __init__(
        self, requests: Allowance = REQUESTS, expensive: Allowance = EXPENSIVE, uploads: Allowance = UPLOADS
    ) -> None:
        self._requests = Buckets(requests)
        self._expensive = Buckets(expensive)
        self._uploads = Buckets(uploads)

    def take(self, address: str, method: str, path: str) -> None:
        """Count a request. Raises TooManyRequestsError where the address has made too many."""
        self._requests.take(address)
        if method == "POST":
            self._uploads.take(address)
        elif _EXPENSIVE.fullmatch(path):
            self._expensive.take(address)


def add_limits(app: Flask, limits: HttpLimits) -> None:
    """Have every request counted before anything is done for it."""

    @app.before_request
    def count() -> Response | None:
        try:
            limits.take(request.remote_addr or "", request.method, request.path)
        except TooManyRequestsError as error:
            answer = error_answer(error.code, error.message)
            answer.status_code = status_of(error)
            answer.headers["Retry-After"] = str(error.retry_after)
            return answer
        return None
