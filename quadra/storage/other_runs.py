"""OtherRuns: what a run's first save in a folder does with the files that another run has left there.

Before that save replaces them, the newest intact save of the other run is kept as three complete files in `runs/`, and
files that cannot be used are set aside. Once it is durable, the earlier saves of the other run become restore points.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from quadra.errors import BadFileError, FolderUnusableError
from quadra.storage.catalog import Catalog, SavedSummary, age_of, read_catalog
from quadra.storage.files.durable import is_plain_file, read_file, remove
from quadra.storage.folder import StateFolder
from quadra.storage.layout import FILES, METRICS_COPY, SAVES, WEIGHTS
from quadra.storage.save_record import verify
from quadra.storage.saved_state import NotSealedError, read_save
from quadra.storage.system_file import complete_files

log = logging.getLogger("quadra")


class OtherRuns:
    """The files of other runs in a directory that is held."""

    def __init__(self, folder: StateFolder) -> None:
        self._folder = folder
        self._files = {name: folder.path / name for name in FILES}
        self._bad: frozenset[Path] = frozenset()  # files that have a second name in `set-aside` already

    def make_room(self, run: str) -> None:
        """Keeps another run's newest intact save as a run by itself, before the first save of `run`, and sets bad files aside."""
        present = (*self._files.values(), self._folder.path / SAVES / METRICS_COPY)
        bad = [path for path in present if os.path.lexists(path)]
        catalog = read_catalog(self._folder.layout)
        failed = [file for file, _ in catalog.unreadable if file == self._files[WEIGHTS]]
        for copy in self._present_saves(catalog):
            if self._is_kept(copy, catalog):
                bad = failed
                break
            try:
                bad = [*failed, *self._keep(copy, copy.id == run)]
                break
            except BadFileError as error:
                failed.append(error.path if error.path.is_relative_to(self._folder.path) else copy.file)
        else:
            bad += [*failed, *self._folder.layout.earlier_saves()]
        self._bad = frozenset(bad)
        target = self._folder.set_aside(dict.fromkeys(bad), leave=True)
        if target is not None:
            log.warning("Files that could not be used were set aside in %s: %s", target, ", ".join(map(str, bad)))

    def drop_saves(self, run: str) -> None:
        """Makes earlier saves of other runs restore points, after the first save of `run`; what cannot go now stays."""
        for file in self._folder.layout.earlier_saves():
            try:
                self._drop(file, run)
            except (OSError, FolderUnusableError) as error:
                log.info("An earlier save of another run stays: %s", error)

    def _present_saves(self, catalog: Catalog) -> Sequence[SavedSummary]:
        """Returns the directory's own saves, newest first."""
        own = [copy for copy in catalog.copies if copy.folder == self._folder.path]
        return sorted(own, key=lambda copy: (*age_of(copy), not copy.is_earlier_save), reverse=True)

    def _is_kept(self, save: SavedSummary, catalog: Catalog) -> bool:
        """Whether this save stands in `runs/` already: a copy made then is complete, the present files may not be."""
        return any(
            copy.id == save.id and copy.sequence >= save.sequence and copy.folder != self._folder.path
            for copy in catalog.copies
        )

    def _keep(self, save: SavedSummary, of_this_run: bool) -> list[Path]:
        """Keeps a save of another run as three complete files. Returns the files that were found bad."""
        try:
            state = read_save(save.file, self._folder.path)
        except NotSealedError:  # the legacy format had no checksums: kept as it is
            names = [name for name in FILES if is_plain_file(self._files[name])]
            self._folder.add_run(save.id, {name: [read_file(self._files[name])] for name in names})
            return []
        if not of_this_run:  # else what is in memory follows it
            self._folder.add_run(save.id, complete_files(state, read_file(save.file)))
        return [error.path for error in state.damaged]

    def _drop(self, file: Path, run: str) -> None:
        try:
            record = verify(read_file(file), file)
        except BadFileError:
            if file not in self._bad:
                self._folder.set_aside([file], leave=True)
            remove(file)
            return
        if record is None:
            remove(file)
        elif record.run != run:
            self._folder.keep_as_restore_point(file, record.run, record.iteration_count)
            remove(file)
