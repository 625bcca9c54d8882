"""StateFolder: the state directory, held by one process; only through it are folders made, and states moved, there.

`layout` has every name that this program ever writes there, `reset` what is deleted; nothing else is touched, and no link
is followed out.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from quadra.errors import FolderUnusableError
from quadra.storage.files.durable import (
    Identity,
    Piece,
    is_plain_file,
    link_or_copy,
    remove,
    sync_folder,
    write_file,
)
from quadra.storage.files.lock import FolderLock, require_lock
from quadra.storage.files.scratch import ensure_temporary_folder
from quadra.storage.layout import (
    BEST_FILE,
    CORPORA,
    FILES,
    ID,
    METRICS,
    METRICS_COPY,
    RESTORE_POINTS,
    RUNS,
    SAVES,
    SCRATCH,
    SET_ASIDE,
    SLOTS,
    SYSTEM,
    UPLOADS,
    WEIGHTS,
    StateLayout,
    own_folders,
)
from quadra.storage.reset import clear_leftovers, delete_states, remove_empty, remove_state_folder
from quadra.storage.save_numbers import SaveNumbers


class StateFolder:
    """A state directory, held by this object until `close` or the end of its process.

    Raises FolderUnusableError or FolderLockedError when it cannot be had.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.layout = StateLayout(path)
        self.path = self.layout.path
        self.save_numbers = SaveNumbers(self.layout)
        try:
            _make_folder(self.path)
        except OSError as error:
            raise FolderUnusableError(
                f"The state directory {self.path} cannot be used: {error.strerror}. "
                "Check its permissions, or choose another one with --state-dir."
            ) from error
        self._lock = FolderLock(self.path)
        try:
            clear_leftovers(self.layout)
            ensure_temporary_folder(self.path / SCRATCH)
            self.keeps_names = sync_folder(self.path)  # whether a name that is synced outlives a power cut on this disk
        except OSError as error:
            self.close()
            where = Path(error.filename or self.path)
            inner = "" if where == self.path else f" ({where})"
            raise FolderUnusableError(
                f"The state directory {self.path} cannot be used: {error.strerror}{inner}. Check its permissions."
            ) from error

    def close(self) -> None:
        """Releases the directory for others."""
        self._lock.release()

    def __enter__(self) -> StateFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_held(self) -> bool:
        """Whether this object still holds the directory."""
        return self._lock.is_held

    @property
    def lock_descriptor(self) -> int:
        """Descriptor of the lock, for a process that writes for this one and must hold the directory as long as it lives."""
        return self._lock.descriptor

    @property
    def lock(self) -> Identity:
        """Identity of the lock file, which tells this directory from one that is put in its place."""
        return self._lock.identity

    def require_own(self) -> None:
        """Raises FolderChangedError unless the directory at the path is still the one that is held."""
        require_lock(self.path, self.lock)

    def reacquire(self) -> None:
        """Holds the directory that now stands at the path. Raises FolderUnusableError or FolderLockedError."""
        if self._lock.still_stands():
            return
        fresh = StateFolder(self.path)
        self._lock.release()
        self._lock, self.keeps_names = fresh._lock, fresh.keeps_names
        self.save_numbers = fresh.save_numbers

    def saves_folder(self) -> Path:
        """Returns the folder of the earlier saves, made if it is not there. Raises OSError or FolderUnusableError."""
        return self._folder(SAVES)

    def corpora_folder(self) -> Path:
        """Returns the folder of own texts, made if it is not there. Raises OSError or FolderUnusableError."""
        return self._folder(CORPORA)

    def uploads_folder(self) -> Path:
        """Returns the folder where uploads are unpacked, made if it is not there. Raises OSError or FolderUnusableError."""
        folder = self.path / UPLOADS
        self._require_no_link(UPLOADS)
        folder.mkdir(exist_ok=True)
        return folder

    def restore_points_folder(self, run: str) -> Path:
        """Returns the folder of a run's restore points, made if it is not there. Raises OSError or FolderUnusableError."""
        folder = self.path / RESTORE_POINTS / run
        self._require_no_link(RESTORE_POINTS)
        self._require_no_link(f"{RESTORE_POINTS}/{run}")
        if not folder.is_dir():
            folder.mkdir(parents=True)
            sync_folder(folder.parent)
            sync_folder(self.path)
        return folder

    def keep_as_restore_point(self, save: Path, run: str, iteration: int) -> Path:
        """Gives a save of a run a second name, as one of its restore points. Returns that name."""
        target = self.restore_points_folder(run) / f"{iteration}.pth"
        if not is_plain_file(target):
            link_or_copy(save, target)
        sync_folder(target.parent)
        return target

    def remove_restore_points(self, run: str) -> None:
        """Deletes all restore points of a run."""
        folder = self.path / RESTORE_POINTS / run
        if folder not in self.layout.restore_point_folders():
            return
        for point in (*self.layout.restore_points_of(run), folder / BEST_FILE):
            remove(point)
        remove_empty(folder)
        sync_folder(folder.parent)

    def add_run(self, run: str, files: Mapping[str, Iterable[Piece]]) -> None:
        """Writes three files into `runs/<run>/`, complete or not at all; an older copy there is replaced."""
        self._add(RUNS, run, files)

    def add_slot(self, slot: str, files: Mapping[str, Iterable[Piece]]) -> None:
        """Writes three files into `slots/<slot>/`, complete or not at all."""
        self._add(SLOTS, slot, files)

    def remove_run(self, run: str) -> None:
        """Deletes the copy of a run that the present files have superseded; a crash leaves all three files or none."""
        self._remove(RUNS, run)

    def remove_slot(self, slot: str) -> None:
        """Deletes a named state; a crash leaves all three files or none."""
        self._remove(SLOTS, slot)

    def _folder(self, name: str) -> Path:
        folder = self.path / name
        self._require_no_link(name)
        if not folder.is_dir():
            folder.mkdir()
            sync_folder(self.path)
        return folder

    def _require_no_link(self, name: str) -> None:
        if (self.path / name).is_symlink():
            raise FolderUnusableError(
                f"{self.path / name} is a link, and links are not followed. Put a folder in its place."
            )

    def _add(self, parent: str, name: str, files: Mapping[str, Iterable[Piece]]) -> None:
        self._require_no_link(parent)
        temporary, target = self.path / parent / f".{name}.tmp", self.path / parent / name
        self._remove(parent, name)
        remove_state_folder(temporary)
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

    def _remove(self, parent: str, name: str) -> None:
        target, temporary = self.path / parent / name, self.path / parent / f".{name}.old.tmp"
        if target not in own_folders(target.parent, ID):
            return
        remove_state_folder(temporary)
        if any(entry.name not in FILES for entry in target.iterdir()) or temporary.exists():
            remove(target / WEIGHTS)  # something of the user's is in there: it stays where it is
            sync_folder(target)
            remove_state_folder(target)
            return
        target.rename(temporary)
        sync_folder(target.parent)
        remove_state_folder(temporary)

    def set_aside(self, files: Iterable[Path], leave: bool = False) -> Path | None:
        """Moves damaged files of ours to `set-aside/<time>/`. Returns that folder, or None where none of them is there.

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
        """Moves the files of a state that cannot be read, the present one or a run's, to `set-aside/<time>/`."""
        copies = [self.path / SAVES / METRICS_COPY] if folder == self.path else []
        target = self.set_aside([*(folder / name for name in FILES), *copies])
        if folder != self.path:
            remove_empty(folder)
        return target

    def reset(self) -> None:
        """Deletes every saved state and set-aside file, durably; one that is cut off is finished at the next start."""
        delete_states(self.layout)

    def free_bytes(self) -> int:
        """Returns the free space on the disk, in bytes. Raises OSError."""
        return shutil.disk_usage(self.path).free

    def _is_within(self, file: Path) -> bool:
        """Whether a file stands in the directory, and no link leads there."""
        if not file.is_relative_to(self.path):
            return False
        return not any((self.path / part).is_symlink() for part in file.relative_to(self.path).parents if part.name)

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


def _make_folder(path: Path) -> None:
    """Makes a folder and its parents, durably."""
    made = [folder for folder in (path.absolute(), *path.absolute().parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in made:
        sync_folder(folder.parent)
