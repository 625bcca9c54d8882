"""What browsers and scripts are told of the run and the server: status, history, alerts, the log, health."""

from __future__ import annotations

import errno
import io
import math
import os
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from quadra import __version__
from quadra.live.console import Console
from quadra.storage.layout import ALERTS
from quadra.training.view import WorkerSettings
from tests.helpers.site import METRICS, Site, train_on_a_full_disk, until
from tests.helpers.waiting import PATIENCE

HIGH = {"kind": "loss_above", "threshold": -1.0}


def test_status_before_and_after_training(site: Site) -> None:
    status = site.http.get("/api/status").json
    assert (status["initialized"], status["current_metrics"], status["saved"]) == (False, None, None)
    site.train(60)
    status = site.http.get("/api/status").json
    assert status["iteration_count"] == 60
    assert set(status["current_metrics"]) >= METRICS
    assert {len(series) for series in status["history"].values()} == {50}
    assert status["history"]["loss"][-1] == status["current_metrics"]["loss"]
    assert status["saved"]["iteration_count"] == 60
    assert [state["ended"] for state in status["saved_states"]] == ["stopped"]
    assert (status["field_size"], status["seed"], status["pace"]) == (8, 1, None)


def test_history_gives_the_range_that_was_asked_for(site: Site) -> None:
    site.train(60)
    whole = site.http.get("/api/history").json
    assert whole["iteration"] == list(range(1, 61))
    part = site.http.get("/api/history?start=11&end=20").json
    assert part["iteration"] == list(range(11, 21))
    assert part["loss"] == whole["loss"][10:20]
    few = site.http.get("/api/history?points=20").json
    assert len(few["iteration"]) <= 20
    assert few["thinned"] is True
    assert max(few["loss"]) == max(whole["loss"])
    assert site.http.get("/api/history?start=100&end=200").json["iteration"] == []


@pytest.mark.parametrize(
    "query", ["start=x", "end=-1", "points=0", "points=20001", "start=1e3", "points=9" * 9, "start=٣"]
)
def test_a_bad_range_is_an_error_that_names_the_field(site: Site, query: str) -> None:
    answer = site.http.get(f"/api/history?{query}")
    assert answer.status_code == 400
    assert answer.json["error"]["code"] == "invalid_value"
    assert query.split("=")[0] in answer.json["error"]["message"]


def test_the_whole_history_is_a_file_of_csv_or_json(site: Site) -> None:
    assert site.http.get("/api/history.csv").text.splitlines() == ["iteration,loss,reward,variance,mean"]
    site.train(30)
    csv, found = site.http.get("/api/history.csv"), site.http.get("/api/history.json")
    run = site.worker.view().status.run or ""
    assert csv.headers["Content-Disposition"] == f'attachment; filename="quadramatrix-{run[:8]}-30.csv"'
    assert csv.mimetype == "text/csv"
    assert len(csv.text.splitlines()) == 31
    assert found.json == {"run": run, "seed": 1, "iterations": 30, "program": __version__} | {
        name: pytest.approx(site.http.get("/api/history").json[name]) for name in ("loss", "reward", "variance", "mean")
    }


def test_a_range_of_the_history_is_a_file_too(site: Site) -> None:
    site.train(30)
    lines = site.http.get("/api/history.csv").text.splitlines()
    part = site.http.get("/api/history.csv?start=11&end=20")
    assert part.text.splitlines() == [lines[0], *lines[11:21]]
    assert part.headers["Content-Disposition"].endswith('-11-20.csv"')
    assert site.http.get("/api/history.csv?start=29&end=99").text.splitlines() == [lines[0], *lines[29:]]
    assert site.http.get("/api/history.csv?start=31").text.splitlines() == lines[:1]
    assert site.http.get("/api/history.csv?start=20&end=10").text.splitlines() == lines[:1]
    refused = site.http.get("/api/history.csv?start=0")
    assert (refused.status_code, refused.json["error"]["code"]) == (400, "invalid_value")


def test_health_says_healthy_and_the_version(site: Site) -> None:
    assert site.http.get("/health").json == {
        "status": "healthy", "problems": [], "initialized": False, "running": False, "version": __version__,
    }  # fmt: skip


def test_health_says_degraded_while_saves_fail(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.train(5)
    with monkeypatch.context() as patch:
        train_on_a_full_disk(site, 7, patch)
        answer = site.http.get("/health")
        assert (answer.status_code, answer.json["status"], answer.json["problems"]) == (200, "degraded", ["saves"])
        status = site.http.get("/api/status").json
        assert status["save_error"]["since"] == 5
        assert "No space left" in status["save_error"]["message"]


def test_only_who_asks_whether_it_is_ready_is_told_by_the_status_code_that_it_is_not(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.train(5)
    assert site.http.get("/health?ready").status_code == 200
    with monkeypatch.context() as patch:
        train_on_a_full_disk(site, 7, patch)
        answer = site.http.get("/health?ready")
        assert (answer.status_code, answer.json["status"]) == (503, "degraded")
        assert site.http.get("/health").status_code == 200


def test_a_run_that_resume_should_train_and_that_is_not_trained_is_a_problem_until_somebody_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def health() -> tuple[int, Any]:
        answer = site.http.get("/health?ready")
        return answer.status_code, answer.get_json()["problems"]

    site = Site(tmp_path / "state", settings=WorkerSettings(resume=True))
    assert health() == (503, ["training"])
    with monkeypatch.context() as patch:
        patch.setattr("quadra.training.state.Engine", _refuse)
        with pytest.raises(RuntimeError):
            site.worker.resume().result(PATIENCE)
    assert health() == (503, ["training"])
    site.worker.resume().result(PATIENCE)
    assert health() == (200, [])
    site.worker.stop_training().result(PATIENCE)
    assert health() == (200, [])
    site.close()


def _refuse(*_: Any) -> None:
    raise RuntimeError("no compiled code")


def rules(site: Site) -> Any:
    return site.http.get("/api/alerts").get_json()["rules"]


def test_rules_are_told_to_every_browser_and_what_they_set_off_too(site: Site) -> None:
    site.ask("initialize_system")
    one, two = site.connect(), site.connect()
    answer = site.ask("set_alerts", {"rules": [HIGH, {"kind": "run_finished"}]})
    expected = [HIGH, {"kind": "run_finished", "threshold": None}]
    assert answer == {"ok": True, "rules": expected}
    site.worker.start_training(30).result(PATIENCE)
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
    journal = console.lines
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
