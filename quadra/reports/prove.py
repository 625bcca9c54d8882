"""The proof that a saved state continues to the very bit, on this machine, today.

The state is copied, so that a live server may go on saving over it. From the copy, one process trains N iterations in one
go; two others train half of them each, with a save, an end and a load in between. Every bit of both endings is compared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quadra.child_process import run_child
from quadra.config import TrainingConfig
from quadra.errors import LoadError
from quadra.reports.environment import machine, versions
from quadra.states.own_texts import stored_files
from quadra.states.read_only import read_portable_files, retrying
from quadra.storage.files.durable import Piece, read_file
from quadra.storage.files.scratch import ScratchFolder
from quadra.storage.layout import METRICS, SYSTEM, WEIGHTS, StateLayout
from quadra.storage.saved_state import NotSealedError, SavedState, read
from quadra.training.state import TrainingState

ITERATIONS = 100


@dataclass(frozen=True)
class Certificate:
    """What was compared, and the outcome."""

    run: str
    saved_at: str
    iteration_count: int  # of the saved state
    weights_sha256: str  # of its weights file
    iterations: int  # that were trained from it, twice
    in_one_go: Mapping[str, str]  # SHA-256 of every part of the ending
    in_halves: Mapping[str, str]
    versions: Mapping[str, str]
    machine: str

    @property
    def different(self) -> list[str]:
        """Returns the parts that are not the same to the bit."""
        names = sorted({*self.in_one_go, *self.in_halves})
        return [name for name in names if self.in_one_go.get(name) != self.in_halves.get(name)]

    def lines(self) -> Iterator[str]:
        """Yields the lines that a person reads."""
        yield f"Saved state  run {self.run}, iteration {self.iteration_count}, saved {self.saved_at}"
        yield f"File         {WEIGHTS}, SHA-256 {self.weights_sha256}"
        yield f"Trained      {self.iterations} iterations in one go; the same in two halves, saved and loaded in between"
        yield f"Versions     {', '.join(f'{name} {number}' for name, number in self.versions.items())}"
        yield f"Machine      {self.machine}"
        for name, digest in self.in_one_go.items():
            same = name not in self.different
            yield f"  {'same     ' if same else 'DIFFERENT'} {name:<18} {digest}"
        yield (
            f"Not the same: {', '.join(self.different)}." if self.different else
            f"Every bit is the same at iteration {self.iteration_count + self.iterations}."
        )  # fmt: skip


def prove(folder: Path, iterations: int = ITERATIONS) -> Certificate:
    """Trains from the newest save in a state directory, which is not changed. Raises LoadError."""
    with ScratchFolder() as temporary:
        whole, halves = Path(temporary, "whole"), Path(temporary, "halves")
        state = _copy(folder, whole)
        _copy(whole, halves)
        sealed = hashlib.sha256(read_file(whole / WEIGHTS)).hexdigest()
        half = iterations // 2
        in_one_go = _train(whole, iterations)
        _train(halves, half)
        return Certificate(
            run=state.record.run,
            saved_at=state.record.saved_at,
            iteration_count=state.record.iteration_count,
            weights_sha256=sealed,
            iterations=iterations,
            in_one_go=in_one_go,
            in_halves=_train(halves, iterations - half),
            versions=versions(),
            machine=machine(),
        )


def prove_state(
    layout: StateLayout, state_id: str, defaults: TrainingConfig, iterations: int = ITERATIONS
) -> Certificate:
    """Trains from any saved state of a directory, by its id. Raises LoadError."""
    with ScratchFolder() as temporary:  # a copy: restore points may be thinned meanwhile
        _, files = read_portable_files(layout, state_id, defaults)
        _write(Path(temporary), files)
        return prove(Path(temporary), iterations)


def digests(engine: Mapping[str, Any], rows: object) -> dict[str, str]:
    """Returns the SHA-256 of every part that training reads, and of all four histories."""
    return {name: _digest(part) for name, part in {**engine, "history": rows}.items()}


def train(folder: Path, iterations: int) -> dict[str, str]:
    """Loads, trains and saves. Returns the digests of the ending. Each process does this."""
    with TrainingState(folder) as state:
        state.load()
        for _ in range(iterations):
            state.step()
        state.save()
        return digests(state.engine.state_dict(), state.history.rows())


def _train(folder: Path, iterations: int) -> dict[str, str]:
    code = "import json, sys; from pathlib import Path; from quadra.reports.prove import train; "
    code += "print(json.dumps(train(Path(sys.argv[1]), int(sys.argv[2]))))"
    done = run_child(code, str(folder), str(iterations), capture=True)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"it ended with code {done.returncode}"]
        raise LoadError(f"A process could not train from the copy: {reason[0]}")
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def _copy(folder: Path, target: Path) -> SavedState:
    """Copies the newest save; again, where a live server replaced a file meanwhile."""
    target.mkdir()
    return retrying(lambda: _copy_once(folder, target))


def _copy_once(folder: Path, target: Path) -> SavedState:
    for name in (WEIGHTS, METRICS, SYSTEM):  # in this order: the weights have the rows that an older metrics file lacks
        (target / name).write_bytes(read_file(folder / name))
    try:
        state = read(target)
        _write(target, stored_files(folder, state.engine["corpus"]["path"]))
        return state
    except NotSealedError as error:
        raise LoadError(
            "This state is of the earlier generation of the dashboard, which did not save all that training reads. "
            "Load it once, then prove it."
        ) from error


def _write(target: Path, files: Mapping[str, Iterable[Piece]]) -> None:
    for name, pieces in files.items():
        (target / name).parent.mkdir(exist_ok=True)
        (target / name).write_bytes(b"".join(pieces))


def _digest(part: object) -> str:
    digest = hashlib.sha256()
    for piece in _pieces(part):
        digest.update(piece)
    return digest.hexdigest()


def _pieces(value: object) -> Iterator[bytes]:
    """Yields the bytes of a value, with its type, in an order that does not depend on how it was made."""
    yield f"{type(value).__name__}:".encode()
    if isinstance(value, Mapping):
        for key in sorted(value):
            yield f"{key}=".encode()
            yield from _pieces(value[key])
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _pieces(entry)
    elif isinstance(value, np.ndarray) or hasattr(value, "detach"):  # a tensor; this module needs no torch
        array = np.ascontiguousarray(value)
        yield f"{array.dtype}{array.shape}".encode()
        yield array.tobytes()
    else:
        yield repr(value).encode()
