"""OtherRuns: what a run's first save in a folder does with the files that another run has left there.

Before that save replaces them, the newest intact save of each other run is kept as three complete files in `runs/`, and
files that cannot be used, or that somebody else has put there, are set aside. Once it is durable, the earlier saves of
other runs become restore points.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from quadra.errors import BadFileError, FolderUnusableError
from quadra.storage.catalog import Catalog, SavedSummary, read_catalog
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
        """Keeps the newest intact save of each other run, before the first save of `run`, and sets bad files aside.

        A weights file that somebody else has put here, so that it is not the newest save of its run, is set aside too.
        """
        catalog = read_catalog(self._folder.layout)
        bad = [file for file, _ in catalog.unreadable if file == self._files[WEIGHTS]]
        safe: list[SavedSummary] = []
        for saves in self._saves_by_run(catalog):
            kept, failed = self._keep_newest(saves, run, catalog)
            safe += [] if kept is None else [kept]
            bad += failed
        if not safe:
            bad += [*self._present_files(), *self._folder.layout.earlier_saves()]
        elif self._is_strange(catalog, safe, bad):
            bad += self._present_files()
        self._bad = frozenset(bad)
        target = self._folder.set_aside(dict.fromkeys(bad), leave=True)
        if target is not None:
            what = "Files that could not be used, or were put there by somebody else, were set aside in %s: %s"
            log.warning(what, target, ", ".join(map(str, bad)))

    def drop_saves(self, run: str) -> None:
        """Makes earlier saves of other runs restore points, after the first save of `run`; what cannot go now stays."""
        for file in self._folder.layout.earlier_saves():
            try:
                self._drop(file, run)
            except (OSError, FolderUnusableError) as error:
                log.info("An earlier save of another run stays: %s", error)

    def _present_files(self) -> list[Path]:
        """Returns the three files of the directory and the copy of its metrics, as far as they are there."""
        return [
            path for path in (*self._files.values(), self._folder.path / SAVES / METRICS_COPY) if os.path.lexists(path)
        ]

    def _saves_by_run(self, catalog: Catalog) -> Iterable[Sequence[SavedSummary]]:
        """Returns the directory's own saves, those of each run together, newest first."""
        runs: dict[str, list[SavedSummary]] = {}
        for copy in catalog.copies:
            if copy.folder == self._folder.path:
                runs.setdefault(copy.id, []).append(copy)
        for saves in runs.values():
            saves.sort(key=lambda copy: (copy.sequence, not copy.is_earlier_save), reverse=True)
        return runs.values()

    def _keep_newest(
        self, saves: Sequence[SavedSummary], run: str, catalog: Catalog
    ) -> tuple[SavedSummary | None, list[Path]]:
        """Keeps the newest intact one of a run's saves. Returns what is kept of that run, and the files that were found bad."""
        failed: list[Path] = []
        for save in saves:
            kept = self._kept_already(save, catalog)
            if kept is not None:
                return kept, failed
            try:
                return save, [*failed, *self._keep(save, save.id == run)]
            except BadFileError as error:
                failed.append(error.path if error.path.is_relative_to(self._folder.path) else save.file)
        return None, [*failed, *(save.file for save in saves)]

    def _is_strange(self, catalog: Catalog, safe: Sequence[SavedSummary], bad: Collection[Path]) -> bool:
        """Whether the present weights file can be read but is none of the saves that are kept."""
        present = [copy for copy in catalog.copies if copy.file == self._files[WEIGHTS] and copy.file not in bad]
        return any(all(_moment_of(copy) != _moment_of(kept) for kept in safe) for copy in present)

    def _kept_already(self, save: SavedSummary, catalog: Catalog) -> SavedSummary | None:
        """Returns the copy of this save, or of a later one, in `runs/`: it is complete, the present files may not be."""
        for copy in catalog.copies:
            if copy.id == save.id and copy.sequence >= save.sequence and copy.folder != self._folder.path:
                return copy
        return None

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


def _moment_of(save: SavedSummary) -> tuple[str, int, int, str]:
    """Returns what tells a save from every other one of its run, wherever it stands."""
    return save.id, save.sequence, save.iteration_count, save.saved_at
