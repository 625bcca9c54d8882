"""Neuroplasticity: growth on success, shrinking otherwise, strikes."""

from __future__ import annotations

import pytest

from quadra.config import TrainingConfig
from quadra.model.plasticity import NeuroplasticityManager
from tests.helpers.model_helpers import differences

CALM, RESTLESS = 0.05, 0.15


def manager(*rewards: float) -> NeuroplasticityManager:
    """A manager that has seen these rewards over a calm field."""
    fresh = NeuroplasticityManager(TrainingConfig())
    for reward in rewards:
        fresh.observe(reward, CALM)
    return fresh


def test_it_starts_at_one_without_streak_or_strikes() -> None:
    fresh = manager()
    assert (fresh.plasticity, fresh.success_streak, fresh.integrity_strikes) == (1.0, 0, 0)


def test_the_first_reward_starts_the_mean_and_is_not_above_it() -> None:
    first = manager(8.0)
    assert first.mean_reward == pytest.approx(8.0)
    assert (first.success_streak, first.plasticity) == (0, pytest.approx(0.95))


def test_a_reward_above_the_mean_grows_plasticity_by_a_twentieth() -> None:
    grown = manager(8.0, 9.0)
    assert grown.mean_reward == pytest.approx(8.1)  # 0.9 * 8 + 0.1 * 9
    assert (grown.success_streak, grown.plasticity) == (1, pytest.approx(0.95 * 1.05))


def test_a_reward_at_or_below_the_mean_ends_the_streak_and_shrinks_plasticity() -> None:
    below = manager(8.0, 9.0, 9.0, 8.0)
    assert below.mean_reward == pytest.approx(8.171)  # 8.1 -> 8.19 -> 0.9 * 8.19 + 0.1 * 8
    assert (below.success_streak, below.plasticity) == (0, pytest.approx(0.95 * 1.05**2 * 0.95))
    assert manager(8.0, 8.0).success_streak == 0


def test_the_reward_is_compared_before_it_enters_the_mean() -> None:
    seen = NeuroplasticityManager(TrainingConfig())
    seen.load_state_dict({"plasticity": 1.0, "success_streak": 4, "mean_reward": 8.0, "integrity_strikes": 0})
    seen.observe(8.000001, CALM)
    assert seen.success_streak == 5


def test_a_streak_counts_successes_in_a_row() -> None:
    assert [manager(*[8.0, 9.0, 9.0, 9.0][: 1 + count]).success_streak for count in range(4)] == [0, 1, 2, 3]


def test_a_restless_field_breaks_the_streak_whatever_the_reward() -> None:
    restless = manager(8.0, 9.0)
    restless.observe(12.0, RESTLESS)
    assert (restless.success_streak, restless.plasticity) == (0, pytest.approx(0.95 * 1.05 * 0.95))
    assert restless.mean_reward == pytest.approx(0.9 * 8.1 + 0.1 * 12.0)


def test_a_variance_of_just_a_tenth_is_calm() -> None:
    edge = manager(8.0)
    edge.observe(9.0, 0.1)
    assert edge.success_streak == 1


def test_plasticity_stays_between_a_tenth_and_ten() -> None:
    assert manager(*[8.0] * 100).plasticity == 0.1
    assert manager(*[8.0 + step for step in range(100)]).plasticity == 10.0


def test_a_strike_halves_plasticity_but_not_below_a_tenth_and_counts() -> None:
    struck = manager(8.0, 9.0)
    struck.strike()
    assert (struck.plasticity, struck.integrity_strikes) == (pytest.approx(0.95 * 1.05 / 2), 1)
    for _ in range(10):
        struck.strike()
    assert (struck.plasticity, struck.integrity_strikes) == (0.1, 11)


@pytest.mark.parametrize("rewards", [(), (8.0,), (8.0, 9.1, 9.3)])
def test_a_manager_saved_disturbed_and_loaded_is_equal_to_the_bit_and_goes_on_alike(rewards: tuple[float, ...]) -> None:
    one = manager(*rewards)
    one.strike()
    saved = one.state_dict()
    kept = dict(saved)
    one.observe(9.7, CALM)
    expected = one.state_dict()
    assert differences(saved, kept) == []
    for other in (one, manager(1.0, 2.0)):
        other.load_state_dict(saved)
        assert differences(other.state_dict(), saved) == []
        other.observe(9.7, CALM)
        assert differences(other.state_dict(), expected) == []
