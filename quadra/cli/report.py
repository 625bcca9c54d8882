"""`python -m quadra.report FOLDER`: writes the newest saved state of a folder as one HTML file."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from quadra.cli.show import STATE_FILES
from quadra.errors import ConfigurationError, QuadraError
from quadra.paths import expanded
from quadra.reports.history_export import file_name
from quadra.reports.html_report import read_newest, report
from quadra.storage.files.durable import replace_file

CANNOT_REPORT = 2


def main(arguments: list[str] | None = None, program: str = "python -m quadra.report") -> int:
    """Writes the report of a folder's newest state. Returns the exit code."""
    options = _parse(arguments, program)
    folder: Path = options.folder
    try:
        state = read_newest(folder)
        output: Path = options.output or Path(file_name(state.record.run, state.record.iteration_count, "html"))
        if output.suffix in STATE_FILES:
            raise ConfigurationError("--output", f"{output} is a name of a saved state's file. Choose another one.")
        name = options.name or folder.resolve().name
        replace_file(output, [report(state, name, datetime.now(UTC), options.note).encode("utf-8")])
    except OSError as error:
        return _refuse(f"{error.filename or folder} cannot be written or read: {error.strerror or error}")
    except QuadraError as error:
        return _refuse(f"{folder}: {error}")
    sys.stdout.write(f"Report written: {output}\n")
    return 0


def _parse(arguments: list[str] | None, program: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=program, description="Write the report of a saved state.")
    parser.add_argument("folder", type=expanded, help="with the three files of a saved state")
    parser.add_argument("--output", type=expanded, help="default: quadramatrix-RUN-ITERATION.html, where you are")
    parser.add_argument("--name", default="", help="title of the report (default: the folder's name)")
    parser.add_argument("--note", default="", help="a text that the report shows below its title")
    return parser.parse_args(arguments)


def _refuse(reason: str) -> int:
    sys.stderr.write(f"No report was written. {reason}\n")
    return CANNOT_REPORT
