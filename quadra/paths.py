"""Where the files that come with the program lie."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent  # what a Python child needs on its path to import this package
TEMPLATES = ROOT / "templates"
STATIC = ROOT / "static"
