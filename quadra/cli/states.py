"""`python -m quadra states ...`: the saved states of a folder without a browser.

list, show, compare, report, history and export only read, and work beside a live server. The others change the folder, which
one process at a time may do. Ends with code 0; 1 where a saved state did not pass its verification; 2 where something was
refused or could not be done, with the reason in one line on stderr.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import NoReturn

from quadra.cli import change, compare, show, transfer
from quadra.cli.output import complain
from quadra.errors import BadFileError, FolderLockedError, QuadraError
from quadra.paths import expanded
from quadra.storage.files.scratch import ensure_temporary_folder
from quadra.storage.layout import SCRATCH

Action = Callable[[argparse.Namespace], int]

STATE_DIR = "dashboard_state"  # where neither option nor environment names a folder
DONE, NOT_WHOLE, NOT_DONE = 0, 1, 2
_PROGRAM = "python -m quadra states"
_BESIDE = (
    "Beside it, list, show, compare, report, history and export work here; for the rest use its page in a browser."
)
_STATE = "id of a saved state, its beginning, or its name"


class _Parser(argparse.ArgumentParser):
    """Reports a bad option in one line."""

    def error(self, message: str) -> NoReturn:
        complain(f"{self.prog}: {message}. See {self.prog} --help.")
        raise SystemExit(NOT_DONE)


def main(arguments: list[str] | None = None, program: str = _PROGRAM) -> int:
    """Carries out one command. Returns the exit code."""
    options = parser(program).parse_args(arguments)
    act: Action = options.act
    if options.state_dir.is_dir():
        ensure_temporary_folder(options.state_dir / SCRATCH)
    try:
        return act(options)
    except BrokenPipeError:  # nobody reads on: no failure of the command
        raise
    except FolderLockedError as error:
        complain(f"{str(error).split('. ')[0]}. {_BESIDE}")
    except BadFileError as error:
        complain(
            f"{options.state_dir}: {error}. `python -m quadra check {options.state_dir}` looks at all that is there."
        )
        return NOT_WHOLE
    except QuadraError as error:
        complain(str(error))
    except OSError as error:
        complain(f"{error.filename or options.state_dir}: {error.strerror or error}.")
    return NOT_DONE


def parser(program: str = _PROGRAM) -> argparse.ArgumentParser:
    """Returns the parser of all commands."""
    top = _Parser(prog=program, description="Saved states of a folder, without a browser.", allow_abbrev=False)
    default = expanded(os.environ.get("QUADRA_STATE_DIR") or STATE_DIR)
    top.add_argument(
        "--state-dir", type=expanded, default=default, help=f"folder of the saved states (default: {default})"
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    _add_show_commands(commands)
    _add_change_commands(commands)
    _add_label_commands(commands)
    _add_transfer_commands(commands)
    return top


_Commands = argparse._SubParsersAction  # argparse has no public name for it


def _command(commands: _Commands[_Parser], name: str, act: Action, text: str, *names: str) -> _Parser:
    command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    command.add_argument("--state-dir", type=expanded, default=argparse.SUPPRESS, help="folder of the saved states")
    command.set_defaults(act=act)
    for argument in names:
        command.add_argument(argument, metavar=argument.upper(), help=_STATE if argument == "state" else None)
    return command


def _add_show_commands(commands: _Commands[_Parser]) -> None:
    command = _command(commands, "list", show.list_states, "every saved state, newest first")
    command.add_argument("--deleted", action="store_true", help="those that were deleted and can be taken back")
    command.add_argument("--json", action="store_true")
    command = _command(commands, "show", show.show, "everything of one state, which is verified for it", "state")
    command.add_argument("--json", action="store_true")
    command = _command(commands, "compare", compare.compare_states, "states side by side; the first is the reference")
    command.add_argument("states", nargs="+", metavar="STATE", help=_STATE)
    command.add_argument("--json", action="store_true", help="all of it, curves and cells of the Q-table too")
    command = _command(commands, "report", show.write_report, "one HTML file that opens offline", "state")
    _add_output(command, "quadramatrix-RUN-ITERATION.html, where you are")
    command = _command(commands, "history", show.write_history, "every iteration as CSV or JSON", "state")
    form = command.add_mutually_exclusive_group(required=True)
    form.add_argument("--csv", action="store_true")
    form.add_argument("--json", action="store_true")
    _add_output(command, "the terminal")


def _add_change_commands(commands: _Commands[_Parser]) -> None:
    command = _command(commands, "save", change.save, "what Load takes by default becomes a named state", "name")
    command.add_argument("--overwrite", action="store_true", help="replace a state that has this name")
    load = _command(commands, "load", change.load, "a state becomes what Load takes by default", "state")
    back = _command(commands, "rollback", change.roll_back, "the same for the newest state up to an iteration")
    back.add_argument("iteration", type=_iteration, metavar="ITERATION")
    back.add_argument("--run", help="id of the run, or its beginning (default: the one that Load takes)")
    for command in (load, back):
        corpus = os.environ.get("QUADRA_CORPUS") or None
        command.add_argument("--corpus", default=corpus, help="text for a run whose own text is not where it was")


def _add_label_commands(commands: _Commands[_Parser]) -> None:
    _command(commands, "name", change.name, "give a state a name; an empty one takes it away", "state", "name")
    _command(commands, "note", change.note, "note something of a state; an empty text takes it away", "state", "text")
    command = _command(commands, "pin", change.pin, "keep a state until it is unpinned or deleted", "state")
    command.set_defaults(pinned=True)
    command = _command(commands, "unpin", change.pin, "let a state go when its time comes", "state")
    command.set_defaults(pinned=False)
    command = _command(commands, "delete", change.delete, "remove a state; for an hour it can be taken back", "state")
    command.add_argument("--yes", action="store_true", help="do not ask")
    _command(commands, "undelete", change.undelete, "take back what was deleted", "state")


def _add_transfer_commands(commands: _Commands[_Parser]) -> None:
    command = _command(
        commands, "export", transfer.export_state, "the three files of a state as one zip archive", "state"
    )
    _add_output(command, "quadramatrix-NAME-ITERATION.zip, where you are")
    command = _command(
        commands, "import", transfer.import_state, "an archive, or a folder with the three files, becomes a state"
    )
    command.add_argument("source", type=expanded, metavar="FILE_OR_FOLDER")
    command.add_argument("--name", help="of the new state (default: what the file or folder is called)")


def _add_output(command: _Parser, default: str) -> None:
    command.add_argument("--output", type=expanded, metavar="FILE", help=f"default: {default}")


def _iteration(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, not {number}")
    return number


_iteration.__name__ = "whole number"
