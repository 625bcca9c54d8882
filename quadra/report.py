"""`python -m quadra.report FOLDER`: write a saved state as one HTML file."""

from quadra.cli.report import main

if __name__ == "__main__":
    raise SystemExit(main())
