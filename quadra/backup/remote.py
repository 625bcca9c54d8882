"""Remote: backups of saved states at an address that fsspec reaches: `s3://`, `gs://`, `file://` and others.

<url>/<run>/<iteration>-<first 12 digits of the weights file's SHA-256>/
    metrics_history.pkl, system_state.pkl, oscillator_weights.pth
    alerts.json, <SHA-256 of its own text>.json      where the run has alert rules, and what its own text is called
    manifest.json      written last: a state without it is not there
<url>/corpora/<SHA-256>.txt      own texts, each once for all backups of its runs

The digits in a name are of everything in the backup (also of the files that go along, where there are any), so an upload
that was cut off continues where it broke, and only what such an upload left is ever overwritten. A backup stays until
somebody deletes it; a text, which other backups may need, stays also then.
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

from quadra.backup.manifest import BLOCK, MANIFEST, FileDigest, Manifest, decode, digest_of, encode
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
            "retries": {"max_attempts": 1},  # the service tries again itself, and says so
        }
    }
}


class Remote:
    """The backups below an address; used by one thread at a time, or by several that only read.

    Raises ConfigurationError where the address cannot be used at all; the network is not used before the first call of a
    method. Every method raises BackupError where the address cannot be reached, read or written.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._protocol = _protocol(url)
        self._verified_texts: set[str] = set()  # that this object has sent, or read there: no backup reads them again

    @property
    def shown_url(self) -> str:
        """Returns the address without the password that may be in it."""
        return re.sub(r"//[^/@]*@", "//", self.url)

    def put(self, folder: Path, manifest: Manifest) -> int:
        """Uploads the files of a folder. Returns the bytes that were sent: 0 where the whole backup was there already.

        Files that an earlier call sent before it failed are not sent again.
        """
        with self._with_our_errors():
            if self._complete(manifest.name) is not None and self._has_all_along(manifest):
                return 0
            for target in sorted({self._folder_of(manifest.name, name) for name in (*manifest.along, *FILES)}):
                if self._protocol in _WITH_FOLDERS:
                    self._system.makedirs(target, exist_ok=True)
            sent = sum(self._send(folder / name, manifest) for name in (*manifest.along, *FILES))
            self._system.pipe_file(self._path(manifest.name, MANIFEST), encode(manifest))
            self._sync_local(self._path(manifest.name, MANIFEST))
            return sent

    def listed(self) -> list[Manifest]:
        """Returns every complete backup, newest first."""
        with self._with_our_errors():
            sizes = self._sizes()
            paths = {name: self._path(name, MANIFEST) for name, files in sizes.items() if MANIFEST in files}
            texts = self._system.cat(list(paths.values()), on_error="return") if paths else {}
            found = [decode(texts.get(path), name, sizes[name]) for name, path in paths.items()]
        complete = [manifest for manifest in found if manifest is not None]
        return sorted(complete, key=lambda manifest: manifest.record.saved_at, reverse=True)

    def fetch(self, name: str, folder: Path) -> Manifest:
        """Downloads the three files of a backup into a folder, every byte verified, durably.

        Raises UnknownSourceError, a BadFileError that names the file that is damaged or gone, or OSError where the folder
        cannot be written.
        """
        manifest = self._found(name)
        expect("Fetching", sum(digest.size for digest in (*manifest.files.values(), *manifest.along.values())))
        for file, digest in manifest.files.items():
            self._fetch_file(manifest, file, digest, folder)
        return manifest

    def fetch_along(self, manifest: Manifest, folder: Path) -> tuple[str, ...]:
        """Does the same for the files that go along with a backup. Returns warnings for people on those that could not be had."""
        remarks = []
        for file, digest in manifest.along.items():
            try:
                self._fetch_file(manifest, file, digest, folder)
            except BadFileError as error:
                remove(folder / file)
                remarks.append(f"{error}. The state was restored without it.")
        return tuple(remarks)

    def remove(self, name: str) -> None:
        """Deletes a backup, its manifest first; texts, and files that are not ours, stay. Raises UnknownSourceError."""
        manifest = self._found(name)
        with self._with_our_errors():
            for file in (MANIFEST, *FILES, *manifest.along):
                if self._folder_of(name, file) == self._path(name):
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
        """Returns the file system of fsspec, and the path of the address in it."""
        from fsspec.core import url_to_fs

        system, root = url_to_fs(self.url, skip_instance_cache=True, **_OPTIONS.get(self._protocol, {}))
        return system, str(root).rstrip("/")

    def _path(self, *names: str) -> str:
        return "/".join((self._opened[1], *names))

    def _folder_of(self, name: str, file: str) -> str:
        """Returns the folder that has a file of the backup of this name."""
        is_text = TEXT_FILE.fullmatch(file) and file.endswith(".txt")
        return self._path(CORPORA) if is_text else self._path(name)

    @contextlib.contextmanager
    def _with_our_errors(self) -> Iterator[None]:
        """Raises BackupError for whatever the libraries raise."""
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
            with self._with_our_errors():
                manifest = self._complete(name)
            if manifest is not None:
                return manifest
        raise UnknownSourceError(f"There is no complete backup {name!r} at {self.shown_url}.")

    def _complete(self, name: str) -> Manifest | None:
        """Returns the manifest of a backup that is there with all its files, else None."""
        paths = {file: self._path(name, file) for file in (MANIFEST, *FILES)}
        files = {file: size for file, path in paths.items() if (size := self._size(path)) is not None}
        if MANIFEST not in files:
            return None
        return decode(self._system.cat_file(paths[MANIFEST]), name, files)

    def _has_all_along(self, manifest: Manifest) -> bool:
        paths = {name: f"{self._folder_of(manifest.name, name)}/{name}" for name in manifest.along}
        return all(self._size(paths[name]) == digest.size for name, digest in manifest.along.items())

    def _size(self, path: str) -> int | None:
        try:
            return int(self._system.info(path)["size"])
        except FileNotFoundError:
            return None

    def _sizes(self) -> dict[str, dict[str, int]]:
        """Returns our files that are there, by the name of their backup, with their sizes."""
        root = self._opened[1]
        found: dict[str, dict[str, int]] = {}
        for path, details in self._system.find(root, detail=True).items():
            name, _, file = path.removeprefix(root).strip("/").rpartition("/")
            if _NAME.fullmatch(name) and file in (MANIFEST, *FILES):
                found.setdefault(name, {})[file] = int(details["size"])
        return found

    def _send(self, file: Path, manifest: Manifest) -> int:
        digest = {**manifest.along, **manifest.files}[file.name]
        folder = self._folder_of(manifest.name, file.name)
        target, is_text = f"{folder}/{file.name}", folder == self._path(CORPORA)
        is_verified = target in self._verified_texts
        is_there = self._size(target) == digest.size and (is_verified or self._digest_of(target) == digest)
        if not is_there:
            self._system.put_file(str(file), target)
            if self._size(target) != digest.size:
                raise BackupError(f"{file.name} did not arrive whole at {self.shown_url}.")
        self._sync_local(target)  # also what is there already: the upload that left it may have been cut before this
        if is_text:
            self._verified_texts.add(target)
        return 0 if is_there else digest.size

    def _digest_of(self, path: str) -> FileDigest:
        with self._system.open(path, "rb") as stream:
            return digest_of(stream)

    def _fetch_file(self, manifest: Manifest, file: str, digest: FileDigest, folder: Path) -> None:
        """Downloads one file, verified. Raises a BadFileError, OSError, or BackupError."""
        sha256 = hashlib.sha256()
        write_file(folder / file, self._pieces(manifest.name, file, digest.size, sha256))
        if sha256.hexdigest() != digest.sha256:
            raise DamagedFileError(file, f"is damaged in the backup {manifest.name}: its checksum does not fit")

    def _pieces(self, name: str, file: str, size: int, sha256: Any) -> Iterator[bytes]:
        """Yields the content of a file, never more than `size` bytes, and updates `sha256`."""
        with self._with_our_errors():
            try:
                with self._system.open(f"{self._folder_of(name, file)}/{file}", "rb") as stream:
                    while block := stream.read(BLOCK):
                        size -= len(block)
                        if size < 0:
                            raise DamagedFileError(file, f"is larger in the backup {name} than its manifest says")
                        sha256.update(block)
                        yield block
            except FileNotFoundError as error:
                raise MissingFileError(file, f"is not in the backup {name} any more") from error

    def _sync_local(self, target: str) -> None:
        """Syncs a file on a disk of this machine, where a name does not yet mean that the content outlives a power cut."""
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
