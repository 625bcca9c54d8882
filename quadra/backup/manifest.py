"""Manifests: what a remote has beside the files of a backup, and which other files may go along with them."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from quadra.errors import BadFileError
from quadra.states.alert_rules import LARGEST as LARGEST_RULES
from quadra.states.own_texts import LARGEST_NOTE, LARGEST_TEXT
from quadra.storage.layout import ALERTS, FILES, TEXT_FILE, WEIGHTS
from quadra.storage.save_record import SaveRecord, dump, parse

log = logging.getLogger("quadra.backup")

MANIFEST = "manifest.json"
BLOCK = 1 << 20  # bytes that are read at once

_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOMENT = re.compile(r"[0-9T:.+Z-]{1,40}")
_DIGITS = 12  # of a digest in a name
_LONGEST_MANIFEST = 65_536  # bytes
_MOST_ALONG = 3  # a text, its note, and the alert rules


class FileDigest(NamedTuple):
    """Size and checksum of a file."""

    size: int  # bytes
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The record of the saved state, and the digests of all files of its backup."""

    record: SaveRecord
    backed_up_at: str  # ISO 8601, UTC
    files: Mapping[str, FileDigest]  # the three
    along: Mapping[str, FileDigest] = field(default_factory=dict)  # its own text with its note, and its alert rules

    @property
    def name(self) -> str:
        """Returns the path of the backup below the remote's address."""
        record, digest = self.record, self.files[WEIGHTS].sha256
        if self.along:  # the same state with other rules is another backup, for nothing complete is ever changed
            lines = [f"{name} {file.sha256}" for name, file in sorted(self.along.items())]
            digest = hashlib.sha256("\n".join([digest, *lines]).encode()).hexdigest()
        return f"{record.run}/{record.iteration_count}-{digest[:_DIGITS]}"

    @property
    def size(self) -> int:
        """Returns the bytes of the three files."""
        return sum(file.size for file in self.files.values())

    def as_dict(self) -> dict[str, Any]:
        """Returns the backup as pages and scripts have it."""
        record = asdict(self.record)
        names = ("run", "iteration_count", "saved_at", "ended", "field_size", "seed", "loss", "reward", "parent")
        backup = {"name": self.name, "backed_up_at": self.backed_up_at, "size": self.size}
        along = {"own_text": any(name.endswith(".txt") for name in self.along), "alert_rules": ALERTS in self.along}
        return {**backup, **{name: record[name] for name in names}, **along}


def manifest_of(folder: Path, record: SaveRecord, backed_up_at: str) -> Manifest:
    """Returns the manifest of a backup of the files in a folder. Raises OSError."""
    names = [*FILES, *sorted(entry.name for entry in folder.iterdir() if _largest_along(entry.name))]
    digests = {}
    for name in names:
        with (folder / name).open("rb") as stream:
            digests[name] = digest_of(stream)
    along = {name: file for name, file in digests.items() if name not in FILES and _may_go_along(name, file)}
    for name in set(names) - {*FILES, *along}:
        log.warning("%s is not backed up: it is too large, or has another content than its name says.", name)
    return Manifest(record, backed_up_at, {name: digests[name] for name in FILES}, along)


def _largest_along(name: str) -> int:
    """Returns how many bytes a file of this name may have that goes along with a backup; 0: none of this name does."""
    if name == ALERTS:
        return LARGEST_RULES
    if not TEXT_FILE.fullmatch(name):
        return 0
    return LARGEST_TEXT if name.endswith(".txt") else LARGEST_NOTE


def _may_go_along(name: str, file: FileDigest) -> bool:
    is_possible = type(file.size) is int and 0 <= file.size <= _largest_along(name) and _SHA256.fullmatch(file.sha256)
    return bool(is_possible) and not (name.endswith(".txt") and name != f"{file.sha256}.txt")


def digest_of(stream: BinaryIO) -> FileDigest:
    """Returns size and checksum of what a stream still has."""
    size, digest = 0, hashlib.sha256()
    while block := stream.read(BLOCK):
        size += len(block)
        digest.update(block)
    return FileDigest(size, digest.hexdigest())


def encode(manifest: Manifest) -> bytes:
    """Returns the content of the manifest's file."""
    head = {"backed_up_at": manifest.backed_up_at, "files": _as_json(manifest.files)}
    along = {"along": _as_json(manifest.along)} if manifest.along else {}
    text = json.dumps({**head, **along, "record": json.loads(dump(manifest.record))}, indent=1)
    return text.encode("ascii")


def _as_json(files: Mapping[str, FileDigest]) -> dict[str, dict[str, Any]]:
    return {name: file._asdict() for name, file in files.items()}


def decode(text: object, name: str, sizes: Mapping[str, int]) -> Manifest | None:
    """Returns the manifest of this name where it can be read and the files have the sizes that it says; else None."""
    if not isinstance(text, bytes) or len(text) > _LONGEST_MANIFEST:
        return None
    try:
        values = json.loads(text)
        files = {file: FileDigest(values["files"][file]["size"], values["files"][file]["sha256"]) for file in FILES}
        record = parse(json.dumps(values["record"]).encode(), MANIFEST)
        along = {
            file: FileDigest(entry["size"], entry["sha256"]) for file, entry in dict(values.get("along", {})).items()
        }
        manifest = Manifest(record, values["backed_up_at"], files, along)
        is_possible = all(_may_go_along(file, digest) for file, digest in along.items()) and len(along) <= _MOST_ALONG
        is_possible = is_possible and all(_SHA256.fullmatch(digest.sha256) for digest in files.values())
        is_possible = is_possible and _MOMENT.fullmatch(manifest.backed_up_at) is not None
    except (ValueError, KeyError, TypeError, RecursionError, BadFileError):
        return None
    fits = all(sizes.get(file) == digest.size for file, digest in files.items())
    return manifest if is_possible and fits and manifest.name == name else None
