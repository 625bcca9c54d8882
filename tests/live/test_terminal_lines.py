"""TerminalLines keeps the terminal's newest lines, counts those that repeat, and tells each to who listens."""

from __future__ import annotations

from typing import Any

from quadra.live.terminal_lines import MOST_LINES, TerminalLines


def texts(terminal: TerminalLines) -> list[tuple[str, int]]:
    return [(line["text"], line["count"]) for line in terminal.lines()]


def test_lines_in_a_row_that_repeat_share_an_entry_that_shows_the_newest() -> None:
    terminal, heard = TerminalLines(), list[Any]()
    terminal.listen(heard.append)
    for count in (10, 20, 30):
        terminal.add(f"saved {count}", "success", "saved")
    terminal.add("stopped", "info")
    terminal.add("stopped", "info")
    terminal.add("saved 40", "success", "saved")
    assert texts(terminal) == [("saved 30", 3), ("stopped", 2), ("saved 40", 1)]
    assert [line.number for line in heard] == [1, 1, 1, 2, 2, 3]
    first = terminal.lines()[0]
    assert first["since"] == heard[0].at <= first["at"]


def test_the_same_text_of_another_kind_is_another_line() -> None:
    terminal = TerminalLines()
    terminal.add("x", "info")
    terminal.add("x", "error")
    assert [line["type"] for line in terminal.lines()] == ["info", "error"]


def test_only_the_newest_lines_stay_and_none_is_endless() -> None:
    terminal = TerminalLines()
    for number in range(MOST_LINES + 10):
        terminal.add(f"{number} " + "x" * 10_000, "info")
    lines = terminal.lines()
    assert len(lines) == MOST_LINES
    assert lines[0]["text"].startswith("10 ")
    assert max(len(line["text"]) for line in lines) <= 2000


def test_what_was_handed_out_is_not_changed_later() -> None:
    terminal = TerminalLines()
    terminal.add("a", "info")
    before = terminal.lines()
    terminal.add("a", "info")
    assert before[0]["count"] == 1
