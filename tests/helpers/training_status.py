"""The status of a run that trains, without a system behind it."""

from __future__ import annotations

from quadra.storage.catalog import Catalog
from quadra.training.lifecycle import Phase
from quadra.training.view import Status

RUN = "0123456789abcdef"
STATUS = Status(
    phase=Phase.TRAINING, run=RUN, field_size=8, seed=1, corpus="built-in corpus", device="cpu", pace=None,
    until=None, save_every=10, catalog=Catalog((), ()), state_dir="dashboard_state", deletes=(),
)  # fmt: skip
