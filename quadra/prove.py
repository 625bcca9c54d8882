"""`python -m quadra.prove FOLDER`: prove that a saved state continues to the very bit."""

from quadra.cli.output import exit_code_of
from quadra.cli.prove import main

if __name__ == "__main__":
    raise SystemExit(exit_code_of(main))
