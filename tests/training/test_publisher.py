"""What is shown is never more than the promised iterations ahead of what is durable, and every listener hears every event."""

from __future__ import annotations

from pathlib import Path

from quadra.training.events import Event, Message
from quadra.training.publisher import Publisher, Rate
from quadra.training.view import SaveTrouble, Status, WorkerSettings
from tests.helpers.bench import CONFIG
from tests.helpers.state_helpers import new_run, opened, train


def test_iterations_that_a_crash_could_take_back_are_shown_only_as_far_as_was_promised(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as state:
        publisher = Publisher(Status.first(CONFIG, WorkerSettings(save_every=4), state.folder))
        publisher.follow(state)
        new_run(state, 2, "stopped")
        shown = []
        for _ in range(6):
            train(state, 1)
            publisher.show_step(state)
            shown.append(publisher.view.iteration_count)
        assert shown == [3, 4, 5, 6, 6, 6]
        publisher.show(trouble=SaveTrouble(8, "the disk is full", 2))
        assert publisher.view.iteration_count == 8  # under a banner that says so
        publisher.show(trouble=None)
        state.save()
        train(state, 1)
        publisher.show_step(state)
        assert publisher.view.iteration_count == 9
        state.initialize()
        publisher.show()
        assert (publisher.view.iteration_count, publisher.view.result) == (0, None)


def test_without_auto_save_everything_is_shown(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as state:
        publisher = Publisher(Status.first(CONFIG, WorkerSettings(save_every=0), state.folder))
        new_run(state, 50)
        publisher.show_step(state)
        assert publisher.view.iteration_count == publisher.view.unsaved_iterations == 50
        state.release()


def test_every_listener_hears_every_event_in_order(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as state:
        publisher = Publisher(Status.first(CONFIG, WorkerSettings(), state.folder))
    heard: tuple[list[Event], list[Event]] = [], []
    for events in heard:
        publisher.listen(events.append)
    told = [Message("one"), Message("two", "error")]
    for event in told:
        publisher.publish(event)
    assert heard == (told, told)


def test_the_rate_is_that_of_the_last_three_seconds() -> None:
    rate = Rate()
    assert rate.after(0, 100.0) == 0.0
    assert rate.after(50, 101.0) == 50.0
    assert rate.after(60, 101.1) == 50.0  # too soon to be measured again
    for second in range(2, 6):
        rate.after(50 + 10 * second, 100.0 + second)
    assert rate.value == 10.0
