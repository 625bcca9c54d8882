"""A real server is SIGKILLed at random times, again and again, while it trains and saves at full speed.

    python -m tests.stress.kill                     200 rounds, some ten minutes
    python -m tests.stress.kill --rounds 10         a short run

A browser's client notes the highest iteration it was shown, and the terminal's lines the highest save that was confirmed.
After each kill the folder must check as whole, and Load must give a state no older than what was confirmed, nor more than
`--save-every` iterations older than what was shown. At the end all that was trained, over all the kills, must be to the bit
what one uninterrupted run gives. Ends with code 1 and says what was lost where that does not hold.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from quadra import TrainingState
from quadra.errors import NoSavedStateError
from quadra.model.corpus import Corpus
from quadra.model.engine import Engine
from quadra.reports.check import check
from quadra.states.restore import complete_config
from tests.helpers.fault_loops import fingerprint
from tests.helpers.server import Client, Server

_SAVE_EVERY = 10
_LONGEST_LIFE = 2.0  # seconds after the first page could be shown
_SAVED = "✓ State saved: "


@dataclass
class Round:
    """What one life of the server had promised, and what was there after it."""

    shown: int
    confirmed: int
    found: int

    @property
    def taken_back(self) -> int:
        """Iterations that were shown and are gone."""
        return max(0, self.shown - self.found)

    @property
    def is_kept(self) -> bool:
        """Whether the promise was kept."""
        return self.found >= self.confirmed and self.taken_back <= _SAVE_EVERY


def live_and_die(folder: Path, chance: Random) -> tuple[int, int, list[Any]]:
    """One life: the highest iteration shown, the highest that was confirmed as saved, and what saves failed for."""
    options = ("--pace", "max", "--resume", "--save-every", str(_SAVE_EVERY), "--field-size", "20", "--seed", "1")
    with Server(folder, *options) as server:
        shown, failures = 0, list[Any]()
        if chance.random() < 0.8:
            with Client(server.url) as client:
                client.wait_for("metrics_update")
                time.sleep(chance.uniform(0.0, _LONGEST_LIFE))
                server.end(signal.SIGKILL)
                shown = max(payload["iteration"] for payload in client.payloads("metrics_update"))
                failures = client.payloads("save_failed")
        else:  # in the midst of the start
            time.sleep(chance.uniform(0.0, 0.4))
            server.end(signal.SIGKILL)
        lines = [line.removeprefix(_SAVED) for line in server.lines if line.startswith(_SAVED)]
        return shown, max((int(line.split()[0]) for line in lines), default=0), [*failures, *server.lines[-3:]]


def look(folder: Path) -> int:
    """The iteration that is loaded from what a kill left; the folder must be whole before and after."""
    _require_whole(folder)
    with TrainingState(folder) as state:
        try:
            state.load(newest=True)
        except NoSavedStateError:
            return 0
        count = state.iteration_count
    _require_whole(folder)
    return count


def _require_whole(folder: Path) -> None:
    bad = [finding.text for finding in check(folder) if not finding.is_good]
    if bad:
        raise AssertionError(f"the folder is not whole: {bad}")


def is_uninterrupted(folder: Path) -> bool:
    """Whether the run in the folder is to the bit what one run without a kill gives."""
    with TrainingState(folder) as state:
        state.load(newest=True)
        found, count, config = (
            fingerprint(state.engine.state_dict(), state.history.rows()),
            state.iteration_count,
            state.config,
        )
    engine, rows = Engine(complete_config(config), Corpus()), np.empty((count, 4), np.float32)
    for number in range(count):
        result = engine.step()
        rows[number] = (result.loss, result.reward, result.variance, result.mean)
    return fingerprint(engine.state_dict(), rows) == found


def main() -> int:
    """Run and tell; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress.kill", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance, rounds = Random(arguments.seed), list[Round]()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "state")
        least = 0
        for number in range(1, arguments.rounds + 1):
            shown, confirmed, told = live_and_die(folder, chance)
            rounds.append(Round(shown, max(confirmed, least), look(folder)))
            least = rounds[-1].found
            if not rounds[-1].is_kept or number % 20 == 0:
                sys.stdout.write(f"{number}: {rounds[-1]}{'' if rounds[-1].is_kept else f' {told}'}\n")
                sys.stdout.flush()
        same = is_uninterrupted(folder)
    broken = sum(not one.is_kept for one in rounds)
    sys.stdout.write(
        f"{len(rounds)} kills, {rounds[-1].found:,} iterations; of what was shown a kill took back "
        f"{max(one.taken_back for one in rounds)} at most, of what was confirmed nothing in {len(rounds) - broken}; "
        f"to the bit as without kills: {'yes' if same else 'NO'}\n"
    )
    return int(broken > 0 or not same)


if __name__ == "__main__":
    raise SystemExit(main())
