"""Rescue: to which state a run goes back when training has ended by integrity strikes."""

from __future__ import annotations

import logging

from quadra.errors import BadFileError
from quadra.states.listing import StateListing
from quadra.training.view import Rescue

log = logging.getLogger("quadra.worker")


def last_good(library: StateListing, run: str | None, struck_at: int) -> Rescue | None:
    """The newest saved state of a run from before the iteration at which it was struck; None where there is none.

    A fault of the machine does not come again from there. One of the run itself does, at the same iteration, because a
    restored state continues to the bit: then an older state, or the best one, has to be chosen by a person.
    """
    try:
        listed = library.entries()
    except (BadFileError, OSError) as error:  # training has ended and is saved: the server must live on
        log.warning("The last good state could not be looked for: %s", error)
        return None
    entries = [entry for entry in listed if entry.run == run and entry.label.deleted_at is None]
    older = [entry for entry in entries if entry.iteration_count < struck_at]
    newest = max(older, key=lambda entry: entry.iteration_count, default=None)
    return None if newest is None else Rescue(struck_at, newest.id, newest.iteration_count)
