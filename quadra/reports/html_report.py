"""The report of a saved state: one HTML file, to keep, to send and to print.

The file needs nothing else: no script, no other file, no network, and its own policy forbids all of them.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray

from quadra.config import TrainingConfig
from quadra.errors import LoadError
from quadra.model.corpus import BUILT_IN_NAME
from quadra.model.history import SERIES, checksum_of
from quadra.paths import STATIC, TEMPLATES
from quadra.reports.environment import machine, versions
from quadra.reports.line_chart import BUCKETS, SMOOTH_FROM, LineStyle, line_chart, window_of
from quadra.reports.reproduction import CHECKSUM, PROVE, reproduction
from quadra.reports.saved_values import SavedValues, saved_values_of
from quadra.reports.tables import counted, figure, q_table_view, settings_table, statistics_table, whole
from quadra.states.read_only import retrying
from quadra.storage.save_record import SaveRecord
from quadra.storage.saved_state import NotSealedError, SavedState, read

LINE_STYLES = {
    "loss": LineStyle("Loss", "#0072b2", from_zero=True),
    "reward": LineStyle("Reward", "#00805c", from_zero=False),
    "variance": LineStyle("Field variance", "#b35c00", from_zero=True),
    "mean": LineStyle("Field mean", "#a8457f", from_zero=False),
}


def report(state: SavedState, name: str, written_at: datetime, note: str = "") -> str:
    """Returns the HTML document, to be written as UTF-8; `name` and `note` are free text that people gave the state.

    A character that UTF-8 cannot hold (a path may have one) becomes an escape. Raises LoadError for a state that does not
    hold what belongs in it.
    """
    values = saved_values_of(state)
    page = _environment().get_template("report.html").render(
        name=name.strip() or "Saved state",
        policy=policy(state.record),
        style=_style(state.record),
        note=note.strip(),
        written_at=_moment(written_at),
        record=state.record,
        config=state.config,
        values=values,
        warnings=state.warnings,
        **_identity(state, values),
        **_curves(state.rows),
        statistics=statistics_table(state.rows),
        q_table=q_table_view(values.q_table),
        settings=settings_table(state.config),
        **_instructions(state, values),
        versions=versions(),
        machine=machine(),
    )  # fmt: skip
    return page.encode("utf-8", "backslashreplace").decode("utf-8")


def policy(record: SaveRecord) -> str:
    """Returns the Content-Security-Policy of a state's report: nothing but its own style and the pictures in it."""
    digest = base64.b64encode(hashlib.sha256(_style(record).encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:"


def _style(record: SaveRecord) -> str:
    """Returns the content of the report's style element; on paper every page names the state."""
    return "\n" + _environment().get_template("report.css").render(record=record)


def read_newest(folder: Path) -> SavedState:
    """Returns the newest save in a state directory. Raises LoadError or a BadFileError."""
    if not folder.is_dir():
        raise LoadError("this is not a folder.")
    try:
        return retrying(lambda: read(folder))
    except NotSealedError as error:
        raise LoadError(
            "this state is of the earlier generation of the dashboard. Load it in the dashboard, which saves it anew."
        ) from error


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = figure
    environment.filters["whole"] = whole
    environment.filters["counted"] = counted
    environment.globals["icon"] = "data:image/svg+xml," + quote((STATIC / "favicon.svg").read_bytes())
    return environment


def _identity(state: SavedState, values: SavedValues) -> dict[str, Any]:
    return {
        "iterations": len(state.rows),
        "saved_at": _moment_of(state.record.saved_at),
        "corpus": BUILT_IN_NAME if values.corpus is None else values.corpus,
        "samples": state.config.synthetic_samples + 2,
        "history_fits": checksum_of(state.rows) == state.record.history_sha256,
    }


def _instructions(state: SavedState, values: SavedValues) -> dict[str, Any]:
    """Returns how to make the run again.

    A run that began in the legacy format has fewer Adam steps than its iterations need: its optimizer started fresh when it
    was converted, and no seed leads to what it was before.
    """
    steps = state.config.epochs * state.record.iteration_count
    return {
        "all_steps": steps,
        "reproduction": (
            reproduction(_seeded(state), values.corpus, state.record.iteration_count)
            if values.adam_steps == steps
            else None
        ),
        "checksum": CHECKSUM,
        "prove": PROVE,
    }


def _seeded(state: SavedState) -> TrainingConfig:
    return state.config if state.config.seed is not None else replace(state.config, seed=state.record.seed)


def _curves(rows: NDArray[np.float32]) -> dict[str, Any]:
    count = len(rows)
    return {
        "labels": [LINE_STYLES[name].label for name in SERIES],
        "charts": [line_chart(rows[:, column], LINE_STYLES[name]) for column, name in enumerate(SERIES)]
        if count
        else [],
        "window": window_of(count) if count >= SMOOTH_FROM else None,
        "is_thinned": count > 4 * BUCKETS,
    }


def _moment_of(text: str) -> str:
    """Returns a record's time for people; text that is no time stays as it is."""
    try:
        moment = datetime.fromisoformat(text)
        return _moment(moment) if moment.tzinfo else text
    except (ValueError, OverflowError):
        return text


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
