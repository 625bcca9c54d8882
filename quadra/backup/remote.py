"""Remote: backups of saved states in a place that fsspec reaches: `s3://`, `gs://`, `file://` and others.

<url>/<run>/<iteration>-<first 12 digits of the weights file's SHA-256>/
    metrics_history.pkl, system_state.pkl, oscillator_weights.pth
    alerts.json, <SHA-256 of its own text>.json      where the run has alert rules, and what its own text is called
    manifest.json      written last: a state without it is not there
<url>/corpora/<SHA-256>.txt      own texts, each once for all backups of its runs

The names say what is in them (the digits are of all that goes along, too, where anything does), so an upload that was cut
off is taken up again where it broke, and nothing is ever overwritten but what such an upload left. Everything is kept until
somebody asks for its removal; a text, which other backups may count on, also then.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from quadra.backup.manifest import BLOCK, MANIFEST, Fact, Manifest, decoded, encoded, fact_of
from quadra.byte_progress import expect
from quadra.errors import (
    BackupError,
    BadFileError,
    ConfigurationError,
    DamagedFileError,
    MissingFileError,
    QuadraError,
    UnknownSourceError,
)
from quadra.storage.files.durable import remove, sync, sync_folder, write_file
from quadra.storage.layout import CORPORA, FILES, TEXT_FILE

INSTALL = "pip install -r requirements-backup.txt"

_NAME = re.compile(r"[0-9a-f]{16}/\d{1,16}-[0-9a-f]{12}")
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


class Remote:
    """The backups below an address; for one thread at a time, or several that only look.

    Raises ConfigurationError where the address cannot be used at all; nothing is asked of the network before the first
    call of a method. Every method raises BackupError where the place cannot be reached, read or written.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._protocol = _protocol(url)
        self._proven: set[str] = set()  # texts that this object has sent, or read there: no backup reads them once more

    @property
    def shown_url(self) -> str:
        """The address without the password that may be in it."""
        return re.sub(r"//[^/@]*@", "//", self.url)

    def put(self, folder: Path, manifest: Manifest) -> int:
        """Bring the files of a folder there; returns the bytes that were sent: 0 where all of it was there already.

        What an earlier call brought there before it failed is not sent again.
        """
        with self._reaching():
            if self._complete(manifest.name) is not None and self._has_all_along(manifest):
                return 0
            for place in sorted({self._place(manifest.name, name) for name in (*manifest.along, *FILES)}):
                if self._protocol in _WITH_FOLDERS:
                    self._system.makedirs(place, exist_ok=True)
            sent = sum(self._send(folder / name, manifest) for name in (*manifest.along, *FILES))
            self._system.pipe_file(self._path(manifest.name, MANIFEST), encoded(manifest))
            self._keep(self._path(manifest.name, MANIFEST))
            return sent

    def listed(self) -> list[Manifest]:
        """Every complete backup, newest first."""
        with self._reaching():
            sizes = self._sizes()
            paths = {name: self._path(name, MANIFEST) for name, files in sizes.items() if MANIFEST in files}
            texts = self._system.cat(list(paths.values()), on_error="return") if paths else {}
            found = [decoded(texts.get(path), name, sizes[name]) for name, path in paths.items()]
        complete = [manifest for manifest in found if manifest is not None]
        return sorted(complete, key=lambda manifest: manifest.record.saved_at, reverse=True)

    def fetch(self, name: str, folder: Path) -> Manifest:
        """Bring the three files of a backup into a folder, every byte verified, durably. Raises UnknownSourceError, a
        BadFileError that names the file that is damaged or gone, or OSError where the folder cannot be written."""
        manifest = self._found(name)
        expect("Fetching", sum(fact.size for fact in (*manifest.files.values(), *manifest.along.values())))
        for file, fact in manifest.files.items():
            self._bring(manifest, file, fact, folder)
        return manifest

    def fetch_along(self, manifest: Manifest, folder: Path) -> tuple[str, ...]:
        """The same for what goes along with a backup; returns what a person should know of what could not be had."""
        remarks = []
        for file, fact in manifest.along.items():
            try:
                self._bring(manifest, file, fact, folder)
            except BadFileError as error:
                remove(folder / file)
                remarks.append(f"{error}. The state was restored without it.")
        return tuple(remarks)

    def remove(self, name: str) -> None:
        """Delete a backup, its manifest first; texts, and what else stands there, stay. Raises UnknownSourceError."""
        manifest = self._found(name)
        with self._reaching():
            for file in (MANIFEST, *FILES, *manifest.along):
                if self._place(name, file) == self._path(name):
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

    def _place(self, name: str, file: str) -> str:
        """The folder in which a file of the backup of this name stands."""
        is_text = TEXT_FILE.fullmatch(file) and file.endswith(".txt")
        return self._path(CORPORA) if is_text else self._path(name)

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
        paths = {file: self._path(name, file) for file in (MANIFEST, *FILES)}
        files = {file: size for file, path in paths.items() if (size := self._size(path)) is not None}
        if MANIFEST not in files:
            return None
        return decoded(self._system.cat_file(paths[MANIFEST]), name, files)

    def _has_all_along(self, manifest: Manifest) -> bool:
        places = {name: f"{self._place(manifest.name, name)}/{name}" for name in manifest.along}
        return all(self._size(places[name]) == fact.size for name, fact in manifest.along.items())

    def _size(self, path: str) -> int | None:
        try:
            return int(self._system.info(path)["size"])
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
        fact = {**manifest.along, **manifest.files}[file.name]
        place = self._place(manifest.name, file.name)
        target, is_text = f"{place}/{file.name}", place == self._path(CORPORA)
        is_there = self._size(target) == fact.size and (target in self._proven or self._fact_of(target) == fact)
        if not is_there:
            self._system.put_file(str(file), target)
            if self._size(target) != fact.size:
                raise BackupError(f"{file.name} did not arrive whole at {self.shown_url}.")
        self._keep(target)  # also what is there already: the upload that left it may have been cut before this
        if is_text:
            self._proven.add(target)
        return 0 if is_there else fact.size

    def _fact_of(self, path: str) -> Fact:
        with self._system.open(path, "rb") as stream:
            return fact_of(stream)

    def _bring(self, manifest: Manifest, file: str, fact: Fact, folder: Path) -> None:
        """Raises a BadFileError, OSError, or BackupError."""
        digest = hashlib.sha256()
        write_file(folder / file, self._pieces(manifest.name, file, fact.size, digest))
        if digest.hexdigest() != fact.sha256:
            raise DamagedFileError(file, f"is damaged in the backup {manifest.name}: its checksum does not fit")

    def _pieces(self, name: str, file: str, size: int, digest: Any) -> Iterator[bytes]:
        """The content of a file there, never more than it should have."""
        with self._reaching():
            try:
                with self._system.open(f"{self._place(name, file)}/{file}", "rb") as stream:
                    while block := stream.read(BLOCK):
                        size -= len(block)
                        if size < 0:
                            raise DamagedFileError(file, f"is larger in the backup {name} than its manifest says")
                        digest.update(block)
                        yield block
            except FileNotFoundError as error:
                raise MissingFileError(file, f"is not in the backup {name} any more") from error

    def _keep(self, target: str) -> None:
        """On a disk of this machine a name does not yet mean that the content would outlive a power cut."""
        if self._protocol not in _ON_THIS_MACHINE:
            return
        path = Path(target)
        descriptor = os.open(path, os.O_RDWR)
        try:
            sync(descriptor)
        finally:
            os.close(descriptor)
        for folder in (path.parent, path.parent.parent, path.parent.parent.parent):
            sync_folder(folder)


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
