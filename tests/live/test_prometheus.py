"""What monitoring is told: Prometheus' text, true at every scrape, and health that names what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from quadra import __version__
from quadra.config import TrainingConfig
from quadra.live.prometheus import CONTENT_TYPE, PrometheusExporter
from quadra.storage.folder import StateFolder
from quadra.training.events import Event, MeasuredSave, StateSaved
from quadra.training.state import TrainingState
from quadra.training.view import BackupHealth, SaveTrouble, View, WorkerSettings
from quadra.training.worker import Worker
from tests.helpers.site import CONFIG, Site, train_on_a_full_disk
from tests.helpers.waiting import PATIENCE

PREFIX = "quadramatrix_"
BACKUP = BackupHealth("s3://bucket", 100, at="2026-01-01T00:00:00.000Z")


def parsed(text: str) -> dict[str, float]:
    """Every sample by its name and, where it has them, its labels."""
    families = text_string_to_metric_families(text)
    return {
        sample.name + "".join(f"/{value}" for value in sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def ours(found: dict[str, float]) -> dict[str, float]:
    return {name.removeprefix(PREFIX): value for name, value in found.items() if name.startswith(PREFIX)}


def scraped(site: Site) -> dict[str, float]:
    return ours(parsed(site.http.get("/metrics").text))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "state")
    yield site
    site.close()


@pytest.fixture
def view(tmp_path: Path) -> Iterator[View]:
    """A view of a system without a run."""
    with StateFolder(tmp_path / "state") as folder:
        yield Worker(folder, TrainingConfig(), WorkerSettings(), lambda: TrainingState(folder, CONFIG)).view()


def of(view: View, **changes: Any) -> dict[str, float]:
    """The metrics of a view with another status."""
    changed = view._replace(status=replace(view.status, **changes))
    return ours(parsed(PrometheusExporter(lambda: changed, lambda: 0).exposition().decode()))


def test_before_there_is_a_run_only_what_is_known_is_told(site: Site) -> None:
    answer = site.http.get("/metrics")
    found = scraped(site)
    assert answer.headers["Content-Type"] == CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"
    assert found[f"build_info/{__version__}"] == 1.0
    assert (found["initialized"], found["training"], found["iterations"], found["clients"]) == (0, 0, 0, 0)
    assert not {"loss", "reward", "saved_timestamp_seconds", "backup_failing"} & set(found)


def test_after_training_the_figures_are_those_of_the_page(site: Site) -> None:
    site.train(30)
    client = site.connect()
    found, status = scraped(site), site.http.get("/api/status").json
    metrics = status["current_metrics"]
    assert (found["initialized"], found["training"], found["iterations"]) == (1, 0, 30)
    assert found["loss"] == pytest.approx(metrics["loss"])
    assert found["reward"] == pytest.approx(metrics["reward"])
    assert (found["field_variance"], found["field_mean"]) == pytest.approx((metrics["variance"], metrics["mean"]))
    assert (found["qtable_states"], found["integrity_strikes"]) == (metrics["qtable_size"], 0)
    assert (found["unsaved_iterations"], found["save_every"], found["saved_iterations"]) == (0, 10, 30)
    assert found["clients"] == 1
    assert found["saved_timestamp_seconds"] > 1.7e9
    client.disconnect()
    assert scraped(site)["clients"] == 0


def test_every_save_is_counted_with_its_duration(site: Site) -> None:
    told: list[Event] = []
    site.worker.listen(told.append)
    site.train(50)
    saves = [event for event in told if isinstance(event, MeasuredSave)]
    found = scraped(site)
    assert len(saves) >= 2
    assert found["save_duration_seconds_count"] == found["save_duration_seconds_bucket/+Inf"] == len(saves)
    assert found["save_duration_seconds_sum"] == pytest.approx(sum(save.duration_ms for save in saves) / 1000.0)
    assert found["save_written_bytes_total"] == sum(save.written for save in saves)
    assert found["save_failures_total"] == 0


def test_a_save_without_a_duration_of_its_own_does_not_make_saves_look_fast(view: View) -> None:
    monitoring = PrometheusExporter(lambda: view, lambda: 0)
    monitoring.on_event(StateSaved(7, "", 0.0))
    monitoring.on_event(MeasuredSave(9, "", 20.0, size=3, written=5))
    found = ours(parsed(monitoring.exposition().decode()))
    assert found["save_duration_seconds_bucket/0.01"] == 0
    assert found["save_duration_seconds_bucket/0.025"] == found["save_duration_seconds_count"] == 1


def test_failed_saves_are_counted_and_the_work_at_risk_grows(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.train(5)
    with monkeypatch.context() as patch:
        train_on_a_full_disk(site, 8, patch)
        found = scraped(site)
    assert found["save_failures_total"] >= 1
    assert (found["save_failing"], found["unsaved_iterations"]) == (1, 3)


def test_backups_are_told_of_where_there_is_a_place_for_them(view: View) -> None:
    found = of(view, backup=replace(BACKUP, pending=True))
    assert (found["backup_failing"], found["backup_pending"]) == (0, 1)
    assert found["backup_timestamp_seconds"] == 1767225600.0
    assert of(view, backup=replace(BACKUP, failing_since="2026-01-01T00:00:00.000Z"))["backup_failing"] == 1


def test_the_process_is_told_of_where_the_system_lets_it_be_seen(site: Site) -> None:
    found = parsed(site.http.get("/metrics").text)
    assert found[PREFIX + "threads"] >= 3
    if Path("/proc/self/stat").exists():
        assert found["process_resident_memory_bytes"] > 1e7
        assert found["process_open_fds"] >= 3
        assert found["process_cpu_seconds_total"] > 0


@pytest.mark.parametrize(
    ("trouble", "backup", "problems"),
    [
        (None, None, []),
        (None, BACKUP, []),
        (None, replace(BACKUP, failing_since="2026-01-01T00:00:00.000Z", reason="no network"), ["backups"]),
        (SaveTrouble(9, "full", 5), None, ["saves"]),
        (SaveTrouble(9, "full", 5), replace(BACKUP, failing_since="2026-01-01T00:00:00.000Z"), ["saves", "backups"]),
    ],
)
def test_health_names_what_is_wrong(
    site: Site, trouble: SaveTrouble | None, backup: BackupHealth | None, problems: list[str]
) -> None:
    def show(_: object) -> dict[str, Any]:
        site.worker.publisher.show(trouble=trouble, backup=backup)
        return {}

    site.worker.do(show).result(PATIENCE)
    answer = site.http.get("/health")
    assert answer.status_code == 200
    assert answer.json["problems"] == problems
    assert answer.json["status"] == ("degraded" if problems else "healthy")
    site.worker.do(lambda _: site.worker.publisher.show(trouble=None, backup=None) or {}).result(PATIENCE)
