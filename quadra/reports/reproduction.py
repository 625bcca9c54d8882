"""Reproduction: the command line and the program that make a run again, from the configuration in its saved state."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, replace
from typing import Any

from quadra.config import TrainingConfig
from quadra.paths import IS_INSTALLED

SERVER = "quadramatrix serve" if IS_INSTALLED else "python app.py"
FOLDER = "reproduction"  # a new state directory for the second run
PROVE = "python -m quadra.prove dashboard_state"
CHECKSUM = (
    f"""python -c "import pickle; print(pickle.load(open('{FOLDER}/system_state.pkl', 'rb'))['history_sha256'])\""""
)

_DEFAULTS = asdict(TrainingConfig(threads=1))


@dataclass(frozen=True)
class Reproduction:
    """What to type for the same history."""

    command: str | None  # that starts the server; None: no option says what is different in this configuration
    program: str  # in Python; prints the checksum of the history


def reproduction(config: TrainingConfig, corpus: str | None, iterations: int) -> Reproduction:
    """Returns how to train from the seed to so many iterations. `config`: of the run; `corpus`: path of its text."""
    used = replace(config, corpus=corpus, threads=config.threads or 1)
    return Reproduction(_command(used), _program(used, iterations))


def changed_settings(config: TrainingConfig) -> dict[str, Any]:
    """Returns the settings that are not the defaults; no threads and one thread are the same."""
    settings = asdict(replace(config, threads=config.threads or 1))
    return {name: value for name, value in settings.items() if value != _DEFAULTS[name]}


def _command(config: TrainingConfig) -> str | None:
    options = {"seed": config.seed, "field-size": config.field_size, "corpus": config.corpus}
    options |= {"device": config.device if config.device != "cpu" else None}
    options |= {"threads": config.threads if config.threads != 1 else None}
    if changed_settings(config).keys() - {name.replace("-", "_") for name in options}:
        return None
    given = {"state-dir": FOLDER, **options, "pace": "max"}
    words = (f"--{name} {shlex.quote(str(value))}" for name, value in given.items() if value is not None)
    return " ".join((SERVER, *words))


def _program(config: TrainingConfig, iterations: int) -> str:
    settings = {"field_size": config.field_size, "seed": config.seed, **changed_settings(config)}
    inside = ", ".join(f"{name}={value!r}" for name, value in settings.items())
    return f"""\
from quadra import TrainingConfig, TrainingState

config = TrainingConfig({inside})
with TrainingState({FOLDER!r}, config) as state:
    state.initialize()
    while state.iteration_count < {iterations}:
        state.step()
    print(state.history.checksum())"""
