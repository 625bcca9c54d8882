"""What the HTTP interface answers as JSON, as types: the OpenAPI document is generated from them.

Answers are built where their content is known; tests hold them to these types. An answer may have more than is named here.
The names are those of the served document: `Status` here is the answer of /api/status, not `training.view.Status`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from quadra.web.payloads import AlertRule


class ErrorDetails(Struct):
    """What went wrong: for programs and for people."""

    code: str
    message: str


class Error(Struct):
    """Every answer that is no success."""

    error: ErrorDetails


class Health(Struct):
    """Whether the server is well; whoever brings no token where one is asked for is told the status only."""

    status: Literal["healthy", "degraded"]
    initialized: bool
    running: bool
    version: str
    problems: list[Literal["saves", "backups", "training"]] | UnsetType = UNSET


class Series(Struct):
    """One value an iteration; null: not a number."""

    loss: list[float | None]
    reward: list[float | None]
    variance: list[float | None]
    mean: list[float | None]


class History(Series):
    """Lists of equal length, thinned so that every extreme stays."""

    iteration: list[int]
    total: Annotated[int, Meta(description="Iterations in the range that was asked for.")]
    thinned: bool
    run: str | None


class StateHistory(History):
    """The same of a saved state."""

    name: str


class Saved(Struct):
    """Which saved state it is."""

    id: str
    iteration_count: int
    saved_at: Annotated[str, Meta(description="ISO 8601, UTC.")]


class SavedRun(Saved):
    """The newest save of a run."""

    ended: Annotated[str, Meta(description="Stopped or cut off.")]
    field_size: int
    seed: int | None


class ListedState(SavedRun):
    """A saved state with what is said of it and why it is kept."""

    run: str
    loss: float | None
    reward: float | None
    parent: Annotated[str | None, Meta(description="The state that its run went on from.")]
    save_number: Annotated[
        int,
        Meta(
            description="Of the save within the folder, by which states are ordered; 0: made before saves were numbered."
        ),
    ]
    size: Annotated[int, Meta(description="Bytes.")]
    kinds: list[str]
    name: str
    note: str
    pinned: bool
    deleted_at: str | None
    kept: str


class Retention(Struct):
    """What restore points may take, and how the best state is found."""

    budget: Annotated[int, Meta(description="Bytes.")]
    best_window: Annotated[int, Meta(description="Iterations.")]


class States(Struct):
    """Every saved state, and how many are kept."""

    states: list[ListedState]
    kept: Retention


class Status(Struct):
    """The system as it is now."""

    state: Literal["uninitialized", "ready", "training"]
    initialized: bool
    running: bool
    iteration_count: int
    current_metrics: Annotated[dict[str, Any] | None, Meta(description="Null: no iteration yet.")]
    history: Annotated[Series, Meta(description="The newest fifty iterations.")]
    field_size: int
    seed: int | None
    pace: Annotated[float | None, Meta(description="Iterations a second; null: no limit.")]
    saved: Annotated[Saved | None, Meta(description="What Load takes by default.")]
    saved_states: list[SavedRun]
    role: Literal["operator", "watcher"]
    version: str


class Alert(Struct):
    """An alert rule whose condition has begun."""

    id: str
    rule: AlertRule
    run: str | None
    iteration: int
    value: float | None
    times: Annotated[int, Meta(description="That it began since the last alert of this rule.")]
    message: str
    at: Annotated[str, Meta(description="ISO 8601, UTC.")]


class Alerts(Struct):
    """The alert rules of the run on the page, and the newest alerts."""

    run: str | None
    rules: list[AlertRule]
    fired: list[Alert]


class LogLine(Struct):
    """A line of the terminal; lines that repeat are one."""

    start: str
    number: int
    at: Annotated[str, Meta(description="ISO 8601, UTC.")]
    type: Literal["info", "success", "warning", "error"]
    text: str
    count: int
    since: str


class Log(Struct):
    """The newest lines of the terminal; `start` names the server's start."""

    start: str
    lines: list[LogLine]


class Timeline(Struct):
    """What lies along the curve of the run on the page."""

    run: str | None
    saves: list[int]
    named: list[dict[str, Any]]
    branches: list[dict[str, Any]]
    loaded_at: list[int]
    struck_at: list[int]


class Text(Struct):
    """A text that was kept; `id` is what `initialize_system` takes as `corpus`."""

    id: str
    name: str
    lines: int
    bytes: int
    cut: Annotated[int, Meta(description="Lines that were longer than is read of one.")]


class Imported(Struct):
    """A saved state that was taken from elsewhere."""

    id: str
    skipped: list[str]
    warnings: list[str]


class Comparison(Struct):
    """Saved states beside each other."""

    ids: list[str]


RESPONSES = (Error, Health, Status, History, StateHistory, Alerts, Log, Timeline, Text, States, Imported, Comparison)
