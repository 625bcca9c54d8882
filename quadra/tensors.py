"""FlatTensors: named float32 tensors in one aligned buffer, so that one copy, sum or Adam step takes them all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from quadra.errors import ConfigurationError

_ALIGNMENT = 16  # floats (64 bytes): the same step then takes the same vector instructions in every process


def require_device(name: str) -> None:
    """Raise ConfigurationError unless tensors can be made on this device."""
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigurationError("device", f"{name!r} cannot be used: {reason}") from error


class FlatTensors(Mapping[str, Tensor]):
    """Views by name into `flat`, a vector of `flat_size(shapes)` floats; the padding between them stays zero."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], flat: Tensor) -> None:
        self.flat = flat
        self._views: dict[str, Tensor] = {}
        start = 0
        for name, shape in shapes.items():
            size = math.prod(shape)
            self._views[name] = flat[start : start + size].view(shape)
            start += _padded(size)

    @staticmethod
    def flat_size(shapes: Mapping[str, tuple[int, ...]]) -> int:
        """Floats that a buffer for these shapes needs, padding included."""
        return sum(_padded(math.prod(shape)) for shape in shapes.values())

    @classmethod
    def zeros(cls, shapes: Mapping[str, tuple[int, ...]], device: str) -> FlatTensors:
        """A buffer of its own, all zero."""
        return cls(shapes, torch.zeros(cls.flat_size(shapes), device=device))

    def __getitem__(self, name: str) -> Tensor:
        return self._views[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def state_dict(self) -> dict[str, Tensor]:
        """A copy of every tensor, on the CPU, with storage of its own."""
        return {name: view.detach().to("cpu", copy=True) for name, view in self._views.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the values over; shapes must agree (copy_ would broadcast silently)."""
        for name, view in self._views.items():
            if tuple(state[name].shape) != tuple(view.shape):
                raise ValueError(f"{name} has shape {tuple(state[name].shape)}, not {tuple(view.shape)}")
            view.copy_(state[name])


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
