"""Which files in a state directory are this program's own, and how they are deleted.

A reset writes a marker first: one that was cut off is finished when the directory is next opened. Only names that this
program writes are deleted, and no link is followed; what is the user's stays, and so does a folder that holds it.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from quadra.storage.files.durable import is_plain_folder, remove, sync_folder, temporary_of, write_file
from quadra.storage.layout import (
    ALERTS,
    CORPORA,
    FILES,
    ID,
    LISTS,
    METRICS,
    RESET_MARKER,
    RESTORE_POINTS,
    RUNS,
    SAVES,
    SAVES_FILES,
    SCRATCH,
    SET_ASIDE,
    SET_ASIDE_ID,
    SLOTS,
    SYSTEM,
    UPLOAD_ID,
    UPLOADED_TEXT,
    UPLOADS,
    WEIGHTS,
    WRITE_TEST,
    StateLayout,
    own_folders,
    restore_point_names,
    text_names,
)


def deletable(layout: StateLayout) -> list[Path]:
    """Returns every file that a reset deletes, relative to the state directory."""
    path = layout.path
    own: list[tuple[Path, Iterable[str]]] = [(path, (*FILES, *LISTS))]
    own += [(folder, FILES) for folder in (*layout.run_folders(), *layout.slot_folders())]
    own += [(folder, restore_point_names(folder)) for folder in layout.restore_point_folders()]
    if not (path / SAVES).is_symlink():
        own.append((path / SAVES, SAVES_FILES))
    own.append((path / CORPORA, text_names(path / CORPORA)))
    own += [
        (folder, (*FILES, *SAVES_FILES, *LISTS, *text_names(folder)))
        for folder in own_folders(path / SET_ASIDE, SET_ASIDE_ID)
    ]
    return [
        (folder / name).relative_to(path) for folder, names in own for name in names if _is_file_or_link(folder / name)
    ]


def describe_deletable(layout: StateLayout) -> tuple[str, ...]:
    """Returns what a reset deletes, in words: a folder's files are counted, not named one by one."""
    files = deletable(layout)
    single = [file.name for file in files if file.parent == Path()]
    folders = sorted({file.parent.as_posix() for file in files if file.parent != Path()})
    counts = {folder: sum(file.parent.as_posix() == folder for file in files) for folder in folders}
    return (*single, *(f"{folder}/ ({count} files)" for folder, count in counts.items()))


def delete_states(layout: StateLayout) -> None:
    """Deletes every saved state and set-aside file, durably. Raises OSError; what is left can then be reset again."""
    marker = layout.path / RESET_MARKER
    try:
        write_file(marker, [])
        sync_folder(layout.path)
        _delete(layout)
    except OSError:
        remove(marker)  # the caller hears of it; a later start must not delete what comes next
        raise


def call_off(layout: StateLayout) -> None:
    """Removes the marker of a reset that failed: it must not be finished at the next start, over what is saved since."""
    if os.path.lexists(layout.path / RESET_MARKER):
        remove(layout.path / RESET_MARKER)
        sync_folder(layout.path)


def clear_leftovers(layout: StateLayout) -> None:
    """Finishes a reset that was cut off, and removes temporary files of a save that was. Raises OSError."""
    if os.path.lexists(layout.path / RESET_MARKER):
        _delete(layout)
    _remove_temporaries(layout)
    test = layout.path / WRITE_TEST
    remove(test)  # whatever stands there: a link would be followed
    write_file(test, [])
    remove(test)


def remove_state_folder(folder: Path) -> None:
    """Deletes the files of a state and their folder, unless something of the user's is in it."""
    if not is_plain_folder(folder):
        return
    for name in (SYSTEM, WEIGHTS, METRICS):  # cut off in between, what is left is a whole state or none
        remove(folder / name)
        remove(temporary_of(folder / name))
    remove_empty(folder)


def remove_empty(folder: Path) -> None:
    """Deletes a folder, unless it is not there or something of the user's is in it."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def _delete(layout: StateLayout) -> None:
    _remove_temporaries(layout)
    for file in deletable(layout):
        remove(layout.path / file)
    for parent, pattern in ((RUNS, ID), (SLOTS, ID), (RESTORE_POINTS, ID), (SET_ASIDE, SET_ASIDE_ID)):
        for folder in own_folders(layout.path / parent, pattern):
            remove_state_folder(folder)
            _sync_what_stays(folder)
    for parent in (RUNS, SLOTS, RESTORE_POINTS, SET_ASIDE, SAVES, CORPORA, SCRATCH):
        remove_empty(layout.path / parent)
        _sync_what_stays(layout.path / parent)
    sync_folder(layout.path)
    remove(layout.path / RESET_MARKER)
    sync_folder(layout.path)


def _remove_temporaries(layout: StateLayout) -> None:
    path = layout.path
    for name in FILES:
        remove(temporary_of(path / name))
    if not (path / SAVES).is_symlink():
        for name in SAVES_FILES:
            remove(temporary_of(path / SAVES / name))
    for name in LISTS:
        remove(temporary_of(path / name))
    for folder in layout.restore_point_folders():
        for name in restore_point_names(folder, ".{}.tmp"):
            remove(folder / name)
    _remove_half_texts(path)
    halves = re.compile(rf"\.{ID.pattern}(\.old)?\.tmp")
    for parent, pattern in ((RUNS, halves), (SLOTS, halves), (UPLOADS, UPLOAD_ID)):
        for folder in own_folders(path / parent, pattern):
            remove(folder / ALERTS)  # of an upload
            remove_state_folder(folder)
    remove_empty(path / UPLOADS)


def _remove_half_texts(path: Path) -> None:
    for name in text_names(path / CORPORA, ".{}.tmp"):
        remove(path / CORPORA / name)
    for folder in own_folders(path / UPLOADS, UPLOAD_ID):
        for name in (UPLOADED_TEXT, *text_names(folder)):
            remove(folder / name)


def _sync_what_stays(folder: Path) -> None:
    """Makes deletions durable in a folder that could not go as a whole."""
    if is_plain_folder(folder):
        sync_folder(folder)


def _is_file_or_link(path: Path) -> bool:
    """Whether this may be one of our files: a folder under one of our names was not made by us."""
    return path.is_symlink() or path.is_file()
