"""The commands that show saved states, beside a live server too: they hold and change nothing.

Each command takes the parsed options and returns the exit code; raises a QuadraError or OSError.
"""

from __future__ import annotations

import argparse
import hashlib
import textwrap
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quadra.cli.output import (
    NOTHING,
    aligned,
    complain,
    display_width,
    figure,
    printable,
    say,
    say_json,
    say_raw,
    size_of,
    terminal_width,
    truncated,
)
from quadra.config import TrainingConfig
from quadra.errors import BadFileError, ConfigurationError, UnknownSourceError
from quadra.reports.history_export import csv_pieces, file_name, json_pieces
from quadra.reports.reproduction import changed_settings
from quadra.states.listing import ListedState, StateListing
from quadra.states.lookup import find_state
from quadra.storage.catalog import Catalog, read_catalog
from quadra.storage.files.durable import read_file, replace_file
from quadra.storage.layout import StateLayout

if TYPE_CHECKING:
    from quadra.storage.saved_state import SavedState

FAILED = 1  # exit code where a saved state did not pass its verification
STATE_FILES = (".pth", ".pkl")
_HEADER = ("ID", "KIND", "ITERATION", "SAVED (UTC)", "LOSS", "REWARD", "SIZE", "NAME, NOTE")
_RIGHT = (2, 4, 5, 6)  # columns of numbers
_LEAST = 12  # columns that names and notes need, for a table


def require_states(folder: Path) -> StateLayout:
    """Returns the layout of a folder that has, or had, saved states in it. Raises UnknownSourceError."""
    layout = _require_folder(folder)
    catalog = read_catalog(layout, with_deleted=True)
    if not (catalog.copies or catalog.unreadable or layout.slot_folders()):
        raise UnknownSourceError(f"There is no saved state in {folder}. Name another folder by --state-dir.")
    return layout


def _require_folder(folder: Path) -> StateLayout:
    if not folder.is_dir():
        raise UnknownSourceError(f"There is no folder {folder}. Name the one with the saved states by --state-dir.")
    return StateLayout(folder)


def look_up(options: argparse.Namespace, text: str) -> tuple[StateLayout, ListedState]:
    """Returns the state that somebody means. Raises UnknownSourceError, RefusedError or a BadFileError."""
    layout = require_states(options.state_dir)
    return layout, find_state(StateListing(layout).entries(), text)


def require_outside(output: Path, folder: Path) -> Path:
    """Returns a path that cannot be a file of a saved state. Raises ConfigurationError."""
    inside = output.resolve().is_relative_to(folder.resolve())
    if output.suffix in STATE_FILES or (inside and folder.is_dir()):
        raise ConfigurationError("--output", f"{output} may be a saved state's own file. Choose another place or name.")
    return output


# --- list


def list_states(options: argparse.Namespace) -> int:
    """Prints all states, newest first; with --deleted those that wait to be removed."""
    layout = _require_folder(options.state_dir)
    entries = [
        entry for entry in StateListing(layout).entries() if options.deleted == (entry.label.deleted_at is not None)
    ]
    catalog = read_catalog(layout)
    default = catalog.default.id if catalog.default else None
    if options.json:
        say_json({"states": [entry.as_dict() for entry in entries], "default": default})
    else:
        say(*_listed(entries, terminal_width()))
        if default is not None and not options.deleted:
            say("", f"Load takes {default} by default.")
    _complain_of_unreadable(catalog)
    return 0


def _complain_of_unreadable(catalog: Catalog) -> None:
    count = len(catalog.unreadable)
    if count:
        files = "1 file of a saved state" if count == 1 else f"{count} files of saved states"
        complain(f"{files} cannot be read and is not listed; `python -m quadra check` says why.")


def _listed(entries: Sequence[ListedState], columns: int | None) -> list[str]:
    """Returns a table where it fits on the terminal, or its width is unknown; else a few lines for each state."""
    if not entries:
        return ["There is none."]
    rows = [_cells(entry) for entry in entries]
    lines = aligned([_HEADER[:-1], *(row[:-1] for row in rows)], _RIGHT)
    fixed = max(map(display_width, lines)) + 2
    if columns is None:
        return aligned([_HEADER, *rows], _RIGHT)
    if columns - fixed >= _LEAST:
        return aligned([_HEADER, *((*row[:-1], truncated(row[-1], columns - fixed)) for row in rows)], _RIGHT)
    return [line for row in rows for line in _block(row, columns)]


def _cells(entry: ListedState) -> tuple[str, ...]:
    return (
        entry.id, "+".join(entry.kinds), str(entry.iteration_count), _time_text(entry.saved_at), figure(entry.loss),
        figure(entry.reward), size_of(entry.size), _said(entry),
    )  # fmt: skip


def _said(entry: ListedState) -> str:
    label = entry.label
    deleted = f"deleted {_time_text(label.deleted_at)}" if label.deleted_at else ""
    parts = (printable(label.name), "pinned" if label.pinned else "", deleted, printable(label.note))
    return "; ".join(part for part in parts if part)


def _block(row: Sequence[str], columns: int) -> list[str]:
    state, kind, iteration, moment, loss, reward, size, said = row
    summary = f"{kind}, iteration {iteration}, {moment}, loss {loss}, reward {reward}, {size}"
    texts = [summary, said] if said else [summary]
    wide = max(columns, _LEAST)
    return [
        state,
        *(line for text in texts for line in textwrap.wrap(text, wide, initial_indent="  ", subsequent_indent="  ")),
    ]


def _time_text(text: str) -> str:
    """Returns a record's time, to the second."""
    return text[:19].replace("T", " ")


# --- show


def show(options: argparse.Namespace) -> int:
    """Prints all details of one state, which is read and verified for that. Returns the exit code."""
    from quadra.states.read_only import read_state

    layout, entry = look_up(options, options.state)
    known = {**entry.as_dict(), "title": StateListing(layout).title(entry), "file": str(entry.file)}
    try:
        _, saved = read_state(layout, entry.id, TrainingConfig())
        details = {**known, **_content(entry, saved), "verification": _verification(entry, saved)}
    except BadFileError as error:
        details = {**known, "verification": {"whole": False, "error": str(error), "code": error.code}}
    if options.json:
        say_json(details)
    else:
        say(*_described(details))
    return 0 if details["verification"]["whole"] else FAILED


def _content(entry: ListedState, saved: SavedState) -> dict[str, Any]:
    from quadra.reports.saved_values import saved_values_of

    values = saved_values_of(saved)
    configuration = {**saved.config.as_dict(), "seed": entry.seed}
    return {
        "corpus": values.corpus,
        "corpus_fingerprint": values.fingerprint,
        "plasticity": values.plasticity,
        "integrity_strikes": values.integrity_strikes,
        "q_table_size": len(values.q_table),
        "configuration": configuration,
        "not_default": sorted(
            ({"seed"} if entry.seed is not None else set()) | (set(changed_settings(saved.config)) - {"seed"})
        ),
    }


def _verification(entry: ListedState, saved: SavedState) -> dict[str, Any]:
    """Returns the outcome of the verification; `whole`: every number of the state is what its record says; a file beside it may
    still be damaged."""
    return {
        "whole": True,
        "sealed": entry.seed is not None,  # the earlier generation had no checksums
        "weights_sha256": hashlib.sha256(read_file(entry.file)).hexdigest(),
        "warnings": list(saved.warnings),
    }


def _described(details: dict[str, Any]) -> list[str]:
    pairs = [
        ("state", details["id"]), ("called", printable(details["title"])),
        ("kind", ", ".join(details["kinds"])), ("kept", details["kept"]),
        *((("note", printable(details["note"])),) if details["note"] else ()),
        ("run", details["run"]), ("iteration", str(details["iteration_count"])),
        ("saved", f"{_time_text(details['saved_at'])} UTC"),
        ("ended", details["ended"]), ("went on from", details["parent"] or NOTHING),
        ("loss", figure(details["loss"], 9)), ("reward", figure(details["reward"], 9)),
        ("field size", str(details["field_size"])), ("seed", NOTHING if details["seed"] is None else str(details["seed"])),
        ("size", size_of(details["size"])), ("file", printable(details["file"])),
    ]  # fmt: skip
    if "configuration" in details:
        pairs += [
            ("corpus", printable(details["corpus"] or "built-in")),
            ("plasticity", figure(details["plasticity"], 6)),
            ("Q-table", f"{details['q_table_size']} states"),
        ]
    return [*aligned(pairs), *_verified(details["verification"]), *_settings(details)]


def _verified(verification: dict[str, Any]) -> list[str]:
    if not verification["whole"]:
        return ["", f"NOT WHOLE: {printable(verification['error'])}."]
    sealed = "every checksum fits" if verification["sealed"] else "of the earlier generation, which had no checksums"
    lines = ["", f"Whole: {sealed}. SHA-256 of its weights file:", f"  {verification['weights_sha256']}"]
    return [*lines, *(f"  {printable(warning)}" for warning in verification["warnings"])]


def _settings(details: dict[str, Any]) -> list[str]:
    if "configuration" not in details:
        return []
    rows = [
        ("*" if name in details["not_default"] else " ", name, printable(NOTHING if value is None else str(value)))
        for name, value in details["configuration"].items()
    ]
    return ["", "Configuration (*: not the default)", *aligned(rows)]


# --- report and history


def write_report(options: argparse.Namespace) -> int:
    """Writes one HTML file that opens offline."""
    from quadra.reports.html_report import report
    from quadra.states.read_only import read_state

    layout, entry = look_up(options, options.state)
    output = options.output or Path(file_name(entry.run, entry.iteration_count, "html"))
    require_outside(output, options.state_dir)
    _, saved = read_state(layout, entry.id, TrainingConfig())
    page = report(saved, StateListing(layout).title(entry), datetime.now(UTC), entry.label.note)
    return write_output(output, [page.encode()])


def write_history(options: argparse.Namespace) -> int:
    """Writes every iteration of a state to a file, or prints it for another program."""
    from quadra.states.read_only import read_state

    if options.output is not None:
        require_outside(options.output, options.state_dir)
    layout, entry = look_up(options, options.state)
    _, saved = read_state(layout, entry.id, TrainingConfig())
    metadata = {
        "name": StateListing(layout).title(entry),
        "run": entry.run,
        "seed": entry.seed,
        "iterations": len(saved.rows),
        "saved_at": entry.saved_at,
    }
    pieces = csv_pieces(saved.rows) if options.csv else json_pieces(saved.rows, metadata)
    if options.output is not None:
        return write_output(options.output, (piece.encode() for piece in pieces))
    say_raw(pieces)
    return 0


def write_output(output: Path, pieces: Iterable[bytes]) -> int:
    """Writes a file, whole or not at all, and prints its path. Returns the exit code."""
    replace_file(output, pieces)
    say(f"Written: {output}")
    return 0
