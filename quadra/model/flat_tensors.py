"""FlatTensors: named float32 tensors in one aligned buffer, so that one copy or sum takes them all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class TensorSlot:
    """Where a tensor lies in a flat buffer; offset and strides count floats."""

    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def size(self) -> int:
        """Floats of the tensor."""
        return math.prod(self.shape)

    @property
    def is_transposed(self) -> bool:
        """Whether its columns, not its rows, lie together."""
        return len(self.shape) == 2 and self.strides[0] == 1 and self.strides[1] == self.shape[0]

    def of(self, flat: Tensor) -> Tensor:
        """The tensor as a view of a buffer."""
        return flat.as_strided(self.shape, self.strides, flat.storage_offset() + self.offset)


def places(shapes: Mapping[str, tuple[int, ...]], transposed: tuple[str, ...] = ()) -> dict[str, TensorSlot]:
    """One tensor behind the other, each aligned; matrices whose name ends as in `transposed` lie column by column."""
    found, start = {}, 0
    for name, shape in shapes.items():
        strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        if name.endswith(transposed) and transposed:
            strides = [1, shape[0]]
        found[name] = TensorSlot(start, shape, tuple(strides))
        start += _padded(math.prod(shape))
    return found


def flat_size(table: Mapping[str, TensorSlot]) -> int:
    """Floats that a buffer for these tensors needs, padding included."""
    return max((place.offset + _padded(place.size) for place in table.values()), default=0)


class FlatTensors(Mapping[str, Tensor]):
    """Views by name into `flat`, a vector of `flat_size(table)` floats; the padding between them stays zero."""

    def __init__(self, table: Mapping[str, TensorSlot], flat: Tensor) -> None:
        self.flat = flat
        self.table = table
        self._views = {name: place.of(flat) for name, place in table.items()}

    @classmethod
    def zeros(cls, table: Mapping[str, TensorSlot], device: str) -> FlatTensors:
        """A buffer of its own, all zero."""
        return cls(table, torch.zeros(flat_size(table), device=device))

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
