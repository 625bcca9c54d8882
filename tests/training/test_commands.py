"""How often is saved, changed while training: the promise of what a crash can lose holds throughout, and everybody is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from quadra.storage.layout import WEIGHTS
from quadra.storage.pending_save import Receipt
from quadra.storage.save_record import peek
from quadra.storage.save_store import Save, SaveStore
from quadra.training.commands import Commands
from quadra.training.events import SaveEveryChanged
from quadra.training.lifecycle import Phase
from quadra.training.view import WorkerSettings
from tests.helpers.bench import Bench
from tests.helpers.waiting import PATIENCE


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "state", WorkerSettings(save_every=0, pace=None))
    bench.worker.initialize().result(PATIENCE)
    yield bench
    bench.worker.close().result(PATIENCE)


def durable(bench: Bench) -> int:
    """The iteration that a crash now would go back to."""
    path = bench.folder.path / WEIGHTS
    record = peek(path) if path.exists() else None
    return record.iteration_count if record else 0


def set_save_every(bench: Bench, iterations: int) -> None:
    answer = Commands(bench.worker).set_save_every(iterations).result(PATIENCE)
    assert answer == {"iterations": iterations}
    assert bench.worker.view().status.save_every == iterations


def train_beyond(bench: Bench, count: int) -> None:
    bench.worker.start_training()
    bench.until(lambda: bench.worker.view().iteration_count >= count)


def test_once_it_is_answered_no_more_is_at_risk_than_the_new_interval(bench: Bench) -> None:
    train_beyond(bench, 60)
    assert durable(bench) == 0
    for interval in (10, 3, 50, 1, 7):
        set_save_every(bench, interval)
        for _ in range(30):
            shown = bench.worker.view().iteration_count
            assert shown <= durable(bench) + interval
            threading.Event().wait(0.002)


def test_without_auto_save_nothing_is_saved_any_more_until_stop(bench: Bench) -> None:
    set_save_every(bench, 5)
    train_beyond(bench, 20)
    set_save_every(bench, 0)
    saved = durable(bench)
    bench.until(lambda: bench.worker.view().iteration_count > saved + 60)
    assert durable(bench) <= saved + 5  # of a save that was under way
    bench.worker.stop_training().result(PATIENCE)
    assert durable(bench) == bench.worker.view().iteration_count


def test_what_was_not_safe_is_saved_before_the_answer_also_while_training_rests(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = SaveStore.commit
    fails = [True]

    def failing(store: SaveStore, save: Save) -> Receipt:
        if fails[0]:
            raise OSError(28, "No space left on device")
        return commit(store, save)

    monkeypatch.setattr(SaveStore, "commit", failing)
    train_beyond(bench, 20)
    set_save_every(bench, 4)  # it cannot be saved: the change holds, and the failure is shown
    assert bench.worker.view().status.trouble is not None
    fails[0] = False
    bench.until(lambda: bench.worker.view().status.trouble is None)
    bench.worker.stop_training().result(PATIENCE)
    assert bench.worker.view().status.phase is Phase.READY
    assert durable(bench) == bench.worker.view().iteration_count


def test_everybody_is_told(bench: Bench) -> None:
    set_save_every(bench, 12)
    assert bench.all_of(SaveEveryChanged) == [SaveEveryChanged(12)]
