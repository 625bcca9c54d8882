"""`python -m quadra.report FOLDER`: write a saved state as one HTML file."""

from quadra.cli.output import exit_code_of
from quadra.cli.report import main

if __name__ == "__main__":
    raise SystemExit(exit_code_of(main))
