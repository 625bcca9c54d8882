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
class TensorSlot:
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


def slots_for(shapes: Mapping[str, tuple[int, ...]], transposed: tuple[str, ...] = ()) -> dict[str, TensorSlot]:
    """Returns one aligned slot after the other; a matrix whose name ends as in `transposed` lies column by column."""
    slots, start = {}, 0
    for name, shape in shapes.items():
        strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        if name.endswith(transposed) and transposed:
            strides = [1, shape[0]]
        slots[name] = TensorSlot(start, shape, tuple(strides))
        start += _padded(math.prod(shape))
    return slots


def flat_size(slots: Mapping[str, TensorSlot]) -> int:
    """Returns how many floats a buffer for these tensors needs, padding included."""
    return max((slot.offset + _padded(slot.size) for slot in slots.values()), default=0)


class FlatTensors(Mapping[str, Tensor]):
    """Views by name into `flat`, a vector of `flat_size(slots)` floats; the padding between them stays zero."""

    def __init__(self, slots: Mapping[str, TensorSlot], flat: Tensor) -> None:
        self.flat = flat
        self.slots = slots
        self._views = {name: slot.view(flat) for name, slot in slots.items()}

    @classmethod
    def zeros(cls, slots: Mapping[str, TensorSlot], device: str) -> FlatTensors:
        """Returns tensors in a buffer of their own, all zero."""
        return cls(slots, torch.zeros(flat_size(slots), device=device))

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
