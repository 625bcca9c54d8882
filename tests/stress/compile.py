"""A process that has to compile first gives the bits of those that load: `python -m tests.stress.compile` (about a minute)."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from tests.helpers.state_helpers import REPOSITORY

_DIGEST = """
import hashlib
from quadra.config import TrainingConfig
from quadra.model.engine import Engine
from quadra.model.corpus import Corpus

engine = Engine(TrainingConfig(seed=1, threads=1), Corpus())
for _ in range(60):
    engine.step()
print(hashlib.sha256(engine.snapshot().flat.tobytes()).hexdigest())
"""


def main() -> int:
    """Print the digests of a compiling and a loading process; returns the exit code."""
    with tempfile.TemporaryDirectory() as empty:
        environment = {**os.environ, "NUMBA_CACHE_DIR": empty}
        digests = [
            subprocess.run(
                [sys.executable, "-c", _DIGEST],
                cwd=REPOSITORY,
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
            for _ in range(2)
        ]
    sys.stdout.write("\n".join(digests) + "\n")
    return int(len(set(digests)) != 1)


if __name__ == "__main__":
    raise SystemExit(main())
