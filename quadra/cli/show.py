"""What the command line shows of saved states, beside a live server too: nothing is held and nothing is changed.

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
    cut,
    figure,
    room,
    say,
    say_json,
    say_raw,
    shown,
    size_of,
    width,
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
    """The layout of a folder that has, or had, saved states in it. Raises UnknownSourceError."""
    layout = _layout(folder)
    catalog = read_catalog(layout, with_deleted=True)
    if not (catalog.copies or catalog.unreadable or layout.slot_folders()):
        raise UnknownSourceError(f"There is no saved state in {folder}. Name another folder by --state-dir.")
    return layout


def _layout(folder: Path) -> StateLayout:
    if not folder.is_dir():
        raise UnknownSourceError(f"There is no folder {folder}. Name the one with the saved states by --state-dir.")
    return StateLayout(folder)


def look_up(options: argparse.Namespace, text: str) -> tuple[StateLayout, ListedState]:
    """The state that somebody means. Raises UnknownSourceError, RefusedError or a BadFileError."""
    layout = require_states(options.state_dir)
    return layout, find_state(StateListing(layout).entries(), text)


def require_outside(output: Path, folder: Path) -> Path:
    """A path that no file of a saved state has. Raises ConfigurationError."""
    inside = output.resolve().is_relative_to(folder.resolve())
    if output.suffix in STATE_FILES or (inside and folder.is_dir()):
        raise ConfigurationError("--output", f"{output} may be a saved state's own file. Choose another place or name.")
    return output


# --- list


def list_states(options: argparse.Namespace) -> int:
    """All that are kept, newest first; those that wait to be removed where they are asked for."""
    layout = _layout(options.state_dir)
    entries = [
        entry for entry in StateListing(layout).entries() if options.deleted == (entry.label.deleted_at is not None)
    ]
    catalog = read_catalog(layout)
    default = catalog.default.id if catalog.default else None
    if options.json:
        say_json({"states": [entry.as_dict() for entry in entries], "default": default})
    else:
        say(*_listed(entries, room()))
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
    """A table where the terminal has room for it, or nothing says how much it has; else a few lines for each state."""
    if not entries:
        return ["There is none."]
    rows = [_cells(entry) for entry in entries]
    lines = aligned([_HEADER[:-1], *(row[:-1] for row in rows)], _RIGHT)
    fixed = max(map(width, lines)) + 2
    if columns is None:
        return aligned([_HEADER, *rows], _RIGHT)
    if columns - fixed >= _LEAST:
        return aligned([_HEADER, *((*row[:-1], cut(row[-1], columns - fixed)) for row in rows)], _RIGHT)
    return [line for row in rows for line in _block(row, columns)]


def _cells(entry: ListedState) -> tuple[str, ...]:
    return (
        entry.id, "+".join(entry.kinds), str(entry.iteration_count), _moment(entry.saved_at), figure(entry.loss),
        figure(entry.reward), size_of(entry.size), _said(entry),
    )  # fmt: skip


def _said(entry: ListedState) -> str:
    label = entry.label
    deleted = f"deleted {_moment(label.deleted_at)}" if label.deleted_at else ""
    parts = (shown(label.name), "pinned" if label.pinned else "", deleted, shown(label.note))
    return "; ".join(part for part in parts if part)


def _block(row: Sequence[str], columns: int) -> list[str]:
    state, kind, iteration, moment, loss, reward, size, said = row
    told = f"{kind}, iteration {iteration}, {moment}, loss {loss}, reward {reward}, {size}"
    texts = [told, said] if said else [told]
    wide = max(columns, _LEAST)
    return [
        state,
        *(line for text in texts for line in textwrap.wrap(text, wide, initial_indent="  ", subsequent_indent="  ")),
    ]


def _moment(text: str) -> str:
    """A record's time, to the second."""
    return text[:19].replace("T", " ")


# --- show


def show(options: argparse.Namespace) -> int:
    """Everything of one state, which is read and verified for it."""
    from quadra.states.read_only import read_state

    layout, entry = look_up(options, options.state)
    known = {**entry.as_dict(), "title": StateListing(layout).title(entry), "file": str(entry.file)}
    try:
        _, saved = read_state(layout, entry.id, TrainingConfig())
        told = {**known, **_content(entry, saved), "verification": _verification(entry, saved)}
    except BadFileError as error:
        told = {**known, "verification": {"whole": False, "error": str(error), "code": error.code}}
    if options.json:
        say_json(told)
    else:
        say(*_described(told))
    return 0 if told["verification"]["whole"] else FAILED


def _content(entry: ListedState, saved: SavedState) -> dict[str, Any]:
    from quadra.reports.saved_values import saved_values_of

    facts = saved_values_of(saved)
    configuration = {**saved.config.as_dict(), "seed": entry.seed}
    return {
        "corpus": facts.corpus,
        "corpus_fingerprint": facts.fingerprint,
        "plasticity": facts.plasticity,
        "integrity_strikes": facts.integrity_strikes,
        "q_table_size": len(facts.q_table),
        "configuration": configuration,
        "not_default": sorted(
            ({"seed"} if entry.seed is not None else set()) | (set(changed_settings(saved.config)) - {"seed"})
        ),
    }


def _verification(entry: ListedState, saved: SavedState) -> dict[str, Any]:
    """`whole`: every number of the state is there and what its record says; a file beside it may still be damaged."""
    return {
        "whole": True,
        "sealed": entry.seed is not None,  # the earlier generation had no checksums
        "weights_sha256": hashlib.sha256(read_file(entry.file)).hexdigest(),
        "warnings": list(saved.warnings),
    }


def _described(told: dict[str, Any]) -> list[str]:
    pairs = [
        ("state", told["id"]), ("called", shown(told["title"])), ("kind", ", ".join(told["kinds"])), ("kept", told["kept"]),
        *((("note", shown(told["note"])),) if told["note"] else ()),
        ("run", told["run"]), ("iteration", str(told["iteration_count"])), ("saved", f"{_moment(told['saved_at'])} UTC"),
        ("ended", told["ended"]), ("went on from", told["parent"] or NOTHING),
        ("loss", figure(told["loss"], 9)), ("reward", figure(told["reward"], 9)),
        ("field size", str(told["field_size"])), ("seed", NOTHING if told["seed"] is None else str(told["seed"])),
        ("size", size_of(told["size"])), ("file", shown(told["file"])),
    ]  # fmt: skip
    if "configuration" in told:
        pairs += [
            ("corpus", shown(told["corpus"] or "built-in")),
            ("plasticity", figure(told["plasticity"], 6)),
            ("Q-table", f"{told['q_table_size']} states"),
        ]
    return [*aligned(pairs), *_verified(told["verification"]), *_settings(told)]


def _verified(verification: dict[str, Any]) -> list[str]:
    if not verification["whole"]:
        return ["", f"NOT WHOLE: {shown(verification['error'])}."]
    sealed = "every checksum fits" if verification["sealed"] else "of the earlier generation, which had no checksums"
    told = ["", f"Whole: {sealed}. SHA-256 of its weights file:", f"  {verification['weights_sha256']}"]
    return [*told, *(f"  {shown(warning)}" for warning in verification["warnings"])]


def _settings(told: dict[str, Any]) -> list[str]:
    if "configuration" not in told:
        return []
    rows = [
        ("*" if name in told["not_default"] else " ", name, shown(NOTHING if value is None else str(value)))
        for name, value in told["configuration"].items()
    ]
    return ["", "Configuration (*: not the default)", *aligned(rows)]


# --- report and history


def write_report(options: argparse.Namespace) -> int:
    """One HTML file that opens offline."""
    from quadra.reports.html_report import report
    from quadra.states.read_only import read_state

    layout, entry = look_up(options, options.state)
    output = options.output or Path(file_name(entry.run, entry.iteration_count, "html"))
    require_outside(output, options.state_dir)
    _, saved = read_state(layout, entry.id, TrainingConfig())
    page = report(saved, StateListing(layout).title(entry), datetime.now(UTC), entry.label.note)
    return written(output, [page.encode()])


def write_history(options: argparse.Namespace) -> int:
    """Every iteration of a state, as a file or for the program that reads on."""
    from quadra.states.read_only import read_state

    if options.output is not None:
        require_outside(options.output, options.state_dir)
    layout, entry = look_up(options, options.state)
    _, saved = read_state(layout, entry.id, TrainingConfig())
    facts = {
        "name": StateListing(layout).title(entry),
        "run": entry.run,
        "seed": entry.seed,
        "iterations": len(saved.rows),
    }
    facts |= {"saved_at": entry.saved_at}
    pieces = csv_pieces(saved.rows) if options.csv else json_pieces(saved.rows, facts)
    if options.output is not None:
        return written(options.output, (piece.encode() for piece in pieces))
    say_raw(pieces)
    return 0


def written(output: Path, pieces: Iterable[bytes]) -> int:
    """Write a file, whole or not at all, and say so."""
    replace_file(output, pieces)
    say(f"Written: {output}")
    return 0
