"""What the tests of the model share: small runs, comparison to the bit, and the oracle network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import snntorch
import torch
from numpy.typing import NDArray
from snntorch import surrogate
from torch import Tensor

import quadra.model.engine
from quadra.config import TrainingConfig
from quadra.model.compiled_backend import CompiledBackend
from quadra.model.corpus import Corpus
from quadra.model.engine import Engine
from quadra.model.spiking import LAYERS
from quadra.model.torch_backend import TorchBackend
from quadra.model.words import features

torch.set_num_threads(1)

BACKENDS = (CompiledBackend, TorchBackend)  # two ways of computing the same


def text_file(folder: Path, content: bytes | str, name: str = "text.txt") -> Path:
    """A file with this content; the folder is made where it is not there."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def small_engine(seed: int = 1, corpus: Path | None = None, **settings: Any) -> Engine:
    """An engine on one thread, by default on the built-in corpus at field size 20."""
    return Engine(TrainingConfig(**{"field_size": 20, "threads": 1, "seed": seed, **settings}), Corpus(corpus))


def steps(engine: Engine, count: int) -> list[dict[str, Any]]:
    """The results of so many iterations."""
    return [engine.step().as_dict() for _ in range(count)]


def poison_features(monkeypatch: pytest.MonkeyPatch, *void: bool) -> None:
    """Lines whose features are not finite, as told in turn; all later ones like the last."""
    turns = list(void)

    def poisoned(words: Sequence[str], size: int) -> NDArray[np.float32]:
        found = features(words, size)
        if turns.pop(0) if len(turns) > 1 else turns[0]:
            found[0] = math.nan
        return found

    monkeypatch.setattr(quadra.model.engine, "features", poisoned)


def differences(left: object, right: object, place: str = "") -> list[str]:
    """Where two states differ in type, shape or any bit; NaN equals itself, -0.0 is not 0.0."""
    if type(left) is not type(right):
        return [place]
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        if list(left) != list(right):
            return [f"{place} (keys)"]
        return [found for key in left for found in differences(left[key], right[key], f"{place}/{key}")]
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        if len(left) != len(right):
            return [f"{place} (length)"]
        pairs = enumerate(zip(left, right, strict=True))
        return [found for number, pair in pairs for found in differences(*pair, f"{place}/{number}")]
    return [] if _bits(left) == _bits(right) else [place]


def _bits(value: object) -> object:
    if isinstance(value, Tensor):
        value = value.detach().contiguous().numpy()
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, value.tobytes()
    return value.hex() if isinstance(value, float) else value


class OracleNetwork(torch.nn.Module):
    """Linear - Leaky - Linear - Leaky - Linear - Leaky in snnTorch, with given weights; `margin` after each call."""

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.margin = float("inf")  # the least distance of any membrane from the threshold
        self.linears = torch.nn.ModuleList(
            _linear(parameters[f"{layer}.weight"], parameters[f"{layer}.bias"]) for layer in LAYERS
        )
        self.neurons = torch.nn.ModuleList(
            snntorch.Leaky(
                beta=0.95, threshold=1, reset_mechanism="subtract", spike_grad=surrogate.fast_sigmoid(slope=25)
            )
            for _ in LAYERS
        )

    def forward(self, x: Tensor) -> Tensor:
        """The firing rate over ten time steps."""
        membranes = [neuron.init_leaky() for neuron in self.neurons]
        outputs: list[Tensor] = []
        self.margin = float("inf")
        for _ in range(10):
            signal = x
            for layer, (linear, neuron) in enumerate(zip(self.linears, self.neurons, strict=True)):
                signal, membranes[layer] = neuron(linear(signal), membranes[layer])
                self.margin = min(self.margin, (membranes[layer] - 1).abs().min().item())
            outputs.append(signal)
        return torch.stack(outputs).mean(0)

    def parameter(self, name: str) -> Tensor:
        """A weight or bias by the name that it has in the project's own networks."""
        layer, part = name.split(".")
        found: Tensor = getattr(self.linears[LAYERS.index(layer)], part)
        return found

    def gradient(self, name: str) -> Tensor:
        """The gradient of a weight or bias by that name."""
        gradient = self.parameter(name).grad
        assert gradient is not None
        return gradient


def _linear(weight: Tensor, bias: Tensor) -> torch.nn.Linear:
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)
    return linear


def rows_of(values: Sequence[Sequence[float]]) -> Tensor:
    """A float32 matrix."""
    return torch.tensor(values, dtype=torch.float32)
