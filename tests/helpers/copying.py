"""`cp -r` as a test can steer it, and what a copy must be good for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from quadra import TrainingState
from tests.helpers.fault_loops import assert_true_to_its_run, begin_and_wait, opened
from tests.helpers.state_helpers import train

EVERY = 10  # iterations between two saves


def train_and_save(state: TrainingState) -> int:
    """What the worker does at full speed; returns the iteration that is now durable."""
    train(state, EVERY)
    begin_and_wait(state)
    return state.iteration_count


def copied_files(source: Path, target: Path, chance: Random | None = None) -> Iterator[Path]:
    """Copy file by file as GNU cp does: list a folder, then read each file; what is replaced in between may be skipped.

    Yields before each file. `chance`: in which order names come, else as the system gives them.
    """
    target.mkdir()
    entries = list(os.scandir(source))
    if chance is not None:
        chance.shuffle(entries)
    for entry in entries:
        path, copy = Path(entry.path), target / entry.name
        if entry.is_dir():
            yield from copied_files(path, copy, chance)
            continue
        yield path
        try:
            with path.open("rb") as stream:
                if os.fstat(stream.fileno()).st_ino != entry.inode() and chance is not None and chance.random() < 0.5:
                    continue  # "skipping file, as it was replaced while being copied"
                copy.write_bytes(stream.read())
        except FileNotFoundError:  # "cannot stat: no such file"
            continue


def copy_all(source: Path, target: Path, between: Callable[[], None] = lambda: None, seed: int | None = None) -> Path:
    """A whole copy; `between` is called before each file."""
    for _ in copied_files(source, target, None if seed is None else Random(seed)):
        between()
    return target


def assert_good(copy: Path, least: int) -> None:
    """The copy loads to a state that was saved, no older than that, to the bit."""
    with opened(copy) as state:
        state.load()
        assert state.iteration_count >= least, f"{state.iteration_count} is older than {least}"
        assert_true_to_its_run(state)
    shutil.rmtree(copy)
