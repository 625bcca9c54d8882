"""TrainingConfig: everything that a run is a function of, apart from the text itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from types import MappingProxyType
from typing import Any

from quadra.errors import ConfigurationError

SMALLEST_FIELD = 2
LARGEST_FIELD = 1_000_000
LARGEST_SEED = 2**53 - 1  # the largest whole number that a browser's JSON keeps exactly
NETWORKS = ("field_update", "syntropy", "feedback")
LAYERS = ("fc1", "fc2", "fc3")  # of each network
ACTIONS = ("update_field", "adjust_syntropy", "penalize_variance")
# What a run computes with that was saved before these settings existed.
CLASSIC: Mapping[str, Any] = MappingProxyType(
    {
        "update_strength": 1.0,
        "syntropy_strength": 1.0,
        "feedback_strength": 1.0,
        "choice_state": "previous",
        "restless_states": False,
        "q_discount": 0.9,
        "tokenizer": "classic",
        "last_sample": "field",
        "text_gain": 1.0,
        "vibration": 0.0,
    }
)


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
    policy: str = "learned"  # how actions are chosen: "learned" by the Q-table, or at "random"
    actions: tuple[str, ...] = ACTIONS  # those that may be chosen
    choice_state: str = (
        "previous"  # state that an action is chosen in: of its sample, or the one reached "previous" to it
    )
    restless_states: bool = False  # whether vectors of high variance have states of their own

    update_strength: float = 1.0  # factor of the action update_field
    syntropy_strength: float = 1.0  # factor of the action adjust_syntropy
    feedback_strength: float = 1.0  # factor of the action penalize_variance

    tokenizer: str = "classic"  # how a line is split into words: by "unicode" categories, or "classic"
    word_dropout: float = 0.0  # probability with which a word of the text is left out
    noise: float = 0.0  # standard deviation of what is added to each cell of the text's vector
    last_sample: str = "field"  # the field that networks learn on: as the text has "driven" it, or the core "field"
    text_gain: float | None = 1.0  # factor of the text that drives the field; None: 4 * min(1, field_size / 100)
    vibration: float = 0.0  # how far that factor swings, as a share of it
    vibration_rate: float = 0.1  # radians by which the swing goes on in an iteration

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
        if self.text_gain is not None:
            _require_number("text_gain", self.text_gain, 0.0, 1e6)
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ConfigurationError(
                    name, f"must be {' or '.join(map(repr, allowed))}, not {getattr(self, name)!r}"
                )
        if not isinstance(self.actions, tuple) or not self.actions or not _are_in_order(self.actions):
            raise ConfigurationError(
                "actions", f"must be some of {', '.join(ACTIONS)}, in this order, not {self.actions!r}"
            )
        if not isinstance(self.syntropy_decays, tuple) or not self.syntropy_decays:
            raise ConfigurationError("syntropy_decays", f"must be numbers from 0 to 1, not {self.syntropy_decays!r}")
        for decay in self.syntropy_decays:
            _require_number("syntropy_decays", decay, 0.0, 1.0)
        if not (self.corpus is None or isinstance(self.corpus, str)):
            raise ConfigurationError("corpus", f"must be the path of a text file or folder, not {self.corpus!r}")
        if not (isinstance(self.device, str) and re.fullmatch(r"cpu|cuda(:\d+)?", self.device)):
            raise ConfigurationError("device", f"must be cpu, cuda or cuda:<number>, not {self.device!r}")

    def classic(self) -> TrainingConfig:
        """Returns the configuration with the settings of a run that was saved before they existed."""
        return replace(self, **CLASSIC)

    def as_dict(self) -> dict[str, Any]:
        """The configuration as builtins only, for a saved state."""
        values = {name: float(value) if isinstance(value, float) else value for name, value in asdict(self).items()}
        decays = [float(decay) for decay in self.syntropy_decays]
        return {**values, "syntropy_decays": decays, "actions": list(self.actions)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingConfig:
        """The configuration of a saved state; raises ConfigurationError for one that this version cannot run."""
        if not isinstance(values, Mapping):
            raise ConfigurationError("configuration", f"is a {type(values).__name__}, not a dictionary")
        known = {field.name for field in fields(cls)}
        unknown = sorted(str(name) for name in set(values) - known)
        if unknown:
            raise ConfigurationError(unknown[0], "is a setting that this version does not know")
        cleaned = {**CLASSIC, **values}
        try:
            for name in {"syntropy_decays", "actions"} & set(cleaned):
                cleaned[name] = tuple(cleaned[name])
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
    "update_strength": (0.0, 1e3),
    "syntropy_strength": (0.0, 1e3),
    "feedback_strength": (0.0, 1e3),
    "word_dropout": (0.0, 1.0),
    "noise": (0.0, 1e3),
    "vibration": (0.0, 1e3),
    "vibration_rate": (0.0, 1e3),
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

_CHOICES: Mapping[str, tuple[object, ...]] = {
    "policy": ("learned", "random"),
    "choice_state": ("own", "previous"),
    "restless_states": (True, False),
    "tokenizer": ("unicode", "classic"),
    "last_sample": ("driven", "field"),
}


def _are_in_order(actions: tuple[object, ...]) -> bool:
    return actions == tuple(action for action in ACTIONS if action in actions)


def default_text_gain(field_size: int) -> float:
    """Returns the factor of the text: a small field would drown in its words."""
    return 4.0 * min(1.0, field_size / 100)


def _require_number(name: str, value: object, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise ConfigurationError(name, f"must be a number from {least} to {most}, not {value!r}")


def _require_whole(name: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigurationError(name, f"must be a whole number from {least} to {most:,}, not {value!r}")
    if not least <= value <= most:
        raise ConfigurationError(name, f"must be from {least} to {most:,}, not {value}")
