"""Alert rules: what a person wants to be alerted of in a run, checked, and kept for every run of a state directory.

All rules stand in one small file beside the runs' own. A run's files move when another one is loaded; its rules stand under
its id, so that no move can part them. An imported state has its rules under its own id. The file is replaced as a whole: at
every instant it is the old or the new one.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quadra.errors import BadFileError, ConfigurationError, DamagedFileError, FolderError, MissingFileError, SaveError
from quadra.storage.files.durable import Piece, read_file, replace_file
from quadra.storage.folder import StateFolder
from quadra.storage.layout import ALERTS

log = logging.getLogger("quadra")

MOST_RULES = 20
LOSS_ABOVE = "loss_above"
REWARD_BELOW = "reward_below"
VARIANCE_ABOVE = "variance_above"
STRIKES = "strikes_at_least"
SAVES_FAILING = "saves_failing"
RUN_FINISHED = "run_finished"
KINDS = (LOSS_ABOVE, REWARD_BELOW, VARIANCE_ABOVE, STRIKES, SAVES_FAILING, RUN_FINISHED)
OF_SERIES = {LOSS_ABOVE: "loss", REWARD_BELOW: "reward", VARIANCE_ABOVE: "variance"}
_WITH_THRESHOLD = (*OF_SERIES, STRIKES)
_LARGEST = 1e30  # of a threshold: the histories are float32
_MOST_STRIKES = 1_000_000_000
_LONGEST_REPR = 60  # characters of a bad value in a message
LARGEST = 4 << 20  # bytes of the file
_FORMAT = 1
_MOST_OWNERS = 1000  # of more, those whose rules were changed last stay
_LONGEST_ID = 40  # characters


@dataclass(frozen=True)
class Rule:
    """One condition; `threshold` is None for those that have none."""

    kind: str  # one of KINDS
    threshold: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Returns the rule as browsers, scripts and the file have it."""
        return {"kind": self.kind, "threshold": self.threshold}

    def message(self, iteration: int, value: float | None, times: int = 1) -> str:
        """Returns the sentence for people when the rule fires at an iteration, with the value there."""
        limit = "" if self.threshold is None else f"{self.threshold:.6g}"
        found = "" if value is None else f" ({value:.6g})"
        what = {
            LOSS_ABOVE: f"loss is above {limit}{found}",
            REWARD_BELOW: f"reward is below {limit}{found}",
            VARIANCE_ABOVE: f"field variance is above {limit}{found}",
            STRIKES: f"integrity strikes have reached {limit}{found}",
            SAVES_FAILING: "saves are failing",
            RUN_FINISHED: "training has ended by itself",
        }[self.kind]
        again = f", {times:,} times since the last alert" if times > 1 else ""
        return f"Alert: {what} at iteration {iteration:,}{again}."


Rules = tuple[Rule, ...]


class AlertRules:
    """The file of alert rules in a held folder."""

    def __init__(self, folder: StateFolder) -> None:
        self._folder = folder

    def write(self, owner: str, rules: Sequence[Rule]) -> None:
        """Makes these the rules of a run or an imported state, durably. Raises SaveError; the old ones then stay."""
        self._folder.require_own()
        warning = self._set_aside_if_damaged()
        if warning is not None:
            log.warning(warning)
        try:
            others = {name: known for name, known in _rules_or_none(self._folder.path).items() if name != owner}
            book = {**others, owner: tuple(rules)} if rules else others
            replace_file(self._folder.path / ALERTS, [dump(dict(list(book.items())[-_MOST_OWNERS:]))])
        except (OSError, BadFileError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SaveError(f"The alert rules could not be saved, and stay as they were: {reason}.") from error

    def try_write(self, owner: str, rules: Sequence[Rule]) -> tuple[str, ...]:
        """Writes rules that a run has from another one, if there are any. Returns a warning for people where it failed."""
        try:
            if rules:
                self.write(owner, rules)
        except SaveError as error:
            return (f"{str(error).removesuffix('.')}; they hold as long as the run is in memory.",)
        return ()

    def load(self, run: str, *origins: str) -> tuple[Rules, tuple[str, ...]]:
        """Returns the rules of a run that is loaded, and warnings for people.

        Where it has none, the first of its origins that has some gives it a copy.
        """
        warning = self._set_aside_if_damaged()
        try:
            book = _rules_or_none(self._folder.path)
        except BadFileError as error:
            return (), (f"The alert rules cannot be read: {error}.",)
        warnings = () if warning is None else (warning,)
        if run in book or not origins:
            return book.get(run, ()), warnings
        rules = next((book[name] for name in origins if name in book), ())
        return rules, (*warnings, *self.try_write(run, rules))

    def _set_aside_if_damaged(self) -> str | None:
        """Sets a damaged file aside. Returns a warning for people, None where the file was not damaged."""
        try:
            read_rules(self._folder.path)
        except DamagedFileError as error:
            try:
                target = self._folder.set_aside([self._folder.path / ALERTS])
            except (OSError, FolderError) as failure:
                return f"The alert rules are lost: {error}. Their file could not be set aside: {failure}"
            return f"The alert rules are lost: {error}. Their file was set aside in {target}."
        except BadFileError:  # not there, or not to be read now: it may be whole
            return None
        return None


def exported_rules(folder: Path, run: str, *owners: str) -> dict[str, list[Piece]]:
    """Returns the file of rules, by its name, that goes with a run's state to another folder.

    It holds the rules of the first of these owners that has any; where none has, the mapping is empty.
    """
    try:
        book = _rules_or_none(folder)
    except BadFileError as error:
        log.warning("The alert rules do not travel with the state: %s.", error)
        return {}
    rules = next((book[name] for name in owners if name in book), ())
    return {ALERTS: [dump({run: rules})]} if rules else {}


def _rules_or_none(folder: Path) -> dict[str, Rules]:
    try:
        return read_rules(folder)
    except MissingFileError:
        return {}


def read_rules(folder: Path) -> dict[str, Rules]:
    """Returns the rules in a folder by the ids of their runs.

    Raises MissingFileError where there is no file, another BadFileError where it cannot be read.
    """
    return parse(read_file(folder / ALERTS), folder / ALERTS)


def dump(book: Mapping[str, Sequence[Rule]]) -> bytes:
    """Returns the content of a file with these rules."""
    runs = {name: as_list(rules) for name, rules in book.items()}
    return json.dumps({"format_version": _FORMAT, "runs": runs}, indent=1).encode()


def parse(content: bytes, file: Path) -> dict[str, Rules]:
    """Returns the rules in a file's content, which may come from elsewhere. Raises DamagedFileError."""
    if len(content) > LARGEST:
        raise DamagedFileError(file, "is far larger than any list of alert rules")
    try:
        runs: dict[str, Any] = json.loads(content)["runs"]
        book = {name: rules_from(rules) for name, rules in runs.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ConfigurationError) as error:
        raise DamagedFileError(file, "is not a list of alert rules as this program writes it") from error
    if any(len(name) > _LONGEST_ID for name in book):
        raise DamagedFileError(file, "is not a list of alert rules as this program writes it")
    return book


def rules_from(value: object, field: str = "rules") -> tuple[Rule, ...]:
    """Returns the rules in a list of objects. Raises ConfigurationError, which names the field."""
    if not isinstance(value, list):
        raise ConfigurationError(field, f"must be a list of rules, not {_short_repr(value)}")
    if len(value) > MOST_RULES:
        raise ConfigurationError(field, f"must be at most {MOST_RULES} rules, not {len(value):,}")
    rules = tuple(_rule(given, f"{field}[{number}]") for number, given in enumerate(value))
    for number, rule in enumerate(rules):
        if rule in rules[:number]:
            raise ConfigurationError(f"{field}[{number}]", "says the same as an earlier rule")
    return rules


def _rule(given: object, field: str) -> Rule:
    if not isinstance(given, Mapping):
        raise ConfigurationError(field, f"must be an object with kind and threshold, not {_short_repr(given)}")
    kind = given.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigurationError(f"{field}.kind", f"must be one of {', '.join(KINDS)}, not {_short_repr(kind)}")
    return Rule(kind, _threshold(kind, given.get("threshold"), f"{field}.threshold"))


def _threshold(kind: str, value: object, field: str) -> float | None:
    if kind not in _WITH_THRESHOLD:
        return None
    number = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST:
        number = float(value)
    if kind == STRIKES:
        if not (1 <= number <= _MOST_STRIKES and number.is_integer()):
            raise ConfigurationError(
                field, f"must be a whole number from 1 to {_MOST_STRIKES:,}, not {_short_repr(value)}"
            )
    elif math.isnan(number):
        raise ConfigurationError(field, f"must be a number between -1e30 and 1e30, not {_short_repr(value)}")
    return number


def _short_repr(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_REPR else text[:_LONGEST_REPR] + "…"


def as_list(rules: Sequence[Rule]) -> list[dict[str, Any]]:
    """Returns rules as browsers, scripts and the file have them."""
    return [rule.as_dict() for rule in rules]
