"""Alerts and the log for browsers and scripts: rules are validated, saved with the run and told to everybody."""

from __future__ import annotations

import errno
import io
import math
import os
import threading
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from quadra.live.console import Console
from quadra.storage.layout import ALERTS
from tests.web.test_app import Site

HIGH = {"kind": "loss_above", "threshold": -1.0}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "state")
    yield site
    site.close()


def until(condition: Callable[[], bool]) -> None:
    for _ in range(3000):
        if condition():
            return
        threading.Event().wait(0.01)
    pytest.fail("it never came")


def rules(site: Site) -> Any:
    return site.http.get("/api/alerts").get_json()["rules"]


def test_rules_are_told_to_every_browser_and_what_they_set_off_too(site: Site) -> None:
    site.ask("initialize_system")
    one, two = site.connect(), site.connect()
    answer = site.ask("set_alerts", {"rules": [HIGH, {"kind": "run_finished"}]})
    expected = [HIGH, {"kind": "run_finished", "threshold": None}]
    assert answer == {"ok": True, "rules": expected}
    site.worker.start_training(30).result(30)
    fired = lambda: site.http.get("/api/alerts").get_json()["fired"]  # noqa: E731
    until(lambda: len(fired()) == 2)
    assert [alert["rule"]["kind"] for alert in fired()] == ["loss_above", "run_finished"]
    assert fired()[0]["iteration"] == 1
    assert fired()[1]["iteration"] == 30
    for client in (one, two):
        received: list[dict[str, Any]] = []

        def named(name: str, client: Any = client, received: list[dict[str, Any]] = received) -> list[Any]:
            received += client.get_received()
            return [message["args"][0] for message in received if message["name"] == name]

        until(lambda named=named: len(named("alert")) == 2)  # type: ignore[misc]
        assert named("alert") == fired()
        assert named("alerts_changed")[0]["rules"] == expected
        assert named("training_status")[-1]["alerts"] == expected


def test_rules_come_back_with_the_run(site: Site) -> None:
    site.train(3)
    run = site.worker.view().status.run
    assert site.ask("set_alerts", {"rules": [HIGH], "run": run})["ok"]
    site.ask("initialize_system")
    assert rules(site) == []
    refused = site.ask("set_alerts", {"rules": [], "run": run})
    assert refused["error"]["code"] == "refused"
    assert site.ask("load_state", {"source": run})["ok"]
    assert rules(site) == [HIGH]
    site.ask("reset_system")
    assert rules(site) == []


def test_two_browsers_that_change_the_rules_at_once_do_not_undo_each_others_change(site: Site) -> None:
    low = {"kind": "reward_below", "threshold": -1.0}
    site.ask("initialize_system")
    assert site.ask("set_alerts", {"rules": [HIGH], "seen": []})["ok"]
    late = site.ask("set_alerts", {"rules": [low], "seen": []})
    assert (late["ok"], late["error"]["code"]) == (False, "rules_changed")
    assert "changed elsewhere" in late["error"]["message"]
    assert rules(site) == [HIGH]
    assert site.ask("set_alerts", {"rules": [low, HIGH], "seen": [HIGH]})["ok"]
    assert site.ask("set_alerts", {"rules": [low], "seen": [HIGH, low]})["ok"]  # in which order they stand says nothing
    assert site.ask("set_alerts", {"rules": []})["ok"]  # a client that does not say what it has seen
    assert rules(site) == []


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({}, "rules"),
        ({"rules": [], "seen": 3}, "seen"),
        ({"rules": [], "seen": [{"kind": "x"}]}, "seen[0].kind"),
        ({"rules": "x"}, "rules"),
        ({"rules": [HIGH] * 2}, "rules[1]"),
        ({"rules": [{"kind": "x"}]}, "rules[0].kind"),
        ({"rules": [{"kind": "loss_above", "threshold": math.inf}]}, "rules[0].threshold"),
        ({"rules": [], "run": 3}, "run"),
        ([], "payload"),
    ],
)
def test_what_is_no_list_of_rules_is_refused_by_its_fields_name(site: Site, payload: Any, field: str) -> None:
    site.ask("initialize_system")
    site.ask("set_alerts", {"rules": [HIGH]})
    answer = site.ask("set_alerts", payload)
    assert answer["error"]["code"] == "invalid_value"
    assert answer["error"]["message"].startswith(f"{field} ")
    assert rules(site) == [HIGH]


def test_without_a_run_there_is_nothing_to_keep_rules_with(site: Site) -> None:
    assert site.ask("set_alerts", {"rules": [HIGH]})["error"]["code"] == "refused"


def test_a_full_disk_leaves_the_old_rules_and_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.ask("initialize_system")
    site.ask("set_alerts", {"rules": [HIGH]})
    real = os.open

    def full(path: Any, *rest: Any, **options: Any) -> int:
        if ALERTS in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", full)
        answer = site.ask("set_alerts", {"rules": []})
    assert answer["error"]["code"] == "save_failed"
    assert "No space left on device" in answer["error"]["message"]
    assert rules(site) == [HIGH]
    assert site.ask("set_alerts", {"rules": []})["ok"]
    assert rules(site) == []


def alike(line: str) -> str:
    return "saved" if line.startswith("✓ State saved") else line


def test_the_log_is_the_terminals(tmp_path: Path) -> None:
    raw = io.BytesIO()
    console = Console(io.TextIOWrapper(raw, encoding="utf-8", write_through=True))
    journal = console.journal
    site = Site(tmp_path / "state", journal)
    site.worker.listen(console.on_event)
    console.start()
    client = site.connect()
    try:
        site.train(20)
        site.ask("set_alerts", {"rules": [HIGH]})
        until(lambda: any("Alert: loss is above -1" in line["text"] for line in journal.lines()))
    finally:
        site.close()
        console.close()
    printed = raw.getvalue().decode().splitlines()
    told = site.http.get("/api/log").get_json()
    assert told["start"] == journal.start
    assert [(line["text"], line["count"]) for line in told["lines"]] == [
        (lines[-1], len(lines)) for _, found in groupby(printed, key=alike) if (lines := list(found))
    ]
    kinds = {line["text"].split(":")[0]: line["type"] for line in told["lines"]}
    assert kinds["✓ State saved"] == kinds["New run initialized"] == "success"
    assert (kinds["Training started"], kinds["Alert"]) == ("info", "warning")
    sent = [message["args"][0] for message in client.get_received() if message["name"] == "log_line"]
    assert {line["number"] for line in sent} == {line["number"] for line in told["lines"]}
