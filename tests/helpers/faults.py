"""A disk with faults, for tests: every operation on files below one folder can fail, end the process, or be forgotten.

`Disk` stands in front of the functions of module `os` that a save is made of, for all threads. It counts operations from
`arm` on and lets the k-th one fail (ENOSPC, EIO, a short write) once or for ever, or lets the process die there: then
every later operation of the dead process raises too, so that no clean-up of the dead reaches the disk. It keeps a journal
of all operations; `PowerCuts` replays it and says what a disk may hold if the power went at any point of it.

What the model of a power cut assumes, as the save protocol does: content that was synced stays; a rename is one step; a
write harms no byte outside of it, so one byte can be overwritten alone (SQLite calls this powersafe overwrite). What was
not synced may be there, not be there, be there in part or as zeros, whatever the order it was written in; a name that was
made, changed or removed may be so or not until its folder is synced. Nothing is really synced here: that is only slow.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

Image = Mapping[str, bytes | None]  # content of every file, and None for every folder, by its path below the root

KILLED, NO_SPACE, IO_ERROR, SHORT_WRITE = "killed", "ENOSPC", "EIO", "short write"
FAULTS = (KILLED, NO_SPACE, IO_ERROR, SHORT_WRITE)
_ERRORS = {NO_SPACE: errno.ENOSPC, IO_ERROR: errno.EIO, SHORT_WRITE: errno.ENOSPC}
_ON_PATHS = ("link", "replace", "rename", "unlink", "mkdir", "rmdir")
_ON_DESCRIPTORS = ("write", "ftruncate", "fsync", "fdatasync")


class Death(BaseException):
    """The process ends here."""


@dataclass(frozen=True)
class Operation:
    """One operation that was carried out."""

    name: str
    paths: tuple[str, ...] = ()  # below the root
    handle: int = 0  # which opening of a file it goes through
    offset: int = 0
    data: bytes = b""
    creates: bool = False
    truncates: bool = False


class Disk:
    """The files below a folder, with faults; use as a context. `journal` begins anew with `arm`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.RLock()
        self._handles: dict[int, tuple[int, str]] = {}  # by descriptor: number and path of what was opened
        self._opened = 0
        self._os: dict[str, Callable[..., Any]] = {}
        self.folder_sync_error: int | None = None  # what every fsync of a folder answers; None: it works
        self.disarm()

    def arm(self, number: int = 0, fault: str = "", lasting: bool = False) -> None:
        """From here on operations are counted; the `number`-th has the fault, and where `lasting` all later ones."""
        self.journal: list[Operation] = []
        self.calls: list[str] = []  # names of the operations that were asked for
        self._number, self._fault, self._lasting = number, fault, lasting
        self._eligible, self.happened, self.is_dead, self._is_short = 0, False, False, False
        self._armed = True

    def disarm(self) -> None:
        """Everything works from here on, for the dead too: descriptors of a dead process are closed with it."""
        self.arm()
        self._armed = False

    @property
    def failed_call(self) -> str:
        """The name of the operation that had the fault."""
        return self._failed_call

    def __enter__(self) -> Disk:
        self._patch = pytest.MonkeyPatch()
        for name in ("open", "close", *_ON_PATHS, *_ON_DESCRIPTORS):
            self._os[name] = getattr(os, name)
            self._patch.setattr(os, name, getattr(self, f"_{name}", None) or self._standing_for(name))
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.undo()
        for descriptor in self._handles:  # of the dead: the system closes them
            self._os["close"](descriptor)

    def bury(self) -> None:
        """The system closes what a dead process, or one that lost track of it, had opened."""
        with self._lock:
            for descriptor in list(self._handles):
                del self._handles[descriptor]
                self._os["close"](descriptor)

    def _standing_for(self, name: str) -> Callable[..., Any]:
        on_paths = name in _ON_PATHS

        def operation(*arguments: Any, **options: Any) -> Any:
            with self._lock:
                paths = tuple(map(self._below, arguments[:2])) if on_paths else ()
                known = paths[0] is not None if on_paths else arguments[0] in self._handles
                if not known:
                    return self._os[name](*arguments, **options)
                if name in ("mkdir", "rmdir", "unlink"):
                    paths = paths[:1]
                self._meet_fault(name)
                if name == "fsync":
                    self._refuse_folder(self._handles[arguments[0]][1])
                number = 0 if on_paths else self._handles[arguments[0]][0]
                offset = int(arguments[1]) if name == "ftruncate" else 0
                done = None if "sync" in name else self._os[name](*arguments, **options)
                self._note(Operation(name, tuple(path or "" for path in paths), number, offset))
                return done

        return operation

    def _open(self, path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        with self._lock:
            below = self._below(path)
            if below is None:
                return self._os["open"](path, flags, *arguments, **options)
            self._meet_fault("open")
            creates = bool(flags & os.O_CREAT) and not os.path.lexists(path)
            descriptor: int = self._os["open"](path, flags, *arguments, **options)
            self._opened += 1
            self._handles[descriptor] = (self._opened, below)
            self._note(Operation("open", (below,), self._opened, 0, b"", creates, bool(flags & os.O_TRUNC)))
            return descriptor

    def _close(self, descriptor: int) -> None:
        with self._lock:
            if descriptor in self._handles or not self.is_dead:
                self._handles.pop(descriptor, None)
                self._os["close"](descriptor)

    def _write(self, descriptor: int, data: Any) -> int:
        with self._lock:
            if descriptor not in self._handles:
                return self._os["write"](descriptor, data)
            content, offset = bytes(data), os.lseek(descriptor, 0, os.SEEK_CUR)
            cut = self._meet_fault("write")
            if cut is not None:
                content = content[: len(content) // 2]
            written: int = self._os["write"](descriptor, content)
            self._note(Operation("write", (), self._handles[descriptor][0], offset, content[:written]))
            if cut is Death:
                raise Death
            return written

    def _meet_fault(self, name: str) -> type[BaseException] | None:
        """Count an operation and raise its fault; a write that is to be cut short gets the reason returned instead."""
        if self.is_dead:
            raise Death
        if not self._armed:
            return None
        self.calls.append(name)
        if self._is_short and name == "write":
            self._is_short = self._lasting
            raise self._error()
        if self._fault == SHORT_WRITE and name != "write":
            return None
        self._eligible += 1
        if not (self._eligible == self._number or (self._lasting and self.happened)):
            return None
        if not self.happened:
            self._failed_call = name
        self.happened = True
        if self._fault == KILLED:
            self.is_dead = True
            if name == "write":
                return Death
            raise Death
        if self._fault == SHORT_WRITE:
            self._is_short = True
            return OSError
        raise self._error()

    def _refuse_folder(self, path: str) -> None:
        if self.folder_sync_error and (self._root / path).is_dir():
            raise OSError(self.folder_sync_error, os.strerror(self.folder_sync_error))

    def _error(self) -> OSError:
        number = _ERRORS[self._fault]
        return OSError(number, os.strerror(number))

    def _note(self, operation: Operation) -> None:
        self.journal.append(operation)

    def _below(self, path: Any) -> str | None:
        absolute = str(Path(path).absolute()) if isinstance(path, str | os.PathLike) else ""
        inside = absolute.startswith(f"{self._root}{os.sep}") or absolute == str(self._root)
        return os.path.relpath(absolute, self._root) if inside else None


class _File:
    def __init__(self, content: bytes = b"") -> None:
        self.synced, self.changes = content, list[Operation]()

    def now(self) -> bytes:
        content = self.synced
        for change in self.changes:
            content = _changed(content, change.offset, None if change.name == "ftruncate" else change.data)
        return content

    def sync(self) -> None:
        self.synced, self.changes = self.now(), []

    def perhaps(self, chance: Random) -> bytes:
        content = self.synced
        for change in self.changes:
            fate = chance.choice(("whole", "none", "half", "zeros"))
            if change.name == "ftruncate":
                content = _changed(content, change.offset, None) if fate in ("whole", "zeros") else content
            elif fate == "zeros":  # the file has grown, but its new part was not written
                content = content.ljust(change.offset + len(change.data), b"\0")
            elif fate != "none":
                data = change.data[: len(change.data) // 2] if fate == "half" else change.data
                content = _changed(content, change.offset, data)
        return content


class _Folder:
    def __init__(self) -> None:
        self.now: dict[str, _File | _Folder] = {}
        self.synced: dict[str, _File | _Folder] = {}
        self.changes: list[_Renaming] = []


@dataclass(eq=False)
class _Renaming:
    """One step that changes names, in one folder or two; None stands for no such name."""

    names: list[tuple[_Folder, str, _File | _Folder | None]]


def _changed(content: bytes, offset: int, data: bytes | None) -> bytes:
    """With data written at an offset, or cut there."""
    content = content.ljust(offset, b"\0")
    return content[:offset] if data is None else content[:offset] + data + content[offset + len(data) :]


def _set(names: dict[str, _File | _Folder], name: str, node: _File | _Folder | None) -> None:
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node


class PowerCuts:
    """What the disk may hold if the power goes: `advance` by one operation, then ask for images."""

    def __init__(self, before: Image) -> None:
        self._root = _Folder()
        self._handles: dict[int, _File | _Folder] = {}
        for path, content in sorted(before.items()):
            folder, name = self._place(path)
            folder.now[name] = _Folder() if content is None else _File(content)
            folder.synced[name] = folder.now[name]

    def advance(self, operation: Operation) -> None:
        """The next operation of the journal."""
        name, paths = operation.name, operation.paths
        if name == "open":
            if operation.creates:
                self._change([(*self._place(paths[0]), _File())])
            node = self._node(paths[0])
            self._handles[operation.handle] = node
            if operation.truncates and isinstance(node, _File):
                node.changes.append(Operation("ftruncate"))
        elif name in ("write", "ftruncate"):
            target = self._handles[operation.handle]
            assert isinstance(target, _File)
            target.changes.append(operation)
        elif name in ("fsync", "fdatasync"):
            self._sync(self._handles[operation.handle])
        else:
            self._change_names(name, paths)

    def _change_names(self, name: str, paths: Sequence[str]) -> None:
        source = self._place(paths[0])
        if name == "mkdir":
            self._change([(*source, _Folder())])
        elif name in ("unlink", "rmdir"):
            self._change([(*source, None)])
        elif name == "link":
            self._change([(*self._place(paths[1]), self._node(paths[0]))])
        elif self._node(paths[0]) is not self._node_or_none(paths[1]):
            self._change([(*self._place(paths[1]), self._node(paths[0])), (*source, None)])

    def _change(self, names: list[tuple[_Folder, str, _File | _Folder | None]]) -> None:
        step = _Renaming(names)
        for folder, name, node in names:
            _set(folder.now, name, node)
            if step not in folder.changes:
                folder.changes.append(step)

    def _sync(self, node: _File | _Folder) -> None:
        if isinstance(node, _File):
            node.sync()
            return
        for step in list(node.changes):
            for folder, name, entry in step.names:
                _set(folder.synced, name, entry)
                if step in folder.changes:
                    folder.changes.remove(step)

    def nothing_unsynced(self) -> Image:
        """The least that must be there."""
        return dict(_walk(self._root, lambda folder: folder.synced, lambda file: file.synced))

    def everything(self) -> Image:
        """All that was done, as after the death of a process."""
        return dict(_walk(self._root, lambda folder: folder.now, _File.now))

    def something(self, chance: Random) -> Image:
        """A random part of what was not synced."""
        kept: dict[_Renaming, bool] = {}

        def names(folder: _Folder) -> dict[str, _File | _Folder]:
            entries = dict(folder.synced)
            for step in folder.changes:
                if kept.setdefault(step, chance.random() < 0.5):
                    for place, name, node in step.names:
                        if place is folder:
                            _set(entries, name, node)
            return entries

        return dict(_walk(self._root, names, lambda file: file.perhaps(chance)))

    def _place(self, path: str) -> tuple[_Folder, str]:
        parent, _, name = path.rpartition("/")
        folder = self._node(parent) if parent else self._root
        assert isinstance(folder, _Folder)
        return folder, name

    def _node(self, path: str) -> _File | _Folder:
        if path in ("", "."):
            return self._root
        folder, name = self._place(path)
        return folder.now[name]

    def _node_or_none(self, path: str) -> _File | _Folder | None:
        folder, name = self._place(path)
        return folder.now.get(name)


def _walk(
    folder: _Folder, names: Callable[[_Folder], dict[str, _File | _Folder]], content: Callable[[_File], bytes],
    prefix: str = "",
) -> Iterator[tuple[str, bytes | None]]:  # fmt: skip
    for name, node in sorted(names(folder).items(), key=lambda entry: entry[0]):
        if isinstance(node, _File):
            yield prefix + name, content(node)
        else:
            yield prefix + name, None
            yield from _walk(node, names, content, f"{prefix}{name}/")


def image_of(root: Path) -> dict[str, bytes | None]:
    """What stands below a folder now."""
    return {
        path.relative_to(root).as_posix(): None if path.is_dir() else path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.exists()  # not so where a link leads to nothing
    }


def write_image(image: Image, root: Path) -> Path:
    """Put an image onto the disk, below a folder that is made for it."""
    root.mkdir(parents=True)
    for path, content in sorted(image.items()):
        if content is None:
            (root / path).mkdir()
        else:
            (root / path).write_bytes(content)
    return root


@contextmanager
def nothing_is_synced(root: Path) -> Iterator[None]:
    """Fast, for tests in which nothing goes wrong with the disk."""
    with Disk(root):
        yield
