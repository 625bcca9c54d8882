"""Where the files that come with the program lie: beside the package in a checkout, inside it where it is installed.

And paths as people write them.
"""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_SITE = _PACKAGE / "site"  # pyproject.toml puts the page's files there in a wheel

IS_INSTALLED = _SITE.is_dir()
ROOT = _PACKAGE.parent  # what a Python child needs on its path to import this package
TEMPLATES = (_SITE if IS_INSTALLED else ROOT) / "templates"
STATIC = (_SITE if IS_INSTALLED else ROOT) / "static"


def expanded(path: str | os.PathLike[str]) -> Path:
    """Returns a path that people gave; a `~` at its beginning is the home folder, also where no shell has looked at it."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # nobody of that name, or no home: a file may be called so
        return Path(path)
