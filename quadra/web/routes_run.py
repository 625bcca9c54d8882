"""How the server is, for those who watch over it: `/health` for people and probes, `/metrics` for Prometheus."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response
from flask_socketio import SocketIO

from quadra.live.prometheus import CONTENT_TYPE, Monitoring, problems
from quadra.training.lifecycle import SystemState
from quadra.training.worker import Worker
from quadra.version import __version__
from quadra.web.access_gate import role


def add_metrics(app: Flask, socketio: SocketIO, worker: Worker) -> None:
    """Register `GET /health` and `GET /metrics`; saves are counted from here on."""
    manager = socketio.server.manager
    monitoring = Monitoring(worker.view, lambda: sum(1 for _ in manager.get_participants("/", None)))
    worker.listen(monitoring.on_event)

    @app.get("/health")
    def health() -> dict[str, Any]:
        status = worker.view().status
        found = problems(status)
        health = "degraded" if found else "healthy"
        if role() is None:  # a container's health check brings no token
            return {"status": health}
        return {
            "status": health,
            "problems": found,
            "initialized": status.state is not SystemState.UNINITIALIZED,
            "running": status.state is SystemState.TRAINING,
            "version": __version__,
        }

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(monitoring.exposition(), content_type=CONTENT_TYPE)
