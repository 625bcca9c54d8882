"""Lookup: the saved state that a person means by an id, the beginning of one, or a name."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from quadra.errors import RefusedError, UnknownSourceError
from quadra.states.listing import ListedState

_MOST_NAMED = 8  # candidates in a message


def find_state(entries: Iterable[ListedState], text: str) -> ListedState:
    """Returns one of the states that are not deleted.

    Raises UnknownSourceError where there is none, RefusedError where several fit.

    An id fits from its beginning; of a restore point the run's part alone, since iteration 1 is not the beginning of
    iteration 100 to a person. A name fits as a whole.
    """
    known = list(entries)
    found = _only([entry for entry in known if entry.label.deleted_at is None], text)
    if found is not None:
        return found
    for entry in _fitting(known, text):
        raise UnknownSourceError(f"The saved state {entry.id} was deleted. For an hour `undelete` takes it back.")
    raise UnknownSourceError(
        f"There is no saved state {text!r}. `python -m quadra states list` shows those that there are."
    )


def find_deleted(entries: Iterable[ListedState], text: str) -> ListedState:
    """Does the same for a state that was deleted and can be undeleted; raises RefusedError also for one that is not deleted."""
    known = list(entries)
    found = _only([entry for entry in known if entry.label.deleted_at is not None], text)
    if found is not None:
        return found
    for entry in _fitting(known, text):
        raise RefusedError(f"The saved state {entry.id} is not deleted.")
    raise UnknownSourceError(
        f"There is no deleted state {text!r}. `python -m quadra states list --deleted` shows those that there are."
    )


def _only(entries: Sequence[ListedState], text: str) -> ListedState | None:
    """Returns the state that fits, None where none does. Raises RefusedError where several do."""
    found = _fitting(entries, text)
    if len(found) > 1:
        raise RefusedError(_ambiguous(found, text))
    return found[0] if found else None


def _fitting(entries: Sequence[ListedState], text: str) -> list[ListedState]:
    """Returns the state with this id; where there is none, all that have this name, or whose id begins with it."""
    exact = [entry for entry in entries if entry.id == text]
    if exact:
        return exact
    name = unicodedata.normalize("NFC", text.strip())
    return [entry for entry in entries if (name and entry.label.name == name) or _begins(entry.id, text)]


def _begins(state_id: str, text: str) -> bool:
    run, at, iteration = state_id.partition("@")
    beginning, asked_at, asked_iteration = text.partition("@")
    return beginning != "" and run.startswith(beginning) and (at, iteration) == (asked_at, asked_iteration)


def _ambiguous(found: Sequence[ListedState], text: str) -> str:
    names = [f"{entry.id} ({entry.label.name})" if entry.label.name else entry.id for entry in found[:_MOST_NAMED]]
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return f"{text!r} may be {', '.join(names)}{more}. Give more of the id."
