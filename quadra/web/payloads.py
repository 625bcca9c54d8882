"""What clients send, as types with their limits: the fields of every Socket.IO event and of every query of a history.

`read` and `read_query` check what came against such a type; what does not fit raises a ConfigurationError that names its
field. The OpenAPI document is generated from the same types.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct, inspect

from quadra.config import LARGEST_FIELD, LARGEST_SEED, SMALLEST_FIELD
from quadra.errors import ConfigurationError
from quadra.live.feed import MOST_POINTS
from quadra.states.alert_rules import KINDS, MOST_RULES
from quadra.training.commands import MOST_BETWEEN_SAVES
from quadra.training.view import FASTEST_PACE, SLOWEST_PACE

LARGEST_ANSWER = 20_000  # points of a history
LARGEST_ITERATION = 2**53 - 1
LONGEST_PROOF = 1_000_000  # iterations
_LONGEST_NUMBER = 19  # digits of a number in a query
_LONGEST_INTEGER = 40  # digits of a number in JSON, from which on it is refused
_LONGEST_SHOWN = 60  # characters of a bad value in a message

Iteration = Annotated[int, Meta(ge=1, le=LARGEST_ITERATION)]
P = TypeVar("P", bound=Struct)


class Payload(Struct, frozen=True):
    """The fields of an event. Unknown fields are ignored; null is the same as leaving a field out."""


class Nothing(Payload, frozen=True):
    """No field is looked at."""


class Initialize(Payload, frozen=True):
    """Of a new run."""

    field_size: Annotated[int, Meta(ge=SMALLEST_FIELD, le=LARGEST_FIELD)] | None = None
    seed: Annotated[int, Meta(ge=0, le=LARGEST_SEED)] | None = None
    corpus: Annotated[str, Meta(description="Id of a text that was uploaded, or `built-in`.")] | None = None


class StartTraining(Payload, frozen=True):
    """When training ends by itself."""

    until: Annotated[Iteration, Meta(description="Iteration after which training ends.")] | None = None


class LoadState(Payload, frozen=True):
    """Which saved state is loaded."""

    source: Annotated[str, Meta(description="Id of a saved state; left out: the newest.")] | None = None
    discard_unsaved: bool = False


class SetPace(Payload, frozen=True):
    """How fast training may go."""

    iterations_per_second: (
        Annotated[
            float,
            Meta(
                ge=SLOWEST_PACE,
                le=FASTEST_PACE,
                description="Null: no limit.",
                extra={"wanted": "a number, or null for no limit"},
            ),
        ]
        | None
    ) = None


class SetSaveEvery(Payload, frozen=True):
    """How often a run is saved."""

    iterations: Annotated[
        int,
        Meta(
            ge=0,
            le=MOST_BETWEEN_SAVES,
            description="0: no auto-save.",
            extra={"missing": "must be given: a whole number, 0 for no auto-save"},
        ),
    ]


class SaveSlot(Payload, frozen=True):
    """A name for the run as it is now."""

    name: str
    overwrite: bool = False


class StateId(Payload, frozen=True):
    """One saved state."""

    id: str


class LabelState(Payload, frozen=True):
    """What is said of a saved state; what is left out stays."""

    id: str
    name: str | None = None
    note: str | None = None
    pinned: bool | None = None


class ProveState(Payload, frozen=True):
    """A saved state that is to be proved."""

    id: str
    iterations: Annotated[int, Meta(ge=1, le=LONGEST_PROOF)] | None = None


class BackupName(Payload, frozen=True):
    """One backup."""

    name: str


class AlertRule(Struct, frozen=True):
    """A condition that sets off an alert; `threshold` is null for those that have none."""

    kind: Annotated[str, Meta(extra_json_schema={"enum": list(KINDS)})]
    threshold: float | None = None


_RULES = {"type": "array", "maxItems": MOST_RULES, "items": {"$ref": "#/components/schemas/AlertRule"}}


class SetAlerts(Payload, frozen=True):
    """The alert rules of the run on the page."""

    # Any: `states.alert_rules` reads the lists, as it reads those in its files, and says what is wrong in them.
    rules: Annotated[Any, Meta(extra_json_schema=_RULES)]
    run: Annotated[str, Meta(description="The run that they are meant for.")] | None = None
    seen: Annotated[Any, Meta(description="The rules that the change was made from.", extra_json_schema=_RULES)] = None


class WatchInside(Payload, frozen=True):
    """Whether the view of what is inside is open."""

    open: bool = False


class Range(Struct, frozen=True):
    """The iterations of a history that are asked for."""

    start: Annotated[Iteration, Meta(description="First iteration; default 1.")] = 1
    end: Annotated[int, Meta(ge=0, le=LARGEST_ITERATION, description="Last iteration; default the newest.")] | None = (
        None
    )


class Points(Range, frozen=True):
    """The same, and how far it is thinned."""

    points: Annotated[int, Meta(ge=1, le=LARGEST_ANSWER, description="Most points.")] = MOST_POINTS


def fields_of(message: tuple[Any, ...]) -> Mapping[str, Any]:
    """Returns the fields of a message, which is an object or nothing. Raises ConfigurationError."""
    given = message[0] if message else None
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ConfigurationError("payload", f"must be an object of fields, not a {type(given).__name__}")
    return given


def read(kind: type[P], given: Mapping[str, Any]) -> P:
    """Returns what was given as a payload of this kind. Raises ConfigurationError for the first field that does not fit."""
    return _checked(kind, given, _number_of_json)


def read_query(kind: type[P], arguments: Mapping[str, str]) -> P:
    """Returns the arguments of a query as this kind; an empty one is left out. Raises ConfigurationError."""
    return _checked(kind, {name: text for name, text in arguments.items() if text}, _number_of_text)


def integer_of_json(digits: str) -> float:
    """Returns a whole number of JSON; one of hundreds of digits becomes infinity, which its field refuses."""
    return int(digits) if len(digits) < _LONGEST_INTEGER else math.inf


def short_repr(value: object) -> str:
    """Returns a value as a message repeats it."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"


def _checked(kind: type[P], given: Mapping[str, Any], number_of: Callable[[Any], object]) -> P:
    values = {}
    for field in msgspec.structs.fields(kind):
        wanted, hints = _bare(inspect.type_info(field.type))
        value = given.get(field.name)
        if value is not None:
            found = number_of(value) if isinstance(wanted, inspect.IntType) else value
            if isinstance(found, float) and not math.isfinite(found):  # no number of JSON, and within no limits
                raise ConfigurationError(field.name, _refusal(wanted, hints, value))
            try:
                values[field.name] = msgspec.convert(found, field.type)
            except msgspec.ValidationError as error:
                raise ConfigurationError(field.name, _refusal(wanted, hints, value)) from error
        elif field.required:
            raise ConfigurationError(field.name, hints.get("missing", "must be given"))
    return kind(**values)


def _bare(kind: inspect.Type) -> tuple[inspect.Type, dict[str, Any]]:
    """Returns a type without null, and the hints that stand beside it."""
    if isinstance(kind, inspect.UnionType):
        (kind,) = (one for one in kind.types if not isinstance(one, inspect.NoneType))
    if isinstance(kind, inspect.Metadata):
        return kind.type, kind.extra or {}
    return kind, {}


def _number_of_json(value: object) -> object:
    """Returns 100 for 100.0: a browser's JSON has one kind of number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _number_of_text(text: str) -> object:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER else text


def _refusal(wanted: inspect.Type, hints: Mapping[str, Any], value: object) -> str:
    """Returns why a value does not fit, as a person reads it behind the field's name."""
    match wanted:
        case inspect.IntType(ge=least, le=most):
            what = f"a whole number from {least} to {most:,}"
        case inspect.FloatType(ge=least, le=most):
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
                return f"must be from {least} to {most:,.0f}"
            what = hints["wanted"]
        case inspect.BoolType():
            what = "true or false"
        case _:
            what = "text"
    return f"must be {what}, not {short_repr(value)}"
