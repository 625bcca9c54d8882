"""The worker owns the state: commands are taken one at a time, each is answered, and nothing can race a step."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from quadra.errors import ConfigurationError, IntegrityError, QuadraError, RefusedError, SaveError, WorkerClosedError
from quadra.storage.folder import StateFolder
from quadra.storage.save_store import Save, SaveStore
from quadra.training.events import (
    Event,
    LoadFailed,
    MeasuredSave,
    Message,
    SaveFailed,
    StateSaved,
    TrainingStopped,
    WorkerDied,
)
from quadra.training.lifecycle import Phase
from quadra.training.saving import Saving
from quadra.training.state import TrainingState
from quadra.training.view import Rescue, WorkerSettings
from quadra.training.worker import Worker
from tests.helpers.bench import CONFIG, Bench
from tests.helpers.waiting import PATIENCE


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "state")
    yield bench
    if bench.folder.is_held:
        bench.worker.close().result(PATIENCE)


def trained(bench: Bench, until: int) -> None:
    bench.worker.start_training(until).result(PATIENCE)
    bench.until(lambda: bench.worker.view().status.phase is Phase.READY)


def test_training_until_an_iteration_ends_there_saved_and_ready(bench: Bench) -> None:
    bench.worker.initialize().result(PATIENCE)
    trained(bench, 25)
    view = bench.worker.view()
    assert view.iteration_count == 25
    assert view.unsaved_iterations == 0
    assert view.status.catalog.default is not None
    assert view.status.catalog.default.ended == "stopped"


def test_auto_save_comes_every_save_every_iterations(bench: Bench) -> None:
    bench.worker.initialize().result(PATIENCE)
    trained(bench, 35)
    assert [event.iteration_count for event in bench.all_of(StateSaved)] == [10, 20, 30, 35]


def test_save_every_zero_saves_on_stop_only(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "state", WorkerSettings(save_every=0, pace=None))
    bench.worker.initialize().result(PATIENCE)
    trained(bench, 35)
    assert len(bench.all_of(StateSaved)) == 1
    bench.worker.close().result(PATIENCE)


def test_stop_answers_when_the_state_is_saved(bench: Bench) -> None:
    bench.worker.initialize().result(PATIENCE)
    bench.worker.start_training().result(PATIENCE)
    answer = bench.worker.stop_training().result(PATIENCE)
    with pytest.raises(RefusedError):
        bench.worker.stop_training().result(PATIENCE)
    assert answer["iteration_count"] == bench.worker.view().iteration_count
    assert bench.worker.view().unsaved_iterations == 0


def test_refused_commands_change_nothing(bench: Bench) -> None:
    before = bench.worker.view().status
    for refused in (bench.worker.start_training, bench.worker.stop_training):
        with pytest.raises(RefusedError):
            refused().result(PATIENCE)
    assert bench.worker.view().status == before
    bench.worker.initialize().result(PATIENCE)
    bench.worker.start_training().result(PATIENCE)
    run = bench.worker.view().status.run
    for refused in (bench.worker.start_training, bench.worker.initialize, bench.worker.load):
        with pytest.raises(RefusedError):
            refused().result(PATIENCE)
    assert bench.worker.view().status.run == run
    assert bench.worker.view().status.phase is Phase.TRAINING


def test_an_end_that_is_reached_already_is_refused_by_name(bench: Bench) -> None:
    bench.worker.initialize().result(PATIENCE)
    trained(bench, 5)
    with pytest.raises(ConfigurationError, match="until"):
        bench.worker.start_training(5).result(PATIENCE)
    assert bench.worker.view().status.phase is Phase.READY


def test_loading_nothing_initializes_a_system_that_holds_no_run(bench: Bench) -> None:
    with pytest.raises(QuadraError, match="No saved state found"):
        bench.worker.load().result(PATIENCE)
    assert bench.worker.view().status.phase is Phase.READY
    assert bench.kinds()[0] is LoadFailed


def test_a_failed_load_keeps_the_run_in_memory(bench: Bench) -> None:
    bench.worker.initialize().result(PATIENCE)
    run = bench.worker.view().status.run
    with pytest.raises(QuadraError):
        bench.worker.load("0123456789abcdef").result(PATIENCE)
    assert bench.worker.view().status.run == run


def test_a_failed_save_is_told_and_stops_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    troubles: list[Any] = []

    def on_event(event: Event) -> None:
        if isinstance(event, StateSaved):
            troubles.append(bench.worker.view().status.trouble)

    bench.worker.listen(on_event)
    bench.worker.initialize().result(PATIENCE)
    full = threading.Event()
    full.set()
    real = SaveStore.commit

    def commit(self: SaveStore, save: Save) -> Any:
        if full.is_set():
            raise SaveError("No space left on device")
        return real(self, save)

    monkeypatch.setattr(SaveStore, "commit", commit)
    bench.worker.start_training().result(PATIENCE)
    bench.until(lambda: len(bench.all_of(SaveFailed)) >= 2)
    trouble = bench.worker.view().status.trouble
    assert trouble is not None
    assert (trouble.message, trouble.since) == ("No space left on device", 0)
    assert bench.worker.view().status.phase is Phase.TRAINING
    full.clear()
    bench.until(lambda: bool(troubles))
    assert troubles[0] is None


def test_a_save_that_fails_in_an_unforeseen_way_stops_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.worker.initialize().result(PATIENCE)

    def explode(*_: Any) -> None:
        raise MemoryError("too large")

    with monkeypatch.context() as patch:
        patch.setattr(SaveStore, "commit", explode)
        bench.worker.start_training().result(PATIENCE)
        bench.until(lambda: len(bench.all_of(SaveFailed)) >= 2)
        assert bench.worker.view().status.phase is Phase.TRAINING
    bench.until(lambda: bool(bench.all_of(StateSaved)))


def test_a_new_run_starts_without_the_troubles_and_saves_of_the_last_one(bench: Bench) -> None:
    bench.worker.initialize().result(PATIENCE)
    trained(bench, 12)
    bench.worker.initialize().result(PATIENCE)
    status = bench.worker.view().status
    assert (status.last_save, status.trouble) == (None, None)


def test_a_load_says_that_it_went_back_only_when_it_did(bench: Bench) -> None:
    for until in (5, 8):
        bench.worker.initialize().result(PATIENCE)
        trained(bench, until)
    first, second = sorted(bench.worker.view().status.catalog.states, key=lambda state: state.iteration_count)
    for name in ("metrics_history.pkl", "oscillator_weights.pth"):
        (bench.folder.path / "runs" / first.id / name).write_bytes(b"rubbish")
    asked = bench.worker.load(second.id).result(PATIENCE)
    assert not any("Went back" in text for text in asked["warnings"])


def test_a_load_whose_damaged_files_cannot_be_set_aside_is_a_load_all_the_same(bench: Bench) -> None:
    for until in (5, 8):
        bench.worker.initialize().result(PATIENCE)
        trained(bench, until)
    first = min(bench.worker.view().status.catalog.states, key=lambda state: state.iteration_count)
    (bench.folder.path / "runs" / first.id / "metrics_history.pkl").write_bytes(b"rubbish")
    (bench.folder.path / "set-aside").write_text("in the way")
    answer = bench.worker.load(first.id).result(PATIENCE)
    assert answer["iteration_count"] == 8
    assert any("could not be set aside" in text for text in answer["warnings"])
    assert any("Went back" in text for text in answer["warnings"])
    assert bench.worker.view().status.run != first.id


def test_a_stop_that_cannot_save_says_so_and_stops_all_the_same(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.worker.initialize().result(PATIENCE)
    trained(bench, 3)

    def fail(*_: Any) -> None:
        raise SaveError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Saving, "save", fail)
        bench.worker.start_training().result(PATIENCE)
        with pytest.raises(SaveError, match="could not be saved: No space left"):
            bench.worker.stop_training().result(PATIENCE)
    assert bench.worker.view().status.phase is Phase.READY


def test_three_strikes_stop_training_and_the_last_good_state_is_on_disk(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.worker.initialize().result(PATIENCE)
    trained(bench, 12)
    monkeypatch.setattr("quadra.model.engine.features", lambda _line, size: torch.full((size,), float("nan")).numpy())
    bench.worker.start_training().result(PATIENCE)
    bench.until(lambda: bench.worker.view().status.phase is Phase.READY)
    assert any("not finite" in event.text for event in bench.all_of(Message))
    view = bench.worker.view()
    assert view.iteration_count == 12
    assert view.unsaved_iterations == 0
    assert bench.state is not None
    assert bench.state.engine.neuroplasticity.integrity_strikes == 3
    bench.until(lambda: bench.kinds()[-1] is Message)
    assert bench.kinds()[-3:] == [MeasuredSave, TrainingStopped, Message]
    assert "not finite" in bench.all_of(Message)[-1].text


def test_a_step_that_fails_in_any_way_ends_training_and_the_worker_lives_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench.worker.initialize().result(PATIENCE)

    def explode(_line: str, _size: int) -> None:
        raise MemoryError("out of memory")

    with monkeypatch.context() as patch, caplog.at_level(logging.CRITICAL):
        patch.setattr("quadra.model.engine.features", explode)
        bench.worker.start_training().result(PATIENCE)
        bench.until(lambda: bench.worker.view().status.phase is Phase.READY)
    assert any("MemoryError" in event.text for event in bench.all_of(Message))
    trained(bench, 3)
    assert bench.worker.view().iteration_count == 3


def test_reset_stops_training_and_clears_memory_and_disk(bench: Bench) -> None:
    bench.worker.initialize().result(PATIENCE)
    trained(bench, 12)
    bench.worker.start_training().result(PATIENCE)
    bench.worker.reset().result(PATIENCE)
    view = bench.worker.view()
    assert view.status.phase is Phase.UNINITIALIZED
    assert (view.status.run, view.iteration_count, view.status.catalog.states) == (None, 0, ())
    assert sorted(path.name for path in bench.folder.path.iterdir()) == [".lock"]


def test_pace_holds_training_back(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "state", WorkerSettings(pace=20.0))
    bench.worker.initialize().result(PATIENCE)
    started = time.monotonic()
    trained(bench, 11)
    assert time.monotonic() - started >= 0.4  # ten waits of 50 ms, and a late one may be caught up with
    bench.worker.close().result(PATIENCE)


@pytest.mark.parametrize("pace", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_an_impossible_pace_is_refused_by_name(bench: Bench, pace: float) -> None:
    with pytest.raises(ConfigurationError, match="iterations_per_second"):
        bench.worker.set_pace(pace).result(PATIENCE)


def test_resume_goes_on_from_the_newest_save_of_all_even_if_it_was_cut_off(tmp_path: Path) -> None:
    with TrainingState(tmp_path / "state", CONFIG) as state:
        state.initialize(seed=5)
        for _ in range(9):
            state.step()
        state.save("stopped")
        state.initialize(seed=6)
        for _ in range(4):
            state.step()
    bench = Bench(tmp_path / "state", WorkerSettings(pace=1.0))
    bench.worker.resume().result(PATIENCE)
    assert bench.worker.view().status.seed == 6
    assert bench.worker.view().iteration_count >= 4
    assert bench.worker.view().status.phase is Phase.TRAINING
    bench.worker.close().result(PATIENCE)


def test_a_run_that_torch_must_train_says_why_when_it_begins_and_when_it_is_loaded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quadra.model.engine.why_not_compiled", lambda: "OSError: no compiler")
    bench.worker.initialize().result(PATIENCE)
    trained(bench, 5)
    answer = bench.worker.load().result(PATIENCE)
    assert bench.worker.view().status.slow_because == "OSError: no compiler"
    told = [message.text for message in bench.all_of(Message) if "OSError: no compiler" in message.text]
    assert told == [*answer["warnings"]] * 2


def test_training_that_ended_by_itself_is_missing_where_resume_asked_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path / "state", WorkerSettings(pace=None, resume=True))
    with monkeypatch.context() as patch:
        patch.setattr(TrainingState, "step", struck_at(5))
        bench.worker.resume().result(PATIENCE)
        bench.until(lambda: bench.worker.view().status.phase is Phase.READY)
    assert bench.worker.view().status.is_training_missing
    bench.worker.start_training(bench.worker.view().iteration_count + 5).result(PATIENCE)
    bench.until(lambda: bench.worker.view().status.phase is Phase.READY)
    assert not bench.worker.view().status.is_training_missing
    bench.worker.close().result(PATIENCE)


def test_resume_without_a_save_starts_a_new_run(bench: Bench) -> None:
    bench.worker.resume().result(PATIENCE)
    assert bench.worker.view().status.phase is Phase.TRAINING


def test_resume_with_nothing_intact_trains_nothing(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "oscillator_weights.pth").write_bytes(b"rubbish")
    bench = Bench(tmp_path / "state")
    with pytest.raises(QuadraError, match=r"oscillator_weights\.pth"):
        bench.worker.resume().result(PATIENCE)
    assert bench.worker.view().status.phase is Phase.UNINITIALIZED
    assert (tmp_path / "state" / "oscillator_weights.pth").read_bytes() == b"rubbish"
    bench.worker.close().result(PATIENCE)


def test_close_saves_what_is_unsaved_and_frees_the_folder(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "state", WorkerSettings(save_every=0, pace=None))
    bench.worker.initialize().result(PATIENCE)
    bench.worker.start_training().result(PATIENCE)
    bench.until(lambda: bench.worker.view().iteration_count > 3)
    bench.worker.close().result(PATIENCE)
    with TrainingState(tmp_path / "state", CONFIG) as state:
        assert state.load_state()
        assert state.iteration_count == bench.worker.view().iteration_count
    with pytest.raises(WorkerClosedError):
        bench.worker.initialize().result(PATIENCE)


def test_a_state_that_cannot_be_opened_is_told_and_every_command_answered(tmp_path: Path) -> None:
    events: list[Event] = []

    def explode() -> TrainingState:
        raise RuntimeError("no torch here")

    with StateFolder(tmp_path / "state") as folder:
        worker = Worker(folder, CONFIG, WorkerSettings(), explode)
        worker.listen(events.append)
        answer = worker.initialize()
        worker.start()
        with pytest.raises(WorkerClosedError):
            answer.result(PATIENCE)
    assert [type(event) for event in events] == [WorkerDied]


def test_twenty_threads_of_random_commands_are_all_answered_and_leave_a_state_of_the_table(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(tmp_path / "state")
    commands: list[Callable[[], Any]] = [
        bench.worker.initialize,
        bench.worker.start_training,
        lambda: bench.worker.start_training(20),
        bench.worker.stop_training,
        bench.worker.load,
        bench.worker.reset,
        lambda: bench.worker.set_pace(None),
    ]
    surprises: list[BaseException] = []

    def press(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(15):
            try:
                dice.choice(commands)().result(PATIENCE)
            except QuadraError:
                pass
            except BaseException as error:
                surprises.append(error)

    threads = [threading.Thread(target=press, args=(seed,)) for seed in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert surprises == []
    view = bench.worker.view()
    assert view.status.phase in Phase
    assert (view.status.run is None) == (view.status.phase is Phase.UNINITIALIZED)
    bench.worker.close().result(PATIENCE)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


def struck_at(iteration: int) -> Callable[[Any], Any]:
    """A step that strikes there, as often as it is tried."""
    step = TrainingState.step

    def struck(self: TrainingState) -> Any:
        if self.iteration_count == iteration:
            raise IntegrityError(f"Three void iterations in a row at iteration {iteration}.")
        return step(self)

    return struck


def test_after_integrity_strikes_the_last_good_state_is_offered(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainingState, "step", struck_at(35))
    bench.worker.initialize().result(PATIENCE)
    trained(bench, 100)
    bench.until(lambda: bench.worker.view().status.rescue is not None)
    status = bench.worker.view().status
    assert status.rescue == Rescue(struck_at=35, state=f"{status.run}@30", iteration_count=30)
    bench.worker.load(status.rescue.state).result(PATIENCE)
    assert bench.worker.view().iteration_count == 30
    assert bench.worker.view().status.rescue is None


def test_without_any_save_before_the_strikes_there_is_nothing_to_offer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainingState, "step", struck_at(5))
    bench.worker.initialize().result(PATIENCE)
    trained(bench, 100)
    bench.worker.set_pace(None).result(PATIENCE)
    assert bench.worker.view().status.rescue is None


def test_strikes_where_the_names_of_states_are_damaged_end_training_and_nothing_else(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainingState, "step", struck_at(35))
    bench.worker.initialize().result(PATIENCE)
    (bench.folder.path / "labels.json").write_text("?")
    trained(bench, 100)
    bench.worker.set_pace(None).result(PATIENCE)
    assert bench.worker.view().status.rescue is None
    assert bench.worker.view().unsaved_iterations == 0


def test_with_the_option_training_goes_back_and_on_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path / "state", WorkerSettings(pace=None, rescue=True))
    strikes, strike = [0], struck_at(35)
    step = TrainingState.step

    def transient(self: TrainingState) -> Any:
        strikes[0] += self.iteration_count == 35
        return (strike if strikes[0] == 1 else step)(self)

    monkeypatch.setattr(TrainingState, "step", transient)
    bench.worker.initialize().result(PATIENCE)
    bench.worker.start_training(50).result(PATIENCE)
    bench.until(lambda: bench.worker.view().iteration_count == 50)
    bench.worker.close().result(PATIENCE)
    texts = [event.text for event in bench.all_of(Message)]
    assert any("Going back to iteration 30 by itself" in text for text in texts)
    whole = TrainingState(tmp_path / "other", CONFIG)
    whole.initialize()
    for _ in range(50):
        step(whole)
    assert bench.state is not None
    assert np.array_equal(bench.state.loss_history, whole.loss_history)
    whole.close()


def test_what_strikes_again_at_the_same_iteration_stops_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path / "state", WorkerSettings(pace=None, rescue=True))
    monkeypatch.setattr(TrainingState, "step", struck_at(35))
    bench.worker.initialize().result(PATIENCE)
    bench.worker.start_training().result(PATIENCE)
    bench.until(lambda: sum("Three void" in event.text for event in bench.all_of(Message)) == 2)
    bench.worker.set_pace(None).result(PATIENCE)
    assert bench.worker.view().status.phase is Phase.READY
    assert bench.worker.view().status.rescue is not None
    bench.worker.close().result(PATIENCE)
