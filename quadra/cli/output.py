"""Terminal output: lines and columns for people, JSON for programs; a terminal obeys nothing in the texts that it shows."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NoReturn, TextIO

from quadra.cli.shutdown_signals import INTERRUPTED

NOTHING = "-"  # in the place of a value that is not there
_DOTS = "..."
_UNITS = ("bytes", "kB", "MB", "GB", "TB")
BAD_START = 2  # exit code of a start that was refused: nothing was touched


def complete_standard_streams() -> None:
    """Opens the standard streams that this process was started without (`>&-`) on nothing.

    Else what is opened next gets their numbers: a file of a saved state would be where somebody prints to.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115


def printable(text: str) -> str:
    """Returns free text as one line; a character that a terminal would obey, or hide, becomes an escape."""
    line = " ".join(text.split())
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in line)


def say(*lines: str) -> None:
    """Prints lines; a character that the terminal's encoding lacks becomes an escape."""
    for line in lines:
        sys.stdout.write(_encodable(line, sys.stdout) + "\n")


def say_json(value: Any) -> None:
    """Prints strict JSON. Raises ValueError for a number that is not finite."""
    say(json.dumps(value, indent=1, allow_nan=False))


def say_raw(pieces: Iterable[str]) -> None:
    """Prints text as it is, in UTF-8 and with its own line ends, for a program that reads it."""
    sys.stdout.flush()
    for piece in pieces:
        sys.stdout.buffer.write(piece.encode())
    sys.stdout.buffer.flush()


def complain(line: str) -> None:
    """Prints one line on stderr."""
    with contextlib.suppress(OSError):  # the terminal is gone: there is nobody left to tell
        sys.stderr.write(_encodable(printable(line), sys.stderr) + "\n")
        sys.stderr.flush()


def refuse(program: str, reason: str) -> NoReturn:
    """Ends a start before it touches anything: one line on stderr, and the exit code BAD_START."""
    complain(f"{program}: {reason}")
    raise SystemExit(BAD_START)


def confirm(question: str) -> bool:
    """Asks on the terminal. Returns whether the answer is yes."""
    sys.stderr.write(f"{_encodable(printable(question), sys.stderr)} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().casefold() in ("y", "yes")


def terminal_width() -> int | None:
    """Returns the columns of the terminal; None where a file or another program reads the output."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def display_width(text: str) -> int:
    """Returns the columns that a terminal needs for a text."""
    return sum(0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF") for sign in text)


def truncated(text: str, columns: int) -> str:
    """Returns a text that needs at most so many columns; dots at its end stand for what was cut."""
    if display_width(text) <= columns:
        return text
    kept = text
    while kept and display_width(kept) > columns - len(_DOTS):
        kept = kept[:-1]
    return kept.rstrip() + _DOTS[: max(0, columns)]


def aligned(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Returns rows of equal length as lines with columns two blanks apart; columns in `right` are aligned to the right."""
    widths = [max(map(display_width, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(_cells(row, widths, right)).rstrip() for row in rows]


def _cells(row: Sequence[str], widths: Sequence[int], right: Collection[int]) -> list[str]:
    blanks = [" " * (columns - display_width(text)) for text, columns in zip(row, widths, strict=True)]
    return [blanks[at] + text if at in right else text + blanks[at] for at, text in enumerate(row)]


def figure(value: float | None, digits: int = 4) -> str:
    """Returns a number to so many significant digits."""
    return NOTHING if value is None else f"{value:#.{digits}g}".rstrip(".")


def size_of(count: int) -> str:
    """Returns a number of bytes with its unit."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.{1 if unit else 0}f} {_UNITS[unit]}"


def exit_code_of(act: Callable[[], int]) -> int:
    """Carries out a command. Returns its exit code, without a traceback where the pipe closed (`| head`) or for Ctrl-C."""
    complete_standard_streams()
    try:
        code = act()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python writes what is left when it ends
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _encodable(line: str, stream: TextIO) -> str:
    encoding = stream.encoding or "utf-8"
    return line.encode(encoding, "backslashreplace").decode(encoding)
