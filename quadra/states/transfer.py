"""Transfer of saved states between machines: export as one archive, import from an archive or files that may do harm.

Imported files are written under the three known names alone, then read and verified like any saved state, and marked as
imported: a state from elsewhere cannot say which of this machine's files its text is.
"""

from __future__ import annotations

import contextlib
import io
import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from quadra.config import TrainingConfig
from quadra.errors import BadArchiveError, BadFileError, DamagedFileError, MismatchError, MissingFileError
from quadra.model.corpus import Corpus
from quadra.states.alert_rules import read_rules
from quadra.states.own_texts import LARGEST_TEXT, UploadedText, count_lines, describe, id_of, is_intact
from quadra.states.restore import build_engine
from quadra.storage import legacy, metrics_file
from quadra.storage.files import safe_pickle
from quadra.storage.files.durable import Piece, is_plain_file, read_file, remove, replace_file, sync_folder, write_file
from quadra.storage.files.untrusted_zip import ArchiveEntry, entries_of, parts_of, short_repr
from quadra.storage.layout import ALERTS, CORPORA, FILES, METRICS, SYSTEM, TEXT_FILE, WEIGHTS
from quadra.storage.save_record import resealed
from quadra.storage.saved_state import NotSealedError, SavedState, read_plain, read_save, require_finite

_LONGEST_NAME = 80  # characters of a file's name made of free text
_LONGEST_LABEL = 50  # characters of a state's own name in it
_PREFIX = "quadramatrix-"
_PIECE = 1 << 18  # bytes
_DATE = (1980, 1, 1, 0, 0, 0)  # an archive is a function of the state alone
_UNIX = 3  # system of origin, on every system the same
_PLAIN_FILE = 0o100644 << 16
# Bytes; our system state has at most 4096. The others may be as large as what is uploaded.
_LARGEST = {SYSTEM: 1 << 20, ALERTS: 4 << 20}
_LARGEST_PICKLE = 32 << 20  # bytes of metrics that are not a log of ours: a list of numbers takes its time and memory
# Numbers that one step computes, void iterations included: 300,000 by default, 108 million on the largest field.
_MOST_WORK = 1 << 28
_MOST_NAMED = 3  # folders in a message
_UNSAFE = re.compile(r"[^\w.]+")


@dataclass(frozen=True)
class ImportedState:
    """A verified saved state from elsewhere: intact, and such that it can be loaded."""

    run: str
    iteration_count: int
    saved_at: str
    ended: str
    field_size: int
    seed: int | None  # None: not known (legacy format)
    is_legacy: bool  # in the format of the earlier generation of the dashboard
    warnings: tuple[str, ...]
    state: SavedState


def archive_name(name: str | None, run: str, iteration_count: int) -> str:
    """Returns the file name of a state's archive, without suffix: after its name, or its run where it has none."""
    return f"{_PREFIX}{_plain(name or '')[:_LONGEST_LABEL].strip('-.') or run[:8]}-{iteration_count}"


def safe_name(text: str) -> str:
    """Returns free text as the name of an archive, valid on any system; one that `archive_name` made stays as it is."""
    return _PREFIX + (_plain(text).removeprefix(_PREFIX)[:_LONGEST_NAME].strip("-.") or "state")


def _plain(text: str) -> str:
    return _UNSAFE.sub("-", unicodedata.normalize("NFC", text)).strip("-.")


def write_archive(stream: BinaryIO, files: Mapping[str, Iterable[Piece]], name: str) -> None:
    """Writes the files of a state as a zip archive with one folder; the same files give the same bytes. Raises OSError.

    `files`: the three, its alert rules where it has some, and those of its own text, by their paths in a state directory.
    `name`: free text, of which the folder's name is made.
    """
    folder = safe_name(name)
    with zipfile.ZipFile(stream, "w") as archive:
        for file in (*FILES, *(name for name in files if name not in FILES)):
            entry = zipfile.ZipInfo(f"{folder}/{file}", _DATE)
            entry.create_system, entry.external_attr = _UNIX, _PLAIN_FILE
            with archive.open(entry, "w", force_zip64=True) as member:
                for piece in files[file]:
                    member.write(piece)


def unpack(stream: BinaryIO, target: Path, limit: int) -> tuple[str, ...]:
    """Writes the three files of an uploaded zip archive into an empty folder, durably. Returns the names of skipped files.

    The files stand at the archive's top, or in one folder of it; alert rules beside them, and own texts in `corpora` beside
    them, are written too. `limit`: bytes, of the archive and of all that is written. Raises BadArchiveError, which says what
    is wrong, or OSError; nothing is left in the folder then.
    """
    _require_size(stream, limit)
    return _write_chosen(entries_of(stream), target, limit)


def write_files(files: Mapping[str, BinaryIO], target: Path, limit: int) -> tuple[str, ...]:
    """Does the same for files that were uploaded one by one, by the names that the uploader gives them."""
    return _write_chosen(
        [ArchiveEntry(name, parts_of(name), _reader(stream)) for name, stream in files.items()], target, limit
    )


def verify_import(folder: Path) -> ImportedState:
    """Returns the saved state in a folder that was unpacked, in the present or the legacy format; changes nothing.

    Raises a BadFileError, which names the file, for whatever is wrong with any of the three, and for a state that cannot be
    loaded.
    """
    _require_small_metrics(folder)
    try:
        state, is_legacy = read_save(folder / WEIGHTS, folder), False
    except NotSealedError as unsealed:
        state = legacy.convert(folder, unsealed.weights, TrainingConfig(seed=0), Corpus())
        require_finite(state)
        is_legacy = True
    for error in state.damaged:
        raise error
    _require_loadable(state)
    record = state.record
    return ImportedState(
        run=record.run, iteration_count=record.iteration_count, saved_at=record.saved_at, ended=record.ended,
        field_size=record.field_size, seed=None if is_legacy else record.seed, is_legacy=is_legacy,
        warnings=(*state.warnings, *rules_warnings(folder)), state=state,
    )  # fmt: skip


def rules_warnings(folder: Path) -> tuple[str, ...]:
    """Returns warnings for people where alert rules came along that cannot be read."""
    try:
        read_rules(folder)
    except MissingFileError:
        return ()
    except BadFileError as error:
        return (f"{error}. The state comes without alert rules.",)
    return ()


def mark_imported(folder: Path, imported: ImportedState) -> None:
    """Marks the files as imported, durably, before they become a saved state of this machine. Raises OSError.

    Its text is then known by its content alone, and its load rank is 0. A state in the legacy format names no text and has
    no load rank.
    """
    retain_own_text(folder, None if imported.is_legacy else id_of(imported.state.engine["corpus"]["path"]))
    if imported.is_legacy:
        return
    system = read_plain(folder / SYSTEM, arrays=False)
    replace_file(folder / SYSTEM, [safe_pickle.dumps({**system, "chosen": 0})])
    record = replace(imported.state.record, imported=True, load_rank=0)
    replace_file(folder / WEIGHTS, resealed(read_file(folder / WEIGHTS), record))


def retain_own_text(folder: Path, own: str | None) -> None:
    """Removes all own texts that came along but the one that the run refers to, which gets a note of ours.

    Raises DamagedFileError where it has another content than its name says, or OSError.
    """
    for name in [entry.name for entry in folder.iterdir() if TEXT_FILE.fullmatch(entry.name)]:
        if Path(name).stem != own:
            remove(folder / name)
    text = folder / f"{own}.txt"
    if own is None or not is_plain_file(text):
        remove(folder / f"{own}.json")
        return
    if not is_intact(text, own):
        raise DamagedFileError(text, "is the run's text, but has another content than its name says")
    lines, cut = count_lines(text)
    note = UploadedText(own, describe(text).name, lines, text.stat().st_size, cut).note()
    replace_file(text.with_suffix(".json"), [note])


def _write_chosen(entries: Sequence[ArchiveEntry], target: Path, limit: int) -> tuple[str, ...]:
    chosen = _chosen(entries)
    left = limit
    try:
        for name, entry in chosen.items():
            most = min(left, _LARGEST.get(name, LARGEST_TEXT if TEXT_FILE.fullmatch(name) else limit))
            write_file(target / name, _bounded(entry, most))
            left -= (target / name).stat().st_size
        sync_folder(target)
    except BaseException:
        with contextlib.suppress(OSError):  # the first failure is the one to report
            for name in chosen:
                remove(target / name)
        raise
    written = set(chosen.values())
    return tuple(entry.name for entry in entries if entry not in written)


def _chosen(entries: Sequence[ArchiveEntry]) -> dict[str, ArchiveEntry]:
    """Returns the three files by name, and the alert rules and own texts beside them.

    A folder within another one that has any of the three is an earlier run, and is skipped.
    """
    folders: dict[tuple[str, ...], dict[str, ArchiveEntry]] = {}
    for entry in entries:
        folder, name = entry.parts[:-1], "".join(entry.parts[-1:])
        if name in FILES:
            if name in folders.setdefault(folder, {}):
                raise BadArchiveError(f"The file {short_repr(entry.name)} was uploaded twice; nothing was taken.")
            folders[folder][name] = entry
    if not folders:
        raise BadArchiveError(
            f"There is no saved state in what was uploaded: none of {', '.join(FILES)} is in it. Upload these three files, "
            "or a zip archive of the folder that holds them."
        )
    tops = [folder for folder in folders if not any(folder[:depth] in folders for depth in range(len(folder)))]
    if len(tops) > 1:
        names = ", ".join(short_repr("/".join((*folder, ""))) for folder in sorted(tops)[:_MOST_NAMED])
        raise BadArchiveError(
            f"There are {len(tops)} saved states in what was uploaded, in {names}. Upload one at a time."
        )
    found = folders[tops[0]]
    missing = [name for name in FILES if name not in found]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise BadArchiveError(
            f"{' and '.join(missing)} {verb} missing in what was uploaded; all three files are needed."
        )
    rules = [(ALERTS, entry) for entry in entries if entry.parts == (*tops[0], ALERTS)]
    beside = (*tops[0], CORPORA)
    texts = {entry.parts[-1]: entry for entry in entries if entry.parts[:-1] == beside}
    return {**found, **dict(rules), **{name: entry for name, entry in texts.items() if TEXT_FILE.fullmatch(name)}}


def _bounded(entry: ArchiveEntry, most: int) -> Iterator[bytes]:
    size = 0
    for piece in entry.pieces():
        size += len(piece)
        if size > most:
            raise BadArchiveError(
                f"The file {short_repr(entry.name)} is larger than is taken ({most:,} bytes are left for it)."
            )
        yield piece


def _reader(stream: BinaryIO) -> Callable[[], Iterator[bytes]]:
    return lambda: iter(lambda: stream.read(_PIECE), b"")


def _require_size(stream: BinaryIO, limit: int) -> None:
    size = stream.seek(0, io.SEEK_END)
    if size > limit:
        raise BadArchiveError(f"The archive has {size:,} bytes; {limit:,} are the most that are taken.")


def _require_small_metrics(folder: Path) -> None:
    """Raises DamagedFileError for a metrics file whose reading would hold up training: lists of numbers, not ours."""
    path = folder / METRICS
    if not is_plain_file(path) or path.stat().st_size <= _LARGEST_PICKLE:
        return
    with path.open("rb") as stream:
        if not metrics_file.is_log(stream.read(_PIECE)):
            raise DamagedFileError(
                path, f"has more than the {_LARGEST_PICKLE >> 20} MB that are taken of the earlier generation by upload. "
                "Copy the folder to this machine and start with --state-dir and its place."
            )  # fmt: skip


def _require_loadable(state: SavedState) -> None:
    """Raises a BadFileError where a load would, or where a step would take all time or memory of this machine."""
    config = state.config
    if _work_of(config) > _MOST_WORK:
        raise MismatchError(WEIGHTS, "one step of its configuration would take this machine too long")
    # On no thread count of its own: that is the process's, and training may go on meanwhile.
    there = replace(config, device="cpu", threads=None, seed=config.seed or 0)
    corpus = {**state.engine["corpus"], "path": None}
    build_engine(replace(state, engine={**state.engine, "corpus": corpus}), there, Corpus())


def _work_of(config: TrainingConfig) -> int:
    """Returns how many numbers the longest step of a run computes, weights aside: those are in its file."""
    neurons = config.field_update_hidden + config.syntropy_hidden + config.feedback_hidden
    samples = config.strikes_in_a_row * config.epochs * (config.synthetic_samples + 2)
    return samples * (config.field_size + 2 * neurons * config.time_steps)
