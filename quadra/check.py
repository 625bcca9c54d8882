"""`python -m quadra.check FOLDER`: verify every saved state in a state directory."""

from quadra.cli.check import main

if __name__ == "__main__":
    raise SystemExit(main())
