"""TrainingConfig: everything that a run is a function of, apart from the text itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from quadra.errors import ConfigurationError

SMALLEST_FIELD = 2
LARGEST_FIELD = 1_000_000
LARGEST_SEED = 2**53 - 1  # the largest whole number that a browser's JSON keeps exactly
NETWORKS = ("field_update", "syntropy", "feedback")
LAYERS = ("fc1", "fc2", "fc3")  # of each network
ACTIONS = ("update_field", "adjust_syntropy", "penalize_variance")


@dataclass(frozen=True)
class TrainingConfig:
    """The configuration of one run; a saved run brings its own.

    Raises ConfigurationError, naming the field, for a value that is not possible.
    """

    field_size: int = 100  # cells of the field, n
    seed: int | None = None  # None: a fresh one is drawn when the run is initialized
    corpus: str | None = None  # path of a text file or folder; None: the built-in corpus
    device: str = "cpu"  # "cpu", "cuda" or "cuda:<number>"
    threads: int | None = None  # threads of one step; None: 1, fixed when a run begins

    time_steps: int = 10  # steps a network is shown its input, T
    membrane_decay: float = 0.95  # share of the membrane kept per time step, beta
    firing_threshold: float = 1.0  # membrane above which a neuron spikes
    surrogate_slope: float = 25.0  # steepness of the fast-sigmoid surrogate gradient
    field_update_hidden: int = 64  # neurons in each hidden layer of network F
    syntropy_hidden: int = 32  # neurons in each hidden layer of network S
    feedback_hidden: int = 48  # neurons in each hidden layer of network V

    synthetic_samples: int = 10  # random vectors per iteration
    start_deviation: float = 0.1  # standard deviation of random vectors and start fields
    epochs: int = 3  # Adam steps per iteration
    learning_rate: float = 1e-3  # Adam step size at plasticity 1
    adam_beta1: float = 0.9  # decay of the first moment per Adam step
    adam_beta2: float = 0.999  # decay of the second moment per Adam step
    adam_epsilon: float = 1e-8  # added to the root of the second moment

    exploration: float = 0.1  # probability of a random action, epsilon
    q_rate: float = 0.1  # share of the error a Q update takes up, alpha
    q_discount: float = 0.9  # weight of the next state's value, gamma

    set_point: float = 0.5  # mean that field and syntropy fields are drawn to
    high_variance: float = 0.1  # variance above which a field counts as restless
    field_decay: float = 0.9  # share of the field kept when text enters
    syntropy_decays: tuple[float, ...] = (0.9, 0.99, 0.999)  # one per syntropy field
    syntropy_tolerance: float = 0.1  # distance of a mean from the set point left alone
    syntropy_correction: float = 0.1  # share of that distance corrected per iteration
    patterns: int = 3  # centroids of the competitive learning
    pattern_rate: float = 0.05  # share of the way a winning centroid moves

    reward_decay: float = 0.9  # share of the mean reward kept per iteration
    plasticity_growth: float = 1.05  # factor on success
    plasticity_shrink: float = 0.95  # factor otherwise
    plasticity_least: float = 0.1
    plasticity_most: float = 10.0
    strikes_in_a_row: int = 3  # void iterations after which training stops

    def __post_init__(self) -> None:
        _require_whole("field_size", self.field_size, SMALLEST_FIELD, LARGEST_FIELD)
        if self.seed is not None:
            _require_whole("seed", self.seed, 0, LARGEST_SEED)
        if self.threads is not None:
            _require_whole("threads", self.threads, 1, 1024)
        for name in (
            "time_steps",
            "epochs",
            "field_update_hidden",
            "syntropy_hidden",
            "feedback_hidden",
            "patterns",
            "strikes_in_a_row",
        ):
            _require_whole(name, getattr(self, name), 1, 10_000)
        _require_whole("synthetic_samples", self.synthetic_samples, 0, 10_000)
        for name, (least, most) in _RANGES.items():
            _require_number(name, getattr(self, name), least, most)
        if not isinstance(self.syntropy_decays, tuple) or not self.syntropy_decays:
            raise ConfigurationError("syntropy_decays", f"must be numbers from 0 to 1, not {self.syntropy_decays!r}")
        for decay in self.syntropy_decays:
            _require_number("syntropy_decays", decay, 0.0, 1.0)
        if not (self.corpus is None or isinstance(self.corpus, str)):
            raise ConfigurationError("corpus", f"must be the path of a text file or folder, not {self.corpus!r}")
        if not (isinstance(self.device, str) and re.fullmatch(r"cpu|cuda(:\d+)?", self.device)):
            raise ConfigurationError("device", f"must be cpu, cuda or cuda:<number>, not {self.device!r}")

    def as_dict(self) -> dict[str, Any]:
        """The configuration as builtins only, for a saved state."""
        values = {name: float(value) if isinstance(value, float) else value for name, value in asdict(self).items()}
        return {**values, "syntropy_decays": [float(decay) for decay in self.syntropy_decays]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingConfig:
        """The configuration of a saved state; raises ConfigurationError for one that this version cannot run."""
        if not isinstance(values, Mapping):
            raise ConfigurationError("configuration", f"is a {type(values).__name__}, not a dictionary")
        known = {field.name for field in fields(cls)}
        unknown = sorted(str(name) for name in set(values) - known)
        if unknown:
            raise ConfigurationError(unknown[0], "is a setting that this version does not know")
        cleaned = dict(values)
        try:
            if "syntropy_decays" in cleaned:
                cleaned["syntropy_decays"] = tuple(cleaned["syntropy_decays"])
            return cls(**cleaned)
        except (TypeError, ValueError, AttributeError) as error:
            raise ConfigurationError("configuration", f"holds a value of the wrong kind: {error}") from error


_RANGES = {
    "membrane_decay": (0.0, 1.0),
    "firing_threshold": (1e-6, 1e6),
    "surrogate_slope": (0.0, 1e6),
    "start_deviation": (0.0, 1e6),
    "learning_rate": (0.0, 1e3),
    "adam_beta1": (0.0, 0.999999),
    "adam_beta2": (0.0, 0.999999),
    "adam_epsilon": (1e-30, 1.0),
    "exploration": (0.0, 1.0),
    "q_rate": (0.0, 1.0),
    "q_discount": (0.0, 1.0),
    "set_point": (-1.0, 1.0),
    "high_variance": (0.0, 1e6),
    "field_decay": (0.0, 1.0),
    "syntropy_tolerance": (0.0, 1e6),
    "syntropy_correction": (0.0, 1.0),
    "pattern_rate": (0.0, 1.0),
    "reward_decay": (0.0, 1.0),
    "plasticity_growth": (1.0, 1e3),
    "plasticity_shrink": (1e-3, 1.0),
    "plasticity_least": (1e-6, 1e6),
    "plasticity_most": (1e-6, 1e6),
}


def _require_number(name: str, value: object, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise ConfigurationError(name, f"must be a number from {least} to {most}, not {value!r}")


def _require_whole(name: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigurationError(name, f"must be a whole number from {least} to {most:,}, not {value!r}")
    if not least <= value <= most:
        raise ConfigurationError(name, f"must be from {least} to {most:,}, not {value}")
