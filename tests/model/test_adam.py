"""The constants of an Adam step, by hand."""

from __future__ import annotations

import pytest
import torch

from quadra.config import TrainingConfig
from quadra.model.adam import AdamRule


def test_the_first_step_moves_by_the_learning_rate_against_the_gradient() -> None:
    rule = AdamRule.at(1, TrainingConfig(learning_rate=0.5), plasticity=2.0)
    m, v = rule.one_minus_beta1 * -3.0, rule.one_minus_beta2 * 9.0
    assert -rule.step_size * m / (v**0.5 * rule.correction + rule.epsilon) == pytest.approx(1.0)


@pytest.mark.oracle
def test_steps_are_those_of_torch() -> None:
    value = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([value], lr=1e-3)
    p, m, v = 1.0, 0.0, 0.0
    for number, gradient in enumerate((0.3, -2.0, 1e-9, 0.7), start=1):
        value.grad = torch.tensor([gradient], dtype=torch.float64)
        adam.step()
        rule = AdamRule.at(number, TrainingConfig(), plasticity=1.0)
        m += rule.one_minus_beta1 * (gradient - m)
        v = rule.beta2 * v + rule.one_minus_beta2 * gradient**2
        p -= rule.step_size * m / (v**0.5 * rule.correction + rule.epsilon)
        assert p == pytest.approx(value.item(), rel=1e-12)
