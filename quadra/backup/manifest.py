"""Manifests: what stands in a remote place beside the files of a backup, and what may go along with them."""

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


class Fact(NamedTuple):
    """What tells a file from every other."""

    size: int  # bytes
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What stands beside the files of a backup."""

    record: SaveRecord
    backed_up_at: str  # ISO 8601, UTC
    files: Mapping[str, Fact]  # the three
    along: Mapping[str, Fact] = field(default_factory=dict)  # its own text with its note, and its alert rules

    @property
    def name(self) -> str:
        """Where the backup stands below the place's address."""
        record, digest = self.record, self.files[WEIGHTS].sha256
        if self.along:  # the same state with other rules is another backup, for nothing complete is ever changed
            told = [f"{name} {fact.sha256}" for name, fact in sorted(self.along.items())]
            digest = hashlib.sha256("\n".join([digest, *told]).encode()).hexdigest()
        return f"{record.run}/{record.iteration_count}-{digest[:_DIGITS]}"

    @property
    def size(self) -> int:
        """Bytes of the three files."""
        return sum(fact.size for fact in self.files.values())

    def as_dict(self) -> dict[str, Any]:
        """What pages and scripts are told."""
        record = asdict(self.record)
        names = ("run", "iteration_count", "saved_at", "ended", "field_size", "seed", "loss", "reward", "parent")
        facts = {"name": self.name, "backed_up_at": self.backed_up_at, "size": self.size}
        along = {"own_text": any(name.endswith(".txt") for name in self.along), "alert_rules": ALERTS in self.along}
        return {**facts, **{name: record[name] for name in names}, **along}


def manifest_of(folder: Path, record: SaveRecord, backed_up_at: str) -> Manifest:
    """What a backup of the files in a folder will say of itself. Raises OSError."""
    names = [*FILES, *sorted(entry.name for entry in folder.iterdir() if _most_along(entry.name))]
    facts = {}
    for name in names:
        with (folder / name).open("rb") as stream:
            facts[name] = fact_of(stream)
    along = {name: fact for name, fact in facts.items() if name not in FILES and _may_go_along(name, fact)}
    for name in set(names) - {*FILES, *along}:
        log.warning("%s is not backed up: it is too large, or has another content than its name says.", name)
    return Manifest(record, backed_up_at, {name: facts[name] for name in FILES}, along)


def _most_along(name: str) -> int:
    """Bytes that a file of this name may have which goes along with a backup; 0: none of this name does."""
    if name == ALERTS:
        return LARGEST_RULES
    if not TEXT_FILE.fullmatch(name):
        return 0
    return LARGEST_TEXT if name.endswith(".txt") else LARGEST_NOTE


def _may_go_along(name: str, fact: Fact) -> bool:
    is_possible = type(fact.size) is int and 0 <= fact.size <= _most_along(name) and _SHA256.fullmatch(fact.sha256)
    return bool(is_possible) and not (name.endswith(".txt") and name != f"{fact.sha256}.txt")


def fact_of(stream: BinaryIO) -> Fact:
    """Of what a stream still has."""
    size, digest = 0, hashlib.sha256()
    while block := stream.read(BLOCK):
        size += len(block)
        digest.update(block)
    return Fact(size, digest.hexdigest())


def encoded(manifest: Manifest) -> bytes:
    """The content of the file that a remote place has of it."""
    told = {"backed_up_at": manifest.backed_up_at, "files": _as_json(manifest.files)}
    along = {"along": _as_json(manifest.along)} if manifest.along else {}
    text = json.dumps({**told, **along, "record": json.loads(dump(manifest.record))}, indent=1)
    return text.encode("ascii")


def _as_json(facts: Mapping[str, Fact]) -> dict[str, dict[str, Any]]:
    return {name: fact._asdict() for name, fact in facts.items()}


def decoded(text: object, name: str, sizes: Mapping[str, int]) -> Manifest | None:
    """The manifest of this name, where it can be read and the files have the sizes that it says; else None."""
    if not isinstance(text, bytes) or len(text) > _LONGEST_MANIFEST:
        return None
    try:
        values = json.loads(text)
        facts = {file: Fact(values["files"][file]["size"], values["files"][file]["sha256"]) for file in FILES}
        record = parse(json.dumps(values["record"]).encode(), MANIFEST)
        along = {file: Fact(fact["size"], fact["sha256"]) for file, fact in dict(values.get("along", {})).items()}
        manifest = Manifest(record, values["backed_up_at"], facts, along)
        is_possible = all(_may_go_along(file, fact) for file, fact in along.items()) and len(along) <= _MOST_ALONG
        is_possible = is_possible and all(_SHA256.fullmatch(fact.sha256) for fact in facts.values())
        is_possible = is_possible and _MOMENT.fullmatch(manifest.backed_up_at) is not None
    except (ValueError, KeyError, TypeError, RecursionError, BadFileError):
        return None
    fits = all(sizes.get(file) == fact.size for file, fact in facts.items())
    return manifest if is_possible and fits and manifest.name == name else None
