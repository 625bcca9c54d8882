"""`python -m quadra.check FOLDER`: verify every saved state in a state directory."""

from quadra.cli.check import main
from quadra.cli.output import exit_code_of

if __name__ == "__main__":
    raise SystemExit(exit_code_of(main))
