"""The three actions on a vector, their loss and reward, and the gradients by hand against autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from quadra.config import ACTIONS, TrainingConfig
from quadra.model.actions import NETWORK_OF, Transformation, describe_outcomes, loss_gradient, reward_of
from tests.helpers.model_helpers import rows_of

CONFIG = TrainingConfig()
RESTLESS, QUIET = [0.0, 1.0], [0.4, 0.6]  # variance 0.5 and 0.02
RATES = {
    "field_update": rows_of([[0.2, 0.4]] * 2),
    "syntropy": rows_of([[0.2, 0.4]] * 2),
    "feedback": rows_of([[0.5], [1]]),
}


def outcomes_of(action: str) -> list[float]:
    found = Transformation(rows_of([RESTLESS, QUIET]), CONFIG).outcomes(RATES)[ACTIONS.index(action)]
    return [float(value) for value in found.flatten()]


def test_update_field_raises_by_half_the_rate_where_the_vector_is_restless_else_by_the_rate() -> None:
    assert outcomes_of("update_field") == pytest.approx([0.1, 1.2, 0.6, 1.0])


def test_adjust_syntropy_moves_each_cell_toward_one_half_by_its_rate() -> None:
    assert outcomes_of("adjust_syntropy") == pytest.approx([0.1, 0.8, 0.42, 0.56])


def test_penalize_variance_contracts_toward_the_mean_by_the_one_rate() -> None:
    assert outcomes_of("penalize_variance") == pytest.approx([0.25, 0.75, 0.5, 0.5])


@pytest.mark.parametrize(("spread", "share"), [(0.2236, 1.0), (0.2237, 0.5)])
def test_a_vector_is_restless_above_a_variance_of_a_tenth(spread: float, share: float) -> None:
    vector = rows_of([[-spread, spread]])  # its variance is 2 * spread^2
    rates = {"field_update": torch.ones(1, 2), "syntropy": torch.zeros(1, 2), "feedback": torch.zeros(1, 1)}
    assert (Transformation(vector, CONFIG).outcomes(rates)[0] - vector).flatten().tolist() == pytest.approx([share] * 2)


def test_each_network_is_shown_its_own_view_of_the_vector() -> None:
    inputs = Transformation(rows_of([RESTLESS, QUIET]), CONFIG).network_inputs()
    assert list(inputs) == [NETWORK_OF[action] for action in ACTIONS]
    assert inputs["field_update"].flatten().tolist() == pytest.approx([0.0, 1.0, 0.4, 0.6])
    assert inputs["syntropy"].flatten().tolist() == pytest.approx([0.5, -0.5, 0.1, -0.1])
    assert inputs["feedback"].flatten().tolist() == pytest.approx([-(0.5**0.5), 0.5**0.5] * 2, rel=1e-5)


def test_a_constant_vector_is_shown_as_zero_to_the_feedback_network() -> None:
    constant = Transformation(torch.full((1, 4), 0.25), CONFIG).network_inputs()["feedback"]
    assert constant.flatten().tolist() == [0.0] * 4


def test_the_loss_is_the_variance_plus_the_distance_of_the_mean_from_one_half() -> None:
    means, losses, variances = describe_outcomes(
        rows_of([[0.25, 0.75], [0.0, 1.0], [1.0, 1.0], [-0.5, 0.5]])[None], 0.5
    )
    assert means.flatten().tolist() == pytest.approx([0.5, 0.5, 1.0, 0.0])
    assert losses.flatten().tolist() == pytest.approx([0.125, 0.5, 0.5, 1.0])
    assert variances.flatten().tolist() == pytest.approx([0.125, 0.5, 0.0, 0.5])


def test_the_reward_falls_from_one_with_the_loss() -> None:
    assert [reward_of(loss) for loss in (0.0, 0.25, 1.0, 3.0)] == pytest.approx([1.0, 0.8, 0.5, 0.25])


def plain_loss(vector: Tensor) -> Tensor:
    return vector.var() + (vector.mean() - 0.5).abs()


def plain_action(action: str, f: Tensor, rate: Tensor) -> Tensor:
    if action == "update_field":
        return f + (0.5 if f.var() > 0.1 else 1.0) * rate
    if action == "adjust_syntropy":
        return f + rate * (0.5 - f)
    return f - rate * (f - f.mean())


@pytest.mark.oracle
@pytest.mark.parametrize("size", [2, 3, 100])
def test_the_loss_gradient_is_that_of_autograd(size: int) -> None:
    generator = torch.Generator().manual_seed(size)
    vectors = torch.randn(8, size, dtype=torch.float64, generator=generator) + rows_of([[0.0], [1.0]] * 4)
    vectors.requires_grad_()
    torch.stack([plain_loss(vector) for vector in vectors]).sum().backward()
    torch.testing.assert_close(loss_gradient(vectors.detach(), 0.5), vectors.grad, rtol=1e-10, atol=1e-10)


def test_the_loss_gradient_of_a_mean_at_one_half_is_that_of_the_variance_alone() -> None:
    assert loss_gradient(rows_of([[0.25, 0.75]]), 0.5).flatten().tolist() == pytest.approx([-0.5, 0.5])


@pytest.mark.oracle
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("size", [2, 3, 100])
def test_the_gradient_of_the_rates_is_that_of_autograd(action: str, size: int) -> None:
    generator = torch.Generator().manual_seed(size)
    spread = rows_of([[0.1], [1.0]] * 3)  # quiet and restless rows in turn
    vectors = torch.randn(6, size, dtype=torch.float64, generator=generator) * spread
    outputs = 1 if action == "penalize_variance" else size
    rates = torch.rand(6, outputs, dtype=torch.float64, generator=generator).requires_grad_()
    rows = torch.tensor([0, 1, 4, 5])
    plain = [plain_action(action, vectors[row], rates[row]) for row in rows.tolist()]
    torch.stack([plain_loss(outcome) for outcome in plain]).sum().backward()
    asked = loss_gradient(torch.stack(plain).detach(), 0.5)
    found = Transformation(vectors, CONFIG).rate_gradient(action, rows, asked)
    assert rates.grad is not None
    torch.testing.assert_close(found, rates.grad[rows], rtol=1e-9, atol=1e-9)
    assert (vectors[rows].var(1) > 0.1).unique().numel() == 2
