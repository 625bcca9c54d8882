"""`python -m quadra.check FOLDER`: verifies every saved state in a state directory, beside a live server too.

Prints what is whole and what is not, changes nothing, and ends with code 0 where everything is whole, 1 where something is
not, 2 where the folder cannot be read.
"""

from __future__ import annotations

import argparse
import sys

from quadra.paths import expanded
from quadra.reports.check import check

CANNOT_CHECK = 2


def main(arguments: list[str] | None = None, program: str = "python -m quadra.check") -> int:
    """Prints the findings. Returns the exit code."""
    parser = argparse.ArgumentParser(prog=program, description="Verify a state directory.")
    parser.add_argument("folder", type=expanded)
    folder = parser.parse_args(arguments).folder
    try:
        findings = check(folder)
    except OSError as error:
        sys.stderr.write(f"{folder} cannot be checked: {error.strerror or error}\n")
        return CANNOT_CHECK
    for finding in findings:
        sys.stdout.write(f"{'ok ' if finding.is_good else 'BAD'} {finding.text}\n")
    bad = sum(not finding.is_good for finding in findings)
    sys.stdout.write(f"{bad} of {len(findings)} findings are bad.\n" if bad else "Everything is whole.\n")
    return int(bad > 0)
