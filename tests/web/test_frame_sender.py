"""A frame counts as taken once its own number is acknowledged."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from quadra.web.frame_sender import FIRST_NUMBER, FrameSender


def test_an_acknowledgement_of_nothing_that_was_sent_is_taken_quietly() -> None:
    told: list[str] = []
    sender: Any = SimpleNamespace(send_update=lambda *_: None)
    frames = FrameSender(sender)
    frames.acknowledge("stranger", 0)
    frames.send("inside_update", {}, "watcher", lambda: told.append("taken"))
    for number in (0, FIRST_NUMBER + 1):
        frames.acknowledge("watcher", number)
    assert told == []
    for _ in range(2):
        frames.acknowledge("watcher", FIRST_NUMBER)
    assert told == ["taken"]
