"""What people read of an event is written once, and how good or bad it is follows from its type."""

from __future__ import annotations

from typing import get_args

import pytest

from quadra.states.alert_rules import Rule
from quadra.training import events
from quadra.training.events import (
    AlertFired,
    Event,
    Level,
    LoadFailed,
    MeasuredSave,
    Message,
    PaceChanged,
    RunInitialized,
    SaveEveryChanged,
    SaveFailed,
    Secret,
    StateLoaded,
    StateSaved,
    StatesChanged,
    SystemReset,
    TrainingStarted,
    TrainingStopped,
    WorkerDied,
    level,
    sentence,
)

ALERT = AlertFired(
    "a-1", Rule("loss_above", 1.0), "0" * 16, 7, 3.0, 1, "Alert: loss is above 1.", "2026-01-02T03:04:05"
)


@pytest.mark.parametrize(
    ("event", "text", "how"),
    [
        (Message("As it is.", "warning"), "As it is.", "warning"),
        (Secret("A link"), "A link", "info"),
        (RunInitialized(8, 1), "New run initialized: field size 8, seed 1", "success"),
        (StateLoaded(220), "State loaded: 220 iterations restored", "success"),
        (LoadFailed("No saved state found", nothing_there=True), "No saved state found", "error"),
        (LoadFailed("broken", nothing_there=False), "Failed to load state: broken", "error"),
        (TrainingStarted(), "Training started", "info"),
        (TrainingStopped(by_itself=True, integrity_strikes=3), "Training stopped", "info"),
        (SystemReset(), "System reset: every saved state was deleted", "success"),
        (StateSaved(100, "", 0.0), "State saved: 100 iterations", "success"),
        (MeasuredSave(100, "", 1.0, size=3, written=5), "State saved: 100 iterations", "success"),
        (SaveFailed(100, "the disk is full"), "Failed to save state: the disk is full", "error"),
        (PaceChanged(None), "Pace: no limit", "info"),
        (PaceChanged(12.5), "Pace: 12.5 iterations a second", "info"),
        (SaveEveryChanged(0), "Auto-save is off: only Stop saves", "info"),
        (SaveEveryChanged(12), "Saved every 12 iterations from now on", "info"),
        (ALERT, "Alert: loss is above 1.", "warning"),
        (WorkerDied("no torch here"), "The training thread ended: no torch here", "error"),
        (StatesChanged(), None, "info"),
    ],
)
def test_the_sentence_and_the_level_of_an_event(event: Event, text: str | None, how: Level) -> None:
    assert (sentence(event), level(event)) == (text, how)
    assert level(event) in get_args(Level)


def test_every_event_has_the_name_that_logs_and_browsers_know() -> None:
    kinds = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event)]
    names = {kind.name for kind in kinds if kind is not Event}
    assert names == {
        *("message", "secret", "initialized", "loaded", "load_failed", "training", "reset", "saved", "save_failed"),
        *("pace", "save_every", "states_changed", "happened", "backup", "alerts_changed", "alert", "progress", "died"),
    }


def test_an_alert_is_told_with_its_rule_as_an_object() -> None:
    assert ALERT.as_dict() == {
        "id": "a-1", "rule": {"kind": "loss_above", "threshold": 1.0}, "run": "0" * 16, "iteration": 7, "value": 3.0,
        "times": 1, "message": "Alert: loss is above 1.", "at": "2026-01-02T03:04:05",
    }  # fmt: skip
