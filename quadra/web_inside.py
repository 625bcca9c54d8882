"""The view of what is inside, for browsers: they say that they have it open, and are sent pictures until they close it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from flask import request
from flask_socketio import SocketIO

from quadra.fields import switch
from quadra.inside_feed import InsideFeed
from quadra.worker import Worker

Answer = Future[dict[str, Any]]


def inside_feed(socketio: SocketIO, worker: Worker) -> InsideFeed:
    """The feed of pictures to this server's browsers."""

    def send(event: str, payload: dict[str, Any], client: str, acknowledged: Callable[[], None]) -> None:
        socketio.emit(event, payload, to=client, callback=lambda *_: acknowledged())

    feed = InsideFeed(worker, send)
    worker.listen(feed.take)
    return feed


def inside_events(feed: InsideFeed) -> dict[str, Callable[[Mapping[str, Any]], Answer]]:
    """The Socket.IO event by which a browser opens and closes the view."""

    def watch(given: Mapping[str, Any]) -> Answer:
        is_open = switch(given, "open")
        client: str = request.sid  # type: ignore[attr-defined]  # Flask-SocketIO adds it to the request
        (feed.watch if is_open else feed.leave)(client)
        answer: Answer = Future()
        answer.set_result({"open": is_open})
        return answer

    return {"watch_inside": watch}
