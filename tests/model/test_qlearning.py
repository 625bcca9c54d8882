"""The Q-table: state keys, choice, update, undo."""

from __future__ import annotations

import numpy as np
import pytest

from quadra.config import ACTIONS, TrainingConfig
from quadra.model.qlearning import QTable, in_order, state_key
from tests.helpers.model_helpers import differences


def table(exploration: float = 0.1, seed: int = 1) -> QTable:
    return QTable(TrainingConfig(exploration=exploration), np.random.SeedSequence(seed))


def values_of(q_table: QTable, state: str) -> list[float]:
    return list(q_table.state_dict()["table"][state].values())


@pytest.mark.parametrize(
    ("mean", "key"),
    [
        (0.5, "0.5"),
        (0.4949, "0.49"),
        (0.496, "0.5"),
        (0.004, "0.0"),
        (-0.004, "0.0"),
        (-0.0, "0.0"),
        (-0.126, "-0.13"),
        (1.0, "1.0"),
        (12.345678, "12.35"),
    ],
)
def test_a_state_is_the_mean_to_two_decimals(mean: float, key: str) -> None:
    assert state_key(mean) == key


def test_an_update_moves_a_tenth_of_the_error() -> None:
    q_table = table()
    q_table.update("0.5", 0, 1.0, "0.4")
    assert values_of(q_table, "0.5") == pytest.approx([0.1, 0.0, 0.0])  # 0.1 * (1 + 0.9 * 0 - 0)
    q_table.update("0.4", 1, 0.5, "0.5")
    assert values_of(q_table, "0.4") == pytest.approx([0.0, 0.059, 0.0])  # 0.1 * (0.5 + 0.9 * 0.1)
    q_table.update("0.4", 1, 1.0, "0.5")
    assert values_of(q_table, "0.4") == pytest.approx([0.0, 0.1621, 0.0])  # 0.059 + 0.1 * (1 + 0.09 - 0.059)


def test_an_update_that_stays_in_its_state_looks_at_the_value_before() -> None:
    q_table = table()
    q_table.update("0.5", 0, 1.0, "0.5")
    q_table.update("0.5", 0, 1.0, "0.5")
    assert values_of(q_table, "0.5") == pytest.approx([0.199, 0.0, 0.0])  # 0.1 + 0.1 * (1 + 0.9 * 0.1 - 0.1)


def test_the_next_state_counts_with_its_best_action() -> None:
    q_table = table()
    for action, reward in enumerate((0.2, 0.9, 0.4)):
        q_table.update("0.1", action, reward, "unseen")
    q_table.update("0.5", 2, 0.0, "0.1")
    assert values_of(q_table, "0.5") == pytest.approx([0.0, 0.0, 0.1 * 0.9 * 0.09])


def test_ties_go_to_the_first_action() -> None:
    q_table = table()
    assert q_table.greedy("unseen") == 0
    q_table.update("0.5", 2, 1.0, "0.4")
    assert q_table.greedy("0.5") == 2
    q_table.update("0.5", 1, 1.0, "0.4")
    assert values_of(q_table, "0.5")[1] == values_of(q_table, "0.5")[2]
    assert q_table.greedy("0.5") == 1


def test_looking_does_not_enter_a_state() -> None:
    q_table = table()
    q_table.greedy("0.1")
    q_table.choose("0.2")
    q_table.update("0.3", 0, 1.0, "0.4")
    assert list(q_table.state_dict()["table"]) == ["0.3"]
    assert len(q_table) == 1


def test_without_exploration_the_choice_is_always_greedy() -> None:
    q_table = table(exploration=0.0)
    q_table.update("0.5", 2, 1.0, "0.4")
    assert {q_table.choose("0.5") for _ in range(5000)} == {2}


def shares(q_table: QTable, draws: int = 30_000) -> list[float]:
    counts = np.bincount([q_table.choose("0.5") for _ in range(draws)], minlength=len(ACTIONS))
    return [float(count) / draws for count in counts]


def test_full_exploration_is_uniform_over_the_actions() -> None:
    q_table = table(exploration=1.0)
    q_table.update("0.5", 2, 1.0, "0.4")
    assert shares(q_table) == pytest.approx([1 / 3] * 3, abs=0.012)


def test_exploration_is_a_tenth_of_the_choices_spread_over_all_actions() -> None:
    q_table = table()
    q_table.update("0.5", 1, 1.0, "0.4")
    assert shares(q_table) == pytest.approx([0.1 / 3, 0.9 + 0.1 / 3, 0.1 / 3], abs=0.006)


def filled(q_table: QTable) -> QTable:
    for number in range(20):
        state, next_state = state_key(number / 7), state_key(number / 5)
        q_table.update(state, q_table.choose(state), 1 / (1 + number), next_state)
    return q_table


def test_undo_restores_the_table_exactly_and_leaves_the_generator_advanced() -> None:
    q_table = filled(table())
    before = q_table.state_dict()
    q_table.begin()
    for state in ("0.0", "0.14", "new", "0.0", "newer", "new"):
        q_table.update(state, q_table.choose(state), float("nan"), "0.43")
    advanced = q_table.state_dict()
    assert differences(before["table"], advanced["table"])
    q_table.undo()
    after = q_table.state_dict()
    assert differences(before["table"], after["table"]) == []
    assert after["generator"] == advanced["generator"] != before["generator"]


def test_undo_reaches_back_to_the_last_beginning_only() -> None:
    q_table = table()
    q_table.begin()
    q_table.update("0.5", 0, 1.0, "0.4")
    q_table.begin()
    q_table.update("0.5", 0, 1.0, "0.4")
    q_table.undo()
    q_table.undo()
    assert values_of(q_table, "0.5") == pytest.approx([0.1, 0.0, 0.0])


def test_a_saved_table_does_not_change_later() -> None:
    q_table = filled(table())
    saved = q_table.state_dict()
    kept = {state: dict(values) for state, values in saved["table"].items()}
    generator = repr(saved["generator"])
    filled(q_table)
    assert differences(saved["table"], kept) == []
    assert repr(saved["generator"]) == generator != repr(q_table.state_dict()["generator"])


def test_a_table_saved_disturbed_and_loaded_is_equal_to_the_bit_and_goes_on_alike() -> None:
    q_table = filled(table())
    saved = q_table.state_dict()
    expected = filled(q_table).state_dict()
    q_table.load_state_dict(saved)
    assert differences(q_table.state_dict(), saved) == []
    assert differences(filled(q_table).state_dict(), expected) == []
    other = filled(table(seed=2))
    other.load_state_dict(saved)
    assert differences(filled(other).state_dict(), expected) == []


def test_visits_count_every_update_until_it_is_undone_or_another_table_is_loaded() -> None:
    q_table = table()
    for state, action in (("0.5", 0), ("0.5", 2), ("0.4", 1), ("0.5", 2)):
        q_table.update(state, action, 1.0, "0.4")
    assert dict(q_table.visits) == {"0.5": [1, 0, 2], "0.4": [0, 1, 0]}
    q_table.begin()
    for state in ("0.5", "0.3", "0.5"):
        q_table.update(state, 1, 1.0, "0.4")
    assert dict(q_table.visits) == {"0.5": [1, 2, 2], "0.4": [0, 1, 0], "0.3": [0, 1, 0]}
    q_table.undo()
    assert dict(q_table.visits) == {"0.5": [1, 0, 2], "0.4": [0, 1, 0]}
    q_table.load_state_dict(q_table.state_dict())
    assert dict(q_table.visits) == {}
    q_table.update("0.5", 0, 1.0, "0.4")
    assert dict(q_table.visits) == {"0.5": [1, 0, 0]}


def test_states_are_put_in_the_order_of_their_numbers_and_what_is_none_last() -> None:
    assert sorted(["0.5", "no number", "-0.2", "0.05", "nan", "1.0"], key=in_order) == [
        *("-0.2", "0.05", "0.5", "1.0", "nan", "no number")
    ]
