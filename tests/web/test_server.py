"""The port that is listened on."""

from __future__ import annotations

import socket

from quadra.web.server import listen


def test_no_answer_waits_for_a_sign_that_its_first_part_has_arrived() -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
