"""Backend: the mathematics of an iteration between two choices, and which one a run gets."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Protocol

from torch import Tensor

from quadra.config import TrainingConfig
from quadra.model.adam import AdamRule
from quadra.model.outcomes import Moments, Outcomes
from quadra.model.run_buffers import StateBuffers


class Backend(Protocol):
    """The mathematics between two choices; on the CPU compiled, on a GPU in torch."""

    vectors: Tensor  # the samples (12, n), to be filled before `prepare`
    stimulated: Tensor  # the field as the text has driven it, g (n,); set by `stimulate`

    def prepare(self) -> None:
        """Computes what the epochs need of the samples."""

    def field_moments(self) -> Moments:
        """Returns mean and variance of the core field."""

    def sample_moments(self) -> list[Moments]:
        """Returns mean and variance of each sample."""

    def evaluate(self) -> Outcomes:
        """Returns what all actions make of all samples."""

    def learn(self, chosen: list[int], rule: AdamRule) -> bool:
        """Makes one Adam step on the mean loss of the chosen actions; returns False where it found a number not finite."""

    def stimulate(self, x: Tensor, share: float) -> Moments:
        """Sets `stimulated` to g = 0.9 * field + share * x, which `move` uses; returns its mean and variance."""

    def move(self, action: int) -> None:
        """Sets field = clip(action(g), -1, 1)."""

    def remember(self) -> None:
        """Moves the syntropy fields toward the field and regulates them."""

    def recognize(self) -> int:
        """Returns the field's pattern; its centroid moves toward the field."""

    def variance_and_mean(self) -> tuple[float, float]:
        """Returns variance and mean of the core field."""

    def fields_are_finite(self) -> bool:
        """Returns whether every number that `learn` does not check is finite."""


BackendClass = Callable[[TrainingConfig, StateBuffers], Backend]


def fastest_backend(config: TrainingConfig) -> BackendClass:
    """Returns the kernels compiled for the CPU; torch on a GPU, and where the kernels cannot be had. Only one is imported."""
    if config.device == "cpu" and why_not_compiled() is None:
        from quadra.model.compiled_backend import CompiledBackend

        return CompiledBackend
    from quadra.model.torch_backend import TorchBackend

    return TorchBackend


@cache  # what failed once would fail as slowly for every engine
def why_not_compiled() -> str | None:
    """Returns why the kernels compiled for the CPU cannot be had here; None where they can."""
    try:
        import quadra.model.compiled_backend  # noqa: F401
    except Exception as error:  # noqa: BLE001  # of the compiler, of the system, of a broken installation: torch is there
        return f"{type(error).__name__}: {error}"
    return None
