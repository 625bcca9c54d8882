"""The options of the server: the command line wins over the environment, that over the defaults."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, NoReturn

from quadra.cli.output import refuse
from quadra.defaults import ServerDefaults
from quadra.errors import ConfigurationError, CorpusError, FolderError, QuadraError
from quadra.live.log_setup import FORMS
from quadra.paths import expanded

PROGRAM = "quadramatrix serve"
DESCRIPTION = "Trains in the background, serves the dashboard and never forgets."


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        refuse(self.prog, message)


def parse(
    arguments: list[str] | None,
    environment: Mapping[str, str],
    program: str = PROGRAM,
    defaults: ServerDefaults | None = None,
    description: str = DESCRIPTION,
) -> argparse.Namespace:
    """Returns the options; `variables` names the environment variables that some of them came from.

    An environment variable that is empty counts as not set. Ends the program, with one line that says why, where one of
    them makes no sense.
    """
    parser = _Parser(prog=program, description=description, allow_abbrev=False)
    values = defaults or ServerDefaults()
    known = _add_values(parser, values)
    _add_switches(parser, environment, values)
    parser.add_argument("--allow-host", action="append", help="a further name that the server is reached by")
    options = parser.parse_args(arguments)
    options.variables = {}
    for value in known:
        if not hasattr(options, value.field):
            _complete(parser, options, value, environment.get(value.variable, ""))
    options.allow_host = options.allow_host or [environment.get("QUADRA_ALLOW_HOST") or values.allow_host or ""]
    return options


def name_of(options: argparse.Namespace, field: str) -> str:
    """Returns what people set an option by: the environment variable that its value came from, or the option itself."""
    variable: str | None = options.variables.get(field)
    return variable or f"--{field.replace('_', '-')}"


def refusal_of(options: argparse.Namespace, error: QuadraError) -> str:
    """Returns why a start is refused, with the name of what brought the value at fault where the error does not say it."""
    if isinstance(error, ConfigurationError):
        return f"{name_of(options, error.field)}: {error}"
    for kind, field in ((CorpusError, "corpus"), (FolderError, "state_dir")):
        if isinstance(error, kind) and field in options.variables:
            return f"{options.variables[field]}: {error}"
    return str(error)


class _Value(NamedTuple):
    """An option that takes a value."""

    name: str
    default: object
    kind: Callable[[str], object]

    @property
    def field(self) -> str:
        return self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        return f"QUADRA_{self.field.upper()}"


def _complete(parser: _Parser, options: argparse.Namespace, value: _Value, given: str) -> None:
    """Sets an option that the command line leaves out: from its environment variable, or else by its default."""
    if given:
        options.variables[value.field] = value.variable
        setattr(options, value.field, _converted(parser, value.variable, value.kind, given))
        return
    default = value.default
    if isinstance(default, str):
        default = _converted(parser, f"the default of --{value.name}", value.kind, default)
    setattr(options, value.field, default)


def _converted(parser: _Parser, name: str, kind: Callable[[str], object], text: str) -> object:
    try:
        return kind(text)
    except argparse.ArgumentTypeError as error:
        parser.error(f"{name} {error}")
    except (TypeError, ValueError):
        parser.error(f"{name}: invalid {kind.__name__} value: {text!r}")


def _add_values(parser: _Parser, defaults: ServerDefaults) -> list[_Value]:
    known: list[_Value] = []

    def add(name: str, default: object, kind: Callable[[str], object], text: str) -> None:
        known.append(_Value(name, default, kind))
        parser.add_argument(f"--{name}", default=argparse.SUPPRESS, type=kind, help=f"{text} (default: {default})")

    add("host", defaults.host, str, "address to listen on")
    add("port", defaults.port, _whole(0, 65_535), "port to listen on; 0: any free one")
    add("token", defaults.token, str, "what lets somebody in; QUADRA_TOKEN keeps it out of the list of processes")
    add("watch-token", defaults.watch_token, str, "what lets somebody in to see everything and change nothing")
    add("state-dir", defaults.state_dir, str, "folder of the saved states")
    add("save-every", defaults.save_every, _whole(0, 1_000_000_000), "iterations between two saves; 0: no auto-save")
    add("pace", defaults.pace, _pace, "iterations a second, or max")
    add("field-size", defaults.field_size, int, "cells of a new run's field")
    add("threads", defaults.threads, int, "threads of one training step")
    add("seed", defaults.seed, int, "seed of new runs")
    add("corpus", defaults.corpus, str, "text file or folder that new runs train on")
    add("device", defaults.device, str, "cpu, cuda or cuda:<number>")
    add("backup-url", defaults.backup_url, str, "place that saved states are mirrored to")
    add("backup-every", defaults.backup_every, _whole(0, 1_000_000_000), "saves between two backups while training")
    add("points-budget", defaults.points_budget, _whole(0, 1_000_000_000), "megabytes for restore points")
    add("log-format", defaults.log_format, _one_of(FORMS), "text or json")
    add("log-file", defaults.log_file, expanded, "file that keeps the terminal's lines and the log")
    add("log-budget", defaults.log_budget, _whole(1, 1_000_000), "megabytes for the log file and its older ones")
    add("best-window", defaults.best_window, _whole(1, 1_000_000), "iterations of smoothing for the best state")
    return known


def _add_switches(parser: _Parser, environment: Mapping[str, str], defaults: ServerDefaults) -> None:
    def add_switch(name: str, default: bool, text: str) -> None:
        variable = "QUADRA_" + name.upper()
        value = _switch(parser, variable, environment.get(variable, "")) or default
        parser.add_argument(f"--{name}", action="store_true", default=value, help=text)

    add_switch("resume", False, "load the newest intact save and start training at once")
    add_switch("rescue", defaults.rescue, "after integrity strikes, go back to the last good state and train on")
    add_switch("proxy", defaults.proxy, "believe the X-Forwarded-* headers of the one reverse proxy in front")


def _whole(least: int, most: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"must be from {least} to {most:,}, not {value}")
        return value

    convert.__name__ = "whole number"
    return convert


def _one_of(names: Sequence[str]) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"must be {' or '.join(names)}, not {text}")
        return text

    return convert


def _pace(text: str) -> float | None:
    from quadra.training.view import FASTEST_PACE, SLOWEST_PACE

    if text == "max":
        return None
    try:
        pace = float(text)
    except ValueError:
        pace = float("nan")
    if not SLOWEST_PACE <= pace <= FASTEST_PACE:
        raise argparse.ArgumentTypeError(
            f"must be max or a number from {SLOWEST_PACE} to {FASTEST_PACE:,.0f}, not {text}"
        )
    return pace


def _switch(parser: _Parser, name: str, text: str) -> bool:
    if text.lower() not in ("", "0", "no", "false", "off", "1", "yes", "true", "on"):
        parser.error(f"{name} must be 1 or 0, not {text!r}")
    return text.lower() in ("1", "yes", "true", "on")
