"""What clients send is checked by its type, and what does not fit is said by its field's name in a sentence for people."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from quadra.errors import ConfigurationError
from quadra.training.view import FASTEST_PACE, SLOWEST_PACE
from quadra.web.payloads import (
    BackupName,
    Initialize,
    LabelState,
    LoadState,
    Payload,
    Points,
    Range,
    SetAlerts,
    SetPace,
    SetSaveEvery,
    fields_of,
    integer_of_json,
    read,
    read_query,
)

HUNDRED_DIGITS = "9" * 100


def refused(kind: type[Payload], given: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(kind, fields_of((given,)))
    return caught.value.message


def test_what_is_left_out_or_null_gets_its_default_and_unknown_fields_are_ignored() -> None:
    assert read(Initialize, {}) == Initialize(None, None, None)
    assert read(Initialize, {"seed": None, "unknown": [1]}) == Initialize()
    assert read(LoadState, {"discard_unsaved": None}) == LoadState(None, False)
    assert fields_of(()) == fields_of((None,)) == {}


def test_a_whole_number_may_come_as_a_float() -> None:
    given = read(Initialize, {"field_size": 100.0, "seed": 7.0})
    assert given == Initialize(100, 7)
    assert isinstance(given.field_size, int)
    pace = read(SetPace, {"iterations_per_second": 5}).iterations_per_second
    assert isinstance(pace, float)


@pytest.mark.parametrize(
    ("kind", "given", "sentence"),
    [
        (Initialize, {"field_size": "many"}, "field_size must be a whole number from 2 to 1,000,000, not 'many'"),
        (Initialize, {"field_size": 1}, "field_size must be a whole number from 2 to 1,000,000, not 1"),
        (Initialize, {"field_size": 2.5}, "field_size must be a whole number from 2 to 1,000,000, not 2.5"),
        (Initialize, {"field_size": True}, "field_size must be a whole number from 2 to 1,000,000, not True"),
        (Initialize, {"seed": 10**38}, f"seed must be a whole number from 0 to {2**53 - 1:,}, not 1{'0' * 38}"),
        (Initialize, {"seed": math.nan}, f"seed must be a whole number from 0 to {2**53 - 1:,}, not nan"),
        (Initialize, {"corpus": 7}, "corpus must be text, not 7"),
        (LoadState, {"discard_unsaved": 1}, "discard_unsaved must be true or false, not 1"),
        (SetPace, {"iterations_per_second": "fast"}, "iterations_per_second must be a number, or null for no limit, not 'fast'"),
        (SetPace, {"iterations_per_second": True}, "iterations_per_second must be a number, or null for no limit, not True"),
        (SetPace, {"iterations_per_second": math.inf}, "iterations_per_second must be a number, or null for no limit, not inf"),
        (SetPace, {"iterations_per_second": 0}, "iterations_per_second must be from 0.01 to 1,000,000"),
        (SetPace, {"iterations_per_second": 10**39}, "iterations_per_second must be from 0.01 to 1,000,000"),
        (SetSaveEvery, {}, "iterations must be given: a whole number, 0 for no auto-save"),
        (SetSaveEvery, {"iterations": "5"}, "iterations must be a whole number from 0 to 1,000,000,000, not '5'"),
        (LabelState, {"name": "x"}, "id must be given"),
        (LabelState, {"id": "x", "pinned": "yes"}, "pinned must be true or false, not 'yes'"),
        (BackupName, {"name": None}, "name must be given"),
        (SetAlerts, {"run": "x"}, "rules must be given"),
        (Initialize, {"corpus": ["x" * 99]}, f"corpus must be text, not ['{'x' * 58}…"),
        (Initialize, [1, 2], "payload must be an object of fields, not a list"),
        (Initialize, "text", "payload must be an object of fields, not a str"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_by_its_fields_name(kind: type[Payload], given: Any, sentence: str) -> None:
    assert refused(kind, given) == sentence


def test_a_number_of_a_hundred_digits_is_refused_by_its_fields_name() -> None:
    given = json.loads(f'{{"field_size": {HUNDRED_DIGITS}}}', parse_int=integer_of_json)
    assert refused(Initialize, given) == "field_size must be a whole number from 2 to 1,000,000, not inf"
    given = json.loads(f'{{"iterations_per_second": -{HUNDRED_DIGITS}}}', parse_int=integer_of_json)
    assert refused(SetPace, given).startswith("iterations_per_second must be a number, or null for no limit, not ")


@pytest.mark.parametrize("pace", [SLOWEST_PACE, FASTEST_PACE, 1, 2.5])
def test_every_pace_between_the_slowest_and_the_fastest_is_taken(pace: float) -> None:
    assert read(SetPace, {"iterations_per_second": pace}) == SetPace(float(pace))


def test_a_query_gives_numbers_and_what_is_empty_is_left_out() -> None:
    assert read_query(Range, {}) == Range(1, None)
    assert read_query(Points, {"start": "", "end": "0", "points": "5", "more": "x"}) == Points(1, 0, 5)


@pytest.mark.parametrize(
    ("name", "text"),
    [("start", "x"), ("start", "0"), ("start", "1e3"), ("start", "1.0"), ("start", " 1"), ("start", "٣"), ("end", "-1"),
     ("points", "20001"), ("points", HUNDRED_DIGITS), ("points", "true")],
)  # fmt: skip
def test_what_is_no_number_of_a_query_is_repeated_as_it_was_sent(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_query(Points, {name: text})
    shown = repr(text) if len(text) < 60 else repr(text)[:60] + "…"
    assert caught.value.message.startswith(f"{name} must be a whole number from ")
    assert caught.value.message.endswith(f", not {shown}")
