"""The lock: every package that an installation brings, transitive ones too, at one version, in requirements.lock.

    python -m tests.helpers.packages                made anew from the requirements files; what still fits keeps its version
    python -m tests.helpers.packages --upgrade      everything that the requirements files leave open at its newest version

Needs the tool uv, which is no part of the project: `pip install uv` in any environment, and its folder on the PATH. torch, and
what only its builds for graphics cards bring, is left out: it differs from platform to platform.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements.lock"
REQUIREMENTS = tuple(
    ROOT / name
    for name in ("requirements.txt", "requirements-backup.txt", "requirements-docs.txt", "requirements-dev.txt")
)
BY_PLATFORM = re.compile(r"(torch|triton|cuda-.*|nvidia-.*)")
PIN = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)(\[[a-z0-9,]+\])?==(?P<version>[A-Za-z0-9.+!]+)( ; (?P<marker>[^#]+?))?( +#.*)?"
)
_HEADER = (
    "# Every package at one version, transitive ones too; the requirements files hold pip to it. Made by\n"
    "# `python -m tests.helpers.packages`, not by hand. torch is left out: its builds differ by platform.\n"
    "# requirements.txt pins it.\n"
)


def pins(file: Path) -> list[re.Match[str]]:
    """The pins in a file; raises ValueError for a line that is neither a pin, a comment, nor names another file."""
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line and line[0] not in "#-"]
    found = [PIN.fullmatch(line) for line in lines]
    if None in found:
        raise ValueError(f"{file.name} has a line that pins nothing: {lines[found.index(None)]}")
    return [pin for pin in found if pin is not None]


def canonical(name: str) -> str:
    """A package's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def resolved(uv: str, upgrade: bool) -> list[str]:
    """The lines of a new lock."""
    with tempfile.TemporaryDirectory() as place:
        for (
            file
        ) in REQUIREMENTS:  # without the present lock: a pin that was changed in one of them must not conflict with it
            lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("-c ")]
            Path(place, file.name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        if LOCK.exists() and not upgrade:
            shutil.copy(LOCK, Path(place, LOCK.name))
        options = (
            "--universal",
            "--python-version",
            "3.11",
            "--strip-extras",
            "--annotation-style",
            "line",
            "--no-header",
        )
        command = (uv, "pip", "compile", "--quiet", *options, REQUIREMENTS[-1].name, "--output-file", LOCK.name)
        subprocess.run(command, cwd=place, check=True)
        lines = Path(place, LOCK.name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not BY_PLATFORM.fullmatch(line.partition("==")[0])]


def main() -> int:
    """Write the lock; the exit code."""
    uv = shutil.which("uv")
    if uv is None:
        sys.stderr.write("The tool uv was not found. Install it in any environment: pip install uv\n")
        return 1
    LOCK.write_text(_HEADER + "\n".join(resolved(uv, "--upgrade" in sys.argv)) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
