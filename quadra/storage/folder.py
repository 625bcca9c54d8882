"""StateFolder: the state directory and the places in it; no other code makes, moves or deletes anything there.

Every name that this program ever writes there is listed here; nothing else is touched, and no link is followed out.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from quadra.errors import FolderChangedError, FolderUnusableError
from quadra.storage.files.durable import (
    AnyPath,
    Identity,
    Piece,
    is_plain_file,
    link_or_copy,
    remove,
    sync_folder,
    temporary_of,
    write_file,
)
from quadra.storage.files.lock import FolderLock, stands
from quadra.storage.layout import (
    ALERTS,
    BEST,
    CORPORA,
    FILES,
    HISTORY,
    ID,
    IN_SAVES,
    LISTS,
    METRICS,
    POINT,
    POINTS,
    RESET_MARKER,
    RUNS,
    SAVES,
    SET_ASIDE,
    SET_ASIDE_ID,
    SLOTS,
    SYSTEM,
    UPLOAD_ID,
    UPLOADS,
    WEIGHTS,
    WRITE_TEST,
    own_folders,
)
from quadra.storage.text_folder import TextFolder, make_folder


class StateFolder(TextFolder):
    """A state directory, held by this object until `close` or the end of its process.

    Raises FolderUnusableError or FolderLockedError when it cannot be had.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        try:
            make_folder(self.path)
        except OSError as error:
            raise FolderUnusableError(
                f"The state directory {self.path} cannot be used: {error.strerror}. "
                "Check its permissions, or choose another one with --state-dir."
            ) from error
        self._lock = FolderLock(self.path)
        self._clear_leftovers()

    def close(self) -> None:
        """Release the folder for others."""
        self._lock.release()

    def __enter__(self) -> StateFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_held(self) -> bool:
        """Whether this object still holds the folder."""
        return self._lock.is_held

    @property
    def lock_descriptor(self) -> int:
        """For a process that writes on behalf of this one, and must hold the folder as long as it lives."""
        return self._lock.descriptor

    @property
    def lock(self) -> Identity:
        """What tells this folder from one that is put in its place."""
        return self._lock.identity

    def require_own(self) -> None:
        """Raise FolderChangedError unless the folder at the path is still the one that is held."""
        require_lock(self.path, self.lock)

    def take_anew(self) -> None:
        """Hold the folder that now stands at the path. Raises FolderUnusableError or FolderLockedError."""
        if self._lock.still_stands():
            return
        fresh = StateFolder(self.path)
        self._lock.release()
        self._lock = fresh._lock

    def saves_folder(self) -> Path:
        """The folder of the earlier saves, made where it is not there. Raises OSError or FolderUnusableError."""
        folder = self.path / SAVES
        self._require_no_link(SAVES)
        if not folder.is_dir():
            folder.mkdir()
            sync_folder(self.path)
        return folder

    def uploads_folder(self) -> Path:
        """Where uploads are unpacked, made where it is not there. Raises OSError or FolderUnusableError."""
        folder = self.path / UPLOADS
        self._require_no_link(UPLOADS)
        folder.mkdir(exist_ok=True)
        return folder

    def points_folder(self, run: str) -> Path:
        """The folder of a run's restore points, made where it is not there. Raises OSError or FolderUnusableError."""
        folder = self.path / POINTS / run
        self._require_no_link(POINTS)
        self._require_no_link(f"{POINTS}/{run}")
        if not folder.is_dir():
            folder.mkdir(parents=True)
            sync_folder(folder.parent)
            sync_folder(self.path)
        return folder

    def keep_as_point(self, save: Path, run: str, iteration: int) -> Path:
        """A save of a run gets a second name, as one of its restore points; returns it."""
        target = self.points_folder(run) / f"{iteration}.pth"
        if not is_plain_file(target):
            link_or_copy(save, target)
        sync_folder(target.parent)
        return target

    def drop_points(self, run: str) -> None:
        """Delete all restore points of a run."""
        folder = self.path / POINTS / run
        if folder not in self.point_folders():
            return
        for point in (*self.points_of(run), folder / BEST):
            remove(point)
        with contextlib.suppress(OSError):  # something of the user's is in there: it stays
            folder.rmdir()
        sync_folder(folder.parent)

    def add_run(self, run: str, files: Mapping[str, Iterable[Piece]]) -> None:
        """Write three files into `runs/<run>/`, complete or not at all; an older copy there is replaced."""
        self._add(RUNS, run, files)

    def add_slot(self, slot: str, files: Mapping[str, Iterable[Piece]]) -> None:
        """Write three files into `slots/<slot>/`, complete or not at all."""
        self._add(SLOTS, slot, files)

    def remove_run(self, run: str) -> None:
        """Delete the copy of a run that the present files have superseded; whatever happens, all three files or none."""
        self._remove(RUNS, run)

    def remove_slot(self, slot: str) -> None:
        """Delete a named state; whatever happens, all three files or none."""
        self._remove(SLOTS, slot)

    def _add(self, place: str, name: str, files: Mapping[str, Iterable[Piece]]) -> None:
        self._require_no_link(place)
        temporary, target = self.path / place / f".{name}.tmp", self.path / place / name
        self._remove(place, name)
        _remove_folder(temporary)
        temporary.mkdir(parents=True, exist_ok=True)
        for file, pieces in files.items():
            write_file(temporary / file, pieces)
        sync_folder(temporary)
        if target.exists():  # something of the user's is in it: it stays, and the weights come last
            for file in (METRICS, SYSTEM, WEIGHTS):
                if file in files:
                    (temporary / file).replace(target / file)
            sync_folder(target)
            temporary.rmdir()
        else:
            temporary.rename(target)
        sync_folder(target.parent)
        sync_folder(self.path)

    def _remove(self, place: str, name: str) -> None:
        target, temporary = self.path / place / name, self.path / place / f".{name}.old.tmp"
        if target not in own_folders(target.parent, ID):
            return
        _remove_folder(temporary)
        if any(entry.name not in FILES for entry in target.iterdir()) or temporary.exists():
            remove(target / WEIGHTS)  # something of the user's is in there: it stays where it is
            sync_folder(target)
            _remove_folder(target)
            return
        target.rename(temporary)
        sync_folder(target.parent)
        _remove_folder(temporary)

    def set_aside(self, files: Iterable[Path], leave: bool = False) -> Path | None:
        """Move damaged files of ours to `set-aside/<time>/`; returns that folder, or None where none of them is there.

        `leave`: they get a second name there instead, and stand where they are until the save that follows replaces
        them: what is intact in them is then not out of reach should that save be cut off.
        """
        present = [file for file in files if self._is_within(file) and os.path.lexists(file)]
        if not present:
            return None
        self._require_no_link(SET_ASIDE)
        targets = [self._new_set_aside_folder()]
        for file in present:
            if os.path.lexists(targets[-1] / file.name):  # one of the same name, from another place
                targets.append(self._new_set_aside_folder())
            if leave and is_plain_file(file):
                link_or_copy(file, targets[-1] / file.name)
            else:
                file.rename(targets[-1] / file.name)
        for folder in dict.fromkeys((*targets, *(file.parent for file in present))):
            sync_folder(folder)
        return targets[0]

    def set_aside_run(self, folder: Path) -> Path | None:
        """Move the files of a state that could not be read, the present one or a run's, to `set-aside/<time>/`."""
        copies = [self.path / SAVES / HISTORY] if folder == self.path else []
        target = self.set_aside([*(folder / name for name in FILES), *copies])
        if folder != self.path:
            with contextlib.suppress(OSError):  # something of the user's is in there: it stays
                folder.rmdir()
        return target

    def deletable(self) -> list[Path]:
        """Every file that a reset deletes, relative to the folder: only names that this program writes."""
        states = (*self.run_folders(), *self.slot_folders())
        places: list[tuple[Path, Iterable[str]]] = [(self.path, (*FILES, *LISTS))]
        places += [(folder, FILES) for folder in states]
        places += [(folder, self._point_names(folder)) for folder in self.point_folders()]
        if not (self.path / SAVES).is_symlink():
            places.append((self.path / SAVES, IN_SAVES))
        places.append((self.path / CORPORA, self.text_names(self.path / CORPORA)))
        places += [
            (folder, (*FILES, *IN_SAVES, *LISTS, *self.text_names(folder)))
            for folder in own_folders(self.path / SET_ASIDE, SET_ASIDE_ID)
        ]
        return [
            (folder / name).relative_to(self.path)
            for folder, names in places
            for name in names
            if _is_file_or_link(folder / name)
        ]

    def describe_deletable(self) -> tuple[str, ...]:
        """What a reset deletes, in words: a folder's files are counted, not named one by one."""
        files = self.deletable()
        single = [file.name for file in files if file.parent == Path()]
        folders = sorted({file.parent.as_posix() for file in files if file.parent != Path()})
        counts = {folder: sum(file.parent.as_posix() == folder for file in files) for folder in folders}
        return (*single, *(f"{folder}/ ({count} files)" for folder, count in counts.items()))

    def reset(self) -> None:
        """Delete every saved state and set-aside file; a marker makes a cut-off reset finish at the next start."""
        try:
            write_file(self.path / RESET_MARKER, [])
            sync_folder(self.path)
            self._delete_states()
        except OSError:
            remove(self.path / RESET_MARKER)  # the caller is told; a later start must not delete what comes next
            raise

    def call_off_reset(self) -> None:
        """A reset that failed, and was told so, must not be finished at the next start, over what is saved from now on."""
        if os.path.lexists(self.path / RESET_MARKER):
            remove(self.path / RESET_MARKER)
            sync_folder(self.path)

    def free_bytes(self) -> int:
        """Room on the disk. Raises OSError."""
        return shutil.disk_usage(self.path).free

    def _point_names(self, folder: Path, form: str = "{}") -> list[str]:
        """The names in a folder of restore points that this program writes, or those of the form that temporaries have."""
        own = re.compile(re.escape(form).replace(r"\{\}", rf"({POINT.pattern}|{re.escape(BEST)})"))
        return [entry.name for entry in folder.iterdir() if own.fullmatch(entry.name)]

    def _is_within(self, file: Path) -> bool:
        """Whether a file stands in the folder, and no link leads there."""
        if not file.is_relative_to(self.path):
            return False
        return not any((self.path / part).is_symlink() for part in file.relative_to(self.path).parents if part.name)

    def _delete_states(self) -> None:
        self._remove_temporaries()
        for file in self.deletable():
            remove(self.path / file)
        for parent, pattern in ((RUNS, ID), (SLOTS, ID), (POINTS, ID), (SET_ASIDE, SET_ASIDE_ID)):
            for folder in own_folders(self.path / parent, pattern):
                _remove_folder(folder)
                _sync_what_stays(folder)
        for parent in (RUNS, SLOTS, POINTS, SET_ASIDE, SAVES, CORPORA):
            with contextlib.suppress(OSError):  # not there, or something of the user's is in it
                (self.path / parent).rmdir()
            _sync_what_stays(self.path / parent)
        sync_folder(self.path)
        remove(self.path / RESET_MARKER)
        sync_folder(self.path)

    def _clear_leftovers(self) -> None:
        """Finish a reset that was cut off; remove temporary files of a save that was."""
        try:
            if os.path.lexists(self.path / RESET_MARKER):
                self._delete_states()
            self._remove_temporaries()
            remove(self.path / WRITE_TEST)  # whatever stands there: a link would be followed
            write_file(self.path / WRITE_TEST, [])
            remove(self.path / WRITE_TEST)
        except OSError as error:
            self.close()
            raise FolderUnusableError(
                f"The state directory {self.path} cannot be written: {error.strerror}."
            ) from error

    def _remove_temporaries(self) -> None:
        for name in FILES:
            remove(temporary_of(self.path / name))
        if not (self.path / SAVES).is_symlink():
            for name in IN_SAVES:
                remove(temporary_of(self.path / SAVES / name))
        for name in LISTS:
            remove(temporary_of(self.path / name))
        for folder in self.point_folders():
            for name in self._point_names(folder, ".{}.tmp"):
                remove(folder / name)
        self._remove_half_texts()
        halves = re.compile(rf"\.{ID.pattern}(\.old)?\.tmp")
        for place, pattern in ((RUNS, halves), (SLOTS, halves), (UPLOADS, UPLOAD_ID)):
            for folder in own_folders(self.path / place, pattern):
                remove(folder / ALERTS)  # of an upload
                _remove_folder(folder)
        with contextlib.suppress(OSError):  # not there, or something of the user's is in it
            (self.path / UPLOADS).rmdir()

    def _new_set_aside_folder(self) -> Path:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        for number in range(10_000):
            target = self.path / SET_ASIDE / (f"{stamp}-{number}" if number else stamp)
            with contextlib.suppress(FileExistsError):
                target.mkdir(parents=True)
                sync_folder(target.parent)
                sync_folder(self.path)
                return target
        raise FolderUnusableError(f"No free name is left in {self.path / SET_ASIDE}.")


def _sync_what_stays(folder: Path) -> None:
    """Make deletions in a folder durable that could not go as a whole."""
    if folder.is_dir() and not folder.is_symlink():
        sync_folder(folder)


def require_lock(folder: AnyPath, lock: Identity) -> None:
    """Raise FolderChangedError unless this lock file still stands in the folder."""
    if stands(folder, lock):
        return
    what = "was exchanged for another one" if Path(folder).exists() else "is not there any more"
    raise FolderChangedError(
        f"The state directory {folder} {what}. Nothing is saved, so that nothing there is overwritten. "
        "Load what is there, or go on as a new saved run."
    )


def _is_file_or_link(path: Path) -> bool:
    """A folder under one of our names was not made by us."""
    return path.is_symlink() or path.is_file()


def _remove_folder(folder: Path) -> None:
    """Delete the files of a state and the folder, unless something of the user's is in it."""
    if folder.is_symlink() or not folder.is_dir():
        return
    for name in (SYSTEM, WEIGHTS, METRICS):  # cut off in between, what is left is a whole state or none
        remove(folder / name)
        remove(temporary_of(folder / name))
    with contextlib.suppress(OSError):  # something of the user's is in there: it stays
        folder.rmdir()
