"""Hundreds of requests to every route, right and wrong ones: `python -m tests.stress.schema [EXAMPLES] [SEED]`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.helpers.schema_tests import OPERATIONS, call_and_check, opened_application


def main() -> int:
    """Returns the exit code: 1 where an answer was another one than is described."""
    examples, seed = (int(text) for text in (sys.argv[1:] + ["200", "0"][len(sys.argv) - 1 :]))
    failed = 0
    with tempfile.TemporaryDirectory() as folder, opened_application(Path(folder) / "state") as app:
        for path, method in OPERATIONS:
            try:
                call_and_check(app, path, method, examples, seed)
                sys.stdout.write(f"{method.upper()} {path}: as described\n")
            except (Exception, BaseExceptionGroup) as error:  # the others are to be tried, too
                failed += 1
                sys.stdout.write(f"{method.upper()} {path}: {error}\n")
            sys.stdout.flush()
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
