"""FlatTensors: named float32 tensors in one aligned buffer, so that one copy or one sum covers them all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from quadra.errors import ConfigurationError

_ALIGNMENT = 16  # floats (64 bytes): the same step then uses the same vector instructions in every process


def require_device(name: str) -> None:
    """Raises ConfigurationError unless tensors can be made on this device."""
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigurationError("device", f"{name!r} cannot be used: {reason}") from error


@dataclass(frozen=True)
class TensorSpec:
    """Where a tensor lies in a flat buffer; offset and strides count floats."""

    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def size(self) -> int:
        """Floats of the tensor."""
        return math.prod(self.shape)

    def view(self, flat: Tensor) -> Tensor:
        """Returns the tensor as a view of a buffer."""
        return flat.as_strided(self.shape, self.strides, flat.storage_offset() + self.offset)


def specs_for(shapes: Mapping[str, tuple[int, ...]], transposed: tuple[str, ...] = ()) -> dict[str, TensorSpec]:
    """Returns one aligned spec after the other; a matrix whose name ends as in `transposed` lies column by column."""
    specs, start = {}, 0
    for name, shape in shapes.items():
        strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        if name.endswith(transposed) and transposed:
            strides = [1, shape[0]]
        specs[name] = TensorSpec(start, shape, tuple(strides))
        start += _padded(math.prod(shape))
    return specs


def flat_size(specs: Mapping[str, TensorSpec]) -> int:
    """Returns how many floats a buffer for these tensors needs, padding included."""
    return max((spec.offset + _padded(spec.size) for spec in specs.values()), default=0)


class FlatTensors(Mapping[str, Tensor]):
    """Views by name into `flat`, a vector of `flat_size(specs)` floats; the padding between them stays zero."""

    def __init__(self, specs: Mapping[str, TensorSpec], flat: Tensor) -> None:
        self.flat = flat
        self.specs = specs
        self._views = {name: spec.view(flat) for name, spec in specs.items()}

    @classmethod
    def zeros(cls, specs: Mapping[str, TensorSpec], device: str) -> FlatTensors:
        """Returns tensors in a buffer of their own, all zero."""
        return cls(specs, torch.zeros(flat_size(specs), device=device))

    def __getitem__(self, name: str) -> Tensor:
        return self._views[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def state_dict(self) -> dict[str, Tensor]:
        """Returns a copy of every tensor, on the CPU, with storage of its own."""
        return {name: view.detach().to("cpu", copy=True) for name, view in self._views.items()}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Copies the values in. Raises ValueError where a shape differs, which `copy_` would broadcast silently."""
        for name, view in self._views.items():
            if tuple(saved[name].shape) != tuple(view.shape):
                raise ValueError(f"{name} has shape {tuple(saved[name].shape)}, not {tuple(view.shape)}")
            view.copy_(saved[name])


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
