"""The key that signs the browsers' cookies: one per installation, in a file that only its user reads."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from quadra.paths import IS_INSTALLED, ROOT

log = logging.getLogger("quadra")


def secret_key() -> bytes:
    """Returns the key, which the first start makes. Where no file can keep it, each start has another one and says so."""
    file = secret_key_file(os.environ)
    kept = _kept_in(file) if file is not None else b""
    if not kept:
        log.warning("%s Browsers that came in by a token must bring it again after the next start.", _reason(file))
    return kept or secrets.token_bytes(32)


def secret_key_file(environment: Mapping[str, str]) -> Path | None:
    """Returns where the key is kept: beside the program in a checkout, else among the user's state; None without a home."""
    if not IS_INSTALLED:
        return ROOT / "instance" / "secret_key"
    named = Path(environment.get("XDG_STATE_HOME", ""))
    if not named.is_absolute():  # as the specification asks
        try:
            named = Path.home() / ".local" / "state"
        except RuntimeError:
            return None
    return named / "quadramatrix" / "secret_key"


def _kept_in(file: Path) -> bytes:
    """Returns the file's content, made anew where the file is not there yet; nothing where there is none to be had."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_hex(32).encode())
    except OSError:  # it is there already, or cannot be made
        pass
    try:
        return file.read_bytes()
    except OSError:
        return b""


def _reason(file: Path | None) -> str:
    if file is None:
        return "This user has no home folder that could keep the key of cookies."
    return f"The key of cookies cannot be kept in {file}."
