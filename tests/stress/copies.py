"""`cp -r` of the state directory in a loop, while a run trains and saves into it at full speed.

    python -m tests.stress.copies                   2,000 copies, some minutes
    python -m tests.stress.copies --copies 50       a short run

Every copy must load, to the bit to a state that was saved, no older than two saves before the copy began, whatever cp says
(it may report files that vanished or were replaced). Ends with code 1 where one does not.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from tests.helpers.copying import EVERY, train_and_save
from tests.helpers.fault_loops import assert_true_to_its_run, opened

_TURNS = 3000  # iterations after which the run begins anew: the yardstick has to keep up


def train_on(folder: Path, durable: Synchronized[int], stop: Synchronized[int]) -> None:
    """In a process of its own: train and save, and say how far that is durable."""
    with opened(folder) as state:
        while not stop.value:
            state.initialize()
            state.save("stopped")
            durable.value = 0
            while not stop.value and state.iteration_count < _TURNS:
                durable.value = train_and_save(state)
            state.reset()


def look(copy: Path) -> int:
    """The iteration that is loaded from a copy; it must be true to its run."""
    with opened(copy) as state:
        state.load()
        assert_true_to_its_run(state)
        return state.iteration_count


def main() -> int:
    """Run and tell; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress.copies", description=__doc__.splitlines()[0])
    parser.add_argument("--copies", type=int, default=2000)
    count = parser.parse_args().copies
    context = multiprocessing.get_context("spawn")
    durable, stop = context.Value("q", -1), context.Value("q", 0)
    complaints, older, lost, worst = 0, 0, 0, 0
    with tempfile.TemporaryDirectory() as place:
        folder, copy = Path(place, "state"), Path(place, "copy")
        training = context.Process(target=train_on, args=(folder, durable, stop))
        training.start()
        done = 0
        while done < count:
            before = durable.value
            if before < 0 or before > _TURNS - 600:  # it begins, or begins anew
                continue
            result = subprocess.run(["cp", "-r", folder, copy], capture_output=True, check=False)
            done += 1
            complaints += result.returncode != 0
            try:
                age = before - look(copy)
                worst, older = max(worst, age), older + (age > 2 * EVERY)
            except Exception as error:  # whatever it is, that copy is lost
                lost += 1
                sys.stdout.write(f"copy {done}, begun at {before}: {error!r}\n")
            shutil.rmtree(copy)
        stop.value = 1
        training.join()
    sys.stdout.write(
        f"{count} copies, cp complained of {complaints}; {lost} did not load to what was saved, {older} were older than two "
        f"saves before they began; the oldest was {max(worst, 0)} iterations behind (a save every {EVERY})\n"
    )
    return int(lost > 0 or older > 0 or training.exitcode != 0)


if __name__ == "__main__":
    raise SystemExit(main())
