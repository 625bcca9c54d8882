"""Ten thousand messages that nobody should send, over a real socket: `python -m tests.stress.fuzz [MESSAGES] [SEED]`.

The exit code is 1 where the server shows an exception. An outcome that the life-cycle table does not allow ends it at once.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.helpers.fuzzing import Fuzzer
from tests.helpers.server import Server


def main() -> int:
    """Returns the exit code."""
    messages, seed = (int(text) for text in (sys.argv[1:] + ["10000", "0"][len(sys.argv) - 1 :]))
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(Path(folder) / "state", "--field-size", "8", "--pace", "max") as server,
    ):
        fuzzer = Fuzzer(server, seed)
        for number in range(1000, messages + 1000, 1000):
            fuzzer.run(min(number, messages))
            sys.stdout.write(f"{fuzzer.sent} sent\n")
            sys.stdout.flush()
        told = f"{fuzzer.sent} messages over {fuzzer.connections} connections, {len(fuzzer.transitions)} kinds of transition"
        code = server.end()
        exceptions = [line for line in server.lines if "Traceback" in line or "unexpectedly" in line]
    sys.stdout.write(f"seed {seed}: {told}; exit code of the server: {code}; {len(exceptions)} exceptions\n")
    if exceptions:
        first = server.lines.index(exceptions[0])
        sys.stdout.write("\n".join(server.lines[max(0, first - 5) : first + 60]) + "\n")
    return int(bool(exceptions) or code != 0)


if __name__ == "__main__":
    raise SystemExit(main())
