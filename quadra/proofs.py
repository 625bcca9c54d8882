"""Proofs: that a saved state continues to the bit, shown at a browser's wish in processes of their own."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

from quadra.config import TrainingConfig
from quadra.errors import RefusedError
from quadra.places import Places


class Proofs:
    """One at a time: each takes a processor for as long as training its iterations twice takes."""

    def __init__(self, places: Places, defaults: TrainingConfig) -> None:
        self._places, self._defaults = places, defaults
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
        from quadra.opening import open_files  # here, since it takes torch along: a server must not wait for that
        from quadra.prove import ITERATIONS, prove

        with TemporaryDirectory() as place:  # a copy, so that nothing that is thinned meanwhile is missed
            _, files = open_files(self._places, state, self._defaults)
            for name, pieces in files.items():
                (Path(place) / name).write_bytes(b"".join(pieces))
            certificate = prove(Path(place), iterations or ITERATIONS)
        return {**asdict(certificate), "different": certificate.different}
