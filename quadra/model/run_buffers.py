"""RunTensors: every number that training changes, in one buffer; Copies and Snapshot: that buffer as it was."""

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
from quadra.model.flat_tensors import FlatTensors, TensorSlot, flat_size, places
from quadra.model.packing import unpacked
from quadra.model.spiking import draw_parameters, parameter_places

_LEARNED = ("parameters", "exp_avg", "exp_avg_sq")  # the order in which they lie in the buffer
_FIELDS = ("field", "syntropy_fields", "centroids")
_MOST_STEPS = 2**53  # of Adam; far from where a file's whole numbers end
_TWO_COPIES_BELOW = 64 * 2**20  # bytes of parameters; above, a save in the making holds up training instead


class RunTensors:
    """Parameters, Adam's moments, field, syntropy fields and centroids, as views of `flat`; wins and Adam's step count."""

    def __init__(self, config: TrainingConfig) -> None:
        learned = parameter_places(config)
        size = flat_size(learned)
        fields = {
            "field": (config.field_size,),
            "syntropy_fields": (len(config.syntropy_decays), config.field_size),
            "centroids": (config.patterns, config.field_size),
        }
        table = {
            f"{part}/{name}": TensorSlot(number * size + place.offset, place.shape, place.strides)
            for number, part in enumerate(_LEARNED)
            for name, place in learned.items()
        }
        for name, place in places(fields).items():
            table[name] = TensorSlot(len(_LEARNED) * size + place.offset, place.shape, place.strides)
        self._config = config
        self.tensors = FlatTensors.zeros(table, config.device)
        self.flat = self.tensors.flat
        self.parameters, self.first_moments, self.second_moments = (
            FlatTensors(learned, self.flat[part * size : (part + 1) * size]) for part in range(len(_LEARNED))
        )
        self.field, self.syntropy_fields, self.centroids = (self.tensors[name] for name in _FIELDS)
        self.wins = torch.zeros(config.patterns, dtype=torch.int64, device=config.device)  # a float would stop at 2^24
        self.adam_steps = 0

    def draw(self, generator: torch.Generator) -> None:
        """Start values, always drawn on the CPU, so that a seed means the same run on every device."""
        draw_parameters(self.parameters, self._config, generator)
        for name in _FIELDS:
            target = self.tensors[name]
            target.copy_(torch.empty(target.shape).normal_(0.0, self._config.start_deviation, generator=generator))

    def plain(self) -> dict[str, Any]:
        """What does not stand in the buffer, as builtins."""
        return {"optimizer_step": self.adam_steps, "wins": self.wins.tolist()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; raises KeyError or ValueError where it does not fit."""
        tensors = {name: state[name] for name in _FIELDS}
        for network in NETWORKS:
            for name, value in state[network].items():
                tensors[f"parameters/{network}.{name}"] = value
            for part in _LEARNED[1:]:
                for name, value in state["optimizer"][part][network].items():
                    tensors[f"{part}/{network}.{name}"] = value
        self.tensors.load_state_dict(tensors)
        self.wins.copy_(state["wins"])
        self.adam_steps = int(state["optimizer"]["step"])
        if not 0 <= self.adam_steps <= _MOST_STEPS:
            raise ValueError(f"Adam cannot have taken {self.adam_steps} steps")


def state_dict(tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> dict[str, Any]:
    """A run's tensors by network and layer, and the rest of its state behind them."""
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
    """A run as it was at one moment. Its buffer is lent: give it back with `release`, from any thread."""

    def __init__(
        self, buffer: Tensor, table: Mapping[str, TensorSlot], plain: bytes, lent: deque[Tensor] | None
    ) -> None:
        self.table = table  # where each tensor lies in `flat`
        self.plain = plain  # everything else, as `packing.packed` gives it
        self._buffer: list[Tensor] = [buffer]
        self._lender = lent

    @property
    def flat(self) -> NDArray[np.float32]:
        """All tensors, float32, on the CPU. Raises IndexError after `release`."""
        found: NDArray[np.float32] = self._buffer[0].numpy()
        return found

    @cached_property
    def rest(self) -> dict[str, Any]:
        """Everything else of `state_dict`, and `optimizer_step`: builtins and small tensors."""
        rest = unpacked(self.plain)
        rest["wins"] = torch.tensor(rest["wins"], dtype=torch.int64)
        generators = rest["generators"]
        generators["samples"] = torch.frombuffer(bytearray(generators["samples"]), dtype=torch.uint8)
        return rest

    def state_dict(self) -> dict[str, Any]:
        """The same as the engine's then; the tensors are views of `flat`, good until `release`."""
        return state_dict(FlatTensors(self.table, self._buffer[0]), self.rest)

    def release(self) -> None:
        """Give the buffer back; a second call does nothing."""
        try:
            buffer = self._buffer.pop()
        except IndexError:
            return
        if self._lender is not None:
            self._lender.append(buffer)


class Copies:
    """One or two buffers that hold the state at the beginning of an iteration: to undo it, and to save it.

    A save at that moment needs the same bytes, so it is lent the buffer instead of copying again. Only the thread that
    trains takes buffers; what is lent may come back from any thread.
    """

    def __init__(self, run: RunTensors) -> None:
        self._run = run
        parameters = run.parameters.flat
        count = 2 if parameters.numel() * parameters.element_size() < _TWO_COPIES_BELOW else 1
        self._free = deque(torch.empty_like(run.flat) for _ in range(count))
        self._is_on_cpu = run.flat.device.type == "cpu"
        self._present: Tensor | None = None  # a copy of the state as it is now
        self._is_lent = False  # the present copy is somebody else's to give back

    @property
    def snapshot_in_use(self) -> bool:
        """Whether no copy of the present state can be made until one that was lent comes back."""
        return self._present is None and not self._free

    def keep(self) -> None:
        """Have a copy of the present state, made now unless there is one. Raises RuntimeError where `snapshot_in_use`."""
        if self._present is None:
            if not self._free:
                raise RuntimeError("all copies of the state are lent out: wait until a snapshot is released")
            self._present, self._is_lent = self._free.pop(), False
            self._present.copy_(self._run.flat)

    def lend(self, plain: bytes) -> Snapshot:
        """The present state, as of now; `plain`: what is not in the buffer. Raises RuntimeError where none is free."""
        if self._is_lent:
            self._present, self._is_lent = None, False
        self.keep()
        assert self._present is not None
        if not self._is_on_cpu:
            return Snapshot(self._present.to("cpu"), self._run.tensors.table, plain, None)
        self._is_lent = True
        return Snapshot(self._present, self._run.tensors.table, plain, self._free)

    def restore(self) -> None:
        """The state as it was when it was kept."""
        assert self._present is not None
        self._run.flat.copy_(self._present)

    def forget(self) -> None:
        """The state is another now."""
        if self._present is not None and not self._is_lent:
            self._free.append(self._present)
        self._present, self._is_lent = None, False
