"""The commands that transfer saved states to and from other machines: export and import."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, cast

from quadra.cli.change import held_states
from quadra.cli.output import complain, printable, say
from quadra.cli.show import FAILED, look_up, require_outside, write_output
from quadra.config import TrainingConfig
from quadra.errors import BadFileError, UnknownSourceError
from quadra.states.alert_rules import exported_rules
from quadra.storage.files.durable import is_plain_file
from quadra.storage.files.scratch import ScratchFolder
from quadra.storage.labels import LONGEST_NAME, checked_name
from quadra.storage.layout import ALERTS, CORPORA, FILES, TEXT_FILE

LARGEST_IMPORT = 1 << 36  # bytes; a state of the largest field has some billions
_PIECE = 1 << 18  # bytes


def export_state(options: argparse.Namespace) -> int:
    """Writes the three complete files of a state as one archive. Returns the exit code. Raises a QuadraError or OSError."""
    from quadra.states.read_only import read_portable_files  # these bring torch along
    from quadra.states.transfer import archive_name, write_archive

    layout, entry = look_up(options, options.state)
    name = archive_name(entry.label.name or None, entry.run, entry.iteration_count)
    output = require_outside(options.output or Path(f"{name}.zip"), options.state_dir)
    _, files = read_portable_files(layout, entry.id, TrainingConfig())
    with TemporaryFile() as stream:
        rules = exported_rules(layout.path, entry.run, entry.id, entry.run)
        write_archive(cast("BinaryIO", stream), {**files, **rules}, name)
        stream.seek(0)
        return write_output(output, iter(partial(stream.read, _PIECE), b""))


def import_state(options: argparse.Namespace) -> int:
    """Imports a state, which is verified before the folder is changed. Returns the exit code.

    Raises BadArchiveError for a file that is no state, and whatever a change of the folder raises.
    """
    from quadra.states.transfer import mark_imported, verify_import

    name = checked_name(_name_for(options.source) if options.name is None else options.name)
    with ScratchFolder() as temporary:
        target = Path(temporary, "state")
        target.mkdir()
        for skipped in _unpack(options.source, target):
            complain(f"Skipped: {skipped}")
        try:
            imported = verify_import(target)
        except BadFileError as error:
            complain(f"{options.source}: {error}. Nothing was imported.")
            return FAILED
        mark_imported(target, imported)
        with held_states(options) as manager:
            state = manager.import_folder(target, name)
            called = manager.listing.label(state).name
    for warning in imported.warnings:
        say(printable(warning))
    say(f"Imported as {printable(called)!r}: {state}, iteration {imported.iteration_count} of run {imported.run}.")
    return 0


def _name_for(source: Path) -> str:
    return (
        printable(source.resolve().stem if source.is_file() else source.resolve().name)[: LONGEST_NAME // 2]
        or "imported"
    )


def _unpack(source: Path, target: Path) -> tuple[str, ...]:
    """Writes the files of an archive or a folder into `target`. Returns the names of skipped files. Raises UnknownSourceError."""
    from quadra.states.transfer import unpack, write_files

    if source.is_dir():
        with ExitStack() as stack:
            return write_files(dict(_opened(source, stack)), target, LARGEST_IMPORT)
    if not source.is_file():
        raise UnknownSourceError(
            f"There is no file or folder {source}. Name a zip archive, or a folder with the three files."
        )
    with source.open("rb") as stream:
        return unpack(cast("BinaryIO", stream), target, LARGEST_IMPORT)


def _opened(folder: Path, stack: ExitStack) -> Iterator[tuple[str, BinaryIO]]:
    texts = sorted(file.relative_to(folder).as_posix() for file in (folder / CORPORA).glob("*.*"))
    for name in (*FILES, ALERTS, *(text for text in texts if TEXT_FILE.fullmatch(Path(text).name))):
        if is_plain_file(folder / name):
            yield name, stack.enter_context((folder / name).open("rb"))
