"""A picture counts as taken once its own number is acknowledged."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from quadra.web.picture_sender import FIRST_NUMBER, PictureSender


def test_an_acknowledgement_of_nothing_that_was_sent_is_taken_quietly() -> None:
    told: list[str] = []
    sender: Any = SimpleNamespace(send_update=lambda *_: None)
    pictures = PictureSender(sender)
    pictures.acknowledge("stranger", 0)
    pictures.send("inside_update", {}, "watcher", lambda: told.append("taken"))
    for number in (0, FIRST_NUMBER + 1):
        pictures.acknowledge("watcher", number)
    assert told == []
    for _ in range(2):
        pictures.acknowledge("watcher", FIRST_NUMBER)
    assert told == ["taken"]
