"""`python -m quadra.check FOLDER`: verify every saved state in a state directory."""

from quadra.reports.check import main

if __name__ == "__main__":
    raise SystemExit(main())
