"""`python -m quadra` and the installed `quadramatrix`: every command of this program under one name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module

from quadra.cli import shutdown_signals
from quadra.cli.output import complain, exit_code_of, say

NOT_DONE = 2
COMMANDS = {  # the module of the same name in quadra/cli has its main(arguments, program)
    "serve": "train in the background and serve the page",
    "states": "list, show, save, load, compare, export ... the saved states of a folder",
    "check": "verify every saved state of a folder",
    "prove": "show that a saved state continues to the very bit",
    "report": "write the newest saved state of a folder as one HTML file",
}


def main(arguments: list[str] | None = None, program: str = "python -m quadra") -> int:
    """Hands on to the command that is named. Returns the exit code."""
    asked = sys.argv[1:] if arguments is None else arguments
    if not asked or asked[0] in ("-h", "--help"):
        say(f"usage: {program} COMMAND ...", "", *(f"  {name:<8}{text}" for name, text in COMMANDS.items()))
        say("", "Each one tells more with --help. In a checkout `python app.py` serves with the constants at its top.")
        return 0
    name, *rest = asked
    if name not in COMMANDS:
        complain(f"{program}: there is no command {name!r}. Choose from {', '.join(COMMANDS)}.")
        return NOT_DONE
    if name == "serve":
        shutdown_signals.take()  # before it is imported, which takes a while
    carry_out: Callable[[list[str], str], int] = import_module(f"quadra.cli.{name}").main  # most of them bring torch
    return carry_out(rest, f"{program} {name}")


def command() -> int:
    """Carries out what was typed after `quadramatrix`. Returns the exit code."""
    return exit_code_of(partial(main, program="quadramatrix"))


if __name__ == "__main__":
    raise SystemExit(exit_code_of(main))
