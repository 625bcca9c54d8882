"""The memory of a run: StateBuffers holds every number that training changes, SnapshotPool earlier copies of them.

A Snapshot is one such copy, lent to whoever saves it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quadra.config import NETWORKS, TrainingConfig
from quadra.model.flat_tensors import FlatTensors, TensorSpec, flat_size, specs_for
from quadra.model.packing import unpacked
from quadra.model.spiking import draw_parameters, parameter_specs

_LEARNED = ("parameters", "exp_avg", "exp_avg_sq")  # the order in which they lie in the buffer
_FIELDS = ("field", "syntropy_fields", "centroids")
_MOST_STEPS = 2**53  # of Adam; far from where a file's whole numbers end
_TWO_BUFFERS_BELOW = 64 * 2**20  # bytes of parameters; above, a save that is being written holds up training instead


class StateBuffers:
    """Parameters, Adam's moments, field, syntropy fields and centroids, as views of `flat`; wins and Adam's step count."""

    def __init__(self, config: TrainingConfig) -> None:
        learned = parameter_specs(config)
        size = flat_size(learned)
        fields = {
            "field": (config.field_size,),
            "syntropy_fields": (len(config.syntropy_decays), config.field_size),
            "centroids": (config.patterns, config.field_size),
        }
        specs = {
            f"{part}/{name}": TensorSpec(number * size + spec.offset, spec.shape, spec.strides)
            for number, part in enumerate(_LEARNED)
            for name, spec in learned.items()
        }
        for name, spec in specs_for(fields).items():
            specs[name] = TensorSpec(len(_LEARNED) * size + spec.offset, spec.shape, spec.strides)
        self._config = config
        self.tensors = FlatTensors.zeros(specs, config.device)
        self.flat = self.tensors.flat
        self.parameters, self.first_moments, self.second_moments = (
            FlatTensors(learned, self.flat[part * size : (part + 1) * size]) for part in range(len(_LEARNED))
        )
        self.field, self.syntropy_fields, self.centroids = (self.tensors[name] for name in _FIELDS)
        self.wins = torch.zeros(config.patterns, dtype=torch.int64, device=config.device)  # a float would stop at 2^24
        self.adam_steps = 0

    def draw(self, generator: torch.Generator) -> None:
        """Draws the start values, always on the CPU, so that a seed means the same run on every device."""
        draw_parameters(self.parameters, self._config, generator)
        for name in _FIELDS:
            target = self.tensors[name]
            target.copy_(torch.empty(target.shape).normal_(0.0, self._config.start_deviation, generator=generator))

    def plain(self) -> dict[str, Any]:
        """Returns what is not in the buffer, as builtins."""
        return {"optimizer_step": self.adam_steps, "wins": self.wins.tolist()}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Restores what `state_dict` gave. Raises KeyError or ValueError where it does not fit."""
        tensors = {name: saved[name] for name in _FIELDS}
        for network in NETWORKS:
            for name, value in saved[network].items():
                tensors[f"parameters/{network}.{name}"] = value
            for part in _LEARNED[1:]:
                for name, value in saved["optimizer"][part][network].items():
                    tensors[f"{part}/{network}.{name}"] = value
        self.tensors.load_state_dict(tensors)
        self.wins.copy_(saved["wins"])
        self.adam_steps = int(saved["optimizer"]["step"])
        if not 0 <= self.adam_steps <= _MOST_STEPS:
            raise ValueError(f"Adam cannot have taken {self.adam_steps} steps")


def state_dict(tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a run's tensors by network and layer, followed by the rest of its state."""
    others = {name: value for name, value in rest.items() if name != "optimizer_step"}
    return {
        **{network: _of_network(tensors, "parameters", network) for network in NETWORKS},
        "optimizer": {
            "step": rest["optimizer_step"],
            **{part: {name: _of_network(tensors, part, name) for name in NETWORKS} for part in _LEARNED[1:]},
        },
        **{name: tensors[name] for name in _FIELDS},
        **others,
    }


def _of_network(tensors: Mapping[str, Tensor], part: str, network: str) -> dict[str, Tensor]:
    prefix = f"{part}/{network}."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


class Snapshot:
    """A run as it was between two iterations. Its buffer is lent: `release` returns it, from any thread."""

    def __init__(
        self, buffer: Tensor, specs: Mapping[str, TensorSpec], plain: bytes, free: deque[Tensor] | None
    ) -> None:
        self.specs = specs  # where each tensor lies in `flat`
        self.plain = plain  # everything else, by `packing.packed`
        self._buffer: list[Tensor] = [buffer]
        self._free = free  # where the buffer goes after `release`

    @property
    def flat(self) -> NDArray[np.float32]:
        """All tensors, float32, on the CPU. Raises IndexError after `release`."""
        flat: NDArray[np.float32] = self._buffer[0].numpy()
        return flat

    @cached_property
    def rest(self) -> dict[str, Any]:
        """Everything else of `state_dict`, and `optimizer_step`: builtins and small tensors."""
        rest = unpacked(self.plain)
        rest["wins"] = torch.tensor(rest["wins"], dtype=torch.int64)
        generators = rest["generators"]
        generators["samples"] = torch.frombuffer(bytearray(generators["samples"]), dtype=torch.uint8)
        return rest

    def state_dict(self) -> dict[str, Any]:
        """Returns the engine's state as it was; the tensors are views of `flat`, valid until `release`."""
        return state_dict(FlatTensors(self.specs, self._buffer[0]), self.rest)

    def release(self) -> None:
        """Returns the buffer to its pool; a second call does nothing."""
        try:
            buffer = self._buffer.pop()
        except IndexError:
            return
        if self._free is not None:
            self._free.append(buffer)


class SnapshotPool:
    """One or two buffers for copies of the state between two iterations: to undo an iteration, and to save the state.

    A save needs the same bytes as the undo of the next iteration, so both share one copy. Only the thread that trains
    acquires buffers; any thread may release a snapshot.
    """

    def __init__(self, buffers: StateBuffers) -> None:
        self._buffers = buffers
        parameters = buffers.parameters.flat
        count = 2 if parameters.numel() * parameters.element_size() < _TWO_BUFFERS_BELOW else 1
        self._free = deque(torch.empty_like(buffers.flat) for _ in range(count))
        self._is_on_cpu = buffers.flat.device.type == "cpu"
        self._present: Tensor | None = None  # a copy of the state as it is now
        self._is_lent = False  # whether a snapshot owns the present copy

    @property
    def snapshot_in_use(self) -> bool:
        """Whether the present state cannot be copied until a snapshot is released."""
        return self._present is None and not self._free

    def capture(self) -> None:
        """Copies the present state unless a copy of it exists. Raises RuntimeError where `snapshot_in_use`."""
        if self._present is None:
            if not self._free:
                raise RuntimeError("all copies of the state are lent out: wait until a snapshot is released")
            self._present, self._is_lent = self._free.pop(), False
            self._present.copy_(self._buffers.flat)

    def snapshot(self, plain: bytes) -> Snapshot:
        """Returns the present state; `plain`: what is not in the buffer. Raises RuntimeError where `snapshot_in_use`."""
        if self._is_lent:
            self._present, self._is_lent = None, False
        self.capture()
        assert self._present is not None
        if not self._is_on_cpu:
            return Snapshot(self._present.to("cpu"), self._buffers.tensors.specs, plain, None)
        self._is_lent = True
        return Snapshot(self._present, self._buffers.tensors.specs, plain, self._free)

    def restore(self) -> None:
        """Sets the state back to what it was at `capture`."""
        assert self._present is not None
        self._buffers.flat.copy_(self._present)

    def discard(self) -> None:
        """Drops the copy, because the state has changed."""
        if self._present is not None and not self._is_lent:
            self._free.append(self._present)
        self._present, self._is_lent = None, False
