"""Versions and machine: what a result was computed with."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

from quadra.version import __version__

_PACKAGES = ("torch", "numpy", "numba")


def versions() -> dict[str, str]:
    """Returns the version numbers of this program and of what it computes with, by name."""
    packages = {name: version(name) for name in _PACKAGES}
    return {"quadramatrix": __version__, "python": platform.python_version(), **packages}


def machine() -> str:
    """Returns system, processor and number of processors; not the name that the machine has in its network."""
    return f"{platform.platform()}, {platform.processor() or platform.machine()}, {os.cpu_count()} processors"
