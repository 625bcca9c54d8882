"""What strangers can cause is logged seldom."""

from __future__ import annotations

import logging

import pytest

from quadra.web.serving.throttled_log import ThrottledLog


def test_each_kind_is_logged_once_in_ten_seconds_and_tells_how_often_it_came(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    log = ThrottledLog(logging.getLogger("quadra.test"), lambda: now[0])
    for _ in range(3):
        log.error("No connection", OSError("too many"))
        log.error("No thread", RuntimeError("none"))
        now[0] += 4.0
    log.error("No connection", OSError("too many"))
    now[0] += 10.0
    log.error("No connection", OSError("too many"))
    assert caplog.messages == [
        "No connection (too many)",
        "No thread (none)",
        "No connection (too many); 2 times more since this was last said",
        "No connection (too many)",
    ]
