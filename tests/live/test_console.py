"""The terminal shows the exact lines, thinned and in any encoding."""

import io

from quadra.live.console import Console
from quadra.training.events import Event, LoadFailed, SaveFailed, StateLoaded, StateSaved, TrainingStopped


def printed(events: list[Event], encoding: str = "utf-8") -> list[str]:
    raw = io.BytesIO()
    console = Console(io.TextIOWrapper(raw, encoding=encoding, write_through=True))
    console.start()
    for event in events:
        console.on_event(event)
    console.close()
    return raw.getvalue().decode(encoding).splitlines()


def saved(count: int) -> Event:
    return StateSaved(count, "", 1.0)


def test_the_exact_lines_are_printed() -> None:
    events = [
        saved(100),
        StateLoaded(220),
        SaveFailed(100, "No space left on device"),
        LoadFailed("broken", nothing_there=False),
        LoadFailed("No saved state found", nothing_there=True),
    ]
    assert printed(events) == [
        "✓ State saved: 100 iterations",
        "✓ State loaded: 220 iterations restored",
        "✗ Failed to save state: No space left on device",
        "✗ Failed to load state: broken",
        "No saved state found",
    ]


def test_saved_lines_are_thinned_and_the_last_one_always_appears() -> None:
    lines = printed([saved(count) for count in range(10, 1010, 10)])
    assert len(lines) <= 4
    assert lines[0] == "✓ State saved: 10 iterations"
    assert lines[-1] == "✓ State saved: 1000 iterations"


def test_failures_are_thinned_too_and_each_change_is_shown() -> None:
    failures = [SaveFailed(10, f"full {number}") for number in range(50)]
    lines = printed([saved(10), *failures, saved(20)])
    assert len(lines) <= 4
    assert lines[0] == "✓ State saved: 10 iterations"
    assert lines[-2:] == ["✗ Failed to save state: full 49", "✓ State saved: 20 iterations"]


def test_a_held_back_saved_line_comes_before_what_happened_after_it() -> None:
    lines = printed([saved(10), saved(20), TrainingStopped(by_itself=False, integrity_strikes=0)])
    assert lines == ["✓ State saved: 10 iterations", "✓ State saved: 20 iterations", "Training stopped"]


def test_a_terminal_without_the_signs_gets_words() -> None:
    lines = printed([saved(10), SaveFailed(10, "naïve ✓")], encoding="ascii")
    assert lines == ["[ok] State saved: 10 iterations", "[failed] Failed to save state: na?ve ?"]


def test_a_stream_that_is_gone_stops_nothing() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    console = Console(stream)
    stream.close()
    console.start()
    console.on_event(saved(10))
    console.on_event(saved(20))
    console.close()
    assert not console._thread.is_alive()
