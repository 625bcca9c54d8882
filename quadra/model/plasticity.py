"""NeuroplasticityManager: how strongly the networks learn, and how many iterations were rejected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quadra.config import TrainingConfig

_LARGEST_COUNT = 2**53


class NeuroplasticityManager:
    """Plasticity scales the learning rate of the next iteration: it grows on success and shrinks otherwise."""

    def __init__(self, config: TrainingConfig) -> None:
        self._config = config
        self.plasticity = 1.0
        self.success_streak = 0
        self.mean_reward: float | None = None
        self.integrity_strikes = 0

    def observe(self, reward: float, variance: float) -> None:
        """Updates plasticity after a good iteration: success is a reward above its own mean while the field's variance is low."""
        config = self._config
        is_calm = variance <= config.high_variance
        if self.mean_reward is not None and reward > self.mean_reward and is_calm:
            self.success_streak += 1
            self.plasticity = min(config.plasticity_most, self.plasticity * config.plasticity_growth)
        else:
            self.success_streak = 0
            self.plasticity = max(config.plasticity_least, self.plasticity * config.plasticity_shrink)
        previous = reward if self.mean_reward is None else self.mean_reward
        self.mean_reward = config.reward_decay * previous + (1.0 - config.reward_decay) * reward

    def strike(self) -> None:
        """Halves the plasticity and counts a strike, after a rejected iteration."""
        self.plasticity = max(self._config.plasticity_least, self.plasticity / 2.0)
        self.integrity_strikes += 1

    def state_dict(self) -> dict[str, Any]:
        """Returns builtins only."""
        return {
            "plasticity": self.plasticity,
            "success_streak": self.success_streak,
            "mean_reward": self.mean_reward,
            "integrity_strikes": self.integrity_strikes,
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Restores what `state_dict` gave. Raises KeyError, TypeError or ValueError where it does not fit."""
        mean_reward = saved["mean_reward"]
        self.plasticity = float(saved["plasticity"])
        self.success_streak = _count(saved["success_streak"])
        self.mean_reward = None if mean_reward is None else float(mean_reward)
        self.integrity_strikes = _count(saved["integrity_strikes"])


def _count(saved: Any) -> int:
    """Returns a count of iterations. Raises ValueError for a negative number, or one that no count reaches."""
    count = int(saved)
    if not 0 <= count <= _LARGEST_COUNT:
        raise ValueError("a count of iterations is negative, or larger than any")
    return count
