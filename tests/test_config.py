"""TrainingConfig: a value that is not possible is refused by name, and a saved configuration comes back."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadra.config import LARGEST_FIELD, LARGEST_SEED, TrainingConfig
from quadra.errors import ConfigurationError

BAD_VALUES = [
    ("field_size", 1),
    ("field_size", LARGEST_FIELD + 1),
    ("field_size", 10.0),
    ("field_size", True),
    ("field_size", "100"),
    ("field_size", None),
    ("seed", -1),
    ("seed", LARGEST_SEED + 1),
    ("seed", 1.5),
    ("threads", 0),
    ("threads", 1025),
    ("time_steps", 0),
    ("epochs", 0),
    ("field_update_hidden", 0),
    ("syntropy_hidden", 10_001),
    ("feedback_hidden", "48"),
    ("patterns", 0),
    ("strikes_in_a_row", 0),
    ("synthetic_samples", -1),
    ("learning_rate", float("nan")),
    ("learning_rate", "fast"),
    ("learning_rate", None),
    ("exploration", float("inf")),
    ("syntropy_decays", (0.9, float("nan"))),
    ("syntropy_decays", ("slow",)),
    ("syntropy_decays", 0.9),
    ("device", "tpu"),
    ("device", ""),
    ("device", 0),
    ("corpus", 5),
]


@pytest.mark.parametrize(("name", "value"), BAD_VALUES)
def test_a_value_that_is_not_possible_is_refused_by_its_name(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError) as refused:
        TrainingConfig(**{name: value})  # type: ignore[arg-type]
    assert refused.value.field == name
    assert refused.value.message.startswith(name)


@pytest.mark.parametrize(("name", "value"), BAD_VALUES)
def test_a_saved_value_that_is_not_possible_is_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError):
        TrainingConfig.from_dict({name: value})


@pytest.mark.parametrize("values", [None, 5, ["field_size"]])
def test_a_saved_configuration_that_is_no_mapping_is_refused(values: Any) -> None:
    with pytest.raises(ConfigurationError):
        TrainingConfig.from_dict(values)


def test_the_extremes_of_each_range_are_possible() -> None:
    extremes: list[tuple[str, Any]] = [
        ("field_size", 2),
        ("field_size", LARGEST_FIELD),
        ("seed", 0),
        ("seed", LARGEST_SEED),
    ]
    for name, value in extremes:
        assert getattr(TrainingConfig(**{name: value}), name) == value


def test_a_setting_that_is_not_known_is_refused_by_its_name() -> None:
    with pytest.raises(ConfigurationError) as refused:
        TrainingConfig.from_dict({"field_size": 10, "warp": 9})
    assert refused.value.field == "warp"


def test_a_setting_that_an_older_save_lacks_has_its_default() -> None:
    assert TrainingConfig.from_dict({"field_size": 10}) == TrainingConfig(field_size=10)


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        TrainingConfig().field_size = 5  # type: ignore[misc]


@given(
    field_size=st.integers(2, LARGEST_FIELD),
    seed=st.none() | st.integers(0, LARGEST_SEED),
    corpus=st.none() | st.text(),
    learning_rate=st.floats(0, 1),
    syntropy_decays=st.lists(st.floats(0, 1), min_size=1, max_size=5).map(tuple),
)
def test_a_configuration_comes_back_from_its_dictionary(**values: Any) -> None:
    config = TrainingConfig(**values)
    assert TrainingConfig.from_dict(config.as_dict()) == config


def test_the_dictionary_holds_every_setting_as_builtins_only() -> None:
    config = TrainingConfig(learning_rate=np.float64(0.5), exploration=1)
    values = config.as_dict()
    assert set(values) == {field.name for field in fields(TrainingConfig)}
    assert json.loads(json.dumps(values)) == values
    plain = (int, float, str, bool, list, type(None))
    assert all(type(value) in plain for value in values.values()), values["learning_rate"]
