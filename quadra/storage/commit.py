"""The commit of one weights file, which makes a save durable; `save_store` has what a save writes before and after it.

In this order:

1. `.oscillator_weights.pth.tmp`, the new weights file, is written beside the present one and synced;
2. the present weights file gets a second name, `saves/<number>.pth`: the earlier saves of the run;
3. the new file is renamed to `oscillator_weights.pth`, and the folder is synced: from here on the save is durable;
4. restore points: the new file gets further names in `points/<run>/`, and points that are over the budget go.

A request holds all that the commit needs, so that another process can carry it out; this module imports neither torch nor
numpy.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import NamedTuple

from quadra.errors import FolderChangedError
from quadra.storage.files.durable import (
    AnyPath,
    Identity,
    Piece,
    identity_of,
    is_plain_file,
    is_plain_folder,
    link_or_copy,
    remove,
    sync_folder,
    temporary_name,
    write_file,
)
from quadra.storage.files.lock import require_lock
from quadra.storage.files.zip_writer import archive_pieces
from quadra.storage.layout import RING, SAVES, WEIGHTS
from quadra.storage.save_record import SaveRecord, seal
from quadra.storage.weights_entries import Contents, archive_entries

FEWEST_KEPT = 2
MOST_KEPT = 10
RING_BYTES = 1 << 30  # that earlier saves may take together; two are kept whatever their size


class CommitRequest(NamedTuple):
    """One weights file that is to become the newest save of a folder."""

    folder: str
    lock: Identity  # of the lock file that stands in the folder as long as it is ours
    present: Identity | None  # of the weights file that stands there as long as nobody else has put another one
    keep_present: bool  # whether that one is an earlier save of the same run
    record: SaveRecord
    tensors: Piece  # the memory of the large ones
    contents: Contents
    names: tuple[str, ...] = ()  # further ones that the file gets, as a restore point
    expired: tuple[str, ...] = ()  # restore points that go once those are durable


class Committed(NamedTuple):
    """A weights file that is durable."""

    identity: Identity
    size: int
    remark: str = ""  # what went wrong behind the commit, which it does not undo


def commit(request: CommitRequest) -> Committed:
    """Makes a weights file the newest save of its directory; it is durable on return.

    Raises FolderChangedError or OSError: the present file is then intact, or the new one is.
    """
    folder, target = request.folder, os.path.join(request.folder, WEIGHTS)
    temporary = temporary_name(target)
    pieces = seal(archive_pieces(archive_entries(request.tensors, request.contents)), request.record)
    size = sum(memoryview(piece).nbytes for piece in pieces)
    require_own_save(folder, request.lock, request.present)
    try:
        write_file(temporary, pieces)
        require_own_save(folder, request.lock, request.present)  # again: it may have been exchanged during the write
        if request.keep_present and is_plain_file(target):
            link_or_copy(target, os.path.join(folder, SAVES, RING[ring_index(request.record.sequence - 1, size)]))
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):  # the first failure is the one to report
            remove(temporary)
        raise
    identity = identity_of(target)
    assert identity is not None, "it has just been put there"
    sync_folder(folder)
    return Committed(identity, size, _add_names(request))


def _add_names(request: CommitRequest) -> str:
    """Gives the new file its further names. The save is durable already: a failure is returned as a remark."""
    try:
        for folder in dict.fromkeys(map(os.path.dirname, (*request.names, *request.expired))):
            if not (is_plain_folder(os.path.dirname(folder)) and is_plain_folder(folder)):
                raise NotADirectoryError(errno.ENOTDIR, "its folder is not there, or is a link", folder)
        for name in request.names:
            link_or_copy(os.path.join(request.folder, WEIGHTS), name)
        if request.expired:
            for folder in dict.fromkeys(map(os.path.dirname, request.names)):
                sync_folder(folder)
        for point in request.expired:
            remove(point)
    except OSError as error:
        return f"A restore point could not be kept: {error.strerror or error} ({error.filename})"
    return ""


def require_own_save(folder: AnyPath, lock: Identity, present: Identity | None) -> None:
    """Raises FolderChangedError unless the directory, and the newest save in it, are those that are known."""
    require_lock(folder, lock)
    target = os.path.join(folder, WEIGHTS)
    if identity_of(target) != present:
        raise FolderChangedError(
            f"{target} was changed or removed by somebody else. Nothing is saved, so that nothing "
            "there is overwritten. Load what is there, or go on as a new saved run."
        )


def ring_index(sequence: int, size: int) -> int:
    """Returns the index in RING under which a save is kept when the next one follows; the newest few are always there."""
    return (sequence - 1) % max(FEWEST_KEPT, min(MOST_KEPT, RING_BYTES // max(1, size)))
