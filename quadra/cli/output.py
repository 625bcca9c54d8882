"""Terminal: lines and columns for people, JSON for programs; nothing in a text is obeyed by the terminal that shows it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NoReturn, TextIO

NOTHING = "-"  # in the place of a value that is not there
_DOTS = "..."
_UNITS = ("bytes", "kB", "MB", "GB", "TB")
BAD_START = 2  # exit code of a start that was refused: nothing was touched
INTERRUPTED = 130  # exit code after Ctrl-C


def shown(text: str) -> str:
    """Free text as one line; what a terminal would obey, or hide, comes out as an escape."""
    line = " ".join(text.split())
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in line)


def say(*lines: str) -> None:
    """Print lines; what the terminal's encoding lacks comes out as an escape."""
    for line in lines:
        sys.stdout.write(_encodable(line, sys.stdout) + "\n")


def say_json(value: Any) -> None:
    """Print strict JSON. Raises ValueError for a number that is not finite."""
    say(json.dumps(value, indent=1, allow_nan=False))


def say_raw(pieces: Iterable[str]) -> None:
    """Print text as it is, in UTF-8 and with its own ends of lines, for a program that reads it."""
    sys.stdout.flush()
    for piece in pieces:
        sys.stdout.buffer.write(piece.encode())
    sys.stdout.buffer.flush()


def complain(line: str) -> None:
    """One line on stderr."""
    with contextlib.suppress(OSError):  # the terminal is gone: there is nobody left to tell
        sys.stderr.write(_encodable(shown(line), sys.stderr) + "\n")
        sys.stderr.flush()


def refuse(program: str, reason: str) -> NoReturn:
    """Ends a start before it touches anything: one line on stderr, and the exit code BAD_START."""
    complain(f"{program}: {reason}")
    raise SystemExit(BAD_START)


def confirmed(question: str) -> bool:
    """Ask on the terminal; everything but yes is no."""
    sys.stderr.write(f"{_encodable(shown(question), sys.stderr)} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().casefold() in ("y", "yes")


def room() -> int | None:
    """Columns of the terminal that reads what is printed; None where a file or another program does."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def width(text: str) -> int:
    """Columns that a terminal needs for a text."""
    return sum(0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF") for sign in text)


def cut(text: str, columns: int) -> str:
    """A text that needs at most so many columns; dots at its end say that there is more."""
    if width(text) <= columns:
        return text
    kept = text
    while kept and width(kept) > columns - len(_DOTS):
        kept = kept[:-1]
    return kept.rstrip() + _DOTS[: max(0, columns)]


def aligned(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Rows of equal length as lines with columns two blanks apart; those in `right` end at the same place."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(_cells(row, widths, right)).rstrip() for row in rows]


def _cells(row: Sequence[str], widths: Sequence[int], right: Collection[int]) -> list[str]:
    blanks = [" " * (columns - width(text)) for text, columns in zip(row, widths, strict=True)]
    return [blanks[at] + text if at in right else text + blanks[at] for at, text in enumerate(row)]


def figure(value: float | None, digits: int = 4) -> str:
    """A number to so many significant digits."""
    return NOTHING if value is None else f"{value:#.{digits}g}".rstrip(".")


def size_of(count: int) -> str:
    """Bytes in words."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.{1 if unit else 0}f} {_UNITS[unit]}"


def quietly(act: Callable[[], int]) -> int:
    """The exit code of a command; where nobody reads on (`| head`), or somebody pressed Ctrl-C, it just ends."""
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
