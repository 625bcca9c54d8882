"""`python -m quadra.prove FOLDER`: shows that a saved state continues to the very bit, on this machine, today.

`--state ID` begins at any saved state of the folder. Ends with code 0 where both endings are the same, 1 where they are not,
2 where there is no state to begin with.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from quadra.config import TrainingConfig
from quadra.errors import QuadraError
from quadra.paths import expanded
from quadra.reports.prove import ITERATIONS, Certificate, prove, prove_state
from quadra.states.listing import StateListing
from quadra.states.lookup import find_state
from quadra.storage.files.scratch import ensure_temporary_folder
from quadra.storage.layout import SCRATCH, StateLayout

CANNOT_PROVE = 2


def main(arguments: list[str] | None = None, program: str = "python -m quadra.prove") -> int:
    """Prints the certificate. Returns the exit code."""
    parser = argparse.ArgumentParser(prog=program, description="Prove that a saved state continues exactly.")
    parser.add_argument("folder", type=expanded)
    parser.add_argument("--state", help="id of a saved state, its beginning, or its name (default: the newest save)")
    parser.add_argument("--iterations", type=_positive, default=ITERATIONS)
    parser.add_argument("--json", action="store_true", help="print the certificate as JSON")
    options = parser.parse_args(arguments)
    try:
        if options.folder.is_dir():
            ensure_temporary_folder(options.folder / SCRATCH)
        certificate = _prove(options.folder, options.state, options.iterations)
    except (QuadraError, OSError) as error:
        sys.stderr.write(f"Nothing could be proved: {error}\n")
        return CANNOT_PROVE
    text = json.dumps(asdict(certificate), indent=1) if options.json else "\n".join(certificate.lines())
    sys.stdout.write(f"{text}\n")
    return int(bool(certificate.different))


def _prove(folder: Path, text: str | None, iterations: int) -> Certificate:
    if text is None:
        return prove(folder, iterations)
    layout = StateLayout(folder)
    return prove_state(layout, find_state(StateListing(layout).entries(), text).id, TrainingConfig(), iterations)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number
