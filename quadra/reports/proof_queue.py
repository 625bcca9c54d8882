"""Proofs: that a saved state continues to the bit, shown at a browser's wish in processes of their own."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from threading import Lock
from typing import Any

from quadra.config import TrainingConfig
from quadra.errors import RefusedError
from quadra.storage.layout import StateLayout


class Proofs:
    """One at a time: each takes a processor for as long as training its iterations twice takes."""

    def __init__(self, layout: StateLayout, defaults: TrainingConfig) -> None:
        self._layout, self._defaults = layout, defaults
        self._thread = ThreadPoolExecutor(1, "proof")
        self._busy = Lock()

    def prove(self, state: str, iterations: int | None) -> Future[dict[str, Any]]:
        """The certificate as the page shows it. Raises RefusedError while another proof is under way."""
        if not self._busy.acquire(blocking=False):
            raise RefusedError("Another proof is under way. Wait until it has ended.")
        proof = self._thread.submit(self._proved, state, iterations)
        proof.add_done_callback(lambda _: self._busy.release())
        return proof

    def _proved(self, state: str, iterations: int | None) -> dict[str, Any]:
        from quadra.reports.prove import (
            ITERATIONS,
            prove_state,
        )  # here: it takes torch along, and a server must not wait for that

        certificate = prove_state(self._layout, state, self._defaults, iterations or ITERATIONS)
        return {**asdict(certificate), "different": certificate.different}
