"""Remote: backups of saved states in a place that fsspec reaches: `s3://`, `gs://`, `file://` and others.

<url>/<run>/<iteration>-<first 12 digits of the weights file's SHA-256>/
    metrics_history.pkl, system_state.pkl, oscillator_weights.pth
    manifest.json      written last: a state without it is not there

The names say what is in them, so an upload that was cut off is taken up again where it broke, and nothing is ever
overwritten but what such an upload left. Everything is kept until somebody asks for its removal.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from quadra.disk import sync, sync_folder
from quadra.errors import (
    BackupError,
    BadFileError,
    ConfigurationError,
    DamagedFileError,
    MissingFileError,
    QuadraError,
    UnknownSourceError,
)
from quadra.places import FILES, WEIGHTS
from quadra.records import Record, dump, parse

MANIFEST = "manifest.json"
INSTALL = "pip install -r requirements-backup.txt"

_NAME = re.compile(r"[0-9a-f]{16}/\d{1,16}-[0-9a-f]{12}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOMENT = re.compile(r"[0-9T:.+Z-]{1,40}")
_DIGITS = 12  # of the weights' digest in a name
_BLOCK = 1 << 20  # bytes that are read at once
_LONGEST_MANIFEST = 65_536  # bytes
_WITH_FOLDERS = ("file", "local", "memory", "sftp", "ssh", "smb", "hdfs", "ftp", "dropbox", "webdav")
_ON_THIS_MACHINE = ("file", "local")
_CONNECTING = 10.0  # seconds until a server that does not answer counts as not reached
_ANSWERING = 30.0  # seconds that an answer may take
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "s3": {
        "config_kwargs": {
            "connect_timeout": _CONNECTING,
            "read_timeout": _ANSWERING,
            "retries": {"max_attempts": 1},  # we try again ourselves, and tell
        }
    }
}


class Fact(NamedTuple):
    """What tells a file from every other."""

    size: int  # bytes
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What stands beside the three files of a backup."""

    record: Record
    backed_up_at: str  # ISO 8601, UTC
    files: Mapping[str, Fact]

    @property
    def name(self) -> str:
        """Where the backup stands below the place's address."""
        record = self.record
        return f"{record.run}/{record.iteration_count}-{self.files[WEIGHTS].sha256[:_DIGITS]}"

    @property
    def size(self) -> int:
        """Bytes of the three files."""
        return sum(fact.size for fact in self.files.values())

    def as_dict(self) -> dict[str, Any]:
        """What pages and scripts are told."""
        record = asdict(self.record)
        names = ("run", "iteration_count", "saved_at", "ended", "field_size", "seed", "loss", "reward", "parent")
        facts = {"name": self.name, "backed_up_at": self.backed_up_at, "size": self.size}
        return {**facts, **{name: record[name] for name in names}}


class Remote:
    """The backups below an address; for one thread at a time, or several that only look.

    Raises ConfigurationError where the address cannot be used at all; nothing is asked of the network before the first
    call of a method. Every method raises BackupError where the place cannot be reached, read or written.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._protocol = _protocol(url)

    @property
    def shown_url(self) -> str:
        """The address without the password that may be in it."""
        return re.sub(r"//[^/@]*@", "//", self.url)

    def put(self, folder: Path, manifest: Manifest) -> int:
        """Bring the three files of a folder there; returns the bytes that were sent: 0 where all of it was there already.

        What an earlier call brought there before it failed is not sent again.
        """
        with self._reaching():
            if self._complete(manifest.name) is not None:
                return 0
            if self._protocol in _WITH_FOLDERS:
                self._system.makedirs(self._path(manifest.name), exist_ok=True)
            sent = sum(self._send(folder / name, manifest) for name in FILES)
            self._system.pipe_file(self._path(manifest.name, MANIFEST), _encode(manifest))
            self._keep(manifest.name, MANIFEST)
            return sent

    def listed(self) -> list[Manifest]:
        """Every complete backup, newest first."""
        with self._reaching():
            sizes = self._sizes()
            paths = {name: self._path(name, MANIFEST) for name, files in sizes.items() if MANIFEST in files}
            texts = self._system.cat(list(paths.values()), on_error="return") if paths else {}
            found = [_decoded(texts.get(path), name, sizes[name]) for name, path in paths.items()]
        complete = [manifest for manifest in found if manifest is not None]
        return sorted(complete, key=lambda manifest: manifest.record.saved_at, reverse=True)

    def fetch(self, name: str, folder: Path) -> Manifest:
        """Bring a backup into a folder, every byte verified. Raises UnknownSourceError, or a BadFileError that names the
        file that is damaged or gone."""
        manifest = self._found(name)
        for file, fact in manifest.files.items():
            with self._reaching():
                try:
                    self._system.get_file(self._path(name, file), str(folder / file))
                except FileNotFoundError as error:
                    raise MissingFileError(file, f"is not in the backup {name} any more") from error
            with (folder / file).open("rb") as stream:
                if _fact(stream) != fact:
                    raise DamagedFileError(file, f"is damaged in the backup {name}: its checksum does not fit")
        return manifest

    def remove(self, name: str) -> None:
        """Delete a backup, its manifest first; what else stands there stays. Raises UnknownSourceError."""
        self._found(name)
        with self._reaching():
            for file in (MANIFEST, *FILES):
                with contextlib.suppress(FileNotFoundError):
                    self._system.rm_file(self._path(name, file))
            if self._protocol in _WITH_FOLDERS:
                with contextlib.suppress(OSError):  # something else is in it: it stays
                    self._system.rmdir(self._path(name))

    @cached_property
    def _system(self) -> Any:
        return self._opened[0]

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        """The file system of fsspec, and the path of the place in it."""
        from fsspec.core import url_to_fs

        system, root = url_to_fs(self.url, skip_instance_cache=True, **_OPTIONS.get(self._protocol, {}))
        return system, str(root).rstrip("/")

    def _path(self, *names: str) -> str:
        return "/".join((self._opened[1], *names))

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        """Whatever the libraries raise becomes a BackupError."""
        try:
            self._system.invalidate_cache()  # others may have written there
            yield
        except QuadraError:
            raise
        except Exception as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise BackupError(f"The backup place {self.shown_url} does not work now: {reason}") from error

    def _found(self, name: str) -> Manifest:
        if _NAME.fullmatch(name):
            with self._reaching():
                manifest = self._complete(name)
            if manifest is not None:
                return manifest
        raise UnknownSourceError(f"There is no complete backup {name!r} at {self.shown_url}.")

    def _complete(self, name: str) -> Manifest | None:
        """The manifest of a backup that is there with all its files."""
        files = {file: size for file in (MANIFEST, *FILES) if (size := self._size(name, file)) is not None}
        if MANIFEST not in files:
            return None
        return _decoded(self._system.cat_file(self._path(name, MANIFEST)), name, files)

    def _size(self, name: str, file: str) -> int | None:
        try:
            return int(self._system.info(self._path(name, file))["size"])
        except FileNotFoundError:
            return None

    def _sizes(self) -> dict[str, dict[str, int]]:
        """The files of ours that are there, by the name of their backup, with their sizes."""
        root = self._opened[1]
        found: dict[str, dict[str, int]] = {}
        for path, facts in self._system.find(root, detail=True).items():
            name, _, file = path.removeprefix(root).strip("/").rpartition("/")
            if _NAME.fullmatch(name) and file in (MANIFEST, *FILES):
                found.setdefault(name, {})[file] = int(facts["size"])
        return found

    def _send(self, file: Path, manifest: Manifest) -> int:
        fact = manifest.files[file.name]
        target = self._path(manifest.name, file.name)
        if self._size(manifest.name, file.name) == fact.size and self._fact_of(target) == fact:
            return 0
        self._system.put_file(str(file), target)
        if self._size(manifest.name, file.name) != fact.size:
            raise BackupError(f"{file.name} did not arrive whole at {self.shown_url}.")
        self._keep(manifest.name, file.name)
        return fact.size

    def _fact_of(self, path: str) -> Fact:
        with self._system.open(path, "rb") as stream:
            return _fact(stream)

    def _keep(self, name: str, file: str) -> None:
        """On a disk of this machine a name does not yet mean that the content would outlive a power cut."""
        if self._protocol not in _ON_THIS_MACHINE:
            return
        path = Path(self._path(name, file))
        descriptor = os.open(path, os.O_RDWR)
        try:
            sync(descriptor)
        finally:
            os.close(descriptor)
        for folder in (path.parent, path.parent.parent, path.parent.parent.parent):
            sync_folder(folder)


def manifest_of(folder: Path, record: Record, backed_up_at: str) -> Manifest:
    """What a backup of the three files in a folder will say of itself. Raises OSError."""
    facts = {}
    for name in FILES:
        with (folder / name).open("rb") as stream:
            facts[name] = _fact(stream)
    return Manifest(record, backed_up_at, facts)


def _protocol(url: str) -> str:
    """Raises ConfigurationError where nothing installed here serves the address."""
    try:
        from fsspec import get_filesystem_class
        from fsspec.utils import get_protocol
    except ImportError as error:
        raise ConfigurationError("backup_url", f"needs the package fsspec. Install it: {INSTALL}") from error
    protocol: str = get_protocol(url)
    try:
        get_filesystem_class(protocol)
    except ImportError as error:
        raise ConfigurationError(
            "backup_url", f"needs a package for {protocol}:// ({error}). For s3: {INSTALL}"
        ) from error
    except ValueError as error:
        raise ConfigurationError("backup_url", f"begins with {protocol}://, which fsspec does not know") from error
    return protocol


def _fact(stream: BinaryIO) -> Fact:
    size, digest = 0, hashlib.sha256()
    while block := stream.read(_BLOCK):
        size += len(block)
        digest.update(block)
    return Fact(size, digest.hexdigest())


def _encode(manifest: Manifest) -> bytes:
    files = {name: fact._asdict() for name, fact in manifest.files.items()}
    record = json.loads(dump(manifest.record))
    text = json.dumps({"backed_up_at": manifest.backed_up_at, "files": files, "record": record}, indent=1)
    return text.encode("ascii")


def _decoded(text: object, name: str, sizes: Mapping[str, int]) -> Manifest | None:
    """The manifest of this name, where it can be read and the files have the sizes that it says; else None."""
    if not isinstance(text, bytes) or len(text) > _LONGEST_MANIFEST:
        return None
    try:
        values = json.loads(text)
        facts = {file: Fact(values["files"][file]["size"], values["files"][file]["sha256"]) for file in FILES}
        record = parse(json.dumps(values["record"]).encode(), MANIFEST)
        manifest = Manifest(record, values["backed_up_at"], facts)
        is_possible = all(_SHA256.fullmatch(fact.sha256) for fact in facts.values())
        is_possible = is_possible and _MOMENT.fullmatch(manifest.backed_up_at) is not None
    except (ValueError, KeyError, TypeError, RecursionError, BadFileError):
        return None
    fits = all(sizes.get(file) == fact.size for file, fact in facts.items())
    return manifest if is_possible and fits and manifest.name == name else None
