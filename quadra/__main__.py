"""`python -m quadra`: what this program does without a browser, under one name."""

from __future__ import annotations

import sys

from quadra.cli.output import complain, quietly, say

NOT_DONE = 2
_COMMANDS = {
    "states": "list, show, save, load, compare, export ... the saved states of a folder",
    "check": "verify every saved state of a folder",
    "prove": "show that a saved state continues to the very bit",
    "report": "write the newest saved state of a folder as one HTML file",
}


def main(arguments: list[str] | None = None) -> int:
    """Hand on to the command that is named; returns the exit code."""
    asked = sys.argv[1:] if arguments is None else arguments
    if not asked or asked[0] in ("-h", "--help"):
        say("usage: python -m quadra COMMAND ...", "", *(f"  {name:<8}{text}" for name, text in _COMMANDS.items()))
        say("", "Each one tells more with --help. The server with the page is `python app.py`.")
        return 0
    return _handed_on(asked[0], asked[1:])


def _handed_on(command: str, rest: list[str]) -> int:
    """Each is imported when it is asked for: most of them take torch along."""
    if command == "states":
        from quadra.cli.states import main as states

        return states(rest)
    if command == "check":
        from quadra.cli.check import main as check

        return check(rest)
    if command == "prove":
        from quadra.cli.prove import main as prove

        return prove(rest)
    if command == "report":
        from quadra.cli.report import main as report

        return report(rest)
    complain(f"python -m quadra: there is no command {command!r}. Choose from {', '.join(_COMMANDS)}.")
    return NOT_DONE


if __name__ == "__main__":
    raise SystemExit(quietly(main))
