"""Proof queue: browsers ask for proofs that a saved state continues to the bit; each is made in processes of its own."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from threading import Lock
from typing import Any

from quadra.config import TrainingConfig
from quadra.errors import RefusedError
from quadra.storage.layout import StateLayout


class ProofQueue:
    """Makes one proof at a time: each needs a processor for as long as it takes to train its iterations twice."""

    def __init__(self, layout: StateLayout, defaults: TrainingConfig) -> None:
        self._layout, self._defaults = layout, defaults
        self._thread = ThreadPoolExecutor(1, "proof")
        self._busy = Lock()

    def prove(self, state_id: str, iterations: int | None) -> Future[dict[str, Any]]:
        """Returns a future of the certificate as the page shows it. Raises RefusedError while another proof is under way."""
        if not self._busy.acquire(blocking=False):
            raise RefusedError("Another proof is under way. Wait until it has ended.")
        proof = self._thread.submit(self._prove, state_id, iterations)
        proof.add_done_callback(lambda _: self._busy.release())
        return proof

    def _prove(self, state_id: str, iterations: int | None) -> dict[str, Any]:
        # Imported here: it brings torch along, and a server must not wait for that.
        from quadra.reports.prove import ITERATIONS, prove_state

        certificate = prove_state(self._layout, state_id, self._defaults, iterations or ITERATIONS)
        return {**asdict(certificate), "different": certificate.different}
