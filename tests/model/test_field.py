"""The core field's step, its three slow memories, and the patterns."""

from __future__ import annotations

import pytest
import torch

from quadra.config import TrainingConfig
from quadra.model.field import recognize, regulate, remember, stimulate
from tests.helpers.model_helpers import rows_of

CONFIG = TrainingConfig()


def test_text_enters_the_field_with_a_tenth() -> None:
    g = stimulate(torch.tensor([0.5, -1.0]), torch.tensor([2.0, 0.0]), 0.9, 0.1)
    assert g.tolist() == pytest.approx([0.65, -0.9])


def test_a_gain_drives_the_field_more_strongly() -> None:
    g = stimulate(torch.tensor([0.5, -1.0]), torch.tensor([2.0, 0.0]), 0.9, 0.4)
    assert g.tolist() == pytest.approx([1.25, -0.9])


def test_stimulating_leaves_field_and_features_as_they_are() -> None:
    field, x = torch.tensor([0.5, -1.0]), torch.tensor([2.0, 0.0])
    for share in (0.1, 0.4):
        stimulate(field, x, 0.9, share)
    assert (field.tolist(), x.tolist()) == ([0.5, -1.0], [2.0, 0.0])


def test_the_memories_follow_the_field_at_their_own_rates() -> None:
    memories = rows_of([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    remember(memories, torch.tensor([0.0, 0.5]), rows_of([[0.9], [0.99], [0.999]]))
    assert memories.flatten().tolist() == pytest.approx([0.9, 0.05, 0.99, 0.005, 0.999, 0.0005], rel=1e-4)


def test_a_memory_far_from_the_set_point_is_corrected_by_a_tenth_of_the_distance() -> None:
    memories = rows_of([[0.1, 0.3], [0.8, 1.0]])  # means 0.2 and 0.9
    regulate(memories, CONFIG)
    assert memories.flatten().tolist() == pytest.approx([0.13, 0.33, 0.76, 0.96])


def test_a_memory_within_the_tolerance_is_left_alone_to_the_bit() -> None:
    memories = rows_of([[0.2, 0.65], [5.0, -4.0], [0.0, 0.0]])  # means 0.425, 0.5 and, far off, 0
    before = memories.clone()
    regulate(memories, CONFIG)
    assert torch.equal(memories[:2], before[:2])
    assert memories[2].tolist() == pytest.approx([0.05, 0.05])


def test_a_corrected_memory_is_clipped() -> None:
    memories = rows_of([[0.99, -0.99, -0.99], [1.5, 1.0, 1.0]])
    regulate(memories, CONFIG)
    assert memories[0].tolist() == pytest.approx([1.0, -0.907, -0.907])  # mean -0.33: 0.083 up
    assert memories[1].tolist() == pytest.approx([1.0, 1.0 - 0.2 / 3, 1.0 - 0.2 / 3])  # mean 7/6: 0.0667 down


def test_the_nearest_centroid_wins_and_moves_a_twentieth_toward_the_field() -> None:
    centroids, wins = rows_of([[0.0, 0.0], [1.0, 1.0], [0.5, 0.0]]), torch.zeros(3)
    assert recognize(torch.tensor([1.0, 0.0]), centroids, wins, 0.05) == 2  # squared distances 1, 1, 0.25
    assert centroids.flatten().tolist() == pytest.approx([0.0, 0.0, 1.0, 1.0, 0.525, 0.0])
    assert wins.tolist() == [0.0, 0.0, 1.0]


def test_a_frequent_winner_yields_to_a_rarer_one() -> None:
    centroids, field = rows_of([[0.0, 0.0], [2.0, 1.0], [0.5, 0.0]]), torch.tensor([1.0, 0.0])
    assert recognize(field, centroids.clone(), torch.tensor([0.0, 0.0, 2.0]), 0.05) == 2  # 3 * 0.25 < 1 * 1
    assert recognize(field, centroids.clone(), torch.tensor([0.0, 0.0, 4.0]), 0.05) == 0  # 5 * 0.25 > 1 * 1


def test_the_count_weighs_the_squared_distance_not_the_distance() -> None:
    centroids = rows_of([[0.0, 2.0], [0.0, 1.0]])
    assert recognize(torch.zeros(2), centroids, torch.tensor([0.0, 2.0]), 0.05) == 1  # 4 > 3, though 2 < 3


def test_no_centroid_captures_everything() -> None:
    centroids, wins = rows_of([[0.0, 0.0], [9.0, 9.0], [-9.0, 9.0]]), torch.zeros(3)
    fields = torch.randn(300, 2, generator=torch.Generator().manual_seed(1))
    winners = [recognize(field, centroids, wins, 0.05) for field in fields]
    assert sorted(set(winners)) == [0, 1, 2]
    assert wins.tolist() == [winners.count(pattern) for pattern in range(3)]
