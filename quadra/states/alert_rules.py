"""Rulebook: the alert rules of every run in a state directory, in one small file beside the runs' own.

A run's files move when another one is loaded; its rules stand under its id, so that no move can part them. A state that was
imported brings its rules under its own id. The file is replaced as a whole: it is the old or the new one at every instant.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quadra.errors import BadFileError, ConfigurationError, DamagedFileError, FolderError, MissingFileError, SaveError
from quadra.states.alerts import Rule, as_list, rules_from
from quadra.storage.files.durable import Piece, read_file, replace_file
from quadra.storage.folder import StateFolder
from quadra.storage.layout import ALERTS

log = logging.getLogger("quadra")

LARGEST = 4 << 20  # bytes of the file
_FORMAT = 1
_MOST_OWNERS = 1000  # of more, those whose rules were changed last stay
_LONGEST_ID = 40  # characters

Rules = tuple[Rule, ...]


class Rulebook:
    """The rules in a held folder."""

    def __init__(self, folder: StateFolder) -> None:
        self._folder = folder

    def keep(self, owner: str, rules: Sequence[Rule]) -> None:
        """Make these the rules of a run or an imported state, durably. Raises SaveError; the old ones then stay."""
        self._folder.require_own()
        told = self.look()
        if told is not None:
            log.warning(told)
        try:
            others = {name: kept for name, kept in _rules_or_none(self._folder.path).items() if name != owner}
            book = {**others, owner: tuple(rules)} if rules else others
            replace_file(self._folder.path / ALERTS, [dump(dict(list(book.items())[-_MOST_OWNERS:]))])
        except (OSError, BadFileError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SaveError(f"The alert rules could not be saved, and stay as they were: {reason}.") from error

    def hand_on(self, owner: str, rules: Sequence[Rule]) -> tuple[str, ...]:
        """The same for rules that a run has from another one; returns what a person should know where it failed."""
        try:
            if rules:
                self.keep(owner, rules)
        except SaveError as error:
            return (f"{str(error).removesuffix('.')}; they hold as long as the run is in memory.",)
        return ()

    def bring(self, run: str, *origins: str) -> tuple[Rules, tuple[str, ...]]:
        """The rules for a run that is loaded, and what a person should know; it may have come from these, the first of
        which that has rules hands them on."""
        told = self.look()
        try:
            book = _rules_or_none(self._folder.path)
        except BadFileError as error:
            return (), (f"The alert rules cannot be read: {error}.",)
        warnings = () if told is None else (told,)
        if run in book or not origins:
            return book.get(run, ()), warnings
        rules = next((book[name] for name in origins if name in book), ())
        return rules, (*warnings, *self.hand_on(run, rules))

    def look(self) -> str | None:
        """Set a damaged file aside; returns what a person should know of that."""
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


def travelling(folder: Path, run: str, *owners: str) -> dict[str, list[Piece]]:
    """The file, by its name, that goes with a run's state to another folder: the rules of the first of these owners that
    has any; nothing where none has."""
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
    """The rules in a folder by the ids of their runs. Raises MissingFileError where there is no file, another BadFileError
    where it cannot be read."""
    return parse(read_file(folder / ALERTS), folder / ALERTS)


def dump(book: Mapping[str, Sequence[Rule]]) -> bytes:
    """The content of a file with these rules."""
    told = {name: as_list(rules) for name, rules in book.items()}
    return json.dumps({"format_version": _FORMAT, "runs": told}, indent=1).encode()


def parse(content: bytes, file: Path) -> dict[str, Rules]:
    """The rules in a file's content, which may come from elsewhere. Raises DamagedFileError."""
    if len(content) > LARGEST:
        raise DamagedFileError(file, "is far larger than any list of alert rules")
    try:
        told: dict[str, Any] = json.loads(content)["runs"]
        book = {name: rules_from(rules) for name, rules in told.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ConfigurationError) as error:
        raise DamagedFileError(file, "is not a list of alert rules as this program writes it") from error
    if any(len(name) > _LONGEST_ID for name in book):
        raise DamagedFileError(file, "is not a list of alert rules as this program writes it")
    return book
