"""Alerts and the terminal's lines for browsers and scripts: the rules, what they set off, and the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask

from quadra.errors import ConfigurationError
from quadra.live.alert_watch import AlertMonitor
from quadra.live.log_lines import TerminalLines
from quadra.states.alert_rules import Rule, as_list, rules_from
from quadra.training.commands import Commands
from quadra.training.worker import Worker
from quadra.web.payloads import text
from quadra.web.routes_states import Command


def add_alerts(app: Flask, worker: Worker, watchman: AlertMonitor, journal: TerminalLines) -> None:
    """Register the routes of the alerts and the log."""

    @app.get("/api/alerts")
    def api_alerts() -> dict[str, Any]:
        status = worker.view().status
        return {"run": status.run, "rules": as_list(status.alerts), "fired": watchman.alerts()}

    @app.get("/api/log")
    def api_log() -> dict[str, Any]:
        return {"start": journal.start, "lines": journal.lines()}


def alert_events(commands: Commands) -> dict[str, Command]:
    """The Socket.IO events of the alerts."""
    return {
        "set_alerts": lambda given: commands.set_alert_rules(
            rules_from(_required(given)), text(given, "run"), _seen(given)
        )
    }


def _seen(given: Mapping[str, Any]) -> tuple[Rule, ...] | None:
    """The rules that the change was made from; None where the client does not say."""
    return None if given.get("seen") is None else rules_from(given["seen"], "seen")


def _required(given: Mapping[str, Any]) -> Any:
    if given.get("rules") is None:
        raise ConfigurationError("rules", "must be given")
    return given["rules"]
