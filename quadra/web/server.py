"""The port that is listened on, and a production WSGI server in this one process.

gunicorn's threaded worker runs here without its arbiter: one process means that every signal reaches the training, that
nothing can be left behind when it is killed, and that no idle twin can take its place. There is no control socket and
no worker time-out either.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from wsgiref.types import WSGIApplication

from quadra.web.serving.limits import limits_for, raise_limit_of_open_files

_BACKLOG = (
    4096  # connections that the system holds until they are accepted; beyond it a client tries again after a second
)


def serve(
    app: WSGIApplication, listener: socket.socket, say: Callable[[str], None], behind_proxy: bool = False
) -> None:
    """Serve until the process ends. Signal handlers are the caller's and stay as they are.

    Raises OSError where the listener was closed by something else.
    """
    limits = limits_for(raise_limit_of_open_files(), behind_proxy)
    try:
        from gunicorn.config import Config
        from gunicorn.glogging import Logger

        from quadra.web.serving.event_loop import EventLoop
    except ImportError as error:  # no fcntl on Windows
        say(f"gunicorn cannot run here ({error}); serving with Werkzeug's threaded server instead, for a few viewers.")
        _serve_simply(app, listener)
        return
    config = Config()
    for name, value in {
        "worker_connections": limits.connections,
        "keepalive": int(limits.idle_seconds),
        "max_requests": 0,
        "sendfile": False,  # it knows nothing of the pace of a connection
        "loglevel": "warning",
    }.items():
        config.set(name, value)
    logger = Logger(config)
    for handler in list(logger.error_log.handlers):  # what it reports goes where all else is reported
        logger.error_log.removeHandler(handler)
    logger.error_log.propagate = True
    EventLoop(app, listener, config, logger, limits).serve_forever()


def listen(host: str, port: int) -> socket.socket:
    """Returns a listening socket. Raises OSError where the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    address = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0][4]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # An answer is sent in two pieces; without this, which its connections inherit, the second waits 40 ms for a sign
        # that the first has arrived.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _serve_simply(app: WSGIApplication, listener: socket.socket) -> None:
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Silent(WSGIRequestHandler):
        """Logs no requests: the address of one may hold a token."""

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Nothing."""

    host, port = listener.getsockname()[:2]
    make_server(host, port, app, threaded=True, request_handler=Silent, fd=listener.fileno()).serve_forever()
